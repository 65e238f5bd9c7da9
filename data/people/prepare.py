"""Photos of people with labels that other networks made, from five public collections."""

import sys
from pathlib import Path

from openpaf.training.data.preparation import Source, main

WHERE = """\
Flickr8k (Hodosh, Young and Hockenmaier, 2013), photos of 22 kinds of sport, Vietnamese street
scenes, and the Clothing Co-Parsing photos; the labels, in COCO format, were made by other networks.
"""
WEIGHTS = {
    "flickr8k_500": 1.0,
    "flickr8k_224": 2.0,
    "sports22": 2.0,
    "vietnam_vqa": 0.7,
    "ccp": 0.3,
}
SETS = [
    Source(
        name=name,
        annotations=f"{name}/pseudo_keypoints.json",
        images=f"{name}/images",
        weight=weight,
        fully_annotated=False,
    )
    for name, weight in WEIGHTS.items()
]

if __name__ == "__main__":
    sys.exit(main(SETS, folder=Path("../shared/data/people"), where=WHERE))
