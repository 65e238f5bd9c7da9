"""Folders and globs, walked lazily: of their names only some are in memory at a time."""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
from collections.abc import Callable, Iterator
from glob import has_magic

#: Names of a folder that are sorted together; of a larger folder so many at a time are in order.
SORTED_TOGETHER = 10_000


def natural_key(path: str | os.PathLike[str]) -> tuple[list[tuple[int, int, str]], str]:
    """The key that sorts paths in natural order: ``2.jpg`` before ``10.jpg``."""
    parts = re.split(r"([0-9]+)", os.fspath(path).casefold())
    numbered = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
    return numbered, os.fspath(path)


def entries(
    folder: str, fits: Callable[[str], bool] | None = None
) -> Iterator[list[os.DirEntry[str]]]:
    """The entries of a folder in natural order, at most ``SORTED_TOGETHER`` at a time.

    Args:
        folder: The folder; an empty text is the current one.
        fits: Which names are taken; those that are not hidden if None.

    Raises:
        OSError: If it cannot be listed.
    """
    fits = fits or (lambda name: not name.startswith("."))
    with os.scandir(folder or ".") as every:
        fitting = (entry for entry in every if fits(entry.name))
        while some := list(itertools.islice(fitting, SORTED_TOGETHER)):
            some.sort(key=lambda entry: natural_key(entry.name))
            yield some


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def walk_glob(pattern: str, on_error: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """The paths that match a glob, in natural order within a folder; with ``**``, at any depth.

    ``glob`` follows links to folders repeatedly: two links to their own folder give 2 ** 40 paths.
    Here ``**`` enters no folder twice.

    Args:
        pattern: A pattern of :func:`glob.glob`.
        on_error: Called for each folder that cannot be listed.
    """
    drive, tail = os.path.splitdrive(pattern)
    tail = tail.replace(os.altsep, os.sep) if os.altsep else tail
    parts = [part for part in tail.split(os.sep) if part]
    if parts and tail.endswith(os.sep):
        parts.append("")  # which only folders match
    start = drive + (os.sep if tail.startswith(os.sep) else "")
    yield from _Walk(parts, on_error or (lambda error: None)).paths(start)


class _Walk:
    """A walk through the folders of a glob.

    Args:
        parts: Of the pattern, one for each level.
        on_error: Called for each folder that cannot be listed.
    """

    def __init__(self, parts: list[str], on_error: Callable[[OSError], None]) -> None:
        self._parts, self._on_error = parts, on_error
        self._entered: list[set[str]] = [set() for _ in parts]  # by each ``**``
        self._failed = set[str]()

    def paths(self, base: str, level: int = 0) -> Iterator[str]:
        """What matches the parts from a level on, in a folder."""
        if level == len(self._parts):
            yield base
        elif self._parts[level] == "**":
            yield from self._at_any_depth(base, level)
        elif has_magic(self._parts[level]):
            yield from self._matching(base, level)
        else:
            path = os.path.join(base, self._parts[level])
            is_last = level == len(self._parts) - 1
            if os.path.lexists(path) if is_last else os.path.isdir(path):
                yield from self.paths(path, level + 1)

    def _matching(self, base: str, level: int) -> Iterator[str]:
        part, is_last = self._parts[level], level == len(self._parts) - 1
        expression = re.compile(fnmatch.translate(os.path.normcase(part)))

        def fits(name: str) -> bool:
            is_visible = part.startswith(".") or not name.startswith(".")
            return is_visible and expression.match(os.path.normcase(name)) is not None

        for entry in self._entries(base, fits):
            if is_last or is_folder(entry):
                yield from self.paths(os.path.join(base, entry.name), level + 1)

    def _at_any_depth(self, base: str, level: int) -> Iterator[str]:
        is_last = level == len(self._parts) - 1
        if is_last and base:
            yield base
        waiting = [base]
        while waiting:
            folder = waiting.pop()
            real = os.path.realpath(folder or ".")
            if real in self._entered[level]:
                continue
            self._entered[level].add(real)
            if not is_last:
                yield from self.paths(folder, level + 1)
            inside = []
            for entry in self._entries(folder):
                path = os.path.join(folder, entry.name)
                if is_last:
                    yield path
                if is_folder(entry):
                    inside.append((entry.is_symlink(), path))
            inside.reverse()  # the last one is the next; links are entered after all others
            waiting += [path for is_link, path in inside if is_link]
            waiting += [path for is_link, path in inside if not is_link]

    def _entries(
        self, folder: str, fits: Callable[[str], bool] | None = None
    ) -> Iterator[os.DirEntry[str]]:
        try:
            for some in entries(folder, fits):
                yield from some
        except OSError as error:
            if folder not in self._failed:  # which ``**`` lists twice
                self._failed.add(folder)
                self._on_error(error)
