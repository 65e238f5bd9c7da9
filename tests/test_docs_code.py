"""The Python code of README and docs runs on the sample photos, and the site has all the pages."""

from __future__ import annotations

import ast
import importlib.util
import re
import runpy
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
from docs_blocks import PAGES, blocks
from PIL import Image

_ROOT = Path(__file__).resolve().parent.parent
#: Pages whose code needs files that are not in the repository.
_ONLY_PARSED = {
    "docs/convert.md",  # tests/test_docs_commands.py runs it in a folder of labels
    "docs/networks.md",  # a published checkpoint
    "docs/serve.md",  # a server; tests/test_serve.py has one
    "docs/bridges.md",  # extras; tests/test_bridges.py runs it
    "docs/analyze.md",  # tests/test_analyze.py runs it on a synthetic video
}
#: Blocks that need what is not there, by a part of them; the others of their page are run.
_ONLY_PARSED_BLOCKS = (
    "import ray",  # tests/test_bulk_workers.py
    "spark.read",  # tests/test_pose_batch.py runs it where Spark is installed
    "frame.map_partitions",  # and so Dask
)


def _code(name: str) -> str:
    """The code of a page, each line in the line that it has in the page."""
    lines: list[str] = []
    for block in blocks("python"):
        if block.page == name and not any(part in block.text for part in _ONLY_PARSED_BLOCKS):
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    return "\n".join(lines)


_PAGES = {name: _code(name) for name in PAGES}
_RUN = [name for name, code in _PAGES.items() if code and name not in _ONLY_PARSED]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the sample photos, two of which are in ``photos``, and people of a video."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(_ROOT / "data")
    (tmp_path / "photos").mkdir()
    for name in ("astronaut.jpg", "grace_hopper.jpg"):
        shutil.copy(_ROOT / "data" / "photos" / name, tmp_path / "photos")
    (tmp_path / "out").mkdir()
    shutil.copy(_ROOT / "tests" / "inputs" / "own-video.jsonl", tmp_path / "out" / "street.jsonl")
    return tmp_path


@pytest.mark.parametrize("name", _RUN)
def test_the_python_code_of_a_page_runs(name: str, clone: Path) -> None:
    if "to_supervision" in _PAGES[name]:
        pytest.importorskip("supervision", reason="supervision is not installed")
    exec(compile(_PAGES[name], str(_ROOT / name), "exec"), {"__name__": "__main__"})
    assert len(list(clone.iterdir())) >= 3


def test_most_pages_are_run_and_the_others_are_python() -> None:
    assert {"README.md", "docs/first_photo.md", "docs/annotate.md", "docs/mask-rcnn.md"} <= set(
        _RUN
    )
    for block in blocks("python"):
        assert ast.parse(block.text, str(block)).body
    assert set(_PAGES) >= _ONLY_PARSED


def test_the_notebook_of_the_paper_runs_and_draws_what_the_page_shows(clone: Path) -> None:
    runpy.run_path(str(_ROOT / "docs" / "paf_paper.py"))
    for name in ("paf-paper-fields.jpg", "paf-paper-limbs.jpg", "paf-paper-people.jpg"):
        with Image.open(clone / name) as drawn, Image.open(_ROOT / "docs" / name) as shown:
            assert drawn.size == shown.size


# The site; that it builds without a warning, .ci/run sees


@pytest.fixture(scope="module")
def site() -> ModuleType:
    """The module docs/site.py."""
    spec = importlib.util.spec_from_file_location("docs_site", _ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_site"] = module
    spec.loader.exec_module(module)
    return module


def test_the_site_has_every_verb_and_every_public_name(site: ModuleType) -> None:
    import openpaf
    from openpaf.cli import command_parser

    page = site.command_line_page(command_parser())
    for verb in ("predict", "train", "doctor", "completion"):
        assert f"\n## openpaf {verb}\n" in page
    names = set(re.findall(r"^::: openpaf\.(\w+)$", site.api_page(), flags=re.M))
    assert names == set(openpaf.__all__) - {"__version__"}


def test_cells_become_text_code_and_what_it_prints(site: ModuleType) -> None:
    script = "# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\na = 1\n\n# %%\nprint(a + 1)\n"
    cells = "```python\na = 1\n```\n\n```python\nprint(a + 1)\n```\n\n```text\n2\n```\n"
    assert site.notebook_page(script) == f"# Title\n\nText.\n\n{cells}"


def test_every_page_of_docs_is_in_the_navigation() -> None:
    navigation = (_ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.name for path in (_ROOT / "docs").glob("*.md")]
    assert not [page for page in pages if f": {page}\n" not in navigation]
