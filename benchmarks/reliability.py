"""Are person scores probabilities? A reliability plot on completely labeled images, and a fit.

    python benchmarks/reliability.py --data coco_train --holdout 1 2 --plot docs/reliability.png

For each model at each size: how many of the people whose score lies in a tenth are true ones (OKS
of at least 0.5), and precision and recall at thresholds. Printed with it are the coefficients of
:mod:`openpaf.estimator.calibration` that these people would give; those that ship are from the
held-out half of coco_train. The plot needs matplotlib.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import coco_photos
import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO

from openpaf.estimator import PoseEstimator
from openpaf.estimator.calibration import COEFFICIENTS
from openpaf.evaluation.label_files import Detection
from openpaf.evaluation.matching import match_people, precision_at
from openpaf.evaluation.run import detect_photos

Numbers = NDArray[np.float64]
THRESHOLDS = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    coco_photos.add_arguments(parser)
    parser.add_argument("--model", nargs="+", default=["default", "fast"])
    parser.add_argument("--size", type=int, nargs="+", default=[256, 368])
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--plot", type=Path, help="where to draw it")
    arguments = parser.parse_args()
    annotations, ids = coco_photos.read(arguments)
    ids = [i for i in ids if annotations.imgs[i].get("ann_complete")]
    curves: dict[str, tuple[Numbers, Numbers]] = {}
    for model in arguments.model:
        scores, truths = [], []
        for size in arguments.size:
            estimator = PoseEstimator(model, engine=arguments.engine, size=size)
            people = detect_photos(annotations, arguments.data / "images", estimator, ids)
            of_size = judged(annotations, people, ids)
            scores.append(of_size[0])
            truths.append(of_size[1])
            pairs = [precision_at(annotations, people, ids, min_score=t) for t in THRESHOLDS]
            print(f"{model}, {size} px, precision / recall: " + "  ".join(
                f"{t}: {p:.3f} / {r:.3f}" for t, (p, r) in zip(THRESHOLDS, pairs, strict=True)
            ))  # fmt: skip
        curves[model] = np.concatenate(scores), np.concatenate(truths)
        report(model, *curves[model], estimator.spec.name)
    if arguments.plot:
        draw(curves, len(ids), arguments.plot)


def judged(annotations: COCO, people: list[Detection], ids: list[int]) -> tuple[Numbers, Numbers]:
    """Scores of the people, and 1 for a true one, 0 for a false one."""
    images = match_people(annotations, people, ids)
    true = [pair.detection["score"] for image in images for pair in image.pairs]
    false = [person["score"] for image in images for person in image.false]
    return np.array(true + false), np.array([1.0] * len(true) + [0.0] * len(false))


def report(model: str, scores: Numbers, truths: Numbers, name: str) -> None:
    """Print the shares of true people by tenths of the score, and a new fit."""
    print(f"{model}: " + "  ".join(
        f"{mean:.2f} -> {share:.2f} ({n})" for mean, share, n in tenths(scores, truths)
    ))  # fmt: skip
    if name in COEFFICIENTS:
        offset, slope = COEFFICIENTS[name]
        score = np.clip(scores, 1e-7, 1 - 1e-7)
        raw = (np.log(score / (1 - score)) - offset) / slope
        print(f"{model}: offset and slope of these people: {fitted(raw, truths)}")


def tenths(scores: Numbers, truths: Numbers) -> list[tuple[float, float, int]]:
    """Mean score, share of true people and their number, in each tenth that has some."""
    index = np.minimum((scores * 10).astype(int), 9)
    groups = [index == i for i in np.unique(index)]
    return [(float(scores[g].mean()), float(truths[g].mean()), int(g.sum())) for g in groups]


def fitted(logits: Numbers, truths: Numbers) -> tuple[float, float]:
    """Offset and slope of a logistic regression, by Newton's method."""
    inputs = np.column_stack([np.ones_like(logits), logits])
    weights = np.array([0.0, 1.0])
    for _ in range(50):
        p = 1 / (1 + np.exp(-inputs @ weights))
        hessian = inputs.T @ (inputs * (p * (1 - p))[:, None]) + 1e-6 * np.eye(2)
        weights += np.linalg.solve(hessian, inputs.T @ (truths - p))
    return round(float(weights[0]), 2), round(float(weights[1]), 2)


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
