"""Zip archives of weights, PyTorch's and NumPy's: read with limits, whatever they declare."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from openpaf.errors import WeightsError, printable
from openpaf.weights.limits import MAX_ZIP_DIRECTORY_BYTES
from openpaf.weights.stored import read_exactly

_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _BoundedReads(io.FileIO):
    """A file of which no more is read at once than the list of an archive's files may have.

    ``ZipFile`` reads that list in one go, and makes an object of each entry.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = 1 << 17  # the end of the archive, where its list is looked for
        if size > MAX_ZIP_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"a list of files of {size} bytes")
        return super().read(size)


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open an archive; to be closed by the caller, with ``file_of`` too.

    Raises:
        OSError: If it cannot be read.
        WeightsError: If it is damaged or cut short.
    """
    file = _BoundedReads(path)
    try:
        return _Archive(file)
    except zipfile.BadZipFile as error:
        file.close()
        raise WeightsError(
            f"{path}: expected a checkpoint, found the beginning of one; it is cut short "
            f"({printable(error)})"
        ) from error
    except OSError:
        file.close()
        raise
    except Exception as error:  # a damaged list of files gives many kinds
        file.close()
        raise WeightsError(f"{path}: damaged ({printable(error)})") from error


class _Archive(zipfile.ZipFile):
    """An archive that closes its file, too."""

    def __init__(self, file: io.FileIO) -> None:
        super().__init__(file)
        self._own = file

    def close(self) -> None:
        super().close()
        if "_own" in self.__dict__:
            self._own.close()


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, n_bytes: int) -> bytearray:
    """A file of an archive, which must have so many bytes.

    Raises:
        ValueError: If it has more or fewer bytes, or is packed or encrypted in another way than
            weights are; and what zipfile and zlib raise for damaged ones.
    """
    with open_member(archive, info) as file:
        content = read_exactly(file, n_bytes)
        if file.read(1):  # at the end zipfile compares the checksum
            raise ValueError(f"{printable(info.filename)}: expected {n_bytes} bytes, found more")
    return content


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    """Open a file of an archive for reading.

    Raises:
        ValueError: If it is packed or encrypted in another way than weights are.
    """
    if info.compress_type not in _PLAIN or info.flag_bits & 1:
        raise ValueError(f"{printable(info.filename)}: packed in a way that weights are not")
    return archive.open(info)
