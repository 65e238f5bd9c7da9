"""Seeded scenes of people, and the fields that a network would give for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from openpaf import Fields, Letterbox, Poses, Skeleton, encode_fields

HEATMAP_NOISE = 0.02  # standard deviations of the white noise of a "noisy" scene
PAF_NOISE = 0.05

# A standing person in COCO17's order, in units of its height; x to the right, y down.
_STANDING = np.array(
    [
        (0.00, 0.08), (0.02, 0.06), (-0.02, 0.06), (0.04, 0.07), (-0.04, 0.07),
        (0.10, 0.19), (-0.10, 0.19), (0.14, 0.34), (-0.14, 0.34), (0.15, 0.48), (-0.15, 0.48),
        (0.06, 0.52), (-0.06, 0.52), (0.07, 0.74), (-0.07, 0.74), (0.07, 0.96), (-0.07, 0.96),
    ]
)  # fmt: skip


class Scene(NamedTuple):
    """People in px of the network's input, its size, and how it was made of a picture."""

    poses: Poses
    size_hw: tuple[int, int]
    letterbox: Letterbox
    image_id: int


def coco_scenes(annotations: Path, skeleton: Skeleton, height_px: int = 368) -> list[Scene]:
    """The labelled people of a COCO file, each photo fitted to a height."""
    data = json.loads(Path(annotations).read_text())
    people: dict[int, list[list[float]]] = {}
    for row in data["annotations"]:
        if row.get("num_keypoints", 0) > 0 and not row["iscrowd"]:
            people.setdefault(row["image_id"], []).append(row["keypoints"])
    scenes = []
    images = {image["id"]: image for image in data["images"]}  # some files list a photo twice
    for _, image in sorted(images.items()):
        if image["id"] not in people:
            continue
        image_hw = (image["height"], image["width"])
        width = max(1, round(image_hw[1] * height_px / image_hw[0]))
        letterbox = Letterbox(
            image_hw=image_hw,
            resized_hw=(height_px, width),
            size_hw=(-(-height_px // 8) * 8, -(-width // 8) * 8),
        )
        keypoints = np.array(people[image["id"]], np.float64).reshape(-1, 17, 3)
        poses = Poses.from_keypoints(keypoints, Skeleton.COCO17)
        poses = poses.replace(xy=letterbox.points_to_network(poses.xy)).to(skeleton)
        scenes.append(Scene(poses, letterbox.size_hw, letterbox, image["id"]))
    return scenes


def random_people(
    n_people: int,
    size_hw: tuple[int, int],
    rng: np.random.Generator,
    *,
    height_px: tuple[float, float] = (60.0, 180.0),
) -> Poses:
    """Standing people with loose limbs, spread over a picture; COCO17."""
    heights = rng.uniform(*height_px, n_people)
    xy = np.empty((n_people, 17, 2))
    # Evenly spread feet, shaken: a crowd that overlaps without two people in one place.
    n_columns = max(1, round(np.sqrt(n_people * size_hw[1] / size_hw[0])))
    n_rows = -(-n_people // n_columns)
    cells = rng.permutation(n_columns * n_rows)[:n_people]
    for i, cell in enumerate(cells):
        pose = _STANDING * rng.uniform(0.8, 1.2, (17, 1)) + rng.normal(0, 0.015, (17, 2))
        turn = rng.normal(0, 0.15)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        pose = (pose - [0, 0.5]) @ rotation.T * [rng.choice([-1, 1]), 1] * heights[i]
        middle = (np.array([cell % n_columns, cell // n_columns]) + rng.uniform(0.2, 0.8, 2)) * [
            size_hw[1] / n_columns,
            size_hw[0] / n_rows,
        ]
        xy[i] = pose + middle
    inside = ((xy >= 0) & (xy <= [size_hw[1] - 1, size_hw[0] - 1])).all(axis=2)
    keypoints = np.concatenate([xy, inside[..., None]], axis=2)
    poses = Poses.from_keypoints(keypoints, Skeleton.COCO17)
    return poses[inside.any(axis=1)]


def crowds(n_scenes: int, seed: int, size_hw: tuple[int, int] = (368, 656)) -> Iterator[Scene]:
    """Crowds of 20 to 50 people."""
    rng = np.random.default_rng(seed)
    for i in range(n_scenes):
        poses = random_people(int(rng.integers(20, 51)), size_hw, rng)
        box = Letterbox(image_hw=size_hw, resized_hw=size_hw, size_hw=size_hw)
        yield Scene(poses, size_hw, box, i + 1)


def fields_of(scene: Scene, *, noise: float = 0.0) -> Fields:
    """The fields of a scene; ``noise`` times the usual noise is added, seeded by its id."""
    fields = encode_fields(scene.poses, scene.size_hw)
    if noise <= 0:
        return fields
    rng = np.random.default_rng(scene.image_id)

    def shaken(array: NDArray[np.float32], deviation: float) -> NDArray[np.float32]:
        return array + rng.normal(0, noise * deviation, array.shape).astype(np.float32)

    return Fields(
        heatmaps=shaken(fields.heatmaps, HEATMAP_NOISE),
        pafs=shaken(fields.pafs, PAF_NOISE),
        heatmap_grid=fields.heatmap_grid,
        paf_grid=fields.paf_grid,
        skeleton=fields.skeleton,
    )
