"""Seeded scenes of people, and the fields that a network would give for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from openpaf import Fields, Letterbox, Poses, Skeleton, encode_fields
from openpaf.io.json_files import read_json

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
    data = read_json(annotations)
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
    """Crowds of 20 to 50 people who stand side by side, which need no data set."""
    rng = np.random.default_rng(seed)
    for i in range(n_scenes):
        poses = random_people(int(rng.integers(20, 51)), size_hw, rng)
        box = Letterbox(image_hw=size_hw, resized_hw=size_hw, size_hw=size_hw)
        yield Scene(poses, size_hw, box, i + 1)


def coco_crowds(
    annotations: Path,
    n_scenes: int,
    seed: int,
    size_hw: tuple[int, int] = (368, 656),
    *,
    max_iou: float = 0.3,
) -> Iterator[Scene]:
    """Crowds of 20 to 50 people of a COCO file who have at least ten labelled joints.

    Each is made 60 to 180 px high and set at random, but no two boxes overlap by more than
    ``max_iou``; in photos such pairs are rare, and anywhere at random they would be the rule.
    """
    rows = read_json(annotations)["annotations"]
    people = [
        np.array(row["keypoints"], np.float64).reshape(17, 3)
        for row in sorted({row["id"]: row for row in rows}.values(), key=lambda row: row["id"])
        if row.get("num_keypoints", 0) >= 10 and not row["iscrowd"]
    ]
    rng = np.random.default_rng(seed)
    for i in range(n_scenes):
        boxes, crowd = np.empty((0, 4)), []
        n_people = rng.integers(20, 51)
        for _ in range(50 * n_people):  # room for all is usually found within a few tries each
            keypoints = people[rng.integers(len(people))].copy()
            labelled = keypoints[:, 2] > 0
            low, extent = keypoints[labelled, :2].min(axis=0), np.ptp(keypoints[labelled, :2], 0)
            scale = min(rng.uniform(60, 180) / extent[1], 180 / extent[0])
            place = rng.uniform(0, 1, 2) * ([size_hw[1] - 1, size_hw[0] - 1] - extent * scale)
            box = np.concatenate([place, place + extent * scale])
            if (_ious(box, boxes) > max_iou).any():
                continue
            keypoints[:, :2] = ((keypoints[:, :2] - low) * scale + place) * labelled[:, None]
            boxes, crowd = np.vstack([boxes, box]), [*crowd, keypoints]
            if len(crowd) == n_people:
                break
        poses = Poses.from_keypoints(np.stack(crowd), Skeleton.COCO17)
        letterbox = Letterbox(image_hw=size_hw, resized_hw=size_hw, size_hw=size_hw)
        yield Scene(poses, size_hw, letterbox, i + 1)


def _ious(box: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of a box (x0, y0, x1, y1) and others."""
    both = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    common = np.clip(both, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return np.asarray(common / (areas - common))


def fields_of(scene: Scene, *, noise: float = 0.0, stride: int = 8) -> Fields:
    """The fields of a scene; ``noise`` times the usual noise is added, seeded by its id."""
    fields = encode_fields(scene.poses, scene.size_hw, stride)
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


def uneven_fields_of(scene: Scene, *, strength: float = 0.5) -> Fields:
    """The fields of a scene as an uncertain network gives them, seeded by its id.

    Each joint's peak has a height of ``strength`` to 1, each limb of ``strength - 0.1`` to 1. The
    noise is that of neighboring cells together: white noise of 0.06 (heatmaps) and 0.20 (PAFs),
    smoothed by a Gaussian of 0.7 cells, which leaves 0.024 and 0.08.
    """
    rng = np.random.default_rng((scene.image_id, 28))
    poses, skeleton = scene.poses, scene.poses.skeleton
    heights = rng.uniform(strength, 1, (len(poses), skeleton.n_joints)).astype(np.float32)
    loudness = rng.uniform(strength - 0.1, 1, (len(poses), skeleton.n_limbs)).astype(np.float32)
    empty = encode_fields(Poses.empty(skeleton), scene.size_hw)
    heatmaps, pafs = empty.heatmaps.copy(), empty.pafs.copy()
    covers = np.zeros((skeleton.n_limbs, 1, *empty.size_cells), np.float32)
    for i in range(len(poses)):
        own = encode_fields(poses[i], scene.size_hw)
        own_joints = own.heatmaps[:-1] * heights[i, :, None, None]
        heatmaps[:-1] = np.maximum(heatmaps[:-1], own_joints)
        pafs += own.pafs * loudness[i, :, None, None, None]
        covers += np.abs(own.pafs).max(axis=1, keepdims=True) > 0
    pafs /= np.maximum(covers, 1)
    heatmaps[-1] = 1 - heatmaps[:-1].max(axis=0)
    for array, deviation in ((heatmaps, 0.06), (pafs, 0.20)):
        noise = rng.normal(0, deviation, array.shape)
        array += gaussian_filter(noise, (0,) * (array.ndim - 2) + (0.7, 0.7))
    return dataclasses.replace(empty, heatmaps=heatmaps, pafs=pafs)
