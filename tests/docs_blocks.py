"""Blocks of code in README, docs and cards, and the commands in them, with their page and line."""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    path.relative_to(ROOT).as_posix()
    for pattern in ("[A-Z]*.md", "docs/*.md", "models/**/*.md", "data/photos/*.md")
    for path in sorted(ROOT.glob(pattern))
    if path.name != "CHANGELOG.md"
]
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", flags=re.M | re.S)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of a page: the words that follow the name of a program."""

    page: str
    line: int
    program: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.program} {shlex.join(self.words)}"


def blocks(*languages: str) -> list[Block]:
    """The blocks of these languages, all if none is named; blocks of commands have ``""``."""
    result = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for block in _FENCED.finditer(text):
            line = text[: block.start(3)].count("\n") + 1
            code = textwrap.dedent(block[3])
            if not languages or block[2] in languages:
                result.append(Block(page=page, line=line, language=block[2], text=code))
    return result


def commands() -> list[Command]:
    """The commands of all blocks without a language; code of packages that we lack is none."""
    result = []
    for block in blocks(""):
        if block.text.startswith("import "):
            continue
        text = block.text.replace("\\\n", " \0")  # a line that goes on: \0 counts it
        line = block.line
        for whole in text.splitlines():
            for words in _split(whole.replace("\0", "")):
                program = Path(words[0]).name if ".venv" in words[0] else words[0]
                result.append(
                    Command(page=block.page, line=line, program=program, words=tuple(words[1:]))
                )
            line += 1 + whole.count("\0")
    return result


def inline_commands() -> list[Command]:
    """Commands within sentences, which may be parts, with capitals for what is left open."""
    result = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        text = _FENCED.sub(lambda block: "\n" * block[0].count("\n"), text)
        for code in re.finditer(r"`((?:openpaf|python) [^`]*)`", text):
            line = text[: code.start()].count("\n") + 1
            program, *words = shlex.split(code[1].replace("\n", " "))
            result.append(Command(page=page, line=line, program=program, words=tuple(words)))
    return result


def _split(line: str) -> list[list[str]]:
    """The commands of a line, without comments and redirections; variables are 0."""
    if line.startswith("#"):
        return []
    line = re.sub(r"\$\w+", "0", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&>")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    words = iter(lexer)
    for word in words:
        if word == "&&":
            parts.append([])
        elif word == ">":
            next(words)
        elif word != "srun":
            parts[-1].append(word)
    return [part for part in parts if part]
