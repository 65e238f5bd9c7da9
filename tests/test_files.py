"""Files are written whole or not at all, whatever happens in between."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from openpaf.io.files import (
    is_temporary,
    replacing,
    sha256_of,
    temporary_beside,
    write_text,
    write_whole,
)

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "a.bin"
    for data in (b"first", b"second"):
        write_whole(path, data, sync=sync)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_there(tmp_path: Path, error: type[BaseException]) -> None:
    def interrupted(path: Path) -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            assert is_temporary(temporary)
            raise error

    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error):
        interrupted(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_told_by_the_name_of_the_file(tmp_path: Path) -> None:
    path, temporary = tmp_path / "a.bin", tmp_path / "a.bin.partial"
    temporary.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.bin'$"):
        write_whole(path, b"data", temporary=temporary)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_told_by_the_name_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"'.*nothing.a\.bin'$"):
        write_whole(tmp_path / "nothing" / "a.bin", b"")
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        write_text(tmp_path, "")


def test_errors_about_other_files_keep_their_names(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), replacing(tmp_path / "a"):
        (tmp_path / "other").read_bytes()


@posix
def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"")
    (tmp_path / "b").write_bytes(b"")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"]
    assert modes[0] == modes[1]


@posix
def test_text_goes_where_a_link_leads_and_bytes_replace_the_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    write_text(link, "\N{SNOWMAN}\n")
    assert link.is_symlink()
    assert target.read_bytes() == "\N{SNOWMAN}\n".encode()
    write_whole(link, b"other")
    assert not link.is_symlink()
    assert target.read_bytes() == "\N{SNOWMAN}\n".encode()


def test_two_processes_never_share_a_temporary_name(tmp_path: Path) -> None:
    names = {temporary_beside(tmp_path / "a") for _ in range(10)}
    assert len(names) == 10
    assert {name.parent for name in names} == {tmp_path}


def test_the_hash_of_a_file(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(data)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(data).hexdigest()
