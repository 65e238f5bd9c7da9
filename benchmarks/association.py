"""The 2017 paper's ablations of the parser: what ties joints together, how, and along which limbs.

    python benchmarks/association.py [--annotations FILE] [--data DIR] [--plot FILE]

For each choice, AP on fields made of true people (clean, and with white noise), AP on the shipped
model's own fields, and the time to parse one picture, relative to the default in the same run.
Then, on scenes of few people, how near greedy parsing comes to the exact optimum of the paper's
equation 12 with all limbs at once. The plot is the time against people.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import platform
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from parser import ANNOTATIONS, DATA, _load, _rows, shortest_ms
from real_fields import fields_of_photos
from scenes import Scene, coco_scenes, fields_of, random_people

from openpaf import DecodeConfig, Fields, PoseEstimator, Skeleton, decode, encode_fields
from openpaf.decoding import Limbs, Peaks, find_peaks, match_limbs, score_limbs
from openpaf.evaluation.coco import evaluate

ROOT = Path(__file__).resolve().parent.parent
# The paper's parser, without what this library adds after matching.
PAPER: dict[str, Any] = {
    "matching": "greedy",
    "n_fallbacks": 0,
    "merge_distance": 0,
    "complete_distance": 0,
    "share_threshold": 2.0,
    "weak_peak_threshold": 0.2,
}
CHOICES: list[tuple[str, dict[str, Any]]] = [
    ("PAF, optimal, redundant: the default", {}),
    ("PAF, greedy, redundant", {"matching": "greedy"}),
    ("PAF, optimal, tree", {"graph": "tree"}),
    ("PAF, greedy, tree", {"graph": "tree", "matching": "greedy"}),
    ("one midpoint, optimal, redundant", {"association": "one_midpoint"}),
    ("two midpoints, optimal, redundant", {"association": "two_midpoints"}),
    ("as in the paper: PAF, greedy, tree", {"graph": "tree", **PAPER}),
    ("as in the paper, redundant", PAPER),
    ("as in the paper, one midpoint", {"association": "one_midpoint", **PAPER}),
    ("as in the paper, two midpoints", {"association": "two_midpoints", **PAPER}),
]
#: COCO17 with a limb between any two joints.
FULL = dataclasses.replace(
    Skeleton.COCO17, name="coco17_full", limbs=tuple(itertools.combinations(range(17), 2))
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--annotations", type=Path, default=ANNOTATIONS)
    parser.add_argument("--data", type=Path, default=DATA, help="photos for real fields")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "time-people.png")
    parser.add_argument("--exact-people", type=int, default=4, help="largest scene solved exactly")
    arguments = parser.parse_args()
    for path in (arguments.annotations, arguments.data):
        if not path.exists():
            parser.error(f"{path}: no such file or folder")
    print(f"{date.today()}, {platform.machine()}, Python {platform.python_version()}")
    truth, scenes = (
        _load(arguments.annotations),
        coco_scenes(arguments.annotations, Skeleton.COCO17),
    )
    print_choices(truth, scenes, arguments.data)
    print_optimum(truth, scenes, arguments.exact_people)
    plot_times(arguments.plot)


def print_choices(truth: Any, scenes: list[Scene], data: Path) -> None:
    clean, noisy = (
        [(s.image_id, s.letterbox, fields_of(s, noise=noise)) for s in scenes]
        for noise in (0.0, 1.0)
    )
    estimator = PoseEstimator(engine="torch")
    real_truth, photos = fields_of_photos(data, estimator)
    real = [(p.image_id, p.letterbox, p.fields) for p in photos]
    print(
        f"\n{'association, matching, graph':36} {'clean':>7} {'noisy':>7} {'model':>7} {'time':>6}"
    )
    base = 0.0
    for name, options in CHOICES:
        config = DecodeConfig(**options)
        ap = [_ap(*of, config) for of in ((truth, clean), (truth, noisy), (real_truth, real))]
        ms = _mean_ms([fields for _, _, fields in real], config)
        base = base or ms
        print(f"{name:36} " + " ".join(f"{value:7.4f}" for value in ap) + f" {ms / base:5.1f}x")
    full = [(s.image_id, s.letterbox, encode_fields(s.poses.to(FULL), s.size_hw)) for s in scenes]
    ap_full = _ap(truth, full, DecodeConfig(graph="full"))
    print(f"{'PAF, optimal, full (136 limbs)':36} {ap_full:7.4f}")


def _ap(truth: Any, photos: Sequence[tuple[int, Any, Fields]], config: DecodeConfig) -> float:
    rows = []
    for image_id, letterbox, fields in photos:
        found = letterbox.undo(decode(fields, config))
        rows += _rows(found.to(Skeleton.COCO17), image_id)
    return evaluate(truth, rows, [image_id for image_id, _, _ in photos])["AP"]


def _mean_ms(many: Sequence[Fields], config: DecodeConfig) -> float:
    def parse_all() -> None:
        for fields in many:
            decode(fields, config)

    return shortest_ms(parse_all, n_rounds=5) / len(many)


def print_optimum(truth: Any, scenes: list[Scene], most_people: int) -> None:
    few = [s for s in scenes if 2 <= len(s.poses) <= most_people]
    print(f"\nAll limbs at once, exactly (integer program), on the {len(few)} scenes of 2 to "
          f"{most_people} people, with noise; weights as a share of the optimum's")  # fmt: skip
    print(f"{'matching':36} {'AP':>7} {'weight':>8} {'ms':>9}")
    config = DecodeConfig(**PAPER)
    fields = [fields_of(s, noise=1.0) for s in few]
    for f in fields[:1]:  # compiled before anything is timed
        for matching in ("optimal", "greedy"):
            match_limbs(score_limbs(f, find_peaks(f)), DecodeConfig(matching=matching))
    steps = [(p := find_peaks(f, config), score_limbs(f, p, config)) for f in fields]
    optima: list[float] = []
    for matching in ("exact", "optimal", "greedy"):
        chosen = dataclasses.replace(config, matching=matching)
        start = time.perf_counter()
        limbs = [match_limbs(candidates, chosen, peaks) for peaks, candidates in steps]
        ms = (time.perf_counter() - start) / len(few) * 1000
        totals = [_weight(p, c, m) for (p, c), m in zip(steps, limbs, strict=True)]
        optima = optima or totals
        photos = [(s.image_id, s.letterbox, f) for s, f in zip(few, fields, strict=True)]
        share = sum(totals) / sum(optima)
        print(f"{matching:36} {_ap(truth, photos, chosen):7.4f} {share:8.4f} {ms:9.3f}")


def _weight(peaks: Peaks, candidates: Limbs, chosen: Limbs) -> float:
    """Total weight of the candidates inside the people that the chosen limbs make, in order."""
    joint = np.repeat(np.arange(len(peaks.starts) - 1), np.diff(peaks.starts))
    person = np.arange(len(joint))
    joints = [{int(k)} for k in joint]
    for a, b in chosen.peaks:
        p, q = person[a], person[b]
        if p != q and not joints[p] & joints[q]:
            person[person == q] = p
            joints[p] |= joints[q]
    inside = person[candidates.peaks[:, 0]] == person[candidates.peaks[:, 1]]
    return float(candidates.weights[inside].sum())


def plot_times(file: Path) -> None:
    try:
        import matplotlib
    except ImportError:
        print("no matplotlib: no plot", file=sys.stderr)
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    counts = (1, 2, 4, 9, 16, 30, 50, 100, 200)
    lines: list[tuple[str, DecodeConfig]] = [
        ("optimal, 28 limbs (default)", DecodeConfig()),
        ("optimal, tree of 16 limbs", DecodeConfig(graph="tree")),
        ("greedy, 28 limbs", DecodeConfig(matching="greedy")),
    ]
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, config in lines:
        axes.plot(counts, [_crowd_ms(n, config) for n in counts], marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="people", ylabel="ms on one core",
             title="Parsing 46 x 82 cells")  # fmt: skip
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(file, dpi=110)
    print(f"\nplot: {file.name}")


def _crowd_ms(n_people: int, config: DecodeConfig) -> float:
    people = random_people(n_people, (368, 656), np.random.default_rng(n_people))
    fields = encode_fields(people, (368, 656))
    parse: Callable[[], Any] = lambda: decode(fields, config)  # noqa: E731
    return shortest_ms(parse, n_rounds=5)


if __name__ == "__main__":
    main()
