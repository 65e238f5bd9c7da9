"""Inputs of a long run, listed while it goes on: nothing of their number is held in memory."""

from __future__ import annotations

import itertools
import os
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from glob import has_magic
from typing import IO, Any

from openpaf.errors import shown
from openpaf.io.addresses import is_http
from openpaf.io.image_files import reason
from openpaf.io.image_lists import find_paths, natural_key
from openpaf.io.image_suffixes import describe, kind_not_read, names_image

#: Larger members of a tar file are not read: they would be in memory whole.
MAX_MEMBER_BYTES = 200_000_000
_SORTED_TOGETHER = 10_000  # names of a folder; of a larger one so many at a time are in order
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class Input:
    """An image to be read, or why it cannot be.

    Args:
        path: A path, an address, or ``TAR/MEMBER``.
        data: The contents of a file, where they are at hand.
        image: An image that is in memory, as :func:`openpaf.read_image` takes it.
        error: Why there is nothing to read.
        output: What the caller wants to know when the image is done; it must pickle.
    """

    path: str
    data: bytes | None = None
    error: str | None = None
    output: Any = None
    image: Any = None


@dataclass(frozen=True)
class Shard:
    """One of several runs that share the same inputs.

    Args:
        index: Its number, from 0 on.
        count: How many runs there are.
    """

    index: int = 0
    count: int = 1

    def takes(self, path: str) -> bool:
        """Whether an input belongs to this run: by its path, so that the order has no effect."""
        return self.count == 1 or zlib.crc32(os.fsencode(path)) % self.count == self.index


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Inputs of files, folders, globs, lists, tar files and addresses, in one pass each time.

    Args:
        sources: A file; a folder; a glob; an ``http://`` or ``https://`` address of an image; a tar
            file, whose images are read in their order; ``@FILE``, a list of all these but globs,
            one a line; or ``-``, such a list on standard input.
        recursive: Whether subfolders of a folder are listed, too; links to folders are followed.
        shard: Which of them belong to this run. A tar file goes to one run as a whole.
        wanted: Asked with the path of each; False leaves it out.
        opens_tars: Whether tar files are read; if not, each is an input itself.
        on_error: Called with what is wrong with a source that gives no input.
        on_video: Called with each video of a folder or list.
        takes_video: Whether a path is a video by its name.
    """

    sources: tuple[str, ...]
    recursive: bool = False
    shard: Shard = field(default_factory=Shard)
    opens_tars: bool = True
    wanted: Callable[[str], bool] = lambda path: True
    on_error: Callable[[str], None] = lambda message: None
    on_video: Callable[[str], None] = lambda path: None
    takes_video: Callable[[str], bool] = lambda path: False

    def __iter__(self) -> Iterator[Input]:
        n_tars = itertools.count()
        for source in self.sources:
            for one, is_listed in expanded(source, self.on_error):
                yield from self._of_source(one, is_listed, n_tars)

    def _of_source(self, source: str, is_listed: bool, n_tars: Iterator[int]) -> Iterator[Input]:
        if is_image_address(source, is_listed=is_listed):
            yield from self._taken([Input(source)])
        elif os.path.isdir(source):
            yield from self._of_folder(source)
        elif is_tar(source) and self.opens_tars:
            if next(n_tars) % self.shard.count == self.shard.index:
                yield from self._of_tar(source)
        elif not is_listed and has_magic(source) and not os.path.lexists(source):
            yield from self._of_glob(source)
        elif is_listed and self.takes_video(source):
            if self.shard.takes(source):
                self.on_video(source)
        else:  # a missing file, too: reading it gives the error
            yield from self._taken([Input(source)])

    def _of_folder(self, folder: str) -> Iterator[Input]:
        entered, waiting, is_empty = set[tuple[int, int]](), [folder], True
        while waiting:
            here = waiting.pop()
            try:
                status = os.stat(here)
                if (status.st_dev, status.st_ino) in entered:
                    continue
                entered.add((status.st_dev, status.st_ino))
                with os.scandir(here) as entries:
                    visible = (entry for entry in entries if not entry.name.startswith("."))
                    while some := list(itertools.islice(visible, _SORTED_TOGETHER)):
                        some.sort(key=lambda entry: natural_key(entry.name))
                        if self.recursive:
                            waiting += [e.path for e in reversed(some) if _is_folder(e)]
                        for found in self._named(e.path for e in some if not _is_folder(e)):
                            is_empty = False
                            yield from self._taken(found)
            except OSError as error:
                is_empty = False
                self.on_error(f"{shown(here)}: cannot be listed: {reason(error)}")
        if is_empty:
            self.on_error(f"{shown(folder)}: no images in this folder")

    def _of_glob(self, pattern: str) -> Iterator[Input]:
        paths = sorted(find_paths(pattern), key=natural_key)
        found = list(self._named(path for path in paths if not os.path.isdir(path)))
        if not found:
            self.on_error(f"{shown(pattern)}: matches no images")
        yield from self._taken(itertools.chain.from_iterable(found))

    def _named(self, paths: Iterable[str]) -> Iterator[list[Input]]:
        """The images among files, by their names, one each; nothing for a video, which is told."""
        for path in paths:
            if names_image(path):
                kind = kind_not_read(path)
                error = f"{shown(path)}: {describe(kind)}" if kind else None
                yield [Input(path, error=error)]
            elif self.takes_video(path):
                if self.shard.takes(path):
                    self.on_video(path)
                yield []

    def _of_tar(self, path: str) -> Iterator[Input]:
        """The images of a tar file, read from its beginning to its end."""
        try:
            with tarfile.open(path, "r|*") as tar:
                for member in tar:
                    name = f"{path}/{member.name}"
                    if _is_image(member) and self.wanted(name):
                        yield _of_member(tar, member, name)
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            if self.wanted(path):
                yield Input(path, error=f"{shown(path)}: damaged tar file: {reason(error)}")

    def _taken(self, inputs: Iterable[Input]) -> Iterator[Input]:
        return (i for i in inputs if self.shard.takes(i.path) and self.wanted(i.path))


def expanded(
    source: str, on_error: Callable[[str], None] | None = None
) -> Iterator[tuple[str, bool]]:
    """A source itself, or the lines of a list, ``@FILE`` or ``-``; and whether it is one of these.

    Raises:
        ValueError: If a list cannot be read and ``on_error`` is not given, or there is no standard
            input.
    """
    if source == "-":
        if sys.stdin is None:  # closed by the shell, or by what started this
            raise ValueError("-: there is no standard input")
        yield from ((line, True) for line in _lines(sys.stdin.buffer))
    elif source.startswith("@") and not os.path.lexists(source):
        try:
            with open(source[1:], "rb") as file:
                yield from ((line, True) for line in _lines(file))
        except OSError as error:
            message = f"{shown(source[1:])}: cannot be read: {reason(error)}"
            if on_error is None:
                raise ValueError(message) from error
            on_error(message)
    else:
        yield source, False


def is_tar(path: str) -> bool:
    """Whether a file is a tar file by its name."""
    return path.lower().endswith(_TAR_SUFFIXES)


def is_image_address(source: str, *, is_listed: bool = False) -> bool:
    """Whether a source is the address of an image: in a list each is, elsewhere by its suffix."""
    if not is_http(source):
        return False
    return is_listed or names_image(source.split("?")[0].split("#")[0])


def _is_image(member: tarfile.TarInfo) -> bool:
    is_hidden = os.path.basename(member.name).startswith(".")
    return member.isfile() and names_image(member.name) and not is_hidden


def _of_member(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> Input:
    if member.size > MAX_MEMBER_BYTES:
        return Input(name, error=f"{shown(name)}: {member.size:,} bytes, more than are read")
    file = tar.extractfile(member)
    data = b"" if file is None else file.read()
    if len(data) < member.size:
        raise EOFError("ends early")
    return Input(name, data=data)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _lines(file: IO[bytes]) -> Iterator[str]:
    for line in file:
        if text := line.rstrip(b"\r\n"):
            yield os.fsdecode(text)
