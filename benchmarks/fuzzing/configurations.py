"""Arguments of the public classes: what is taken works, and what is not is refused by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import strange

import openpaf
from fuzzing.case import Case
from fuzzing.fields import prepare as prepare
from fuzzing.mutate import hostile
from openpaf import (
    DecodeConfig,
    Fields,
    Grid,
    Letterbox,
    Poses,
    Skeleton,
    Smoothing,
    Tracker,
    TrackerConfig,
    decode,
    encode_fields,
)

_XY = np.random.default_rng(0).uniform(10, 90, (2, 3, 2)).astype(np.float32)
_FIELDS = strange.strange_fields("noise", 3, 8, 9)


def _people(times: float = 1.0, skeleton: Skeleton = strange.PAIR) -> Poses:
    keypoints = np.concatenate([_XY * times, np.ones((2, 3, 1), np.float32)], axis=2)
    return Poses.from_keypoints(keypoints, skeleton)


def _track(config: TrackerConfig) -> None:
    tracker = Tracker(config)
    for frame in range(4):
        tracker(_people(1 + frame / 50), frame / 25)


def _use_skeleton(skeleton: Skeleton) -> None:
    n = skeleton.n_joints
    if n > 5000:
        return
    xy = np.random.default_rng(n).uniform(8, 120, (3, n, 2))
    poses = Poses.from_keypoints(np.concatenate([xy, np.ones((3, n, 1))], axis=2), skeleton)
    decode(encode_fields(poses, (128, 128)))
    if Skeleton.from_dict(skeleton.to_dict()) != skeleton:
        raise AssertionError("another skeleton after to_dict and from_dict")


def _use_letterbox(letterbox: Letterbox) -> None:
    h, w = letterbox.image_hw
    if h * w < 10**6 and letterbox.size_hw[0] * letterbox.size_hw[1] < 10**7:
        letterbox.apply(np.zeros((h, w, 3), np.uint8))


def _estimator(**options: Any) -> Any:
    """Only what is refused before the model is loaded; that is the rest of it, for all others."""
    return openpaf.PoseEstimator("no such model", **options)


#: Of each class: what makes one, good arguments, and what a good one must be able to do.
_TARGETS: tuple[tuple[str, Callable[..., Any], dict[str, Any], Callable[[Any], Any]], ...] = (
    ("DecodeConfig", DecodeConfig,
     {name: getattr(DecodeConfig(), name) for name in DecodeConfig.__dataclass_fields__},
     lambda config: decode(_FIELDS, config)),
    ("Grid", Grid, {"stride": 8, "offset": 3.5}, lambda grid: grid.to_px(2)),
    ("Skeleton", Skeleton, strange.PAIR.to_dict(), _use_skeleton),
    ("Skeleton.from_dict", lambda **d: Skeleton.from_dict(d), strange.PAIR.to_dict(),
     _use_skeleton),
    ("Letterbox", Letterbox, {"image_hw": (90, 60), "resized_hw": (45, 30), "size_hw": (48, 32)},
     _use_letterbox),
    ("Letterbox.fit", Letterbox.fit, {"image_hw": (90, 60), "short_side": 32, "multiple": 8},
     _use_letterbox),
    ("Smoothing", Smoothing, {"min_cutoff_hz": 1.0, "beta": 12.0, "max_gap_s": 0.3},
     lambda smoothing: _track(TrackerConfig(smoothing=smoothing))),
    ("TrackerConfig", TrackerConfig,
     {name: getattr(TrackerConfig(), name) for name in TrackerConfig.__dataclass_fields__}, _track),
    ("Tracker call", lambda **a: Tracker()(**a), {"poses": _people(), "time_s": 0.0}, len),
    ("Poses", Poses, {"xy": _XY, "scores": np.ones((2, 3)), "person_scores": np.ones(2),
                      "skeleton": strange.PAIR, "ids": np.array([1, 2])}, lambda p: p.boxes()),
    ("Poses.from_keypoints", Poses.from_keypoints,
     {"keypoints": np.ones((2, 3, 3)), "skeleton": strange.PAIR}, lambda p: p.boxes()),
    ("Fields", Fields, {"heatmaps": _FIELDS.heatmaps, "pafs": _FIELDS.pafs,
                        "heatmap_grid": Grid(8), "paf_grid": Grid(8), "skeleton": strange.PAIR},
     decode),
    ("encode_fields", encode_fields, {"poses": _people(), "size_hw": (64, 64)}, decode),
    ("draw_poses", openpaf.draw_poses,
     {"image": np.zeros((99, 99, 3), np.uint8), "poses": _people()}, lambda image: image.shape),
    ("PoseEstimator", _estimator, {"size": 64, "scales": (1.0,), "flip": False, "weights": None},
     lambda estimator: None),
)  # fmt: skip


def make(rng: np.random.Generator, folder: Path) -> Case:
    name, build, good, use = _TARGETS[int(rng.integers(len(_TARGETS)))]
    arguments, changed = dict(good), []
    if rng.random() < 0.05 and name != "PoseEstimator":
        return Case(f"{name}, valid", lambda: _used(build, arguments, use), is_good=True)
    for _ in range(int(rng.integers(1, 3))):
        key = str(rng.choice(sorted(good)))
        arguments[key] = _strange_value(rng, good[key])
        changed.append(key)
    (folder / "input.txt").write_text(f"{name} {arguments}", "utf-8", "backslashreplace")
    return Case(f"{name}: {', '.join(sorted(set(changed)))}",
                lambda: _used(build, arguments, use), strict=True)  # fmt: skip


def _used(build: Callable[..., Any], arguments: dict[str, Any], use: Callable[[Any], Any]) -> None:
    use(build(**arguments))


def _strange_value(rng: np.random.Generator, good: Any) -> Any:
    """Of another type, shape or range; of our own classes another one, as Python's types go."""
    if isinstance(good, Skeleton):
        return [strange.PAIR, Skeleton.COCO17][int(rng.integers(2))]
    if isinstance(good, (Poses, Grid, Smoothing)):
        return good
    if isinstance(good, np.ndarray) and rng.random() < 0.8:
        array = good.astype(float)
        choice = int(rng.integers(7))
        if choice == 0:
            return good[:-1]
        if choice == 1:
            return good[None]
        if choice == 2:
            return good[:0]
        if choice == 3:
            return good.astype(str(rng.choice(["f2", "f8", "i4", "O", "U3", "c16", "?", "M8[s]"])))
        if choice == 4:
            return good.tolist()
        array.flat[int(rng.integers(array.size))] = rng.choice([np.nan, np.inf, -1, 1e30, 1e308])
        return array
    if isinstance(good, (tuple, list)) and rng.random() < 0.6:
        value = list(good)
        choice = int(rng.integers(3))
        if choice == 0 and value:
            value[int(rng.integers(len(value)))] = hostile(rng)
        elif choice == 1:
            value = value[:-1]
        else:
            value = [*value, *value]
        return type(good)(value)
    if isinstance(good, (int, float)) and rng.random() < 0.3:
        return [np.float32(0.5), np.int64(3), np.array(2.0), np.float64("nan"), -1e-320, 3, 1e-5][
            int(rng.integers(7))
        ]
    return hostile(rng)
