"""AP of the weights in training, on images that are kept out of the training."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from openpaf.errors import ImageError
from openpaf.estimator import PoseEstimator
from openpaf.evaluation.coco import evaluate
from openpaf.evaluation.label_files import Detection, index_people
from openpaf.evaluation.run import detect_photos
from openpaf.networks import build
from openpaf.skeleton import Skeleton
from openpaf.training.config import SetConfig
from openpaf.training.data.dataset import (
    DatasetError,
    dataset_errors,
    entries_of,
    layout_of,
    read_set,
)
from openpaf.weights.spec import ModelSpec

_log = logging.getLogger(__name__)

OnError = Callable[[int, ImageError], None]


class Validation(ABC):
    """The validation images of a run.

    Args:
        images: The set. With ``holdout = (r, n)`` its images are those that training with the same
            entry leaves out; without it, all of the file.
        size: Short side of the network's input in px.
        listed: Ids of the file's images, in its order.
    """

    def __init__(self, images: SetConfig, size: int, listed: Sequence[int]) -> None:
        self.size, self.source, self.folder = size, Path(images.annotations), Path(images.images)
        remainder, n = images.holdout or (0, 1)
        self.ids = list(listed)[remainder::n]  # by position, as training does

    @abstractmethod
    def detect(self, network: nn.Module, spec: ModelSpec, on_error: OnError) -> list[Detection]:
        """What a network finds in the images, in COCO's submission format."""

    @abstractmethod
    def evaluate(self, detections: Sequence[Detection], ids: Sequence[int]) -> dict[str, float]:
        """The figures of some of the images, ``AP`` among them."""

    def __call__(self, state: dict[str, Tensor], spec: ModelSpec) -> dict[str, float]:
        """The COCO figures of a state of the network.

        Images that cannot be read are told and left out.

        Args:
            state: Weights of the network.
            spec: How it is run.

        Raises:
            DatasetError: If an image is of another size than its labels, or none can be read.
        """
        bad = []

        def skip(image_id: int, error: ImageError) -> None:
            _log.warning("skipped: %s", error)  # no reason to lose a run of hours
            bad.append(image_id)

        with dataset_errors():
            detections = self.detect(_network(state, spec), spec, skip)
        figures = self.evaluate(detections, [i for i in self.ids if i not in bad])
        if not figures["AP"] >= 0:  # -1 is no figure
            raise DatasetError(
                f"{self.source}: nothing could be measured: "
                f"{len(bad)} of {len(self.ids)} photos cannot be read"
            )
        return figures


class PeopleValidation(Validation):
    """The validation images of a run whose network finds people.

    People and joints are found by name, as in training, and ids are labels: images are numbered by
    their positions.

    Args:
        images: As of :class:`Validation`.
        size: As of :class:`Validation`.
        labels: The joints of the training.
        category: Name of the category, as in training.

    Raises:
        DatasetError: If the file cannot be read, annotations lack what the COCO figures need, or
            no person has labels from which they could be computed.
    """

    def __init__(
        self,
        images: SetConfig,
        size: int,
        labels: Skeleton = Skeleton.COCO17,
        category: str | None = None,
    ) -> None:
        source = Path(images.annotations)
        data = read_set(source, Path(images.images))
        layout = layout_of(source, data, labels, category)
        with entries_of(source):
            self.annotations = index_people(source, data, layout)
        super().__init__(images, size, list(self.annotations.imgs))
        self._refuse_unlabeled()

    def _refuse_unlabeled(self) -> None:
        here = [person for i in self.ids for person in self.annotations.imgToAnns[i]]
        labeled = [person for person in here if person["num_keypoints"] and not person["iscrowd"]]
        if not any(person["area"] > 0 for person in labeled):
            what = "an area above 0" if labeled else "labeled joints"
            raise DatasetError(
                f"{self.source}: validation would measure nothing: of {len(here)} people in "
                f"{len(self.ids)} photos none has {what}"
            )

    def detect(self, network: nn.Module, spec: ModelSpec, on_error: OnError) -> list[Detection]:
        estimator = PoseEstimator.from_network(network, spec, size=self.size)
        return detect_photos(
            self.annotations, self.folder, estimator, self.ids, progress=False, on_error=on_error
        )

    def evaluate(self, detections: Sequence[Detection], ids: Sequence[int]) -> dict[str, float]:
        return evaluate(self.annotations, detections, ids)


def _network(state: Mapping[str, Tensor], spec: ModelSpec) -> nn.Module:
    """The network that the file of these weights will give, in half precision as in the file."""
    network = build(spec.builder, spec.skeleton, **spec.options)
    halves = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    network.load_state_dict(halves)
    return network
