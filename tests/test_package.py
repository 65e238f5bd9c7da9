"""What is installed: a light import, a command, weights with their cards, and nothing else."""

from __future__ import annotations

import ast
import configparser
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path

import pytest

import openpaf
from openpaf.io.extras import EXTRAS

HEAVY = {
    "av", "cv2", "numba", "PIL", "pycocotools", "requests", "safetensors.torch", "scipy", "torch",
    "tqdm",
}  # fmt: skip


@pytest.fixture(scope="module")
def installed() -> metadata.Distribution:
    # A checkout may hold an egg-info folder, which a build leaves behind: that is no installation.
    found = [d for d in metadata.distributions(name="openpaf") if d.read_text("RECORD")]
    if not found:
        pytest.skip("openpaf runs from its checkout, not installed")
    return found[0]


@pytest.fixture(scope="module")
def setup_cfg(repo_root: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(repo_root / "setup.cfg", encoding="utf-8")
    return parser


@pytest.mark.parametrize(
    "statement",
    ["import openpaf", "import openpaf.cli", "from openpaf.cli import main; main(['--help'])"],
)
def test_heavy_modules_wait_until_they_are_used(tmp_path: Path, statement: str) -> None:
    code = f"{statement}; import json, sys; print(); print(json.dumps(list(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert not HEAVY & set(json.loads(result.stdout.splitlines()[-1]))


def test_the_first_parse_waits_for_no_linear_algebra_and_numba_still_has_it() -> None:
    code = (
        "import sys, openpaf.decoding\n"
        "from numba.core.registry import cpu_target\n"
        "cpu_target.target_context.refresh()\n"  # what loading a kernel from the cache begins with
        "assert 'numba.np.arraymath' in sys.modules and 'scipy.linalg' not in sys.modules\n"
        "from numba.np.linalg import ensure_blas\n"
        "ensure_blas()\n"
        "assert 'scipy.linalg.cython_blas' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_every_public_name_is_there() -> None:
    for name in openpaf.__all__:
        assert getattr(openpaf, name) is not None
    assert dir(openpaf) == sorted(openpaf.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        openpaf.nonsense  # noqa: B018


def test_weights_come_with_their_cards() -> None:
    """And the card names each file by its hash: it is about these very weights."""
    folder = resources.files("openpaf.models")
    files = [entry for entry in folder.iterdir() if entry.name.endswith((".safetensors", ".bin"))]
    files += [entry for entry in folder.iterdir() if entry.name.endswith(".xml")]
    assert {"lightweight-coco17.safetensors", "lightweight-coco17-int8.bin"} <= {
        entry.name for entry in files
    }
    for entry in files:
        model = entry.name.rpartition(".")[0].removesuffix("-int8")
        card = (folder / f"{model}.md").read_text(encoding="utf-8")
        assert hashlib.sha256(entry.read_bytes()).hexdigest() in card, entry.name


def test_type_hints_are_announced() -> None:
    assert resources.files("openpaf").joinpath("py.typed").is_file()


def test_the_command_is_installed(installed: metadata.Distribution) -> None:
    commands = {e.name: e.value for e in installed.entry_points if e.group == "console_scripts"}
    assert commands == {"openpaf": "openpaf.cli:main"}


def test_version_and_licence(installed: metadata.Distribution) -> None:
    assert installed.version == openpaf.__version__
    assert "Apache-2.0" in (
        installed.metadata.get("License-Expression") or installed.metadata["License"]
    )
    licences = set(installed.metadata.get_all("License-File") or [])
    assert licences >= {"LICENSE", "NOTICE"}


def test_no_tests_are_installed(installed: metadata.Distribution) -> None:
    tops = {path.parts[0] for path in installed.files or []}
    assert not tops & {"tests", "models", "data", "demos", "benchmarks", "docs", "build"}


def test_setup_cfg_names_every_package(
    setup_cfg: configparser.ConfigParser, repo_root: Path
) -> None:
    named = set(setup_cfg["options"]["packages"].split())
    folders = {path.parent for path in (repo_root / "openpaf").rglob("*.py")}
    there = {".".join(folder.relative_to(repo_root).parts) for folder in folders}
    assert named == there | {"openpaf.models"}


def test_constraints_cover_every_dependency(
    setup_cfg: configparser.ConfigParser, repo_root: Path
) -> None:
    extras = dict(setup_cfg["options.extras_require"])
    assert set(extras) == {
        "openvino", "onnx", "caffe", "video", "export", "demo", "train", "tensorboard", "test",
        "analyze", "benchmarks", "compare", "completion", "dev", "docs", "heic", "convert", "sleap",
        "tables", "ray", "supervision", "serve", "rerun", "litert",
        "coreml",
    }  # fmt: skip
    for_users = set(extras) - {"caffe", "benchmarks", "dev", "docs", "test"}
    assert set(EXTRAS) == for_users, "openpaf doctor names all of them"
    lines = "\n".join([setup_cfg["options"]["install_requires"], *extras.values()]).splitlines()
    wanted = {re.split(r"[\[<>=;\s]", line)[0] for line in lines if line and line[0] != "#"}
    pins = (repo_root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0] for line in pins if "==" in line}
    assert wanted <= pinned


def test_the_conda_recipe_and_the_citation_follow_setup_cfg(
    setup_cfg: configparser.ConfigParser, repo_root: Path
) -> None:
    recipe = (repo_root / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    names = {"torch": "pytorch", "opencv-python-headless": "py-opencv"}
    lines = [line for line in setup_cfg["options"]["install_requires"].splitlines() if line]
    required = [line for line in lines if not line.startswith("#")]
    assert len(required) == 12
    for line in [f"python{setup_cfg['options']['python_requires']}", *required]:
        name, versions = re.fullmatch(r"([\w-]+)(.*)", line).groups()  # type: ignore[union-attr]
        assert f"    - {names.get(name, name)} {versions}\n" in recipe
    assert f'  version: "{openpaf.__version__}"\n' in recipe
    citation = (repo_root / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {openpaf.__version__}\n" in citation


def test_only_one_function_says_how_extras_are_installed(repo_root: Path) -> None:
    """As long as openpaf is not on PyPI, ``pip install openpaf`` would fail, or get another's."""
    texts = {
        path: path.read_text(encoding="utf-8") for path in (repo_root / "openpaf").rglob("*.py")
    }
    assert [path.name for path in texts if re.search(r"pip install '[.o]", texts[path])] == [
        "checks.py"
    ]
    pages = [*repo_root.glob("*.md"), *repo_root.glob("docs/**/*.md")]
    pages = [page for page in pages if page.name != "CHANGELOG.md"]
    assert not [
        page.name for page in pages if "pip install 'openpaf" in page.read_text(encoding="utf-8")
    ]


# How it is built

MAX_LINES, MAX_PARAMETERS, MAX_MODULES = 60, 12, 9


@pytest.fixture(scope="module")
def trees(repo_root: Path) -> dict[str, ast.Module]:
    """The syntax of each module by its name without ``openpaf.``; the package itself is ``""``."""
    folder = repo_root / "openpaf"
    return {
        ".".join(path.relative_to(folder).with_suffix("").parts)
        .removesuffix("__init__")
        .rstrip("."): ast.parse(path.read_text(encoding="utf-8"))
        for path in folder.rglob("*.py")
    }


def test_few_modules_lie_directly_in_the_package(trees: dict[str, ast.Module]) -> None:
    """A file has a room; those of the hall are what all rooms share."""
    rooms = {name.partition(".")[0] for name in trees if "." in name}
    assert len({name for name in trees if "." not in name} - rooms) <= MAX_MODULES


def test_functions_are_short(trees: dict[str, ast.Module]) -> None:
    """Their docstrings aside, which may be as long as they need to be."""
    long = {}
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                arguments = node.args
                n_parameters = len([*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs])
                n_lines = _n_lines(node)
                if ast.get_docstring(node) is not None:
                    n_lines -= _n_lines(node.body[0])
                if n_lines > MAX_LINES or n_parameters > MAX_PARAMETERS:
                    long[f"{module}.{node.name}"] = (n_lines, n_parameters)
    assert not long


def _n_lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_imports_go_in_circles(trees: dict[str, ast.Module]) -> None:
    """Those for types and those inside functions included; the package's own names are lazy."""
    imports = {
        module: {name for name in _imported(tree, set(trees)) if name not in ("", module)}
        for module, tree in trees.items()
        if module
    }
    reached = {module: _reached(module, imports) for module in imports}
    circles = {
        tuple(sorted(other for other in reached[module] if module in reached[other]))
        for module in imports
        if module in reached[module]
    }
    assert not circles


def _imported(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """Those of the modules that one imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [[alias.name] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [[f"{node.module}.{alias.name}", str(node.module)] for alias in node.names]
        else:
            continue
        for candidates in names:  # a module of the package, or else the package itself
            known = (name.removeprefix("openpaf.") for name in candidates)
            yield from [name for name in known if name in modules][:1]


def _reached(start: str, imports: dict[str, set[str]]) -> set[str]:
    """All modules that one imports, directly or not; itself only through others."""
    reached: set[str] = set()
    waiting = list(imports[start])
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += imports[module]
    return reached
