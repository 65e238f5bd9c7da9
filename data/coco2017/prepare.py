"""COCO 2017, training photos: python data/coco2017/prepare.py FOLDER"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from preparation import Source, main

WHERE = """\
COCO 2017 is at https://cocodataset.org/#download (annotations CC BY 4.0, photos as on Flickr):
  http://images.cocodataset.org/zips/train2017.zip                         18 GB
  http://images.cocodataset.org/annotations/annotations_trainval2017.zip   241 MB
Unpack both into one folder, which then has annotations/ and train2017/.
"""
SETS = [
    Source(
        name="coco2017",
        annotations="annotations/person_keypoints_train2017.json",
        images="train2017",
        masks="segments",
    )
]

if __name__ == "__main__":
    sys.exit(main(SETS, folder=Path("../coco2017"), where=WHERE))
