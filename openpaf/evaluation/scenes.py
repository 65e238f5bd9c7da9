"""Scenes of a given number of real people: cut from photos, and set side by side on one image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openpaf.evaluation.label_files import Annotation, Annotations
from openpaf.geometry import Letterbox
from openpaf.io.images import read_image
from openpaf.io.paths import inside_folder

Image = NDArray[np.uint8]

_MARGIN = 0.08  # of a box, so that hands and feet at its border are whole
_LEAST_JOINTS = 0.55  # share of the joints that is labeled of a person worth pasting


def cut_people(
    annotations: Annotations,
    images: str | Path,
    image_ids: Sequence[int],
    n_people: int,
    *,
    seed: int = 0,
) -> list[Image]:
    """Pieces of photos with one person each, as far as labels tell.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        images: Folder of the photos.
        image_ids: Photos to take people from.
        n_people: At most so many.
        seed: Of the choice.

    Returns:
        RGB images: the boxes of people with more than half of their joints labeled, at least 48 px
        high, whose boxes overlap no other's by more than a tenth of their own.

    Raises:
        ValueError: If there is no person to cut out.
        ImageError: If a photo cannot be read.
    """
    least = math.ceil(_LEAST_JOINTS * annotations.skeleton.n_joints)  # 10 of COCO's 17
    chosen = []
    for image_id in image_ids:
        people = annotations.imgToAnns.get(image_id, [])
        for person in people:
            box, others = person["bbox"], [other for other in people if other is not person]
            has_joints = person["num_keypoints"] >= least and not person["iscrowd"]
            is_alone = all(_overlap(box, other["bbox"]) <= 0.1 for other in others)
            if has_joints and is_alone and box[3] >= 48 and box[2] >= 16:
                chosen.append(person)
    if not chosen:
        raise ValueError(
            f"annotations: expected people of {least} or more labeled joints, 48 px "
            "high, and not in front of others, to compose scenes of; got none"
        )
    order = np.random.default_rng(seed).permutation(len(chosen))[:n_people]
    return [_cut(annotations, images, chosen[int(i)]) for i in order]


def compose(
    people: Sequence[Image],
    n_people: int,
    *,
    size_hw: tuple[int, int] = (480, 856),
    seed: int = 0,
) -> Image:
    """A scene of people who do not cover each other, on gray.

    The more there are, the smaller they are: each gets a cell of a grid, and is a tenth to a
    quarter smaller than it.

    Args:
        people: From :func:`cut_people`; used in turn, mirrored every second time round.
        n_people: How many; at least 1.
        size_hw: Height and width of the scene in px.
        seed: Of places and sizes.

    Returns:
        RGB uint8 (height, width, 3).

    Raises:
        ValueError: If no person is given, or ``n_people`` is below 1.
    """
    if not people or n_people < 1:
        raise ValueError(f"people: expected at least one, got {min(len(people), n_people)}")
    rng = np.random.default_rng(seed + n_people)
    height, width = size_hw
    # People are about 2.2 times as high as wide.
    n_rows = max(1, round(np.sqrt(n_people * height / width / 2.2)))
    n_columns = -(-n_people // n_rows)
    cell_h, cell_w = height / n_rows, width / n_columns
    scene = np.full((height, width, 3), 128, np.uint8)
    for i, cell in enumerate(rng.permutation(n_rows * n_columns)[:n_people]):
        person = people[i % len(people)]
        if (i // len(people)) % 2:
            person = person[:, ::-1]
        share = rng.uniform(0.75, 0.9)
        ratio = share * min(cell_h / person.shape[0], cell_w / person.shape[1])
        piece = _resized(np.ascontiguousarray(person), ratio)
        h, w = piece.shape[:2]
        x = int((cell % n_columns) * cell_w + rng.uniform(0, 1) * (cell_w - w))
        y = int((cell // n_columns) * cell_h + rng.uniform(0, 1) * (cell_h - h))
        x, y = min(x, width - w), min(y, height - h)
        scene[y : y + h, x : x + w] = piece
    return scene


def _resized(image: Image, ratio: float) -> Image:
    hw = (max(1, round(image.shape[0] * ratio)), max(1, round(image.shape[1] * ratio)))
    image_hw = (image.shape[0], image.shape[1])
    letterbox = Letterbox(image_hw=image_hw, resized_hw=hw, size_hw=hw)
    return np.asarray(letterbox.apply(image).transpose(1, 2, 0), np.uint8)


def _cut(annotations: Annotations, images: str | Path, person: Annotation) -> Image:
    image = read_image(inside_folder(images, annotations.imgs[person["image_id"]]["file_name"]))
    x, y, w, h = person["bbox"]
    x0, y0 = max(0, int(x - _MARGIN * w)), max(0, int(y - _MARGIN * h))
    x1, y1 = int(x + (1 + _MARGIN) * w) + 1, int(y + (1 + _MARGIN) * h) + 1
    return image[y0:y1, x0:x1].copy()


def _overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """Share of a box (x, y, width, height) that another one covers."""
    w = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    h = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    return max(w, 0.0) * max(h, 0.0) / max(box[2] * box[3], 1e-9)
