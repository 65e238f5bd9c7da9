"""A model that is ready to run, and the two steps from an image to its people."""

from __future__ import annotations

from typing import Any

from openpaf.decoding import DecodeConfig
from openpaf.estimator.methods import Method, Options
from openpaf.fields import Fields
from openpaf.io.closing import Closing
from openpaf.io.images import read_image
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.weights.spec import ModelSpec


class ReadyModel(Closing):
    """What :class:`openpaf.PoseEstimator` has when its model is loaded: options, and the steps.

    Attributes:
        spec: Description of the model.
    """

    spec: ModelSpec
    _method: Method | None
    _options: Options

    @property
    def method(self) -> Method:
        """The model that is ready, and its way to people.

        Raises:
            ValueError: If the estimator is closed.
        """
        if self._method is None:
            raise ValueError("estimator: it is closed")
        return self._method

    def close(self) -> None:
        """Let go of the network and its memory; a second call does nothing.

        A call that runs in another thread comes to its end. Any later one raises a ValueError.
        """
        self._method = None

    @property
    def skeleton(self) -> Skeleton:
        """The joints of the people that this model finds; its fields may have more."""
        return self.spec.result or self.spec.skeleton

    @property
    def engine(self) -> str:
        """Name of the engine that runs the network: with ``"auto"``, the one that was chosen."""
        return self.method.engine

    @property
    def config(self) -> DecodeConfig:
        """Thresholds of the parser."""
        return self._options.config

    @property
    def size(self) -> int:
        """Short side of the network's input in px."""
        return self._options.size

    @property
    def scales(self) -> tuple[float, ...]:
        """Sizes whose people are merged: multiples of the size or, from 32 on, px."""
        return self._options.scales

    @property
    def flip(self) -> bool:
        """Whether the fields of the mirrored image are averaged in."""
        return self._options.flip

    def infer(self, image: Any) -> Any:
        """What the network gives for an image; :meth:`postprocess` makes people of it.

        The two steps are for programs that run them side by side, as the video pipeline does.

        Args:
            image: As ``__call__`` takes it.

        Returns:
            :class:`openpaf.Fields` with part affinity fields; boxes and heatmaps, or detections,
            with top-down models; with ``scales`` a list of them.

        Raises:
            ImageError: If the file cannot be read as an image.
            ValueError: If the array is not an image.
        """
        return self.method.infer([read_image(image)])[0]

    def postprocess(self, inferred: Any, image_hw: tuple[int, int]) -> Poses:
        """The people in what :meth:`infer` gave for an image of this height and width.

        Returns:
            Poses in px of the image, as ``__call__`` gives them.

        Raises:
            ValueError: If it is of an image of another shape.
        """
        poses = self.method.postprocess(inferred, image_hw)
        limit, least = self._options.max_people, self._options.min_score
        if least > 0:
            poses = poses[poses.person_scores >= least]
        return poses if limit is None or len(poses) <= limit else poses[:limit]

    def fields(self, image: Any) -> Fields:
        """Heatmaps and PAFs of an image, before parsing; in px of the network's input.

        Raises:
            ImageError: If the file cannot be read as an image.
            ValueError: If the array is not an image, or the model gives no fields, or several.
        """
        if self.scales != (1.0,):
            raise ValueError("fields: expected one size, without scales: people are merged")
        if "pafs" not in self.spec.outputs:
            raise ValueError(f"fields: the model {self.spec.name!r} gives no part affinity fields")
        fields: Fields = self.infer(image)
        return fields

    def parse(self, fields: Fields, image_hw: tuple[int, int]) -> Poses:
        """The people in fields that :meth:`fields` gave for an image of this height and width.

        Returns:
            Poses in px of the image, as ``__call__`` gives them.

        Raises:
            ValueError: If the fields are of an image of another shape.
        """
        return self.postprocess(fields, image_hw)
