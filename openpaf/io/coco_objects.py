"""Objects as entries of COCO's list of results, with masks as run lengths."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.io.coco import poses_to_coco
from openpaf.io.files import write_text
from openpaf.io.keypoint_values import rounded_score
from openpaf.io.objects import Objects
from openpaf.io.pose_layouts import ImageId


def objects_to_coco(objects: Objects, image_id: ImageId) -> list[dict[str, Any]]:
    """The objects of an image as entries of COCO's list of results.

    Args:
        objects: The objects.
        image_id: COCO's id of the image.

    Returns:
        A dictionary an object: ``image_id``, ``category_id`` (the label), ``category_name``,
        ``bbox`` (x, y, width, height in px), ``score``; ``segmentation``, compressed run lengths,
        where there are masks; and the keys of :func:`openpaf.io.coco.poses_to_coco` where there are
        joints.
    """
    joints = (
        [{}] * len(objects) if objects.poses is None else poses_to_coco(objects.poses, image_id)
    )
    boxes = objects.boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    entries = []
    for n, name in enumerate(objects.names):
        entry: dict[str, Any] = {
            **joints[n],
            "image_id": image_id,
            "category_id": int(objects.labels[n]),
            "category_name": name,
            "bbox": [round(float(value), 3) for value in boxes[n]],
            "score": rounded_score(objects.scores[n]),
        }
        if objects.masks is not None:
            entry["segmentation"] = encode_mask(objects.masks[n])
        entries.append(entry)
    return entries


def write_objects(objects: Objects, path: str | os.PathLike[str], image_id: ImageId = 0) -> None:
    """Write the objects of an image to a file in COCO's results format, whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    write_text(path, json.dumps(objects_to_coco(objects, image_id), allow_nan=False) + "\n")


def mask_polygons(
    segmentation: Sequence[Sequence[float]] | Mapping[str, Any],
) -> list[list[float]]:
    """A ``segmentation`` of COCO as polygons, each x, y, x, y ... in px from the first px' edge.

    Args:
        segmentation: Polygons, or run lengths, compressed or not.
    """
    if not isinstance(segmentation, Mapping):
        return [list(part) for part in segmentation]
    import cv2
    from pycocotools import mask as coco

    if isinstance(segmentation["counts"], list):
        segmentation = coco.frPyObjects(segmentation, *segmentation["size"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' own, of NumPy 2
        mask = coco.decode(segmentation)
    # Outlines go through the middles of px; those of a fourth of the size lie near the edges.
    fine = np.ascontiguousarray(mask.repeat(4, axis=0).repeat(4, axis=1))
    outlines, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [((np.asarray(one, np.float64) + 0.5) / 4).ravel().tolist() for one in outlines]


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask (H, W) as COCO's compressed run lengths: ``size`` (height, width) and ``counts``."""
    from pycocotools import mask as coco

    encoded = coco.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode()}
