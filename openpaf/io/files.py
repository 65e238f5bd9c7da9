"""Files written whole or not at all, and told apart by their hash."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


def temporary_beside(path: str | os.PathLike[str]) -> Path:
    """A name in the folder of a file for what is to become the file; hidden, and free."""
    return Path(path).with_name(f".openpaf-{uuid.uuid4().hex}.partial")


def is_temporary(path: Path) -> bool:
    """Whether a file has a name of :func:`temporary_beside`: a killed process left it behind."""
    return path.name.startswith(".openpaf-") and path.suffix == ".partial"


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike[str], *, temporary: Path | None = None, sync: bool = False
) -> Iterator[Path]:
    """A temporary path that becomes the file when the block ends without an error.

    A reader sees the old file or the new one, never half of one. After an error, Ctrl-C included,
    the old file is there and the temporary one is not.

    Args:
        path: The file; its folder must exist. An existing file is replaced; so is a link.
        temporary: The temporary path; one that no other process uses if None. A fixed one, for a
            file that one process writes, leaves at most one file behind when that is killed.
        sync: Whether to wait until the disk has the file, so that a power cut leaves it whole too.

    Yields:
        The temporary path, to be written in the block.

    Raises:
        OSError: If the file cannot be written; the message names ``path``.
    """
    path = Path(path)
    temporary = temporary or temporary_beside(path)
    try:
        yield temporary
        if sync:
            _sync(temporary)
        os.replace(temporary, path)
        if sync and os.name == "posix":  # elsewhere a folder cannot be opened
            _sync(path.parent)
    except OSError as error:
        if error.filename in (None, os.fspath(temporary)):
            # The same kind of error, but about the path that the caller knows.
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder that becomes the folder when the block ends without an error.

    Args:
        path: The folder; the one that it is in must exist. An existing one is replaced.

    Yields:
        The temporary folder, empty, to be filled in the block.

    Raises:
        OSError: If it cannot be written.
    """
    path = Path(path)
    temporary, old = temporary_beside(path), temporary_beside(path)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            os.replace(path, old)  # a folder that is not empty cannot be replaced at once
        os.replace(temporary, path)
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_whole(
    path: str | os.PathLike[str],
    data: bytes | memoryview,
    *,
    temporary: Path | None = None,
    sync: bool = False,
) -> None:
    """Write a file, whole or not at all.

    Args:
        path: As for :func:`replacing`, and so are ``temporary`` and ``sync``.
        data: What the file is to hold.

    Raises:
        OSError: If the file cannot be written; the message names ``path``.
    """
    with replacing(path, temporary=temporary, sync=sync) as place, open(place, "wb") as file:
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text in UTF-8 where a user says: whole or not at all, but straight into a pipe.

    Args:
        path: The file; its folder must exist. An existing file is replaced; of a link, the file
            that it leads to. A pipe, or ``/dev/stdout``, is written to.
        text: What the file is to hold.

    Raises:
        OSError: If the file cannot be written; the message names ``path``.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if target.exists() and not target.is_file():
            _write_to_pipe(target, text)
        else:
            write_whole(target, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, as 64 digits; of a folder, that of its files' names and hashes.

    Raises:
        OSError: If it cannot be read.
    """
    if not os.path.isdir(path):
        return digest_of(path, "sha256")
    files = sorted(file for file in Path(path).rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path).as_posix()} {sha256_of(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode(errors="replace")).hexdigest()


def digest_of(path: str | os.PathLike[str], name: str) -> str:
    """The hash of a file by the algorithm of a name that :mod:`hashlib` knows, in hex digits.

    Raises:
        OSError: If it cannot be read.
    """
    digest = hashlib.new(name, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    """Wait until the disk has a file's bytes, or a folder's names."""
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_to_pipe(path: Path, text: str) -> None:
    """Write to a pipe; to open one that no process reads would wait for ever.

    Raises:
        OSError: If no process reads it.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "a pipe that no process reads") from error
        raise
    os.set_blocking(descriptor, True)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
