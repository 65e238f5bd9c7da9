"""What methods share whose network gives arrays of a whole image, from which people are decoded."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.base import Arrays, Engine
from openpaf.engines.load import load_source
from openpaf.engines.torch_engine import choose_device, run_network
from openpaf.errors import WeightsError
from openpaf.estimator.calibration import calibrate
from openpaf.estimator.methods import Options
from openpaf.geometry import Letterbox
from openpaf.poses import Poses
from openpaf.weights.spec import ModelSource, ModelSpec

if TYPE_CHECKING:
    from torch import nn
    from typing_extensions import Self


class WholeImage(ABC):
    """People by arrays of the whole image; see :class:`openpaf.estimator.methods.Method`.

    Args:
        engine: Gives the arrays that the spec names, each (B, channels, h, w).
        spec: How the model is run.
        options: Those of the estimator; ``config`` has no effect, as there are no part affinity
            fields.

    Raises:
        ValueError: If ``flip`` is given: the arrays of two images cannot be averaged.
        WeightsError: If the model gives other arrays than the method takes.
    """

    def __init__(self, engine: Engine, spec: ModelSpec, options: Options) -> None:
        if options.flip:
            raise ValueError(f"flip: {spec.name!r} groups joints by offsets, which have no mirror")
        expected = set(self.channels(spec))
        if set(spec.outputs) != expected:
            raise WeightsError(
                f"{spec.name}: expected a network that gives {', '.join(sorted(expected))}, "
                f"found {', '.join(sorted(spec.outputs))}"
            )
        self.run, self.engine = engine, engine.name
        self.spec, self.options = spec, options

    @staticmethod
    @abstractmethod
    def channels(spec: ModelSpec) -> dict[str, int]:
        """Names and channels of the arrays that the method takes."""

    @abstractmethod
    def decode(self, arrays: Arrays) -> Poses:
        """The people in the arrays of an image, in px of the network's input.

        Raises:
            ValueError: If an array is of another shape, or not finite.
        """

    @classmethod
    def load(cls, source: ModelSource, options: Options) -> Self:
        """Load a model; see :class:`openpaf.estimator.methods.MethodClass`."""
        engine = load_source(source, options.engine, options.device, threads=options.threads)
        return cls(engine, source.spec, options)

    @classmethod
    def from_network(cls, network: nn.Module, spec: ModelSpec, options: Options) -> Self:
        """Take a copy of a network that is in memory."""
        device = choose_device(options.device)
        run = run_network(copy.deepcopy(network).eval(), spec, device, threads=options.threads)
        return cls(Engine("torch", run), spec, options)

    def infer(self, images: Sequence[NDArray[np.uint8]]) -> list[Arrays]:
        """The arrays of images, with one run of the network per shape."""
        letterboxes = [Letterbox.fit(image.shape[:2], self.options.size) for image in images]
        results: dict[int, Arrays] = {}
        for shape in sorted({letterbox.size_hw for letterbox in letterboxes}):
            chosen = [i for i, letterbox in enumerate(letterboxes) if letterbox.size_hw == shape]
            arrays = self.run(np.stack([letterboxes[i].apply(images[i]) for i in chosen]))
            for n, i in enumerate(chosen):
                results[i] = {name: array[n] for name, array in arrays.items()}
        return [results[i] for i in range(len(images))]

    def postprocess(
        self,
        inferred: Any,
        image_hw: tuple[int, int],
        passed: Callable[[str], None] | None = None,
    ) -> Poses:
        """The people in the arrays of an image, in px of the image.

        Args:
            inferred: As :meth:`infer` gave them.
            image_hw: Height and width of the image.
            passed: Called with ``"people"`` when they are known.

        Raises:
            ValueError: If the arrays are of an image of another shape.
            WeightsError: If they are not those of the method.
        """
        letterbox = Letterbox.fit(image_hw, self.options.size)
        first = next(iter(self.channels(self.spec)))
        if inferred[first].shape[1:] != self.spec.heatmap_grid.size_cells(letterbox.size_hw):
            cells, stride = inferred[first].shape[1:], self.spec.heatmap_grid.stride
            raise ValueError(
                f"image_hw: arrays of {cells[0]} x {cells[1]} cells of {stride} px are not of an "
                f"image of {image_hw[0]} x {image_hw[1]} px (height x width)"
            )
        try:
            poses = self.decode(inferred)
        except ValueError as error:
            raise WeightsError(f"{self.spec.name}: {error}") from error
        poses = calibrate(letterbox.undo(poses), self.spec, self.options.size)
        if passed is not None:
            passed("people")
        return poses
