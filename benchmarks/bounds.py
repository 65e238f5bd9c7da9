"""What the parser loses, and what perfect peaks or perfect grouping would win back.

    python benchmarks/bounds.py [--annotations FILE] [--crowds N] [--seed SEED]

AP on three kinds of fields of true people: clean ones of photos; those of photos with peaks and
limbs of random strength, and noise that is common to neighboring cells; and clean ones of crowds
of 20 to 50 people set anywhere. Beside the parser's: AP without the exchange of joints; without two
joints in one peak; with the people in the true order; with the true joints as peaks; with each true
person made of the peaks nearest to its joints, which bounds what grouping can reach; and on small
scenes with ``matching="exact"``. Then where true joints are lost, in percent of them. At last, on
made-up people with noise, how many are found at each stride, and how many who are not there.
"""

from __future__ import annotations

import argparse
import platform
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from parser import ANNOTATIONS, _coco_of, _rows, average_precision_of
from scenes import (
    Scene,
    coco_crowds,
    coco_scenes,
    fields_of,
    random_people,
    uneven_fields_of,
)
from scipy.optimize import linear_sum_assignment

from openpaf import DecodeConfig, Fields, Letterbox, Poses, Skeleton, decode
from openpaf.decoding import Peaks, assemble_people, find_peaks, match_limbs, score_limbs
from openpaf.oks import oks

NEAR_PX = 8.0  # a peak within one cell of a joint is its peak
STRIDES = (4, 8, 12, 16)
MOST_PEOPLE = 4  # of a scene that is solved exactly, which takes seconds
# Without weak peaks, as the exact solution of scenes with hundreds of peaks of noise takes hours.
STRONG = DecodeConfig(weak_peak_threshold=0.2)
EXACT = DecodeConfig(weak_peak_threshold=0.2, matching="exact", exchange_gain=1000.0)
Finder = Callable[[Scene, Fields], Poses]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--annotations", type=Path, nargs="+", default=[ANNOTATIONS])
    parser.add_argument("--crowds", type=int, default=60, help="how many crowd scenes")
    parser.add_argument("--seed", type=int, default=0, help="of the crowds")
    arguments = parser.parse_args()
    print(f"{date.today()}, {platform.machine()}, Python {platform.python_version()}")
    photos = [scene for file in arguments.annotations
              for scene in coco_scenes(file, Skeleton.COCO17)]  # fmt: skip
    crowds = coco_crowds(arguments.annotations[0], arguments.crowds, arguments.seed, max_iou=1.0)
    for name, scenes, make in (
        ("photos, clean", photos, fields_of),
        ("photos, uneven", photos, uneven_fields_of),
        ("crowds anywhere, clean", list(crowds), fields_of),
    ):
        print_bounds(name, [_as_image(scene, i) for i, scene in enumerate(scenes)], make)
    print_strides()


def _as_image(scene: Scene, i: int) -> Scene:
    """The scene numbered anew, and measured in px of the network's input."""
    box = Letterbox(image_hw=scene.size_hw, resized_hw=scene.size_hw, size_hw=scene.size_hw)
    return scene._replace(image_id=i + 1, letterbox=box)


def print_bounds(name: str, scenes: Sequence[Scene], make: Callable[[Scene], Fields]) -> None:
    fields = [make(scene) for scene in scenes]
    few = [i for i, scene in enumerate(scenes) if 2 <= len(scene.poses) <= MOST_PEOPLE]
    everything = range(len(scenes))
    print(f"\n{name}: {len(scenes)} scenes, {sum(len(s.poses) for s in scenes)} people")
    lines: list[tuple[str, Sequence[int], Finder]] = [
        ("parser", everything, lambda _, f: decode(f)),
        ("no exchange", everything, lambda _, f: decode(f, DecodeConfig(exchange_gain=1000.0))),
        ("one joint a peak", everything, lambda _, f: decode(f, DecodeConfig(split_flatness=1.0))),
        ("perfect order", everything, lambda s, f: in_true_order(s.poses, decode(f))),
        ("perfect peaks", everything, lambda s, f: from_peaks(f, true_peaks(s.poses))),
        ("perfect grouping", everything, lambda s, f: true_people(s.poses, find_peaks(f))),
        (f"2 to {MOST_PEOPLE} people: parser", few, lambda _, f: decode(f, STRONG)),
        ("  exact", few, lambda _, f: decode(f, EXACT)),
        ("  perfect peaks", few, lambda s, f: from_peaks(f, true_peaks(s.poses), STRONG)),
        ("  exact, perfect peaks", few, lambda s, f: from_peaks(f, true_peaks(s.poses), EXACT)),
    ]
    for label, chosen, find in lines:
        if not chosen:
            continue
        some = [scenes[i] for i in chosen]
        found = [find(scenes[i], fields[i]) for i in chosen]
        print(f"  {label:28} AP {_ap(some, found):.4f}", flush=True)
    lost = losses(scenes, fields)
    n, ghosts = lost.pop("joints"), lost.pop("ghosts")
    shares = ", ".join(f"{key} {100 * lost[key] / n:.2f} %" for key in sorted(lost))
    print(f"  of {n} joints: {shares}; people where none is: {ghosts}")


def _ap(scenes: Sequence[Scene], found: Sequence[Poses]) -> float:
    rows: list[dict[str, Any]] = []
    for scene, poses in zip(scenes, found, strict=True):
        rows += _rows(poses, scene.image_id)
    ids = [scene.image_id for scene in scenes]
    return float(average_precision_of(_coco_of(scenes), rows, ids, most_people=60)[0])


def in_true_order(truth: Poses, people: Poses) -> Poses:
    """The people found by how similar each is to a true one, those who are not there last."""
    boxes = truth.boxes().astype(np.float64)
    areas = 0.53 * (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    similarity = oks(truth, people, np.maximum(areas, 1))
    scores = np.zeros(len(people), np.float32)
    of_true, of_found = linear_sum_assignment(similarity, maximize=True)
    scores[of_found] = similarity[of_true, of_found]
    return people.replace(person_scores=scores)


def true_peaks(poses: Poses) -> Peaks:
    """A peak of height 1 at every true joint."""
    has = poses.scores.T > 0  # (K, N)
    return Peaks(
        np.ascontiguousarray(poses.xy.transpose(1, 0, 2)[has], np.float32),
        np.ones(has.sum(), np.float32),
        np.concatenate([[0], has.sum(axis=1).cumsum()]).astype(np.int32),
    )


def from_peaks(fields: Fields, peaks: Peaks, config: DecodeConfig | None = None) -> Poses:
    limbs = match_limbs(score_limbs(fields, peaks, config), config, peaks)
    return assemble_people(peaks, limbs, fields.skeleton, config)


def true_people(truth: Poses, peaks: Peaks) -> Poses:
    """The true people, each joint at the nearest peak; without it where all are too far."""
    xy, scores = np.full_like(truth.xy, np.nan), np.zeros_like(truth.scores)
    for k in range(truth.skeleton.n_joints):
        of_joint = slice(peaks.starts[k], peaks.starts[k + 1])
        for i in np.flatnonzero(truth.scores[:, k] > 0):
            gaps = np.linalg.norm(peaks.xy[of_joint] - truth.xy[i, k], axis=1)
            if gaps.min(initial=np.inf) <= NEAR_PX:
                xy[i, k] = peaks.xy[of_joint][gaps.argmin()]
                scores[i, k] = min(peaks.scores[of_joint][gaps.argmin()], 1)
    some = (scores > 0).any(axis=1)
    poses = Poses(xy=xy[some], scores=scores[some], person_scores=np.zeros(some.sum()),
                  skeleton=truth.skeleton)  # fmt: skip
    boxes = poses.boxes()
    size = np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=1) + 1  # as assemble_people ranks
    ranks = np.sqrt((poses.scores**2).mean(axis=1)) * size / (size + DecodeConfig().score_size_px)
    return poses.replace(person_scores=ranks.astype(np.float32))


def losses(scenes: Sequence[Scene], fields: Sequence[Fields]) -> Counter[str]:
    """How many joints have no peak or are with another person, and people with no true joint."""
    count: Counter[str] = Counter()
    for scene, of_scene in zip(scenes, fields, strict=True):
        truth, people, peaks = scene.poses, decode(of_scene), find_peaks(of_scene)
        near = _near(truth, people)
        n_near = near.sum(axis=2)
        count["ghosts"] += int((n_near.max(axis=0, initial=0) == 0).sum())
        own = n_near.argmax(axis=1) if len(people) else np.zeros(len(truth), int)
        for i, k in np.argwhere(truth.scores > 0):
            count["joints"] += 1
            at = peaks.xy[peaks.starts[k] : peaks.starts[k + 1]]
            if not (np.linalg.norm(at - truth.xy[i, k], axis=1) <= NEAR_PX).any():
                count["no peak"] += 1
            elif not near[i, :, k].any():
                count["peak unused"] += 1
            elif not near[i, own[i], k]:
                count["with another person"] += 1
    return count


def _near(truth: Poses, people: Poses) -> NDArray[np.bool_]:
    """(true, found, K) whether a joint of a person found is that of a true one."""
    gaps = np.linalg.norm(truth.xy[:, None] - people.xy[None], axis=3)  # NaN where missing
    return np.asarray(np.nan_to_num(gaps, nan=np.inf) <= NEAR_PX)


def print_strides(n_scenes: int = 30, n_people: int = 6) -> None:
    """People found at each stride, in scenes with the usual noise, and those who are not there."""
    size_hw = (368, 656)
    box = Letterbox(image_hw=size_hw, resized_hw=size_hw, size_hw=size_hw)
    print(f"\n{n_scenes} scenes of {n_people} people, with noise")
    for stride in STRIDES:
        n_found, heights = 0, [0.0]  # of the ghosts
        for seed in range(n_scenes):
            rng = np.random.default_rng(seed)
            truth = random_people(n_people, size_hw, rng, height_px=(120, 340))
            people = decode(fields_of(Scene(truth, size_hw, box, seed), noise=1, stride=stride))
            is_true = _near(truth, people).any(axis=(0, 2))
            n_found += int(is_true.sum())
            heights += people.scores[~is_true].max(axis=1).tolist()
        print(f"  stride {stride:2}: {n_found} people, {len(heights) - 1} ghosts, "
              f"the highest peak of one {max(heights):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
