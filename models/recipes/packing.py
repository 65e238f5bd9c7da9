"""A whole run in one folder that can be carried elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tqdm import tqdm

from openpaf.io.paths import inside_folder
from openpaf.io.toml_files import toml_rows
from openpaf.training.config import SKELETONS, TrainConfig
from openpaf.training.data.dataset import entries_of, read_set
from openpaf.training.tables import plain
from openpaf.weights import is_name

_FILES = ("skeleton", "weights", "trunk", "teacher")  # keys of a configuration that name one


def pack(config: TrainConfig, folder: str | Path) -> Path:
    """Copy a run's photos, labels and weights into one folder, with a configuration to match.

    Args:
        config: The run.
        folder: Made if it is not there; gets one folder a set, and ``run.toml``, whose paths are
            relative.

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
        name = sets[paths]
        return {**values, "annotations": f"{name}/labels.json", "images": f"{name}/images"}
    values = {key: _packed(value, folder, sets) for key, value in values.items()}
    for key in _FILES:
        # A skeleton of people and a model may be given by name.
        if values.get(key) and values[key] not in SKELETONS and not is_name(values[key]):
            source, values[key] = values[key], f"{key}{Path(values[key]).suffix}"
            shutil.copyfile(source, folder / values[key])
    return values


def _pack_set(annotations: Path, images: Path, folder: Path) -> None:
    target = folder / "images"
    target.mkdir(parents=True, exist_ok=True)
    if target.samefile(images):
        raise ValueError(f"--pack: {target} holds the photos that are to be packed")
    data = read_set(annotations)
    with entries_of(annotations):  # all paths before any is copied
        paths = [inside_folder(images, image["file_name"]) for image in data["images"]]
    for path in tqdm(paths, unit="photo", disable=None):
        copy = target / path.relative_to(images)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    (folder / "labels.json").write_text(json.dumps(data), encoding="utf-8")
