"""What mkdocs does not do by itself: pages from outside of docs/, and those that are generated.

Links stay as they are in the repository, where GitHub follows them; here they are led to the page
of the site. A link to a file that is no page becomes its name. Hooks of mkdocs.yml.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import posixpath
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openpaf
from openpaf.cli import command_parser

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
#: Pages from outside of docs/: place in the repository, place in the site.
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "data/photos/README.md": "photos.md",
    "models/recipes/README.md": "models/recipes/recipes.md",
    "models/recipes/NOTES.md": "models/recipes/notes.md",
    "docs/paf_paper.py": "paf_paper.md",
    **{f"models/{path.name}": f"models/{path.name}" for path in (ROOT / "models").glob("*.md")},
}
_BACK = {site: repository for repository, site in OUTSIDE.items()}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that do not lie in docs/."""
    from mkdocs.structure.files import File

    pages = {site: (ROOT / path).read_text(encoding="utf-8") for path, site in OUTSIDE.items()}
    pages["reference/api.md"] = api_page()
    pages["reference/command_line.md"] = command_line_page(command_parser())
    pages["paf_paper.md"] = notebook_page((ROOT / "docs" / "paf_paper.py").read_text("utf-8"))
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_nav(nav: Any, config: Any, files: Files) -> Any:
    """Leave out pages of the navigation that are not written yet."""
    for section in nav.items:
        for link in list(section.children or []):
            if link.is_link and files.get_file_from_path(link.url) is None:
                section.children.remove(link)
    return nav


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead the links of a page to pages of the site."""
    site = page.file.src_uri
    own = _BACK.get(site, f"docs/{site}")

    def lead(link: re.Match[str]) -> str:
        text, target = link[1], link[2]
        path, mark, fragment = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return link[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(own), path))
        there = OUTSIDE.get(place, place.removeprefix("docs/"))
        if place not in OUTSIDE and not place.startswith("docs/"):
            assert (ROOT / place).exists(), f"{own}: {target} leads nowhere"
            return text
        relative = posixpath.relpath(there, posixpath.dirname(site) or ".")
        return f"[{text}]({relative}{mark}{fragment})"

    parts = re.split(r"(^```.*?^```|`[^`\n]*`)", markdown, flags=re.M | re.S)
    if site.startswith("reference/") or site == "paf_paper.md":
        return markdown  # they are written for the site
    return "".join(_links(parts, lead))


def _links(parts: list[str], lead: Any) -> list[str]:
    """The parts with their links led elsewhere; code, every second part, may be a link's text."""
    text = "".join(part if i % 2 == 0 else f"\0{i}\0" for i, part in enumerate(parts))
    text = re.sub(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)", lead, text)
    return [re.sub(r"\0(\d+)\0", lambda i: parts[int(i[1])], text)]


def api_page() -> str:
    """Every public name, from its docstring."""
    names = [name for name in openpaf.__all__ if name != "__version__"]
    classes = sorted(names, key=lambda name: (name in openpaf._MODULES, name[0].islower(), name))
    return "# Python API\n\n" + "\n\n".join(f"::: openpaf.{name}" for name in classes) + "\n"


def command_line_page(parser: argparse.ArgumentParser) -> str:
    """The help of every verb."""
    os.environ["COLUMNS"] = "90"
    parts = [f"# Command line\n\n```text\n{parser.format_help()}```\n"]
    (verbs,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for name, verb in verbs.choices.items():
        parts.append(f"## openpaf {name}\n\n```text\n{verb.format_help()}```\n")
    return "\n".join(parts)


def notebook_page(script: str) -> str:
    """A script with percent cells as a page; each cell is run, and what it prints stands below it.

    What the cells write goes into a folder of its own; the pages show the images in docs/.
    """
    page, names, before = [], {"__name__": "__main__"}, Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            Path("data").symlink_to(ROOT / "data")
            for cell in re.split(r"^# %%", script, flags=re.M)[1:]:
                kind, _, body = cell.partition("\n")
                if "[markdown]" in kind:
                    page.append(re.sub(r"^# ?", "", body.strip(), flags=re.M))
                else:
                    page += [f"```python\n{body.strip()}\n```", *_printed(body, names)]
        finally:
            os.chdir(before)
    return "\n\n".join(page) + "\n"


def _printed(code: str, names: dict[str, Any]) -> list[str]:
    """What a cell prints, as a block, if it prints something."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "a cell of docs/paf_paper.py", "exec"), names)
    text = printed.getvalue().rstrip()
    return [f"```text\n{text}\n```"] if text else []
