"""People of an image as objects of other packages."""

from __future__ import annotations

from typing import Any

import numpy as np

from openpaf.checks import import_extra
from openpaf.tables.schema import PeopleOfImage


def to_supervision(people: PeopleOfImage) -> Any:
    """:class:`supervision.KeyPoints`; see :meth:`openpaf.Poses.to_supervision`."""
    supervision = import_extra("supervision", "supervision", "to_supervision")
    return supervision.KeyPoints(
        xy=np.nan_to_num(people.xy),
        class_id=np.zeros(len(people.xy), np.int64),
        keypoint_confidence=people.scores,
        detection_confidence=people.person_scores,
        visible=people.scores > 0,
        data={} if people.ids is None else {"person_id": people.ids},
    )


def to_fiftyone(people: PeopleOfImage, image_hw: tuple[int, int]) -> Any:
    """:class:`fiftyone.Keypoints`; see :meth:`openpaf.Poses.to_fiftyone`."""
    try:
        import fiftyone
    except ImportError as error:  # no extra of ours: it needs other versions of what we pin
        raise ValueError(
            "to_fiftyone: 'fiftyone' is not installed; pip install fiftyone"
        ) from error
    height, width = image_hw
    # Its 0 and 1 are the edges of the image, half a pixel from the outermost centers.
    shares = (people.xy.astype(np.float64) + 0.5) / (width, height)
    ids = [None] * len(shares) if people.ids is None else people.ids.tolist()
    return fiftyone.Keypoints(
        keypoints=[
            fiftyone.Keypoint(
                label="person",
                points=shares[n].tolist(),
                confidence=people.scores[n].astype(np.float64).tolist(),
                index=ids[n],
                person_score=float(people.person_scores[n]),
            )
            for n in range(len(shares))
        ]
    )
