"""Photos in a few large files, and a whole run in one folder that can be carried elsewhere.

A shard is an uncompressed tar file: any tool opens it, and a photo is read from its middle without
reading the rest.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import threading
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from tqdm import tqdm

from openpaf.errors import ImageError
from openpaf.io.images import decode_image, read_image
from openpaf.io.paths import inside_folder
from openpaf.training.config import SetConfig, TrainConfig
from openpaf.training.data.dataset import DatasetError, read_json
from openpaf.training.tables import plain
from openpaf.training.toml_files import toml_rows

SHARD_BYTES = 60_000_000
_opening = threading.Lock()


def read_photo(path: Path, folder: Path | None = None) -> NDArray[np.uint8]:
    """A photo of a set's folder, or of the shards in it.

    Args:
        path: Of the photo as if its folder were not packed.
        folder: Of the set; the photo's own if None. Shards elsewhere are not looked into.

    Returns:
        RGB, uint8 (H, W, 3).

    Raises:
        ImageError: If it is missing or unreadable; the message names it.
        DatasetError: If a shard is damaged.
    """
    place = find_in_shards(path, folder or path.parent)
    if place is None:
        return read_image(path)
    shard, offset, size = place
    try:
        with shard.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
    except OSError as error:
        raise ImageError(f"{path} in {shard.name}: {error}") from error
    return decode_image(io.BytesIO(data), f"{path} in {shard.name}")


def find_in_shards(path: Path, folder: Path) -> tuple[Path, int, int] | None:
    """The shard, the offset and the length in bytes of a packed photo of a set's folder.

    Returns:
        None if it is not packed, or lies in the folder as a file of its own, which comes first.

    Raises:
        DatasetError: If a shard is damaged, or holds more than files inside the folder.
    """
    with _opening:  # one thread reads the index, the others wait for it
        index = _shard_index(folder)
    place = index.get(path.relative_to(folder).as_posix()) if index else None
    return None if place is None or path.exists() else place


@lru_cache(maxsize=256)
def _shard_index(folder: Path) -> dict[str, tuple[Path, int, int]]:
    index = {}
    for shard in sorted(folder.glob("photos-[0-9]*.tar")):
        try:
            with tarfile.open(shard, "r:") as archive:
                for member in archive:
                    inside_folder(folder, member.name)
                    if not member.isreg() or member.issparse():
                        raise ValueError(f"expected only plain files, got {member.name!r}")
                    index[member.name] = (shard, member.offset_data, member.size)
        except (OSError, ValueError, tarfile.TarError) as error:
            raise DatasetError(f"{shard}: not a shard of photos ({error})") from error
    return index


def pack(config: TrainConfig, folder: str | Path) -> Path:
    """Copy a run's photos, labels and weights into one folder, with a configuration to match.

    Args:
        config: The run.
        folder: Made if it is not there; gets one folder a set with its shards, and ``run.toml``,
            whose paths are relative.

    Returns:
        The new configuration file.

    Raises:
        DatasetError: If a set cannot be read, or names a photo outside of its folder.
        OSError: If something cannot be read or written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    packed: dict[tuple[str, str], str] = {}
    data = config.data
    rows = [*data.sets, *([data.validation] if data.validation else [])]
    for row in rows:
        key = (row.annotations, row.images)
        if key not in packed:
            packed[key] = f"set-{len(packed)}"
            _pack_set(row, folder / packed[key])
    files: dict[str, Any] = {}
    for table, name in (("network", "weights"), ("distillation", "teacher")):
        source = getattr(getattr(config, table), name)
        if source:
            copy = f"{name}{Path(source).suffix}"
            files[table] = replace(getattr(config, table), **{name: copy})
            shutil.copyfile(source, folder / copy)

    def moved(row: SetConfig) -> SetConfig:
        name = packed[row.annotations, row.images]
        return replace(row, annotations=f"{name}/labels.json", images=name)

    data = replace(
        config.data,
        sets=tuple(map(moved, config.data.sets)),
        validation=moved(config.data.validation) if config.data.validation else None,
    )
    new = replace(config, output="run", data=data, **files)
    path = folder / "run.toml"
    path.write_text("".join(toml_rows(plain(new))), encoding="utf-8")
    return path


def _pack_set(row: SetConfig, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    if folder.samefile(row.images):
        raise ValueError(f"--pack: {folder} holds the photos that are to be packed")
    data = read_json(Path(row.annotations))
    paths = _photo_paths(row, data["images"])  # all of them before anything is copied
    for old in folder.glob("photos-[0-9]*.tar"):  # of an earlier call, with other photos
        old.unlink()
    number, shard, size = 0, None, 0
    try:
        for name, path in tqdm(paths.items(), unit="photo", disable=None):
            data_bytes = _photo_bytes(path, Path(row.images))
            needed = 512 + -(-len(data_bytes) // 512) * 512  # a header, and whole blocks
            if shard is None or size + needed > SHARD_BYTES - 20480:  # tar's end is that long
                if shard is not None:
                    shard.close()
                shard = tarfile.open(folder / f"photos-{number:03}.tar", "w")  # noqa: SIM115
                number, size = number + 1, 0
            member = tarfile.TarInfo(name)
            member.size = len(data_bytes)
            shard.addfile(member, io.BytesIO(data_bytes))
            size += needed
    finally:
        if shard is not None:
            shard.close()
    (folder / "labels.json").write_text(json.dumps(data), encoding="utf-8")


def _photo_paths(row: SetConfig, images: Iterable[Mapping[str, Any]]) -> dict[str, Path]:
    """The photos of a set by their names in shards."""
    paths = {}
    try:
        for image in images:
            path = inside_folder(row.images, image["file_name"])
            paths[path.relative_to(row.images).as_posix()] = path
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{row.annotations}: {what}") from error
    return paths


def _photo_bytes(path: Path, folder: Path) -> bytes:
    place = find_in_shards(path, folder)
    if place is None:
        if path.exists() and not path.is_file():
            raise DatasetError(f"{path}: expected a file")
        return path.read_bytes()
    with place[0].open("rb") as file:
        file.seek(place[1])
        return file.read(place[2])
