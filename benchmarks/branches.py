"""Which branch, and which stage, loses what: AP with fields of two models and of both stages.

    python benchmarks/branches.py runs/fast/best.safetensors --data FOLDER [--holdout 1 2]

FOLDER has ``person_keypoints.json`` and ``images/``. Prints AP of both models, of their two
mixtures, and of the model with the heatmaps or the PAFs of its initial stage, unrefined; and the
squared error of the model's fields beside the reference's: a sum over channels, a mean over cells
and photos.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import replace
from datetime import date

import coco_photos
import numpy as np
from tqdm import tqdm

from openpaf import Fields, PoseEstimator, weights
from openpaf.evaluation.coco import evaluate
from openpaf.io.coco import poses_to_coco
from openpaf.io.images import read_image
from openpaf.io.paths import inside_folder
from openpaf.networks import build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", help="name or safetensors file")
    parser.add_argument("--reference", help="another one (default: the default model)")
    coco_photos.add_arguments(parser)
    parser.add_argument("--size", type=int, default=368)
    arguments = parser.parse_args()
    annotations, ids = coco_photos.read(arguments)
    model, reference = (
        PoseEstimator(name, size=arguments.size, engine="torch")
        for name in (arguments.model, arguments.reference)
    )
    initial = initial_stage(arguments.model, arguments.size)
    if model.spec.skeleton != reference.spec.skeleton or grids(model) != grids(reference):
        raise SystemExit("model, reference: expected the same joints, limbs and grids")
    rows: dict[str, list[dict[str, object]]] = {}
    errors = []
    for image_id in tqdm(ids, unit="photo", disable=None):
        name = annotations.imgs[image_id]["file_name"]
        image = read_image(inside_folder(arguments.data / "images", name))
        own, other = model.fields(image), reference.fields(image)
        first = initial.fields(image)
        errors.append(squared_errors(own, other))
        for name, fields in (
            ("reference", other),
            ("model", own),
            ("heatmaps of the reference, PAFs of the model", replace(other, pafs=own.pafs)),
            ("heatmaps of the model, PAFs of the reference", replace(own, pafs=other.pafs)),
            ("heatmaps of its initial stage", replace(own, heatmaps=first.heatmaps)),
            ("PAFs of its initial stage", replace(own, pafs=first.pafs)),
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


def initial_stage(model: str, size: int) -> PoseEstimator:
    """A model without its refinement stages."""
    network, row = weights.load_model(model)
    if row.builder != "lightweight":
        raise SystemExit(f"model: expected a lightweight network, got {row.builder!r}")
    state = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if not name.startswith("refinement_stages.")
    }
    spec = replace(row, options={**row.options, "n_refinement_stages": 0})
    initial = build(spec.builder, spec.skeleton, **spec.options)
    initial.load_state_dict(state)
    return PoseEstimator.from_network(initial, spec, size=size)


def grids(estimator: PoseEstimator) -> tuple[object, object]:
    return estimator.spec.heatmap_grid, estimator.spec.paf_grid


def squared_errors(own: Fields, other: Fields) -> tuple[float, float]:
    """Of heatmaps and PAFs: summed over channels, mean over cells."""
    return (
        float(np.square(own.heatmaps - other.heatmaps).sum(axis=0).mean()),
        float(np.square(own.pafs - other.pafs).sum(axis=0).mean()),
    )


if __name__ == "__main__":
    main()
