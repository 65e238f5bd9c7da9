"""AP of the shipped models on COCO photos: the accuracy figures of the README.

    python benchmarks/accuracy.py --data ../shared/data/coco_val_dev

Any folder with ``person_keypoints.json`` and ``images/`` will do. Photos whose entry says
``"ann_complete": true`` are measured by themselves as well, since on the others
unlabeled people count as mistakes.
"""

from __future__ import annotations

import argparse
import platform
from datetime import date
from pathlib import Path

import coco_photos

from openpaf import PoseEstimator, weights
from openpaf.cli.common import IMAGE_THRESHOLD
from openpaf.evaluation.coco import METRICS, evaluate
from openpaf.evaluation.matching import precision_at
from openpaf.evaluation.run import detect_photos
from openpaf.weights.spec import PARTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    coco_photos.add_arguments(parser)
    parser.add_argument("--model", action="append", help="default: every shipped model")
    parser.add_argument("--size", type=int, action="append", help="default: 368 and 256")
    parser.add_argument("--engine", default="torch")
    arguments = parser.parse_args()
    annotations, everything = coco_photos.read(arguments)
    complete = [i for i in everything if annotations.imgs[i].get("ann_complete")]
    subsets = {"all": everything}
    if 0 < len(complete) < len(everything):
        subsets = {"completely labeled": complete, **subsets}
    print(f"{date.today()}, {platform.machine()}, engine {arguments.engine}, {arguments.data.name}")
    print(f"{'model':24} {'size':>4} {'photos':>22} " + " ".join(f"{m:>5}" for m in METRICS)
          + f"  precision / recall at OKS 0.5, score {IMAGE_THRESHOLD}")  # fmt: skip
    shipped = [
        row["name"] for row in weights.table() if row["shipped"] and row["method"] not in PARTS
    ]
    for model in arguments.model or shipped:
        for size in arguments.size or [368, 256]:
            estimator = PoseEstimator(model, size=size, engine=arguments.engine)
            images = arguments.data / "images"
            detections = detect_photos(annotations, images, estimator, everything)
            for name, ids in subsets.items():
                figures = evaluate(annotations, detections, ids)
                precision, recall = precision_at(
                    annotations, detections, ids, min_score=IMAGE_THRESHOLD
                )
                print(
                    f"{Path(model).stem:24} {size:4} {len(ids):4} {name:>17} "
                    + " ".join(f"{figures[m]:.3f}" for m in METRICS)
                    + f"  {precision:.3f} / {recall:.3f}"
                )


if __name__ == "__main__":
    main()
