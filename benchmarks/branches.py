"""Which branch loses what: AP with the heatmaps of one model and the PAFs of another.

    python benchmarks/branches.py runs/fast/best.safetensors --data FOLDER [--holdout 1 2]

FOLDER has ``person_keypoints.json`` and ``images/``. Prints AP of both models, of their two
mixtures, and the squared error of the model's fields beside the reference's: a sum over channels,
a mean over cells and photos.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import replace
from datetime import date

import coco_photos
import numpy as np
from tqdm import tqdm

from openpaf import Fields, PoseEstimator
from openpaf.evaluation.coco import evaluate
from openpaf.formats import poses_to_coco
from openpaf.images import read_image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", help="name or safetensors file")
    parser.add_argument("--reference", help="likewise; default: the default model")
    coco_photos.add_arguments(parser)
    parser.add_argument("--size", type=int, default=368)
    arguments = parser.parse_args()
    annotations, ids = coco_photos.read(arguments)
    model, reference = (
        PoseEstimator(name, size=arguments.size, runtime="torch")
        for name in (arguments.model, arguments.reference)
    )
    if model.weights.skeleton != reference.weights.skeleton or grids(model) != grids(reference):
        raise SystemExit("model, reference: expected the same joints, limbs and grids")
    rows: dict[str, list[dict[str, object]]] = {}
    errors = []
    for image_id in tqdm(ids, unit="photo", disable=None):
        image = read_image(arguments.data / "images" / annotations.imgs[image_id]["file_name"])
        own, other = model.fields(image), reference.fields(image)
        errors.append(squared_errors(own, other))
        for name, fields in (
            ("reference", other),
            ("model", own),
            ("heatmaps of the reference, PAFs of the model", replace(other, pafs=own.pafs)),
            ("heatmaps of the model, PAFs of the reference", replace(own, pafs=other.pafs)),
        ):
            found = reference.parse(fields, image.shape[:2])
            rows.setdefault(name, []).extend(poses_to_coco(found, image_id))
    print(f"{date.today()}, {platform.machine()}, torch, {len(ids)} photos, {arguments.size} px")
    print(f"{'':46} {'AP':>5} {'AP50':>5} {'AP75':>5} {'APM':>5} {'APL':>5}")
    for name, detections in rows.items():
        figures = evaluate(annotations, detections, ids)
        values = " ".join(f"{figures[m]:.3f}" for m in ("AP", "AP50", "AP75", "APM", "APL"))
        print(f"{name:46} {values}")
    heatmaps, pafs = np.mean(errors, axis=0)
    print(f"squared error beside the reference: heatmaps {heatmaps:.4f}, PAFs {pafs:.4f}")


def grids(estimator: PoseEstimator) -> tuple[object, object]:
    return estimator.weights.heatmap_grid, estimator.weights.paf_grid


def squared_errors(own: Fields, other: Fields) -> tuple[float, float]:
    """Of heatmaps and PAFs: summed over channels, mean over cells."""
    return (
        float(np.square(own.heatmaps - other.heatmaps).sum(axis=0).mean()),
        float(np.square(own.pafs - other.pafs).sum(axis=0).mean()),
    )


if __name__ == "__main__":
    main()
