"""AP of the weights in training, on photos that are kept out of the training."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from torch import Tensor

from openpaf import weights
from openpaf.errors import ImageError
from openpaf.estimator import PoseEstimator
from openpaf.evaluation.coco import detect, evaluate, load_annotations
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.training.config import SetConfig
from openpaf.training.dataset import DatasetError, read_json
from openpaf.training.packing import read_photo

_log = logging.getLogger(__name__)


_NEEDED = ("image_id", "area", "bbox", "iscrowd")


def check_validation(photos: SetConfig) -> None:
    """See that the COCO figures can be computed, before a run rather than in the middle of it.

    Raises:
        DatasetError: If the file cannot be read, or annotations lack what the figures need.
    """
    path = Path(photos.annotations)
    rows = read_json(path)["annotations"]
    for key in _NEEDED:
        lacking = [row.get("id") for row in rows if key not in row]
        if lacking:
            raise DatasetError(
                f"{path}: validation needs {key!r} in every annotation; {len(lacking)} of "
                f"{len(rows)} lack it, the first with id {lacking[0]}"
            )


def validate(
    state: dict[str, Tensor], row: weights.Weights, photos: SetConfig, size: int
) -> dict[str, float]:
    """The COCO figures of a state of the network.

    With ``holdout = (r, n)`` the photos are those that training with the same entry leaves out;
    without it, all of the file. Photos that cannot be read are told and left out.

    Args:
        state: Weights of the network.
        row: How it is run.
        photos: The validation photos.
        size: Short side of the network's input in px.
    """
    annotations = load_annotations(photos.annotations)
    for person in annotations.anns.values():  # people with a box alone are neither right nor wrong
        person.setdefault("keypoints", [0] * 3 * Skeleton.COCO17.n_joints)
        person.setdefault("num_keypoints", sum(v > 0 for v in person["keypoints"][2::3]))
    # In the file's order, as load_photo_set counts positions.
    ids = [image["id"] for image in annotations.dataset["images"]]
    if photos.holdout is not None:
        remainder, n = photos.holdout
        ids = ids[remainder::n]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "validation.safetensors"
        weights.save(state, path, row)
        estimator = PoseEstimator(path, size=size)

        unreadable: set[Path] = set()

        def estimate(path: Path) -> Poses:
            try:
                return estimator(read_photo(path))  # which may be in a shard
            except ImageError as error:  # no reason to lose a run of hours
                _log.warning("skipped: %s", error)
                unreadable.add(path)
                return Poses.empty(estimator.skeleton)

        detections = detect(annotations, photos.images, estimate, ids, progress=False)
    if unreadable:
        names = {i: Path(photos.images) / annotations.imgs[i]["file_name"] for i in ids}
        ids = [i for i in ids if names[i] not in unreadable]
    return evaluate(annotations, detections, ids)
