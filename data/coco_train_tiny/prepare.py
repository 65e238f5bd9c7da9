"""49 photos of COCO train2017, 352 px."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from preparation import Source, main

WHERE = "These photos are part of COCO train2017; data/coco2017/prepare.py says where to get it."
SETS = [
    Source(name="coco_train_tiny", annotations="person_keypoints.json", images="images", weight=0.3)
]

if __name__ == "__main__":
    sys.exit(main(SETS, folder=Path("../shared/data/coco_train_tiny"), where=WHERE))
