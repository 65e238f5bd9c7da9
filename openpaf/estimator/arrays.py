"""What methods share whose network gives arrays of the whole image."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.base import Arrays, Engine
from openpaf.engines.load import load_source
from openpaf.engines.torch_engine import choose_device, run_network
from openpaf.errors import WeightsError
from openpaf.estimator.calibration import calibrate
from openpaf.estimator.methods import Options, method_of
from openpaf.geometry import Letterbox
from openpaf.poses import Poses
from openpaf.weights.spec import ModelSource, ModelSpec

if TYPE_CHECKING:
    from torch import nn

_Method = TypeVar("_Method", bound="ArrayMethod")


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """What a network gives for an image.

    Args:
        arrays: By name, each (C, h, w).
        mirrored: Of the mirrored image, as the network gave them; None without ``flip``.
        size_hw: Of the network's input in px.
    """

    arrays: Arrays
    mirrored: Arrays | None
    size_hw: tuple[int, int]


class ArrayMethod(ABC):
    """A method whose network gives arrays of the whole image; see :class:`Method`.

    Args:
        engine: Gives the arrays.
        spec: How the model is run.
        options: Those of the estimator.

    Raises:
        ValueError: If the skeleton cannot be mirrored where ``flip`` is set.

    Attributes:
        thresholds: A dataclass; those of the options where they are of its kind.
    """

    thresholds: Any = None

    def __init__(self, engine: Engine, spec: ModelSpec, options: Options) -> None:
        self.run, self.engine = engine, engine.name
        self.spec, self.options = spec, options
        if type(options.config) is type(self.thresholds):
            self.thresholds = options.config
        if options.flip:
            _ = spec.skeleton.flip_permutation  # an error now rather than at the first image

    @classmethod
    def load(cls: type[_Method], source: ModelSource, options: Options) -> _Method:
        """Load a model; see :class:`openpaf.estimator.methods.MethodClass`."""
        engine = load_source(source, options.engine, options.device, threads=options.threads)
        return cls(engine, source.spec, options)

    @classmethod
    def from_network(
        cls: type[_Method], network: nn.Module, spec: ModelSpec, options: Options
    ) -> _Method:
        """Take a copy of a network that is in memory."""
        device = choose_device(options.device)
        run = run_network(copy.deepcopy(network).eval(), spec, device, threads=options.threads)
        return cls(Engine("torch", run), spec, options)

    def infer(self, images: Sequence[NDArray[np.uint8]]) -> list[Any]:
        """What the network gives for images, with one run of it per shape; see ``of_inputs``."""
        letterboxes = [Letterbox.fit(image.shape[:2], self.options.size) for image in images]
        results: dict[int, Any] = {}
        for shape in sorted({letterbox.size_hw for letterbox in letterboxes}):
            chosen = [i for i, letterbox in enumerate(letterboxes) if letterbox.size_hw == shape]
            inputs = np.stack([letterboxes[i].apply(images[i]) for i in chosen])
            results.update(zip(chosen, self.of_inputs(inputs), strict=True))
        return [results[i] for i in range(len(images))]

    def of_inputs(self, inputs: NDArray[np.float32]) -> list[Any]:
        """What the network gives for inputs (B, 3, h, w) of one shape: :class:`Inferred` of each.

        A method may make something else of it.
        """
        arrays, mirrored = self.run(inputs), None
        if self.options.flip:
            mirrored = self.run(np.ascontiguousarray(inputs[:, :, :, ::-1]))
        return [
            Inferred(
                arrays={name: array[i] for name, array in arrays.items()},
                mirrored=mirrored and {name: array[i] for name, array in mirrored.items()},
                size_hw=(inputs.shape[2], inputs.shape[3]),
            )
            for i in range(len(inputs))
        ]

    @abstractmethod
    def people(self, inferred: Any) -> Poses:
        """The people of an image, in px of the network's input.

        Args:
            inferred: What ``of_inputs`` gave for it.
        """

    def people_in_steps(self, inferred: Any, passed: Callable[[str], None]) -> Poses:
        """What ``people`` gives; a method of several steps calls ``passed`` after each."""
        return self.people(inferred)

    def check_size(self, inferred: Any, image_hw: tuple[int, int], letterbox: Letterbox) -> None:
        """Refuse what cannot be of an image of this shape.

        Raises:
            ValueError: If it cannot.
        """
        if inferred.size_hw != letterbox.size_hw:
            raise ValueError(
                f"image_hw: arrays of {inferred.size_hw[0]} x {inferred.size_hw[1]} px are not of "
                f"an image of {image_hw[0]} x {image_hw[1]} px (height x width)"
            )

    def postprocess(
        self,
        inferred: Any,
        image_hw: tuple[int, int],
        passed: Callable[[str], None] | None = None,
    ) -> Poses:
        """The people in what the network gave for an image, in px of the image.

        Args:
            inferred: As :meth:`infer` gave it.
            image_hw: Height and width of the image.
            passed: Called with the name of each step when it is done.

        Raises:
            ValueError: If it is of an image of another shape.
        """
        letterbox = Letterbox.fit(image_hw, self.options.size)
        self.check_size(inferred, image_hw, letterbox)
        poses = self.people(inferred) if passed is None else self.people_in_steps(inferred, passed)
        poses = self._own_joints(letterbox.undo(poses))
        poses = calibrate(poses, self.spec, self.options.size)
        if passed is not None:
            passed("people")
        return poses

    def _own_joints(self, poses: Poses) -> Poses:
        """People with the joints that the model promises; its network may know more."""
        if self.spec.result is None:
            return poses
        poses = poses.to(self.spec.result)
        has_joints = (poses.scores > 0).any(axis=1)
        return poses if has_joints.all() else poses[np.flatnonzero(has_joints)]


def find_people(engine: Engine, spec: ModelSpec, inputs: NDArray[np.float32]) -> Poses:
    """The people in an image, in px of the network's input.

    Args:
        engine: Gives the arrays of the whole image.
        spec: How the model is run.
        inputs: The network's input (1, 3, h, w).

    Raises:
        WeightsError: If the model's network gives no arrays of the whole image.
    """
    method = array_method_of(spec)(engine, spec, Options())
    return method.people(method.of_inputs(inputs)[0])


def array_method_of(spec: ModelSpec) -> type[ArrayMethod]:
    """The method of a model whose network gives arrays of the whole image.

    Raises:
        WeightsError: If the model has another method, or none.
    """
    method: Any = method_of(spec)
    if not issubclass(method, ArrayMethod):
        raise WeightsError(f"{spec.name}: its network gives no arrays of the whole image")
    return method
