"""AP of boxes and masks in training, on images that are kept out of it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from openpaf.estimator.object_detector import ObjectDetector
from openpaf.evaluation.label_files import Detection
from openpaf.evaluation.object_files import read_object_annotations
from openpaf.evaluation.objects import detect_objects, evaluate_objects, match_classes
from openpaf.training.config import TrainConfig
from openpaf.training.data.dataset import dataset_errors
from openpaf.training.start import read_start
from openpaf.training.validation import OnError, Validation
from openpaf.weights.spec import ModelSpec


class ObjectValidation(Validation):
    """The validation images of a run whose network finds objects.

    Args:
        config: The run, with ``data.validation``.

    Raises:
        DatasetError: If the file cannot be read, or lacks what the figures need.
    """

    def __init__(self, config: TrainConfig) -> None:
        images, start = config.data.validation, read_start(config.network)
        assert images is not None
        has_masks = start.builder.startswith("maskrcnn") or bool(start.options.get("masks"))
        self.tasks = ("bbox", "segm") if has_masks else ("bbox",)
        with dataset_errors():
            self.annotations = read_object_annotations(images.annotations, self.tasks)
        listed = [image["id"] for image in self.annotations.dataset["images"]]
        super().__init__(images, config.optimizer.validation_size, listed)

    def detect(self, network: nn.Module, spec: ModelSpec, on_error: OnError) -> list[Detection]:
        return detect_objects(
            self.annotations,
            self.folder,
            ObjectDetector.from_network(network, spec, size=self.size),
            self.ids,
            ids=match_classes(spec.classes, self.annotations.dataset["categories"]),
            progress=False,
            on_error=on_error,
        )

    def evaluate(self, detections: Sequence[Detection], ids: Sequence[int]) -> dict[str, float]:
        """``AP``, that of masks if there are some, and ``box_AP`` and ``mask_AP``."""
        figures: dict[str, float] = {}
        for task, name in zip(self.tasks, ("box_AP", "mask_AP"), strict=False):
            figures[name] = evaluate_objects(self.annotations, detections, task, ids)["AP"]
            figures["AP"] = figures[name]
        return figures
