"""Are person scores probabilities? A reliability plot on completely labeled images, and a fit.

    python benchmarks/reliability.py --data coco_train --holdout 1 2 --more coco_train_extra \\
        --engine openvino-int8
    python benchmarks/reliability.py --data coco_train --more coco_train_extra --size 368 \\
        --engine openvino --model topdown topdown-fast topdown-best
    python benchmarks/reliability.py --data coco_train --holdout 1 2 --model mask-rcnn-mobilenet

For each model at each size: precision and recall at thresholds. Over the sizes: how many of the
people whose score lies in a tenth are true ones (OKS of at least 0.5), log loss, and the
coefficients of :mod:`openpaf.estimator.calibration` that these people give. The commands above
made those that ship; of pairs, run again on 2026-11-28, they gave the same within 0.1, and the last
coefficient, of which few people tell, within 0.6. Images of ``--more`` have people, but not all are
labeled: they count for the slopes, and not for the offset. The plot needs matplotlib.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import coco_photos
import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO

from openpaf.errors import ImageError
from openpaf.estimator import PoseEstimator, calibration
from openpaf.estimator.calibration import COEFFICIENTS, REPRESENTATIVES
from openpaf.evaluation.coco import as_results
from openpaf.evaluation.label_files import Detection
from openpaf.evaluation.matching import match_people, precision_at
from openpaf.evaluation.run import read_ahead
from openpaf.poses import Poses
from openpaf.weights.spec import ModelSpec

Numbers = NDArray[np.float64]
THRESHOLDS = (0.1, 0.3, 0.5, 0.6, 0.65, 0.7, 0.8)


class People(NamedTuple):
    """Those that a model found: scores, features, whether they are true, and of which images."""

    scores: Numbers
    features: Numbers  # (N, F)
    truths: Numbers
    is_more: Numbers  # 1 where not everybody is labeled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    coco_photos.add_arguments(parser)
    add = parser.add_argument
    add("--more", type=Path, help="a folder whose images are not labeled completely")
    add("--model", nargs="+", default=["default", "fast"])
    add("--size", type=int, nargs="+", default=[192, 256, 368, 512, 640])
    add("--engine", default="torch")
    add("--plot", type=Path, help="where to draw it")
    arguments = parser.parse_args()
    annotations, ids = coco_photos.read(arguments)
    ids = [i for i in ids if annotations.imgs[i].get("ann_complete")]
    sets = [(annotations, arguments.data / "images", ids)]
    if arguments.more:
        more, more_ids = coco_photos.read(argparse.Namespace(
            data=arguments.more, holdout=arguments.holdout
        ))  # fmt: skip
        sets.append((more, arguments.more / "images", more_ids))
    curves: dict[str, tuple[Numbers, Numbers]] = {}
    for model in arguments.model:
        groups = []
        for size in arguments.size:
            estimator = PoseEstimator(model, engine=arguments.engine, size=size)
            for n, (labels, folder, chosen) in enumerate(sets):
                detections, features = found(estimator, labels, folder, chosen)
                groups.append(judged(labels, detections, features, chosen, is_more=n > 0))
                if n == 0:
                    print_precision(f"{model}, {size} px", labels, detections, chosen)
        people = People(*map(np.concatenate, zip(*groups, strict=True)))
        of_plot = people.is_more == 0
        curves[model] = people.scores[of_plot], people.truths[of_plot]
        report(model, people, estimator.spec)
    if arguments.plot:
        draw(curves, len(ids), arguments.plot)


def found(
    estimator: PoseEstimator, annotations: COCO, folder: Path, ids: list[int]
) -> tuple[list[Detection], Numbers]:
    """Detections of people, with a number each, and what their scores were made of."""
    detections: list[Detection] = []
    noted: list[Numbers] = []
    original = calibration.features

    def noting(poses: Poses, size: int, *, compares: bool) -> Numbers:
        noted.append(original(poses, size, compares=compares))
        return noted[-1]

    offset, *slopes = coefficients(estimator.spec)
    rows = []
    calibration.features = noting
    try:
        paths = [folder / annotations.imgs[i]["file_name"] for i in ids]
        for image_id, image in zip(ids, read_ahead(paths, 1), strict=True):
            if isinstance(image, ImageError):
                raise image
            poses = estimator(image)
            scores = calibration.probability(offset + noted[-1] @ slopes)
            rows.append(noted[-1][np.argsort(-scores, kind="stable")])
            start = len(detections)
            for n, result in enumerate(as_results(poses, image_id, annotations), start):
                exact = float(poses.person_scores[n - start])
                detections.append({**result, "score": exact, "number": n})
    finally:
        calibration.features = original
    return detections, np.concatenate(rows)


def coefficients(spec: ModelSpec) -> tuple[float, ...]:
    """Those that the scores of a model were made with."""
    return COEFFICIENTS.get(spec.name) or COEFFICIENTS[REPRESENTATIVES[spec.method]]


def print_precision(
    title: str, annotations: COCO, detections: list[Detection], ids: list[int]
) -> None:
    pairs = [precision_at(annotations, detections, ids, min_score=t) for t in THRESHOLDS]
    print(f"{title}, precision / recall: " + "  ".join(
        f"{t}: {p:.3f} / {r:.3f}" for t, (p, r) in zip(THRESHOLDS, pairs, strict=True)
    ), flush=True)  # fmt: skip


def judged(
    annotations: COCO,
    detections: list[Detection],
    features: Numbers,
    ids: list[int],
    *,
    is_more: bool = False,
) -> People:
    """The people that are true or false; not those of crowds and of people without joints."""
    images = match_people(annotations, detections, ids)
    true = [pair.detection for image in images for pair in image.pairs]
    false = [person for image in images for person in image.false]
    both = [*true, *false]
    return People(
        np.array([person["score"] for person in both]),
        features[[person["number"] for person in both]],
        np.repeat([1.0, 0.0], [len(true), len(false)]),
        np.full(len(both), float(is_more)),
    )


def report(model: str, people: People, spec: ModelSpec) -> None:
    """Print the shares of true people by tenths of the score, and a new fit."""
    complete = people.is_more == 0
    scores, truths = people.scores[complete], people.truths[complete]
    print(f"{model}: " + "  ".join(
        f"{mean:.2f} -> {share:.2f} ({n})" for mean, share, n in tenths(scores, truths)
    ))  # fmt: skip
    p = np.clip(scores, 1e-6, 1 - 1e-6)
    loss = -np.mean(truths * np.log(p) + (1 - truths) * np.log(1 - p))
    print(f"{model}: log loss {loss:.4f}, {int(truths.sum())} true of {len(truths)}")
    used = np.flatnonzero(coefficients(spec)[1:])
    fit = fitted(np.column_stack([people.features[:, used], people.is_more]), people.truths)
    values = np.zeros(1 + people.features.shape[1])
    values[[0, *(used + 1)]] = fit[:-1]
    print(f"{model}: coefficients of these people: {tuple(values.round(2).tolist())}", flush=True)


def tenths(scores: Numbers, truths: Numbers) -> list[tuple[float, float, int]]:
    """Mean score, share of true people and their number, in each tenth that has some."""
    index = np.minimum((scores * 10).astype(int), 9)
    groups = [index == i for i in np.unique(index)]
    return [(float(scores[g].mean()), float(truths[g].mean()), int(g.sum())) for g in groups]


def fitted(features: Numbers, truths: Numbers) -> Numbers:
    """Offset and slopes (F,) of a logistic regression in features (N, F), by Newton's method."""
    inputs = np.column_stack([np.ones(len(features)), features])
    weights = np.zeros(inputs.shape[1])
    penalty = np.full(len(weights), 1e-3)  # for features that do not vary
    penalty[0] = 0
    for _ in range(60):
        p = 1 / (1 + np.exp(-inputs @ weights))
        hessian = inputs.T @ (inputs * (p * (1 - p))[:, None]) + np.diag(penalty)
        gradient = inputs.T @ (truths - p) - penalty * weights
        weights += np.linalg.solve(hessian + 1e-9 * np.eye(len(weights)), gradient)
    return np.asarray(weights)


def draw(curves: dict[str, tuple[Numbers, Numbers]], n_images: int, path: Path) -> None:
    """Share of true people against the score; the areas of the dots are numbers of people."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes: Any = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", linestyle="--")
    for model, (scores, truths) in curves.items():
        points = np.array(tenths(scores, truths))
        (line,) = axes.plot(points[:, 0], points[:, 1], label=model)
        axes.scatter(points[:, 0], points[:, 1], s=points[:, 2], color=line.get_color(), alpha=0.5)
    axes.set_xlabel("person score")
    axes.set_ylabel("share of true people (OKS of at least 0.5)")
    axes.set_title(f"{n_images} completely labeled images")
    axes.legend()
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
