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
from PIL import Image

_ROOT = Path(__file__).resolve().parent.parent
_PAGES = {
    path.relative_to(_ROOT).as_posix(): "\n".join(
        re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    )
    for path in [_ROOT / "README.md", *sorted(_ROOT.glob("docs/*.md"))]
}
#: Pages whose code needs files that are not in the repository.
_ONLY_PARSED = {
    "docs/convert.md",  # its calls are those of tests/test_convert.py
    "docs/networks.md",  # a published checkpoint
    "docs/serve.md",  # a server; tests/test_serve.py has one
    "docs/bulk.md",  # Ray, and a folder of 500 photos; tests/test_pose_batch.py runs it
    "docs/bridges.md",  # extras; tests/test_bridges.py runs it
    "docs/analyze.md",  # tests/test_analyze.py runs it on a synthetic video
}
_RUN = [name for name, code in _PAGES.items() if code and name not in _ONLY_PARSED]


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the sample photos, two of which are in ``photos``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(_ROOT / "data")
    (tmp_path / "photos").mkdir()
    for name in ("astronaut.jpg", "grace_hopper.jpg"):
        shutil.copy(_ROOT / "data" / "photos" / name, tmp_path / "photos")
    return tmp_path


@pytest.mark.parametrize("name", _RUN)
def test_the_python_code_of_a_page_runs(name: str, clone: Path) -> None:
    exec(compile(_PAGES[name], name, "exec"), {"__name__": "__main__"})
    assert len(list(clone.iterdir())) >= 2


def test_most_pages_are_run_and_the_others_are_python() -> None:
    assert {"README.md", "docs/first_photo.md", "docs/annotate.md", "docs/mask-rcnn.md"} <= set(
        _RUN
    )
    for name in _ONLY_PARSED & set(_PAGES):
        assert ast.parse(_PAGES[name]).body


def test_the_notebook_of_the_paper_runs_and_draws_what_the_page_shows(clone: Path) -> None:
    runpy.run_path(str(_ROOT / "docs" / "paf_paper.py"))
    for name in ("paf-paper-fields.jpg", "paf-paper-people.jpg"):
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


def test_cells_become_text_and_code(site: ModuleType) -> None:
    script = "# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\na = 1\n"
    assert site.notebook_page(script) == "# Title\n\nText.\n\n```python\na = 1\n```\n"


def test_every_page_of_docs_is_in_the_navigation() -> None:
    navigation = (_ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [path.name for path in (_ROOT / "docs").glob("*.md")]
    assert not [page for page in pages if f": {page}\n" not in navigation]
