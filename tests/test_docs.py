"""README stays short, and every link, path and module of a page exists."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent
_PAGES = [
    path.relative_to(_ROOT).as_posix()
    for path in [*sorted(_ROOT.glob("[A-Z]*.md")), *sorted(_ROOT.glob("docs/*.md"))]
]


def _prose(page: Path) -> str:
    """The page without its blocks of code and code in a line."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", lambda code: re.sub(r"[\[\]()]", "", code[0]), text)


def _anchors(page: Path) -> set[str]:
    """The fragments that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ +(.+?) *$", _prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_has_at_most_150_lines() -> None:
    lines = (_ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150


@pytest.mark.parametrize("name", _PAGES)
def test_every_relative_link_leads_somewhere(name: str) -> None:
    page = _ROOT / name
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if re.match(r"[a-z]+:", link):
            continue  # an address of the web
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (fragment and fragment not in _anchors(target)):
            dead.append(link)
    assert not dead


def test_addresses_of_the_web_are_well_formed() -> None:
    """They are not fetched; one of this computer is that of an example."""
    for name in _PAGES:
        for link in re.findall(r"\]\((\w+:[^)\s]*)\)", _prose(_ROOT / name)):
            assert re.fullmatch(r"https?://[\w-]+(\.[\w-]+)+(/[\w./#?=&%~-]*)?", link), link


@pytest.mark.parametrize("name", [name for name in _PAGES if name != "CHANGELOG.md"])
def test_every_path_of_the_repository_exists(name: str) -> None:
    """Files such as ``openpaf/geometry.py``, also in commands and code."""
    text = (_ROOT / name).read_text(encoding="utf-8")
    roots = "benchmarks|data|demos|docs|examples|models|openpaf|tests"
    paths = set(re.findall(rf"(?<![\w/.-])(?:{roots})/[\w./-]*\w/?", text))
    paths = {path for path in paths if not re.search("NAME|data/index", path)}
    assert not {path for path in paths if not (_ROOT / path).exists()}


@pytest.mark.parametrize("name", [name for name in _PAGES if name != "CHANGELOG.md"])
def test_every_dotted_name_of_the_package_exists(name: str) -> None:
    text = re.sub(r"__\w+__", "", (_ROOT / name).read_text(encoding="utf-8"))
    for dotted in set(re.findall(r"\bopenpaf(?:\.[A-Za-z_]+)+", text)):
        pkgutil.resolve_name(dotted)


def test_the_design_names_every_package() -> None:
    text = (_ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    packages = [path.parent.name for path in (_ROOT / "openpaf").glob("*/__init__.py")]
    assert len(packages) > 10
    assert not [package for package in packages if f"`{package}/`" not in text]
