"""Labels as a set for YOLO pose: a text file an image, and ``data.yaml``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from openpaf.annotation.label_formats import LabelFormat
from openpaf.annotation.labels import LabeledImage, LabelSet, PersonLabel
from openpaf.annotation.yolo_reader import read_yolo

#: Parts of a set, whose images are in folders of these names.
SPLITS = ("train", "val", "test")


def labels_to_yolo(labels: LabelSet) -> dict[str, str]:
    """The texts of the files of a set, by their paths in its folder.

    Everything is divided by the image's width or height, as ultralytics' ``convert_coco`` does.
    Ignored people are left out, as the format has no place for them; so are the labels of joints
    outside of the image. Images are expected in ``images/``.

    Reference:
        docs.ultralytics.com/datasets/pose.
    """
    names = [image.file_name.removeprefix("images/") for image in labels.images]
    texts: dict[str, str] = {}
    for name, image in zip(names, labels.images, strict=True):
        file = f"labels/{PurePosixPath(name).with_suffix('.txt')}"
        if file in texts:
            raise ValueError(f"images: {file} would be of two images, {name} is the second")
        texts[file] = _text(image)
    return {**texts, "data.yaml": _data_yaml(labels, names)}


def is_outside(person: PersonLabel, image_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """(K,) which joints are labeled outside of the image's pixels; those have no place in YOLO."""
    size = np.array(image_hw[::-1])
    xy, v = person.keypoints[:, :2], person.keypoints[:, 2]
    is_inside = ((xy >= -0.5) & (xy <= size)).all(axis=1)
    return np.asarray(~is_inside & (v > 0))


def _text(image: LabeledImage) -> str:
    lines = [
        _line(person, image.image_hw) + "\n" for person in image.people if not person.is_doubtful
    ]
    return "".join(lines)


def _line(person: PersonLabel, image_hw: tuple[int, int]) -> str:
    size = np.array(image_hw[::-1], np.float64)
    x, y, width, height = person.box
    low = np.clip(np.array([x, y]) / size, 0, 1)
    high = np.clip(np.array([x + width, y + height]) / size, 0, 1)
    numbers = [*((low + high) / 2), *(high - low)]
    joints = person.keypoints.copy()
    joints[:, :2] = np.clip(joints[:, :2] / size, 0, 1)
    joints[is_outside(person, image_hw)] = 0
    words = [f"{number:.8g}" for number in numbers]
    for x, y, v in joints.tolist():
        words += (f"{x:.8g}", f"{y:.8g}", str(int(v))) if v > 0 else ("0", "0", "0")
    return " ".join(["0", *words])


def _data_yaml(labels: LabelSet, names: Sequence[str]) -> str:
    """Lines of YAML, whose texts and lists are JSON's."""
    skeleton = labels.skeleton
    folders = {split: f"images/{split}" for split in SPLITS if _has(names, split)}
    if not folders or not all(name.split("/")[0] in folders for name in names):
        folders = {"train": "images"}
    for split in ("train", "val"):  # both must be there
        folders.setdefault(split, next(iter(folders.values())))
    lines: list[str] = []  # without "path": ultralytics takes the folder of the file
    lines += [f"{split}: {folders[split]}" for split in SPLITS if split in folders]
    lines += [
        f"kpt_shape: [{skeleton.n_joints}, 3]",
        f"flip_idx: {json.dumps(list(skeleton.flip_permutation))}",
        "names:",
        f"  0: {json.dumps(labels.category)}",
        "kpt_names:",
        f"  0: {json.dumps(list(skeleton.joints))}",
    ]
    return "\n".join(lines) + "\n"


def _has(names: Sequence[str], split: str) -> bool:
    return any(name.startswith(f"{split}/") for name in names)


YOLO = LabelFormat(
    description="YOLO pose, a folder with data.yaml and labels/",
    folder=labels_to_yolo,
    read=read_yolo,
    reads=(".yaml", ".yml"),
    lacks=(
        "ids",
        "joints outside",
        "ignore regions",
        "scores",
        "joint scores",
        "areas",
        "masks",
        "limbs",
        "sigmas",
    ),
)
