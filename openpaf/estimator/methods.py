"""The table of methods: a new way from a network's arrays to people is a file and a row here."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openpaf.decoding import DecodeConfig
from openpaf.errors import WeightsError
from openpaf.poses import Poses
from openpaf.weights.spec import PARTS, ModelSource, ModelSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Options:
    """How an estimator runs its model; the arguments of :class:`openpaf.PoseEstimator`."""

    engine: str = "auto"
    device: str | None = None
    threads: int | None = None
    config: DecodeConfig = field(default_factory=DecodeConfig)
    size: int = 368
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    max_people: int | None = None
    min_score: float = 0.0

    def replace(self, **changes: Any) -> Options:
        """A copy with some options changed."""
        return dataclasses.replace(self, **changes)


class Method(Protocol):
    """A model that is ready, and the way from its arrays to people.

    ``engine`` is the name of the engine that runs it. ``options`` are read at every call, so that a
    copy with another ``size`` runs the same network at that size; ``scales`` are not the method's
    concern, see :mod:`openpaf.estimator.merging`.
    """

    engine: str
    options: Options

    def infer(self, images: Sequence[NDArray[np.uint8]]) -> list[Any]:
        """Run the network on images, RGB uint8 (H, W, 3): what it gives for each of them."""

    def postprocess(
        self,
        inferred: Any,
        image_hw: tuple[int, int],
        passed: Callable[[str], None] | None = None,
    ) -> Poses:
        """The people in what :meth:`infer` gave for an image, in px of the image.

        Args:
            inferred: Of one image.
            image_hw: Height and width of the image.
            passed: Called with the name of each step when it is done, one of
                :data:`openpaf.evaluation.steps.STEPS`; for measurements of time.
        """


@runtime_checkable
class TakesBoxes(Protocol):
    """A method that can be told where people are."""

    def infer_in_boxes(
        self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[ArrayLike]
    ) -> list[Any]:
        """As :meth:`Method.infer`, with boxes (N, 4) of each image, x0, y0, x1, y1 in px.

        Raises:
            ValueError: If they are no boxes.
        """


def infer_in_boxes(
    method: Method,
    spec: ModelSpec,
    images: Sequence[NDArray[np.uint8]],
    boxes: Sequence[ArrayLike],
) -> list[Any]:
    """What a method gives for images of which it is told where people are.

    Args:
        method: That of a model.
        spec: Of the model, for messages.
        images: RGB uint8 (H, W, 3) each.
        boxes: (N, 4) of each image, x0, y0, x1, y1 in px.

    Raises:
        ValueError: If the method takes no boxes, they are no boxes, or not of as many images.
    """
    if not isinstance(method, TakesBoxes):
        raise ValueError(
            f"boxes: {spec.name!r} finds people without boxes; only top-down pairs, such "
            "as 'topdown', take them"
        )
    if len(boxes) != len(images):
        raise ValueError(
            f"boxes: expected an array for each of {len(images)} images, got {len(boxes)}"
        )
    return method.infer_in_boxes(images, boxes)


class MethodClass(Protocol):
    """What the file of a method holds."""

    def load(self, source: ModelSource, options: Options) -> Method:
        """Load a model.

        Raises:
            ValueError: If an option is out of range, or one that the method does not have.
            WeightsError: If the model is damaged.
        """

    def from_network(self, network: nn.Module, spec: ModelSpec, options: Options) -> Method:
        """Take a network that is in memory; it is copied."""


#: By the name in :attr:`ModelSpec.method`: module and class.
METHODS: dict[str, str] = {
    "part_affinity": "openpaf.estimator.part_affinity:PartAffinity",
    "top_down": "openpaf.estimator.top_down:TopDown",
    "mask_rcnn": "openpaf.estimator.mask_rcnn:MaskRCNNDetector",
    "associative_embedding": "openpaf.estimator.associative_embedding:AssociativeEmbedding",
    "center_net": "openpaf.estimator.center_net:CenterNet",
    "person_lab": "openpaf.estimator.person_lab:PersonLab",
}


def method_of(spec: ModelSpec) -> MethodClass:
    """The method of a model.

    Raises:
        WeightsError: If there is none of that name.
    """
    if spec.method in PARTS:
        raise WeightsError(
            f"{spec.name}: {PARTS[spec.method]}, no model alone; a top-down model such as 'topdown'"
            " has both"
        )
    if spec.method == "objects":
        raise WeightsError(f"{spec.name}: finds objects and no joints; use openpaf.ObjectDetector")
    if spec.method not in METHODS:
        raise WeightsError(
            f"{spec.name}: method: expected one of {', '.join(METHODS)}, found {spec.method!r}"
        )
    module, _, name = METHODS[spec.method].partition(":")
    return cast(MethodClass, getattr(importlib.import_module(module), name))
