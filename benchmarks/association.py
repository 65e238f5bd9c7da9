"""The 2017 paper's ablations of the parser: what ties joints together, how, and along which limbs.

    python benchmarks/association.py [--annotations FILE] [--tree-data DIR ...] [--data DIR]

First the maximum spanning tree of the limbs, measured on people of COCO train2017. Then, for each
choice, AP on fields made of true people (clean, and with white noise), AP on the shipped model's
own fields, and the time to parse one image relative to the default in the same run. Midpoints have
Gaussians of their own, as in the paper; the shipped model gives none. Then, on scenes of few
people, the same choices beside the exact optimum of the paper's equation 12 with all limbs at
once, which bounds what any matching can reach. The plot is the time against people.
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
from midpoints import encode_midpoints, measured_tree, score_midpoints
from parser import ANNOTATIONS, DATA, SHARED, _rows, shortest_ms
from real_fields import fields_of_photos
from scenes import PAF_NOISE, Scene, coco_scenes, fields_of, random_people

from openpaf import DecodeConfig, Fields, PoseEstimator, Skeleton, decode, encode_fields
from openpaf.decoding import Limbs, Peaks, assemble_people, find_peaks, match_limbs, score_limbs
from openpaf.evaluation.coco import evaluate
from openpaf.evaluation.label_files import load_annotations
from openpaf.skeleton.trees import tree_limbs

ROOT = Path(__file__).resolve().parent.parent
TREE_DATA = [SHARED / "data" / name for name in ("coco_train", "coco_train_extra")]
# The paper's parser, without what this library adds after matching.
PAPER: dict[str, Any] = {
    "matching": "greedy",
    "n_fallbacks": 0,
    "split_flatness": 1.0,
    "exchange_gain": 1000.0,
    "merge_distance": 0,
    "complete_distance": 0,
    "share_threshold": 2.0,
    "weak_peak_threshold": 0.2,
}
#: COCO17 with a limb between any two joints.
FULL = dataclasses.replace(
    Skeleton.COCO17, name="coco17_full", limbs=tuple(itertools.combinations(range(17), 2))
)
PAPERS_OWN = """
The paper's own figures (Cao et al., CVPR 2017, table 2 and figure 7), mAP of trained networks on
343 images of MPII:
full graph, integer program 78.3     tree, integer program 77.6
tree, greedy 77.4                    tree, greedy, a network with separate branches 79.1
PAF 2.9 above one midpoint, 2.3 above two"""


ASSOCIATIONS = ("PAF", "one midpoint", "two midpoints")
GRAPHS = ("full", "redundant", "tree")
RULES: dict[str, dict[str, Any]] = {"": {}, "paper's rules: ": PAPER}
#: Peaks, candidate limbs and the joints that they are of.
Steps = tuple[Peaks, Limbs, Skeleton]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--annotations", type=Path, default=ANNOTATIONS)
    parser.add_argument("--tree-data", type=Path, nargs="*", default=TREE_DATA)
    parser.add_argument("--data", type=Path, default=DATA, help="photos for real fields")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "time-people.png")
    parser.add_argument("--exact-people", type=int, default=4, help="largest scene solved exactly")
    parser.add_argument("--skip-plot", action="store_true")
    arguments = parser.parse_args()
    for path in (arguments.annotations, arguments.data, *arguments.tree_data):
        if not path.exists():
            parser.error(f"{path}: no such file or folder")
    print(f"{date.today()}, {platform.machine()}, Python {platform.python_version()}")
    print_tree(arguments.tree_data)
    truth = load_annotations(arguments.annotations)
    scenes = coco_scenes(arguments.annotations, Skeleton.COCO17)
    print_choices(truth, scenes)
    print(PAPERS_OWN)
    print_real(arguments.data)
    print_optimum(truth, scenes, arguments.exact_people)
    if not arguments.skip_plot:
        plot_times(arguments.plot)


def print_tree(folders: Sequence[Path]) -> None:
    skeleton = Skeleton.COCO17
    files = [folder / "person_keypoints.json" for folder in folders]
    scenes = [scene for file in files for scene in coco_scenes(file, skeleton)]
    pairs = ((fields_of(scene, noise=1.0), scene.poses) for scene in scenes)
    tree = measured_tree(pairs, skeleton)
    same = "the library's" if tree == tree_limbs(skeleton) else "not the library's"
    print(f"\nMaximum spanning tree on {len(scenes)} images of COCO train2017, {same}:")
    limbs = (skeleton.limbs[limb] for limb in tree)
    print(", ".join(f"{skeleton.joints[a]}-{skeleton.joints[b]}" for a, b in limbs))


def print_choices(truth: Any, scenes: list[Scene]) -> None:
    """AP of every choice on true people's fields, clean and noisy."""
    print(f"\n{'association, graph, matching':50} {'clean':>7} {'noisy':>7}")
    kinds = [(rules, matching) for rules in RULES for matching in ("optimal", "greedy")]
    lines: dict[str, list[str]] = {rules: [] for rules in RULES}
    for association, graph in itertools.product(ASSOCIATIONS, GRAPHS):
        configs = [DecodeConfig(**{**RULES[rules], "matching": m, "graph": graph})
                   for rules, m in kinds]  # fmt: skip
        clean, noisy = (_aps(truth, scenes, association, configs, noise) for noise in (0.0, 1.0))
        for i, (rules, matching) in enumerate(kinds):
            name = f"{rules}{association}, {graph}, {matching}"
            lines[rules].append(f"{name:50} {clean[i]:7.4f} {noisy[i]:7.4f}")
    for of_rules in lines.values():
        print("\n".join(of_rules))


def _aps(
    truth: Any,
    scenes: Sequence[Scene],
    association: str,
    configs: Sequence[DecodeConfig],
    noise: float,
) -> list[float]:
    """AP with each of some configurations, which have one graph."""
    found: list[list[dict[str, Any]]] = [[] for _ in configs]
    for scene in scenes:
        score = scorer(scene, association, configs[0].graph, noise)
        for people, config in zip(found, configs, strict=True):
            steps = score(config)
            limbs = match_limbs(steps[1], config, steps[0])
            people += _assembled(scene, steps, limbs, config)
    return [_ap(truth, people, scenes) for people in found]


def scorer(
    scene: Scene, association: str, graph: str, noise: float
) -> Callable[[DecodeConfig], Steps]:
    """Peaks and candidate limbs of a scene by a configuration; fields are made once, seeded."""
    skeleton = FULL if graph == "full" else Skeleton.COCO17
    scene = scene._replace(poses=scene.poses.to(skeleton))
    fields = fields_of(scene, noise=noise)
    n = ASSOCIATIONS.index(association)
    maps = encode_midpoints(scene.poses, scene.size_hw, n) if n else None
    if maps is not None and noise:
        rng = np.random.default_rng(scene.image_id + 1)
        maps = maps + rng.normal(0, noise * PAF_NOISE, maps.shape).astype(np.float32)

    def score(config: DecodeConfig) -> Steps:
        peaks = find_peaks(fields, config)
        if maps is None:
            return peaks, score_limbs(fields, peaks, config), skeleton
        return peaks, score_midpoints(maps, fields, peaks, config), skeleton

    return score


def _assembled(
    scene: Scene, steps: Steps, limbs: Limbs, config: DecodeConfig
) -> list[dict[str, Any]]:
    peaks, _, skeleton = steps
    poses = scene.letterbox.undo(assemble_people(peaks, limbs, skeleton, config))
    return _rows(poses.to(Skeleton.COCO17), scene.image_id)


def _ap(truth: Any, people: list[dict[str, Any]], scenes: Sequence[Scene]) -> float:
    return evaluate(truth, people, [scene.image_id for scene in scenes])["AP"]


def print_real(data: Path) -> None:
    """AP and time of the shipped model's fields, which have PAFs and no midpoints."""
    truth, photos = fields_of_photos(data, PoseEstimator(engine="torch"))
    many = [photo.fields for photo in photos]
    print(f"\n{'fields of the shipped model':50} {'AP':>7} {'time':>6}")
    base = _mean_ms(many, DecodeConfig())
    for rules, graph in itertools.product(RULES, ("redundant", "tree")):
        for matching in ("optimal", "greedy"):
            config = DecodeConfig(**{**RULES[rules], "matching": matching, "graph": graph})
            people = []
            for photo in photos:
                poses = photo.letterbox.undo(decode(photo.fields, config))
                people += _rows(poses.to(Skeleton.COCO17), photo.image_id)
            ap = evaluate(truth, people, [photo.image_id for photo in photos])["AP"]
            name = f"{rules}PAF, {graph}, {matching}"
            print(f"{name:50} {ap:7.4f} {_mean_ms(many, config) / base:5.1f}x")


def _mean_ms(many: Sequence[Fields], config: DecodeConfig) -> float:
    def parse_all() -> None:
        for fields in many:
            decode(fields, config)

    return shortest_ms(parse_all, n_rounds=5) / len(many)


def print_optimum(truth: Any, scenes: list[Scene], most_people: int) -> None:
    few = [s for s in scenes if 2 <= len(s.poses) <= most_people]
    print(f"\nAll limbs at once, exactly (integer program), on the {len(few)} scenes of 2 to "
          f"{most_people} people, with the paper's rules: AP; then weight as a share of the exact "
          "solution's, and ms to match")  # fmt: skip
    matchings = ("exact", "optimal", "greedy")
    print(f"{'association, graph, fields':36}" + "".join(f" {m:>8}" for m in matchings))
    for kind in itertools.product(ASSOCIATIONS, GRAPHS, ("clean", "noisy")):
        association, graph, fields = kind
        configs = [DecodeConfig(**{**PAPER, "matching": m, "graph": graph}) for m in matchings]
        noise = float(fields == "noisy")
        steps = [scorer(s, association, graph, noise)(configs[0]) for s in few]
        aps, weights, times = zip(*(_matched(truth, few, steps, c) for c in configs), strict=True)
        print(f"{', '.join(kind):36}" + "".join(f" {ap:8.4f}" for ap in aps)
              + "".join(f" {weight / weights[0]:8.4f}" for weight in weights)
              + "".join(f" {ms:9.3f}" for ms in times), flush=True)  # fmt: skip


def _matched(
    truth: Any, scenes: Sequence[Scene], steps: Sequence[Steps], config: DecodeConfig
) -> tuple[float, float, float]:
    """AP, total weight of the limbs, and ms a scene."""
    match_limbs(steps[0][1], config, steps[0][0])  # compiled before anything is timed
    start = time.perf_counter()
    limbs = [match_limbs(candidates, config, peaks) for peaks, candidates, _ in steps]
    ms = (time.perf_counter() - start) / len(scenes) * 1000
    total = sum(_weight(p, c, chosen) for (p, c, _), chosen in zip(steps, limbs, strict=True))
    people = [
        person
        for scene, of_scene, chosen in zip(scenes, steps, limbs, strict=True)
        for person in _assembled(scene, of_scene, chosen, config)
    ]
    return _ap(truth, people, scenes), total, ms


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
