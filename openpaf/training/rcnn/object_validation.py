"""AP of boxes and masks in training, on images that are kept out of it."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import Tensor

from openpaf.errors import ImageError
from openpaf.estimator.object_detector import ObjectDetector
from openpaf.evaluation.object_files import read_object_annotations
from openpaf.evaluation.objects import detect_objects, evaluate_objects, match_classes
from openpaf.networks import build
from openpaf.training.config import TrainConfig
from openpaf.training.data.dataset import DatasetError
from openpaf.training.start import read_start
from openpaf.weights.spec import ModelSpec, method_of

_log = logging.getLogger(__name__)


def finds_objects(config: TrainConfig) -> bool:
    """Whether a run's network finds objects, and no joints of people."""
    if config.method != "mask-rcnn":
        return False
    start = read_start(config.network)
    return method_of(start.builder, start.options) == "objects"


class ObjectValidation:
    """The validation images of a run whose network finds objects.

    Args:
        config: The run, with ``data.validation``; with ``holdout = (r, n)`` its images are those
            that training with the same entry leaves out.

    Raises:
        DatasetError: If the file cannot be read, or lacks what the figures need.
    """

    def __init__(self, config: TrainConfig) -> None:
        images = config.data.validation
        assert images is not None
        start = read_start(config.network)
        has_masks = start.builder.startswith("maskrcnn") or bool(start.options.get("masks"))
        self.tasks = ("bbox", "segm") if has_masks else ("bbox",)
        self.size, self.folder = config.optimizer.validation_size, Path(images.images)
        try:
            self.annotations = read_object_annotations(images.annotations, self.tasks)
        except (OSError, ValueError) as error:
            raise DatasetError(str(error)) from error
        remainder, n = images.holdout or (0, 1)
        listed = self.annotations.dataset["images"]
        self.ids = [image["id"] for image in listed][remainder::n]  # by position, as training does

    def __call__(self, state: dict[str, Tensor], spec: ModelSpec) -> dict[str, float]:
        """``AP``, that of masks if there are some, and ``box_AP`` and ``mask_AP``.

        Args:
            state: Weights of the network.
            spec: How it is run.

        Raises:
            DatasetError: If the file has a category that training has not, an image is of another
                size than its labels, or nothing can be measured.
        """
        network = build(spec.builder, **spec.options)
        # In half precision, as in the file.
        network.load_state_dict({key: value.half() for key, value in state.items()})
        detector = ObjectDetector.from_network(network, spec, size=self.size)
        bad: list[int] = []

        def skip(image_id: int, error: ImageError) -> None:
            _log.warning("skipped: %s", error)  # no reason to lose a run of hours
            bad.append(image_id)

        try:
            results = detect_objects(
                self.annotations, self.folder, detector, self.ids,
                ids=match_classes(spec.classes, self.annotations.dataset["categories"]),
                progress=False, on_error=skip,
            )  # fmt: skip
        except ValueError as error:
            raise DatasetError(str(error)) from error
        ids = [i for i in self.ids if i not in bad]
        figures: dict[str, float] = {}
        for task, name in zip(self.tasks, ("box_AP", "mask_AP"), strict=False):
            figures[name] = evaluate_objects(self.annotations, results, task, ids)["AP"]
            figures["AP"] = figures[name]
        if not figures["AP"] >= 0:  # -1 is no figure
            raise DatasetError(f"{self.folder}: nothing could be measured in {len(ids)} images")
        return figures
