"""A whole run in one folder that can be carried elsewhere, its photos in a few large files."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from openpaf.io.paths import inside_folder
from openpaf.io.toml_files import toml_rows
from openpaf.training.config import TrainConfig
from openpaf.training.data.dataset import DatasetError, entries_of, read_json
from openpaf.training.data.photos import find_in_shards, read_from_shard
from openpaf.training.tables import plain

SHARD_BYTES = 60_000_000
_TAR_END = 20480
_FILES = ("weights", "teacher")  # keys of a configuration that name one


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
        OSError: If a file cannot be read or written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    values = {**_packed(plain(config), folder, {}), "output": "run"}
    path = folder / "run.toml"
    path.write_text("".join(toml_rows(values)), encoding="utf-8")
    return path


def _packed(values: Any, folder: Path, sets: dict[tuple[str, str], str]) -> Any:
    """A table, its sets and files copied into a folder.

    Args:
        values: A table of a configuration, or a part of it.
        folder: Where to copy to.
        sets: By annotations and images, names of the folders of sets that are there already.
    """
    if isinstance(values, (list, tuple)):
        return [_packed(value, folder, sets) for value in values]
    if not isinstance(values, dict):
        return values
    if "annotations" in values:
        paths = values["annotations"], values["images"]
        if paths not in sets:
            sets[paths] = f"set-{len(sets)}"
            _pack_set(Path(paths[0]), Path(paths[1]), folder / sets[paths])
        return {**values, "annotations": f"{sets[paths]}/labels.json", "images": sets[paths]}
    values = {key: _packed(value, folder, sets) for key, value in values.items()}
    for key in _FILES:
        if values.get(key):
            source, values[key] = values[key], f"{key}{Path(values[key]).suffix}"
            shutil.copyfile(source, folder / values[key])
    return values


def _pack_set(annotations: Path, images: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    if folder.samefile(images):
        raise ValueError(f"--pack: {folder} holds the photos that are to be packed")
    data = read_json(annotations)
    paths = _photo_paths(annotations, images, data["images"])  # all before any is copied
    for old in folder.glob("photos-[0-9]*.tar"):  # of an earlier call, with other photos
        old.unlink()
    n_shards, shard, size = 0, None, 0
    try:
        for name, path in tqdm(paths.items(), unit="photo", disable=None):
            content = _photo_bytes(path, images)
            needed = 512 + -(-len(content) // 512) * 512  # a header, and whole blocks
            if shard is None or size + needed > SHARD_BYTES - _TAR_END:
                if shard is not None:
                    shard.close()
                shard = tarfile.open(folder / f"photos-{n_shards:03}.tar", "w")  # noqa: SIM115
                n_shards, size = n_shards + 1, 0
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
            size += needed
    finally:
        if shard is not None:
            shard.close()
    (folder / "labels.json").write_text(json.dumps(data), encoding="utf-8")


def _photo_paths(
    annotations: Path, folder: Path, images: Iterable[Mapping[str, Any]]
) -> dict[str, Path]:
    """The photos of a set by their names in shards."""
    with entries_of(annotations):
        paths = [inside_folder(folder, image["file_name"]) for image in images]
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _photo_bytes(path: Path, folder: Path) -> bytes:
    place = find_in_shards(path, folder)
    if place is not None:
        return read_from_shard(*place)
    if path.exists() and not path.is_file():
        raise DatasetError(f"{path}: expected a file")
    return path.read_bytes()
