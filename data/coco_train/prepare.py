"""243 photos of COCO train2017 in their own size; every second one is left for choosing."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from preparation import Source, main

WHERE = "These photos are part of COCO train2017; data/coco2017/prepare.py says where to get it."
SETS = [
    Source(
        name="coco_train",
        annotations="person_keypoints.json",
        images="images",
        weight=1.5,
        holdout=(1, 2),
    )
]

if __name__ == "__main__":
    sys.exit(main(SETS, folder=Path("../shared/data/coco_train"), where=WHERE))
