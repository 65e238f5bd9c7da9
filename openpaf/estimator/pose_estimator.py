"""From an image to its people."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from numpy.typing import ArrayLike

from openpaf.decoding import DecodeConfig
from openpaf.engines.load import check_engine
from openpaf.estimator.merging import at_scales
from openpaf.estimator.methods import infer_in_boxes, method_of
from openpaf.estimator.options import checked_options, with_own_sigma
from openpaf.estimator.ready_model import ReadyModel
from openpaf.io.images import read_images
from openpaf.poses import Poses
from openpaf.weights.catalog import resolve
from openpaf.weights.spec import ModelSource, ModelSpec

if TYPE_CHECKING:
    from torch import nn

    import openpaf


class PoseEstimator(ReadyModel):
    """Finds every person in an image and their joints.

    The model chooses the method: part affinity fields; a detector of people and a network of one
    person; or Mask R-CNN. An estimator may be called from many threads at once and after a fork; it
    pickles and copies as its arguments. As a context it is closed at the end of ``with``.

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

    _rebuild: Callable[[], PoseEstimator]

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
        self._method = at_scales(method_of(self.spec).load(self.source, self._options))
        self._rebuild = partial(PoseEstimator, model, weights=weights, **named)

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

        Arguments after ``spec`` are those of the class.

        Args:
            network: Of :mod:`openpaf.networks`; it stays as it is.
            spec: How it is run.

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
        self._method = at_scales(method_of(spec).from_network(network, spec, self._options))
        self._rebuild = partial(cls.from_network, network, spec, **named)
        return self

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
        if boxes is None:
            several = self.method.infer(arrays)
        else:
            several = infer_in_boxes(self.method, self.spec, arrays, boxes)
        results = [
            self.postprocess(inferred, image.shape[:2])
            for inferred, image in zip(several, arrays, strict=True)
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

        The function :func:`openpaf.stream` as a method: arguments, results and errors are its own.
        """
        import openpaf

        return openpaf.stream(
            self, source, track=track, keep_image=keep_image, start_s=start_s, end_s=end_s,
            stride=stride, on_error=on_error,
        )  # fmt: skip

    def __repr__(self) -> str:
        state = "closed" if self._method is None else f"engine={self.engine!r}"
        return (
            f"PoseEstimator({self.spec.name!r}, size={self.size}, {state}, "
            f"skeleton={self.skeleton.name!r})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return self._rebuild, ()
