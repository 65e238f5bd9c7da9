"""People in a video: reading, network, and parser with drawing, in parallel threads."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openpaf.fields import Fields
from openpaf.geometry import Letterbox
from openpaf.poses import Poses
from openpaf.tracking.tracker import Tracker
from openpaf.video.base import Video, VideoFrame
from openpaf.video.pipeline import overlap
from openpaf.video.pixels import square_pixels

if TYPE_CHECKING:
    from openpaf.estimator import PoseEstimator

#: Draws over a frame: takes its image (H, W, 3), its people, the fields that they were found in
#: (None of a detector), and the letterbox between frame and fields; returns RGB uint8 (H, W, 3).
Draw = Callable[[NDArray[np.uint8], Poses, "Fields | None", Letterbox], NDArray[np.uint8]]

_HW = tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameResult:
    """A frame and its people.

    Args:
        frame: The frame, as the video gave it.
        poses: Its people in px of the frame, with ids if there is a tracker.
        drawn: RGB uint8 (H, W, 3) with the people drawn; None without ``draw``.
        fields: What they were found in, in px of the network; None of a method without.
    """

    frame: VideoFrame
    poses: Poses
    drawn: NDArray[np.uint8] | None
    fields: Fields | None = None


def process_video(
    video: Video,
    estimator: PoseEstimator,
    *,
    tracker: Tracker | None = None,
    draw: Draw | None = None,
    min_score: float = 0.1,
) -> Generator[FrameResult, None, None]:
    """The people of every frame of a recording, or of the newest frames of a live source.

    Three threads work at the same time: one reads, one runs the network, and one parses, tracks
    and draws. The caller's thread shows or writes the results.

    Args:
        video: A video from :func:`openpaf.video.open.open_video`.
        estimator: Finds the people.
        tracker: Gives ids and smooths.
        draw: Draws a frame, e.g. :func:`openpaf.visualization.overlay.skeletons`.
        min_score: Leave out people whose score is below this; at least 0.

    Yields:
        The results in the order of the frames.

    Raises:
        VideoError: If no frame of the video can be read, or a live source is lost.
    """

    def infer(frame: VideoFrame) -> tuple[VideoFrame, _HW, Any]:
        # The network must see people in their true proportions.
        image = square_pixels(frame.image, frame.pixel_aspect)
        return frame, (image.shape[0], image.shape[1]), estimator.infer(image)

    def postprocess(inferred: tuple[VideoFrame, _HW, Any]) -> FrameResult:
        frame, image_hw, output = inferred
        fields = output if isinstance(output, Fields) else None
        poses = estimator.postprocess(output, image_hw)
        poses = _in_px_of_frame(poses[poses.person_scores >= min_score], image_hw, frame)
        if tracker is not None:
            poses = tracker(poses, frame.time_s)
        drawn = None
        if draw is not None:
            drawn = draw(frame.image, poses, fields, Letterbox.fit(image_hw, estimator.size))
        return FrameResult(frame=frame, poses=poses, drawn=drawn, fields=fields)

    # A frame of a live source must not wait for the network: it would be old by then.
    frames: Any = video if video.is_live else overlap(video)
    return overlap(frames, infer, postprocess)


def _in_px_of_frame(poses: Poses, image_hw: _HW, frame: VideoFrame) -> Poses:
    """Poses in px of the image with square pixels (H, W) to poses in px of the frame itself."""
    frame_hw = (frame.image.shape[0], frame.image.shape[1])
    if frame_hw == image_hw:
        return poses
    return Letterbox(image_hw=frame_hw, resized_hw=image_hw, size_hw=image_hw).undo(poses)
