"""Leeds Sports Pose Extended with mended labels: 10,000 photos, one person each and bystanders."""

import sys
from pathlib import Path

from openpaf.training.data.preparation import Source, main

WHERE = """\
Leeds Sports Pose Extended: Johnson and Everingham, CVPR 2011; for research, with citation.
The labels here are in COCO format, with face joints and bystanders added by other networks.
"""
SETS = [
    Source(
        name="lspet",
        annotations="pseudo_keypoints.json",
        images="images",
        weight=1.5,
        fully_annotated=False,
        min_agreement=0.3,
    )
]

if __name__ == "__main__":
    sys.exit(main(SETS, folder=Path("../shared/data/lspet"), where=WHERE))
