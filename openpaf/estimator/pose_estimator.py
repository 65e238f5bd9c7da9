"""From an image to its people."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openpaf.decoding import DecodeConfig
from openpaf.engines.load import check_engine
from openpaf.estimator.merging import MergedScales, sizes_of
from openpaf.estimator.methods import Method, Options, TakesBoxes, method_of
from openpaf.estimator.options import checked_options, with_own_sigma
from openpaf.fields import Fields
from openpaf.io.closing import Closing
from openpaf.io.images import read_image, read_images
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.weights.catalog import resolve
from openpaf.weights.spec import ModelSource, ModelSpec

if TYPE_CHECKING:
    from torch import nn

    import openpaf


class PoseEstimator(Closing):
    """Finds every person in an image and their joints.

    The model chooses the method: part affinity fields; a detector of people and a network of one
    person; or Mask R-CNN. An estimator may be called
    from many threads at once and after a fork; it pickles and copies as its arguments. As a context
    it is closed at the end of ``with``.

    Args:
        model: ``"default"``, ``"fast"``, ``"topdown"``, another name of
            :func:`openpaf.weights.table`, path of a safetensors file of ours, of a pair's JSON file
            (see :mod:`openpaf.weights.pairs`), or of an ONNX or OpenVINO file that
            ``openpaf export`` wrote; the default model if None.
        weights: A checkpoint file to take in place of the model's own, e.g. a ``.caffemodel``
            together with ``model="cmu-coco"``.
        engine: ``"auto"``, the fastest here, ``"torch"``, ``"onnx"``, ``"openvino"``,
            ``"openvino-bf16"`` or ``"openvino-int8"``; see
            :func:`openpaf.engines.load.load_source`.
        device: A torch device such as ``"cuda"``; a GPU if there is one, if None.
        threads: Threads of the CPU that the network uses; the engine's own number if None.
        config: Thresholds of the parser; the defaults if None, with the model's own ``sigma_px``
            where its peaks are narrower than those; of another method those of its own class.
        size: Short side of the network's input in px, 32 to 4096; the long side follows. More finds
            smaller people and takes longer. No effect on a top-down pair, which says its own.
        scales: Sizes whose people are merged, as multiples of ``size`` or, from 32 on, in px;
            each takes its own run of the network.
        flip: Whether the mirrored image is run, too, and the results averaged, which takes twice as
            long; not for Mask R-CNN.
        max_people: Only so many people of an image, the best; all of them if None.
        min_score: People whose score is lower are left out, 0 to 1. A top-down pair does not look
            for joints where a person could not reach it, which saves most of its time.
        old_names: ``runtime``, the old name of ``engine``.

    Raises:
        ValueError: If an argument is unknown or out of range, or the engine or the device cannot
            be had here.
        WeightsError: If the model is missing or damaged.

    Reference:
        Cao et al., CVPR 2017, section 2: the way from an image to people.

    Example:
        >>> estimator = PoseEstimator("fast", engine="torch", size=256)
        >>> poses = estimator("data/photos/astronaut.jpg")
        >>> poses.xy.shape, poses.skeleton.joints[0]
        ((1, 17, 2), 'nose')
        >>> for result in estimator.stream("data/photos/astronaut.jpg"):  # also folders, videos ...
        ...     print(result.source, len(result.poses))
        data/photos/astronaut.jpg 1
    """

    spec: ModelSpec
    _method: Method | None
    _options: Options
    _rebuild: tuple[Callable[..., PoseEstimator], dict[str, Any]]

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        weights: str | Path | None = None,
        engine: str = "auto",
        device: str | None = None,
        threads: int | None = None,
        config: DecodeConfig | None = None,
        size: int = 368,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        max_people: int | None = None,
        min_score: float = 0.0,
        **old_names: str,
    ) -> None:
        for name in old_names:
            if name != "runtime":
                raise TypeError(f"PoseEstimator: unexpected argument {name!r}")
            warnings.warn("runtime: renamed, use engine=", DeprecationWarning, stacklevel=2)
            engine = old_names[name]
        check_engine(engine)
        named: dict[str, Any] = {
            "engine": engine, "device": device, "threads": threads, "config": config,
            "size": size, "scales": scales, "flip": flip, "max_people": max_people,
            "min_score": min_score,
        }  # fmt: skip
        options = checked_options(**named)
        self.source: ModelSource | None = resolve(model, weights)
        self.spec = self.source.spec
        self._options = options if config else with_own_sigma(options, self.spec)
        self._method = _at_scales(method_of(self.spec).load(self.source, self._options))
        self._rebuild = (PoseEstimator, {"model": model, "weights": weights, **named})

    @classmethod
    def from_network(
        cls,
        network: nn.Module,
        spec: ModelSpec,
        *,
        device: str | None = None,
        threads: int | None = None,
        config: DecodeConfig | None = None,
        size: int = 368,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        max_people: int | None = None,
        min_score: float = 0.0,
    ) -> PoseEstimator:
        """An estimator with a copy of a network that is in memory; it runs in torch.

        Args:
            network: Of :mod:`openpaf.networks`; it stays as it is.
            spec: How it is run.
            device: As for the class.
            threads: As for the class.
            config: As for the class.
            size: As for the class.
            scales: As for the class.
            flip: As for the class.
            max_people: As for the class.
            min_score: As for the class.

        Raises:
            ValueError: If an argument is out of range, or the device cannot be had here.
            WeightsError: If the network and its spec do not fit.
        """
        named: dict[str, Any] = {
            "device": device, "threads": threads, "config": config,
            "size": size, "scales": scales, "flip": flip, "max_people": max_people,
            "min_score": min_score,
        }  # fmt: skip
        self = cls.__new__(cls)
        options = checked_options(engine="torch", **named)
        self.source, self.spec = None, spec
        self._options = options if config else with_own_sigma(options, spec)
        self._method = _at_scales(method_of(spec).from_network(network, spec, self._options))
        self._rebuild = (cls.from_network, {"network": network, "spec": spec, **named})
        return self

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

    @overload
    def __call__(
        self,
        image: list[Any] | tuple[Any, ...],
        *,
        boxes: Sequence[ArrayLike] | None = None,
        keep_image: bool = False,
    ) -> list[Poses]: ...

    @overload
    def __call__(
        self, image: Any, *, boxes: ArrayLike | None = None, keep_image: bool = False
    ) -> Poses: ...

    def __call__(
        self, image: Any, *, boxes: Any = None, keep_image: bool = False
    ) -> Poses | list[Poses]:
        """The people of one image, or of a list of them.

        Args:
            image: What :func:`openpaf.read_image` takes: path, ``https://`` address or bytes of a
                file; RGB uint8 array (H, W, 3); torch tensor, (3, H, W) or (H, W, 3), of uint8 or
                of floating point of 0 to 1; PIL image. Or a list of any of these.
            boxes: Of the people to take, in place of the detector's: (N, 4) x0, y0, x1, y1 in px;
                of a list an array for each image. Only for top-down pairs.
            keep_image: Whether the result holds the image, for ``poses.plot()`` and notebooks: as
                many bytes as it has numbers, for as long as the result is held. An array is held
                itself, not a copy.

        Returns:
            Poses in px of the image, best first; of length 0 where there are no people. A person's
            score is about the probability that they are there, see
            :mod:`openpaf.estimator.calibration`. Of a list, a list of these.

        Raises:
            ImageError: If the file or address cannot be read as an image.
            ValueError: If the array or tensor is not an image, or boxes are given that are none, or
                to a model that takes none; or if the estimator is closed.
        """
        if isinstance(image, (list, tuple)):
            return self.batch(image, boxes=boxes, keep_image=keep_image)
        several = None if boxes is None else [boxes]
        return self.batch([image], boxes=several, keep_image=keep_image)[0]

    def batch(
        self,
        images: Sequence[Any],
        *,
        boxes: Sequence[ArrayLike] | None = None,
        keep_image: bool = False,
    ) -> list[Poses]:
        """The people of several images, with one run of the network per shape.

        Args:
            images: As ``__call__`` takes them, in a list; or an array (B, H, W, 3), or a tensor
                (B, 3, H, W).
            boxes: As ``__call__`` takes them, an array for each image.
            keep_image: Whether each result holds its image.

        Returns:
            One result an image, in their order.

        Raises:
            ImageError: If a file cannot be read as an image.
            ValueError: If an array is not an image, or a single image or path is given in place
                of a list of them, or boxes do not fit.
        """
        arrays = read_images(images)
        results = [
            self.postprocess(inferred, image.shape[:2])
            for inferred, image in zip(self._infer(arrays, boxes), arrays, strict=True)
        ]
        if not keep_image:
            return results
        return [poses.replace(image=image) for poses, image in zip(results, arrays, strict=True)]

    def stream(
        self,
        source: Any,
        *,
        track: bool = True,
        keep_image: bool = False,
        start_s: float = 0.0,
        end_s: float | None = None,
        stride: int = 1,
        on_error: Callable[[str], None] | None = None,
    ) -> Generator[openpaf.StreamResult, None, None]:
        """The people of images, videos and cameras, one result at a time.

        Reading, network and parser work side by side in threads, a few images ahead; of a camera or
        live stream always the newest frame is taken. Nothing is kept but what the caller keeps.

        Args:
            source: A file, folder (without subfolders), glob, video, or animated image; the address
                of an image, by its suffix, or of a stream; the number of a camera; ``@FILE``, a
                list of these, one a line; a tar file of images; an image as ``__call__`` takes it;
                or a list of any of these, also a lazy one. A folder's images come before its
                videos.
            track: Whether people of videos have ids and smoothed joints (:class:`openpaf.Tracker`);
                one whose score is below 0.95 is then given when seen a second time.
            keep_image: Whether ``result.poses`` holds the image; ``result.image`` is always there.
            start_s: Of videos, least time of the first frame in s.
            end_s: Of videos, time in s before which the last frame is; no end if None.
            stride: Of so many frames of a video the first is taken.
            on_error: Called, perhaps from a thread, with what is wrong with an image or video that
                cannot be read, which is then left out; without it, that is an error.

        Yields:
            Results, see :class:`openpaf.StreamResult`, in order. Of videos those people whose score
            is at least 0.1, of images all from ``min_score`` on. Closing the generator, as leaving
            a loop does, closes files and cameras.

        Raises:
            ImageError: While it is gone through, if an image cannot be read.
            VideoError: The same of a video, or if a camera or live stream is lost.
            ValueError: If an argument is out of range, or a source is none; or if a video is given
                and PyAV, the extra ``video``, is not installed.
        """
        import openpaf

        return openpaf.stream(
            self, source, track=track, keep_image=keep_image, start_s=start_s, end_s=end_s,
            stride=stride, on_error=on_error,
        )  # fmt: skip

    def _infer(
        self, images: list[NDArray[np.uint8]], boxes: Sequence[ArrayLike] | None
    ) -> list[Any]:
        if boxes is None:
            return self.method.infer(images)
        if not isinstance(self.method, TakesBoxes):
            raise ValueError(
                f"boxes: {self.spec.name!r} finds people without boxes; only top-down pairs, such "
                "as 'topdown', take them"
            )
        if len(boxes) != len(images):
            raise ValueError(
                f"boxes: expected an array for each of {len(images)} images, got {len(boxes)}"
            )
        return self.method.infer_in_boxes(images, boxes)

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

    def __repr__(self) -> str:
        state = "closed" if self._method is None else f"engine={self.engine!r}"
        return (
            f"PoseEstimator({self.spec.name!r}, size={self.size}, {state}, "
            f"skeleton={self.skeleton.name!r})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        build, named = self._rebuild
        return _build, (build, named)


def _build(build: Callable[..., PoseEstimator], named: dict[str, Any]) -> PoseEstimator:
    return build(**named)


def _at_scales(method: Method) -> Method:
    """The method itself, or at all of its scales."""
    options = method.options
    if options.scales == (1.0,):
        return method
    return MergedScales(method, sizes_of(options.scales, options.size))
