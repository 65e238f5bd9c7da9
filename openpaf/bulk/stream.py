"""The people of files, folders, videos and cameras, one result at a time."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openpaf.bulk.inputs import Input, Listing, is_image_address
from openpaf.bulk.process import PipelineConfig, Result, process
from openpaf.checks import check_number, is_whole
from openpaf.errors import ImageError, OpenpafError, VideoError
from openpaf.io.addresses import is_url, shown_source
from openpaf.poses import Poses
from openpaf.tracking.tracker import Tracker
from openpaf.video.base import is_video
from openpaf.video.excerpt import Excerpt
from openpaf.video.open import is_moving, open_video
from openpaf.video.stream import process_video

if TYPE_CHECKING:
    from openpaf.estimator import PoseEstimator

_CONFIG = PipelineConfig(keeps_images=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamResult:
    """An image or frame with its people, as :meth:`openpaf.PoseEstimator.stream` yields it.

    Args:
        source: Where it is from: path, address without password, ``TAR/MEMBER``, ``camera 0``;
            empty for an image that was in memory.
        image: RGB uint8 (H, W, 3).
        poses: Its people in px of the image; with ids in videos that are tracked.
        frame: Number of the frame in its video, from 0 on; None of an image.
        time_s: Time of the frame in s, of a live source since it was opened; None of an image.

    Example:
        >>> import openpaf
        >>> estimator = openpaf.PoseEstimator("fast", engine="torch", size=128)
        >>> photos = ["data/photos/astronaut.jpg", openpaf.read_image("data/photos/astronaut.jpg")]
        >>> for result in estimator.stream(photos):
        ...     print([result.source], result.image.shape, result.frame)
        ['data/photos/astronaut.jpg'] (512, 512, 3) None
        [''] (512, 512, 3) None
    """

    source: str
    image: NDArray[np.uint8] = field(repr=False)
    poses: Poses
    frame: int | None = None
    time_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class _Options:
    track: bool
    keep_image: bool
    start_s: float
    end_s: float | None
    stride: int
    on_error: Callable[[str], None] | None


def stream(
    estimator: PoseEstimator,
    source: Any,
    *,
    track: bool = True,
    keep_image: bool = False,
    start_s: float = 0.0,
    end_s: float | None = None,
    stride: int = 1,
    on_error: Callable[[str], None] | None = None,
) -> Generator[StreamResult, None, None]:
    """The people of images, videos and cameras, one result at a time.

    Reading, network and parser work side by side in threads, a few images ahead; of a camera or
    live stream always the newest frame is taken. Nothing is kept but what the caller keeps.

    Args:
        estimator: Finds the people.
        source: A file, folder (without subfolders), glob, video, or animated image; the address of
            an image, by its suffix, or of a stream; the number of a camera; ``@FILE``, a list of
            these, one a line; a tar file of images; an image as the estimator takes it; or a list
            of any of these, also a lazy one. A folder's images come before its videos.
        track: Whether people of videos have ids and smoothed joints (:class:`openpaf.Tracker`);
            one whose score is below 0.95 is then given when seen a second time.
        keep_image: Whether ``result.poses`` holds the image; ``result.image`` is always there.
        start_s: Of videos, least time of the first frame in s, at least 0.
        end_s: Of videos, time in s before which the last frame is, above ``start_s``; no end if
            None.
        stride: Of so many frames of a video the first is taken, at least 1.
        on_error: Called, perhaps from a thread, with what is wrong with an image or video that
            cannot be read, which is then left out; without it, that is an error.

    Yields:
        Results, see :class:`openpaf.StreamResult`, in order. Of videos those people whose score is
        at least 0.1, of images all from ``min_score`` on. Closing the generator, as leaving a loop
        does, closes files and cameras.

    Raises:
        ImageError: While it is gone through, if an image cannot be read.
        VideoError: The same of a video, or if a camera or live stream is lost.
        ValueError: At once if an argument is out of range; while it is gone through, if a source is
            none, or if a video is given and PyAV, the extra ``video``, is not installed.

    Example:
        >>> import openpaf
        >>> estimator = openpaf.PoseEstimator("fast", engine="torch", size=256)
        >>> [len(result.poses) for result in openpaf.stream(estimator, "data/photos/astronaut.jpg")]
        [1]
    """
    check_number("start_s", start_s, least=0, unit="s")
    if end_s is not None:
        check_number("end_s", end_s, above=start_s, unit="s")
    if not (is_whole(stride) and stride >= 1):
        raise ValueError(f"stride: expected a whole number from 1 on, got {stride!r}")
    options = _Options(
        track=track, keep_image=keep_image, start_s=start_s, end_s=end_s, stride=int(stride),
        on_error=on_error,
    )  # fmt: skip
    return _results(estimator, _each(source), options)


def _each(source: Any) -> Iterable[Any]:
    """The sources of a list, lazily, or the one that it is."""
    return source if isinstance(source, (list, tuple, Iterator)) else [source]


def _results(
    estimator: PoseEstimator, sources: Iterable[Any], options: _Options
) -> Generator[StreamResult, None, None]:
    for moves, some in itertools.groupby(sources, _is_video):
        results = _of_videos if moves else _of_images
        yield from results(estimator, some, options)


def _same(result: Result) -> Result:
    return result


def _is_video(source: Any) -> bool:
    """Whether a source is a video, stream or camera."""
    if isinstance(source, (int, np.integer)) and not isinstance(source, bool):
        return True
    if not isinstance(source, (str, os.PathLike)):
        return False
    path = os.fspath(source)
    if is_url(path):
        return not is_image_address(path)
    return is_video(path) or (os.path.isfile(path) and is_moving(path, whatever_suffix=True))


def _inputs(
    sources: Iterable[Any], options: _Options, on_video: Callable[[str], None]
) -> Iterator[Input]:
    for source in sources:
        if not isinstance(source, (str, os.PathLike)):
            if source is None:
                raise ValueError("source: expected an image, a video or a list of them, got None")
            yield Input("", image=source)
            continue
        yield from Listing(
            sources=(os.fspath(source),),
            on_error=lambda message: _fail(ImageError(message), options),
            on_video=on_video,
            takes_video=is_video,
        )


def _of_images(
    estimator: PoseEstimator, sources: Iterable[Any], options: _Options
) -> Generator[StreamResult, None, None]:
    """They go through one pipeline, so that reading overlaps with the network; then their folders'
    videos."""
    videos = list[str]()
    inputs = _inputs(sources, options, videos.append)
    with contextlib.closing(process(inputs, estimator, _same, _CONFIG)) as results:
        for result in results:
            if result.image is None or result.error is not None:
                _fail(result.error or AssertionError(), options)
            else:
                path = result.input.path
                name = shown_source(path) if is_url(path) else path
                yield _result(name, result.image, result.found, options)
    yield from _of_videos(estimator, videos, options)


def _of_videos(
    estimator: PoseEstimator, sources: Iterable[Any], options: _Options
) -> Generator[StreamResult, None, None]:
    for source in sources:
        try:
            yield from _of_video(estimator, source, options)
        except VideoError as error:
            _fail(error, options)


def _of_video(
    estimator: PoseEstimator, source: Any, options: _Options
) -> Generator[StreamResult, None, None]:
    tracker = Tracker() if options.track else None
    with contextlib.ExitStack() as stack:
        is_camera = isinstance(source, (int, np.integer))
        video = stack.enter_context(open_video(int(source) if is_camera else source))
        if (options.start_s, options.end_s, options.stride) != (0, None, 1):
            video = Excerpt(video, options.start_s, options.end_s, options.stride)
        results = process_video(video, estimator, tracker=tracker)
        for one in stack.enter_context(contextlib.closing(results)):
            yield _result(
                video.name, one.frame.image, one.poses, options, one.frame.index, one.frame.time_s
            )


def _result(
    source: str,
    image: NDArray[np.uint8],
    poses: Poses,
    options: _Options,
    frame: int | None = None,
    time_s: float | None = None,
) -> StreamResult:
    if options.keep_image:
        poses = poses.replace(image=image)
    return StreamResult(source=source, image=image, poses=poses, frame=frame, time_s=time_s)


def _fail(error: Exception, options: _Options) -> None:
    """Tell what cannot be read, or raise it; what is no such error is raised in any case."""
    if options.on_error is None or not isinstance(error, (OpenpafError, OSError, MemoryError)):
        raise error
    options.on_error(str(error))
