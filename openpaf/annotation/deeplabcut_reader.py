"""Labels of DeepLabCut, of one animal an image or of several."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from openpaf.annotation.deeplabcut_tables import Table, read_table
from openpaf.annotation.labels import LabeledImage, LabelSet
from openpaf.annotation.reading import ReadOptions, image_hw_in, placed, skeleton_by_name, tell_lost
from openpaf.errors import shown
from openpaf.io.extras import import_extra, installed
from openpaf.io.paths import inside_folder
from openpaf.skeleton import Skeleton

# Of body parts that an image has once, such as the corners of a cage.
_UNIQUE = "single"


def read_deeplabcut(path: str | os.PathLike[str], options: ReadOptions | None = None) -> LabelSet:
    """The labels of a table ``CollectedData_*.csv`` or ``.h5``.

    Limbs are those of the project's ``config.yaml``, where there is one above the table. Animals
    and images without any labeled joint are left out, as they are for DeepLabCut's training; and so
    are body parts that are no animal's (``single``).

    Args:
        path: The table.
        options: The folder that the paths of images are relative to, where it is not the
            project's; and what to call the animals, otherwise ``"animal"``.

    Raises:
        ValueError: If it is no such table, or an image is missing; the message names the file and
            the image.
        OSError: If it cannot be read.

    Reference:
        deeplabcut.github.io/DeepLabCut/docs/standardDeepLabCut_UserGuide.html.
    """
    options = options or ReadOptions()
    path = Path(path)
    table = read_table(path)
    animals = list(dict.fromkeys(animal for animal, _, _ in table.columns))
    unique = [k for k, column in enumerate(table.columns) if column[0] == _UNIQUE]
    if len(animals) > 1 and unique:
        animals.remove(_UNIQUE)
        n_lost = int(np.isfinite(table.values[:, unique]).sum()) // 2
        tell_lost(path, {"labels of unique body parts": n_lost})
    joints = list(dict.fromkeys(part for animal, part, _ in table.columns if animal in animals))
    category = options.category or "animal"
    try:
        columns = {animal: _columns(table, animal, joints) for animal in animals}
        root = options.image_dir or _root(path, table)
        skeleton = skeleton_by_name(joints, _limbs(root, joints), category)
        images = tuple(_images(table, columns, root, skeleton))
        tell_lost(path, {"images without any label": len(table.images) - len(images)})
    except ValueError as error:
        raise ValueError(f"{shown(path)}: {error}") from error
    return LabelSet(images=images, skeleton=skeleton, model=None, category=category)


def _columns(table: Table, animal: str, joints: list[str]) -> np.ndarray:
    """(K, 2) the columns of an animal's joints, -1 where it has no such joint."""
    places = {column: k for k, column in enumerate(table.columns)}
    columns = np.array(
        [[places.get((animal, joint, axis), -1) for axis in ("x", "y")] for joint in joints]
    )
    wrong = [joint for joint, (x, y) in zip(joints, columns, strict=True) if (x < 0) != (y < 0)]
    if wrong:
        raise ValueError(f"columns: expected x and y of {wrong[0]!r}")
    return columns


def _root(path: Path, table: Table) -> Path:
    """The folder that the paths of images are relative to: the project's, or the table's."""
    folders = [*path.resolve().parents][:3][::-1]
    first = table.images[0] if table.images else ""
    for folder in folders:
        if first and inside_folder(folder, first).is_file():
            return folder
    return folders[0]


def _limbs(root: Path, joints: list[str]) -> list[tuple[int, int]]:
    """The edges of the project's configuration between the joints."""
    config = root / "config.yaml"
    if not config.is_file() or not installed("yaml"):
        return []
    yaml = import_extra("yaml", "convert", "format deeplabcut")
    try:
        data = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"config.yaml: not YAML: {error}") from error
    edges = data.get("skeleton") if isinstance(data, Mapping) else None
    limbs = []
    for edge in edges or []:
        if not isinstance(edge, list) or len(edge) != 2 or edge[0] == edge[1]:
            raise ValueError(f"config.yaml: skeleton: expected pairs of body parts, got {edge!r}")
        if all(part in joints for part in edge):
            limbs.append((joints.index(edge[0]), joints.index(edge[1])))
    return limbs


def _images(
    table: Table, columns: Mapping[str, np.ndarray], root: Path, skeleton: Skeleton
) -> Iterator[LabeledImage]:
    for name, values in zip(table.images, table.values, strict=True):
        if np.isnan(values).all():  # not labeled yet
            continue
        image_hw = image_hw_in(root, name)
        padded = np.append(values, np.nan)  # for joints that an animal does not have
        people = []
        for animal, places in columns.items():
            xy = padded[places]
            is_labeled = np.isfinite(xy).all(axis=1)
            wrong = np.flatnonzero(~is_labeled & ~np.isnan(xy).all(axis=1))
            if len(wrong):
                of = f" of {animal!r}" if animal else ""
                raise ValueError(
                    f"image {name!r}: {skeleton.joints[wrong[0]]!r}{of}: expected x and y in px, "
                    f"or neither; got {xy[wrong[0]].tolist()}"
                )
            if is_labeled.any():
                people.append(placed(xy, is_labeled, image_hw))
        yield LabeledImage(file_name=name, image_hw=image_hw, people=tuple(people))
