"""Videos of people with known ids: real poses that walk, cross and disappear behind a pillar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from openpaf import Poses, Skeleton
from openpaf.io.json_files import read_json

SIZE_HW = (368, 656)
FPS = 25
KINDS = ("cross", "stand", "pillar", "crowd")
_HIPS, _KNEES, _ANKLES = (11, 12), (13, 14), (15, 16)
_SHOULDERS, _ELBOWS, _WRISTS = (5, 6), (7, 8), (9, 10)


class Frame(NamedTuple):
    """Who can be seen, with ids; and who is there but nearly hidden, so that nothing is asked."""

    truth: Poses
    areas: NDArray[np.float64]  # px^2, of the whole person, hidden or not
    ignored: Poses
    ignored_areas: NDArray[np.float64]


class _Walker(NamedTuple):
    keypoints: NDArray[np.float64]  # (17, 3), in heights, the middle of the hips at 0
    height: float  # px
    start: NDArray[np.float64]  # px at time 0
    velocity: NDArray[np.float64]  # px per second
    stride_s: float
    phase: float


def standing_people(annotations: Path) -> list[NDArray[np.float64]]:
    """Upright people of a COCO file with nearly all joints: (17, 3), in units of their height."""
    people = []
    for row in read_json(annotations)["annotations"]:
        keypoints = np.array(row.get("keypoints", []), np.float64).reshape(-1, 3)
        if len(keypoints) != 17 or (keypoints[:, 2] > 0).sum() < 13:
            continue
        if (keypoints[[5, 6, *range(11, 17)], 2] == 0).any():
            continue
        xy = keypoints[keypoints[:, 2] > 0, :2]
        width, height = np.ptp(xy, axis=0)
        shoulders, hips, ankles = (keypoints[list(k), 1] for k in (_SHOULDERS, _HIPS, _ANKLES))
        if height > 1.8 * width and shoulders.max() < hips.min() < hips.max() < ankles.min():
            middle = keypoints[list(_HIPS), :2].mean(axis=0)
            keypoints[:, :2] = (keypoints[:, :2] - middle) / height
            people.append(keypoints)
    return people


def walk(
    kind: str, people: list[NDArray[np.float64]], seed: int, seconds: float = 7.0
) -> Iterator[Frame]:
    """The frames of one seeded scene.

    Args:
        kind: ``"cross"``: two of about one height walk towards each other; ``"stand"``: one walks
            past two who stand; ``"pillar"``: two walk, one after the other or towards each other,
            behind a pillar that hides each for about a second; ``"crowd"``: six in all directions.
        people: As :func:`standing_people` gives them.
        seed: Of the choice of people, their sizes and ways.
        seconds: Length of the scene.
    """
    rng = np.random.default_rng(seed)
    walkers = _cast(kind, people, rng, seconds)
    pillar = _pillar(walkers) if kind == "pillar" else None
    for n in range(round(seconds * FPS)):
        yield _frame(walkers, n / FPS, pillar)


def _cast(
    kind: str, people: list[NDArray[np.float64]], rng: np.random.Generator, seconds: float
) -> list[_Walker]:
    n_people = {"cross": 2, "stand": 3, "pillar": 2, "crowd": 6}[kind]
    height = rng.uniform(130, 220)
    middle = np.array([SIZE_HW[1] / 2, SIZE_HW[0] / 2])
    walkers = []
    for i in range(n_people):
        own_height = height * rng.uniform(0.9, 1.1)
        speed = rng.uniform(0.5, 0.9) * own_height  # px per second: 1.5 m/s is 0.9 heights
        way = np.array([1.0 if i % 2 == 0 else -1.0, rng.uniform(-0.05, 0.05)])
        if kind == "pillar" and rng.integers(2):
            way[0] = 1.0
        if kind == "crowd":
            way[1] = rng.uniform(-0.3, 0.3)
        velocity = way * speed * (0 if kind == "stand" and i > 0 else 1)
        meeting_s = seconds / 2 + rng.uniform(-0.8, 0.8)
        place = middle + rng.uniform(-1, 1, 2) * (60, 15)
        if kind == "stand" and i > 0:
            place[0] = middle[0] + (-1) ** i * rng.uniform(40, 130)
        walkers.append(
            _Walker(
                keypoints=people[rng.integers(len(people))],
                height=own_height,
                start=place - velocity * meeting_s,
                velocity=velocity,
                stride_s=rng.uniform(0.9, 1.2) if velocity.any() else np.inf,
                phase=rng.uniform(0, 2 * np.pi),
            )
        )
    return sorted(walkers, key=lambda walker: -walker.height)  # the nearest first


def _pillar(walkers: list[_Walker]) -> tuple[float, float]:
    """Left and right edge in px: as wide as the slowest walks in 0.8 s, and a body more."""
    way = min(abs(walker.velocity[0]) for walker in walkers) * 0.8
    body = 0.2 * max(walker.height for walker in walkers)
    return SIZE_HW[1] / 2 - (way + body) / 2, SIZE_HW[1] / 2 + (way + body) / 2


def _frame(walkers: list[_Walker], time_s: float, pillar: tuple[float, float] | None) -> Frame:
    poses = [_pose(walker, time_s) for walker in walkers]  # (17, 3) each, px
    shown = []
    for n, keypoints in enumerate(poses):
        xy = keypoints[:, :2]
        visible = (keypoints[:, 2] > 0) & (xy >= 0).all(axis=1)
        visible &= (xy <= [SIZE_HW[1] - 1, SIZE_HW[0] - 1]).all(axis=1)
        for nearer in poses[:n]:
            visible &= ~_is_behind(xy, nearer)
        if pillar is not None:
            visible &= (xy[:, 0] < pillar[0]) | (xy[:, 0] > pillar[1])
        shown.append(np.column_stack([xy, visible]))
    every = Poses.from_keypoints(np.stack(shown), Skeleton.COCO17)
    every = every.replace(ids=np.arange(len(every)))
    n_visible = (every.scores > 0).sum(axis=1)
    areas = np.array([np.ptp(p[p[:, 2] > 0, :2], axis=0).prod() for p in poses])
    asked, ignored = n_visible >= 6, (n_visible > 0) & (n_visible < 6)
    return Frame(every[asked], areas[asked], every[ignored], areas[ignored])


def _pose(walker: _Walker, time_s: float) -> NDArray[np.float64]:
    """The walker at a time: legs and arms swing about the hips and the shoulders."""
    keypoints = walker.keypoints.copy()
    angle = 2 * np.pi * time_s / walker.stride_s + walker.phase if walker.velocity.any() else 0.0
    for side in range(2):
        swing = 0.4 * np.sin(angle + np.pi * side)
        bend = 0.3 * max(np.sin(angle + np.pi * side + 1.2), 0)
        _turn(keypoints, _HIPS[side], (_KNEES[side], _ANKLES[side]), swing)
        _turn(keypoints, _KNEES[side], (_ANKLES[side],), bend * np.sign(walker.velocity[0]))
        _turn(keypoints, _SHOULDERS[side], (_ELBOWS[side], _WRISTS[side]), -0.8 * swing)
    bob = 0.01 * np.sin(2 * angle)
    keypoints[:, :2] = (keypoints[:, :2] + [0, bob]) * walker.height
    keypoints[:, :2] += walker.start + walker.velocity * time_s
    return keypoints


def _turn(
    keypoints: NDArray[np.float64], about: int, joints: tuple[int, ...], angle: float
) -> None:
    cos, sin = np.cos(angle), np.sin(angle)
    for k in joints:
        x, y = keypoints[k, :2] - keypoints[about, :2]
        keypoints[k, :2] = keypoints[about, :2] + [cos * x + sin * y, cos * y - sin * x]


def _is_behind(xy: NDArray[np.float64], nearer: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points lie in the hull of a nearer person's joints."""
    hull = cv2.convexHull(nearer[nearer[:, 2] > 0, :2].astype(np.float32))
    inside = [cv2.pointPolygonTest(hull, (float(x), float(y)), False) >= 0 for x, y in xy]
    return np.array(inside, bool)
