"""What a teacher of several views knows: AP of its mean fields, on the cells of one view.

    python benchmarks/views.py --data FOLDER --holdout 1 2 --scales 1 --mirrored 0.6 1.5

FOLDER has ``person_keypoints.json`` and ``images/``. The views are those of a training run's
``teacher_scales`` and ``mirrored_scales``, at whole photos, each padded to a square.
"""

from __future__ import annotations

import argparse
import platform
import sys
from datetime import date
from pathlib import Path

import coco_photos
import numpy as np
import torch
from numpy.typing import NDArray

from openpaf import Fields, PoseEstimator, Poses, weights
from openpaf.evaluation.coco import METRICS, detect, evaluate
from openpaf.geometry import Letterbox
from openpaf.io.images import read_image
from openpaf.training.optimizer import PRECISIONS, autocast

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipes"))
from multi_scale_teacher import MultiScaleNetwork


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    coco_photos.add_arguments(parser)
    parser.add_argument("--model", help="name or safetensors file; default: the default model")
    parser.add_argument("--size", type=int, default=368)
    parser.add_argument("--scales", type=float, nargs="*", default=[1.0])
    parser.add_argument("--mirrored", type=float, nargs="*", default=[])
    parser.add_argument("--precision", choices=list(PRECISIONS), default="float32")
    arguments = parser.parse_args()
    annotations, ids = coco_photos.read(arguments)
    estimator = PoseEstimator(arguments.model, size=arguments.size, engine="torch")
    network, spec = weights.load_model(arguments.model)
    views = MultiScaleNetwork(
        network.eval().to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        spec.skeleton,
        (spec.heatmap_grid, spec.paf_grid),
        arguments.scales,
        arguments.mirrored,
    )
    precision = PRECISIONS[arguments.precision]

    def fields_of(image: NDArray[np.uint8]) -> Fields:
        picture = Letterbox.fit(image.shape[:2], arguments.size).apply(image)
        height, width = picture.shape[1:]
        side = 8 * -(-max(height, width) // 8)
        square = np.full((1, 3, side, side), 128, np.float32)  # gray, as beside training photos
        square[0, :, :height, :width] = picture
        with torch.no_grad(), autocast(torch.device("cpu"), precision):
            heatmaps, pafs = views(torch.from_numpy((square - spec.mean) / spec.scale))[-1]
        rows, columns = spec.heatmap_grid.size_cells((height, width))
        inside = np.s_[0, :, :rows, :columns]
        return Fields(
            heatmaps=heatmaps.numpy()[inside],
            pafs=pafs.numpy()[inside].reshape(spec.skeleton.n_limbs, 2, rows, columns),
            heatmap_grid=spec.heatmap_grid,
            paf_grid=spec.paf_grid,
            skeleton=spec.skeleton,
        )

    def estimate(path: Path) -> Poses:
        image = read_image(path)
        return estimator.parse(fields_of(image), image.shape[:2])

    detections = detect(annotations, arguments.data / "images", estimate, ids)
    figures = evaluate(annotations, detections, ids)
    print(
        f"{date.today()}, {platform.machine()}, torch, {arguments.precision}, {len(ids)} photos, "
        f"{arguments.size} px, views at {arguments.scales}, mirrored at {arguments.mirrored}"
    )
    print(" ".join(f"{name} {figures[name]:.3f}" for name in METRICS))


if __name__ == "__main__":
    main()
