"""What is kept on disk heals: whatever happens to a file, it is made again, and results stay."""

from __future__ import annotations

import errno
import importlib.util
import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from openpaf.cli import main
from openpaf.io.cache import (
    kept,
    own_folder,
    prune,
    read_note,
    read_sealed,
    write_note,
    write_sealed,
)
from openpaf.kernels.cache import _announce, _sources, _warn_of_loss


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit of the hash": lambda path: flip(path, 0),
    "a bit in the middle": lambda path: flip(path, path.stat().st_size // 2),
    "the last bit": lambda path: flip(path, -1),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "cut in the hash": lambda path: path.write_bytes(path.read_bytes()[:9]),
    "empty": lambda path: path.write_bytes(b""),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENPAF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make(calls: list[str]) -> bytes:
    """The value that tests keep; calls counts how often it was made."""

    def made() -> bytes:
        calls.append("made")
        return b"value"

    return kept("a.txt", made, bytes, bytes)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_again(damage: str) -> None:
    calls: list[str] = []
    assert make(calls) == make(calls) == b"value"
    assert len(calls) == 1
    DAMAGES[damage](own_folder() / "a.txt")
    assert make(calls) == make(calls) == b"value"
    assert len(calls) == 2
    assert [path.name for path in own_folder().iterdir()] == ["a.txt"]


def test_what_cannot_be_read_back_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    write_sealed(own_folder() / "a.txt", b"of another version")

    def read(data: bytes) -> bytes:
        if data != b"value":
            raise RuntimeError("not mine")
        return data

    assert kept("a.txt", lambda: b"value", bytes, read) == b"value"
    assert "a.txt: cannot be used, so it is made again: not mine" in caplog.text
    assert read_sealed(own_folder() / "a.txt") == b"value"


def test_a_full_disk_leaves_nothing_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    calls: list[str] = []
    for _ in range(2):
        assert make(calls) == b"value"
    assert len(calls) == 2
    assert not list(own_folder().iterdir())
    assert "the cache cannot be used" in caplog.text


def test_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OPENPAF_CACHE", str(tmp_path / "file" / "folder"))
    assert make([]) == b"value"
    write_note("note.json", {"a": 1})
    assert read_note("note.json") is None


def test_notes_come_back_and_damaged_ones_do_not() -> None:
    write_note("note.json", {"a": 1})
    assert read_note("note.json") == {"a": 1}
    flip(own_folder() / "note.json", -2)
    assert read_note("note.json") is None


def test_old_and_many_files_are_pruned(folder: Path) -> None:
    for i, age_days in enumerate((300, 3, 2, 1)):
        path = folder / f"{i}.onnx"
        write_sealed(path, bytes(1000))
        os.utime(path, (0, path.stat().st_mtime - 86400 * age_days))
    (folder / "weights.pth").write_bytes(bytes(9000))
    left = folder / ".openpaf-0.partial"
    left.touch()
    os.utime(left, (0, 0))
    prune(folder, ".onnx")
    assert sorted(p.name for p in folder.iterdir()) == [
        "1.onnx", "2.onnx", "3.onnx", "weights.pth"
    ]  # fmt: skip
    prune(folder, ".onnx", max_bytes=2500)
    assert sorted(p.name for p in folder.iterdir()) == ["2.onnx", "3.onnx", "weights.pth"]
    prune(folder, ".onnx", max_bytes=0)
    assert sorted(p.name for p in folder.iterdir()) == ["3.onnx", "weights.pth"]


_SOURCE = """
from openpaf.kernels.compile import kernel

@kernel
def twice(values):
    for i in range(len(values)):
        values[i] *= 2
"""


def load(path: Path) -> ModuleType:
    """A module as a new process would import it."""
    spec = importlib.util.spec_from_file_location("own_kernel", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_compiled(path: Path) -> bool:
    """Call the kernel; whether it had to be compiled."""
    module = load(path)
    values = np.arange(4.0)
    module.twice(values)
    assert values.tolist() == [0, 2, 4, 6]
    return not module.twice.stats.cache_hits


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "own_kernel.py"
    path.write_text(_SOURCE)
    return path


def test_kernels_are_kept_beside_their_source_and_heal(source: Path, folder: Path) -> None:
    assert is_compiled(source)
    assert not is_compiled(source)
    for damage in DAMAGES.values():
        (file,) = (source.parent / "__pycache__").glob("*.kernel")
        damage(file)
        assert is_compiled(source)
        assert not is_compiled(source)
    assert not folder.exists()


def test_kernels_whose_source_changes_are_compiled(source: Path) -> None:
    assert is_compiled(source)
    source.write_text(_SOURCE + "# changed\n")
    _sources.cache_clear()  # a process asks once
    assert is_compiled(source)


def test_kernels_of_a_read_only_installation_are_kept_in_the_cache(
    source: Path, folder: Path
) -> None:
    (source.parent / "__pycache__").touch()  # no folder: as root, any folder is writable
    assert is_compiled(source)
    assert not is_compiled(source)
    (file,) = (folder / "kernels").iterdir()
    flip(file, -1)
    assert is_compiled(source)


def test_kernels_are_compiled_where_nothing_can_be_written(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, data: bytes, **_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("openpaf.kernels.cache.write_sealed", full)
    _warn_of_loss.cache_clear()  # once a process
    for _ in range(2):
        assert is_compiled(source)
    assert "cannot be cached (No space left on device)" in caplog.text


def test_a_terminal_is_told_of_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    logger = logging.getLogger("openpaf.waiting")
    for name in ("handlers", "level", "propagate"):
        monkeypatch.setattr(logger, name, getattr(logger, name))
    logger.handlers = []
    monkeypatch.setattr(sys, "stderr", Terminal())
    for _ in range(2):
        assert main(["--version"]) == 0
    _announce.cache_clear()
    _announce()
    assert sys.stderr.getvalue() == "openpaf: compiling the parser, once: up to a minute\n"


def test_the_parser_says_that_it_is_compiled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "decoding").mkdir()
    source = tmp_path / "decoding" / "own_kernel.py"
    source.write_text(_SOURCE)
    _announce.cache_clear()
    caplog.set_level(logging.INFO)
    for _ in range(2):
        is_compiled(source)
    assert caplog.text.count("compiling the parser, once: up to a minute") == 1
