"""AP of the weights in training, on photos that are kept out of the training."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from openpaf.errors import ImageError
from openpaf.estimator import PoseEstimator
from openpaf.evaluation.coco import as_results, evaluate
from openpaf.evaluation.label_files import index_annotations
from openpaf.evaluation.labels import PersonLayout
from openpaf.io.images import read_image
from openpaf.io.paths import inside_folder
from openpaf.networks import build
from openpaf.skeleton import Skeleton
from openpaf.training.config import SetConfig
from openpaf.training.data.dataset import (
    DatasetError,
    entries_of,
    layout_of,
    read_json,
    refuse_repeated_images,
    size_of,
)
from openpaf.training.data.photos import refuse_other_size
from openpaf.weights.spec import ModelSpec

_log = logging.getLogger(__name__)

_NEEDED = ("image_id", "area", "bbox", "iscrowd")


class Validation:
    """The validation photos of a run, read and checked before it begins.

    Ids of the file are labels: images, people and their category are numbered anew here, people
    and joints are found by name as in training.

    Args:
        photos: The set. With ``holdout = (r, n)`` its photos are those that training with the
            same entry leaves out; without it, all of the file.
        size: Short side of the network's input in px.
        labels: The joints of the training, which are matched by name.
        category: Name of the category, as in training.

    Raises:
        DatasetError: If the file cannot be read, annotations lack what the COCO figures need, or
            nobody is labeled of whom they could be computed.
    """

    def __init__(
        self,
        photos: SetConfig,
        size: int,
        labels: Skeleton = Skeleton.COCO17,
        category: str | None = None,
    ) -> None:
        self.size, self.source, folder = size, Path(photos.annotations), Path(photos.images)
        data = read_json(self.source)
        if not folder.is_dir():
            raise DatasetError(f"{folder}: expected a folder of photos")
        layout = layout_of(self.source, data, labels, category)
        people = [row for row in data["annotations"] if layout.is_person(row)]
        self._refuse_lacking(people)
        images = data["images"]
        remainder, n = photos.holdout or (0, 1)
        self.ids = list(range(1, len(images) + 1))[remainder::n]  # by position, as training does
        with entries_of(self.source):
            refuse_repeated_images(images)
            numbers = {image["id"]: number for number, image in enumerate(images, 1)}
            self.paths = [inside_folder(folder, image["file_name"]) for image in images]
            self.sizes = list(map(size_of, images))
            rows = _renumbered(people, numbers, layout)
            self._refuse_nobody(rows)
        numbered = [{**image, "id": number} for number, image in enumerate(images, 1)]
        self.annotations = index_annotations({"images": numbered, "annotations": rows}, labels)

    def __call__(self, state: dict[str, Tensor], spec: ModelSpec) -> dict[str, float]:
        """The COCO figures of a state of the network.

        Photos that cannot be read are told and left out.

        Args:
            state: Weights of the network.
            spec: How it is run.

        Raises:
            DatasetError: If a photo is of another size than its labels, or none can be read.
        """
        estimator = _estimator(state, spec, self.size)
        ids, detections = [], []
        for number in self.ids:
            path, size_hw = self.paths[number - 1], self.sizes[number - 1]
            try:
                pixels = read_image(path)
            except ImageError as error:  # no reason to lose a run of hours
                _log.warning("skipped: %s", error)
                continue
            refuse_other_size(path, (pixels.shape[0], pixels.shape[1]), size_hw)
            ids.append(number)
            detections += as_results(estimator(pixels), number, self.annotations)
        figures = evaluate(self.annotations, detections, ids)
        if not figures["AP"] >= 0:  # -1 is no figure
            raise DatasetError(
                f"{self.source}: nothing could be measured: "
                f"{len(self.ids) - len(ids)} of {len(self.ids)} photos cannot be read"
            )
        return figures

    def _refuse_lacking(self, people: Sequence[Mapping[str, Any]]) -> None:
        for key in _NEEDED:
            lacking = [row.get("id") for row in people if key not in row]
            if lacking:
                raise DatasetError(
                    f"{self.source}: validation needs {key!r} in every annotation; "
                    f"{len(lacking)} of {len(people)} lack it, the first with id {lacking[0]}"
                )

    def _refuse_nobody(self, rows: Sequence[Mapping[str, Any]]) -> None:
        chosen = set(self.ids)
        here = [row for row in rows if row["image_id"] in chosen]
        labeled = [row for row in here if row["num_keypoints"] and not row["iscrowd"]]
        if not any(row["area"] > 0 for row in labeled):
            what = "an area above 0" if labeled else "labeled joints"
            raise DatasetError(
                f"{self.source}: validation would measure nothing: of {len(here)} people in "
                f"{len(chosen)} photos nobody has {what}"
            )


def _estimator(state: dict[str, Tensor], spec: ModelSpec, size: int) -> PoseEstimator:
    """The estimator that the file of these weights will give."""
    network = build(spec.builder, spec.skeleton, **spec.options)
    # In half precision, as in the file.
    halves = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    network.load_state_dict(halves)
    return PoseEstimator.from_network(network, spec, size=size)


def _renumbered(
    people: Sequence[Mapping[str, Any]], numbers: Mapping[Any, int], layout: PersonLayout
) -> list[dict[str, Any]]:
    """Annotations as pycocotools needs them; those of images that are not listed left out."""
    rows: list[dict[str, Any]] = []
    for person in people:
        if person["image_id"] not in numbers:
            continue
        joints = layout.keypoints(person)
        own = {
            "id": len(rows) + 1,  # pycocotools takes 0 for nobody
            "image_id": numbers[person["image_id"]],
            "keypoints": joints.ravel().tolist(),
            "num_keypoints": int((joints[:, 2] > 0).sum()),
        }
        rows.append({**person, **own})
    return rows
