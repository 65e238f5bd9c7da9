"""People in a video: reading, network, and parser with drawing, side by side."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openpaf.geometry import Letterbox
from openpaf.poses import Poses
from openpaf.tracking.tracker import Tracker
from openpaf.video.base import Video, VideoFrame
from openpaf.video.pipeline import overlap
from openpaf.video.pixels import square_pixels

if TYPE_CHECKING:
    from openpaf.estimator import PoseEstimator
    from openpaf.fields import Fields

#: Makes a picture of a frame, its people, the fields they were found in (a detector has none), and
#: where those lie.
Draw = Callable[[NDArray[np.uint8], Poses, "Fields | None", Letterbox], NDArray[np.uint8]]

_HW = tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A frame and who is in it.

    Args:
        frame: As the video gave it.
        poses: Its people, with ids if there is a tracker, in px of the frame.
        picture: RGB uint8 with the people drawn; None if nobody asked for it.
    """

    frame: VideoFrame
    poses: Poses
    picture: NDArray[np.uint8] | None


def watch(
    video: Video,
    estimator: PoseEstimator,
    *,
    tracker: Tracker | None = None,
    draw: Draw | None = None,
    min_score: float = 0.1,
) -> Generator[Seen, None, None]:
    """The people of every frame of a recording, or of the newest frames of a live source.

    Three threads work at the same time: one reads, one runs the network, and one parses, tracks
    and draws; whoever iterates shows or writes meanwhile.

    Args:
        video: As :func:`openpaf.video.base.open_video` gives it.
        estimator: Finds the people.
        tracker: Gives ids and smooths.
        draw: Makes the picture; see :func:`skeletons`.
        min_score: Leave out people whose score is below this.

    Yields:
        Frames in their order.
    """

    def look(frame: VideoFrame) -> tuple[VideoFrame, _HW, Fields | Poses]:
        # People must not look squeezed to the network.
        image = square_pixels(frame.image, frame.pixel_aspect)
        found = estimator.fields(image) if estimator.has_fields else estimator(image)
        return frame, (image.shape[0], image.shape[1]), found

    def understand(looked: tuple[VideoFrame, _HW, Fields | Poses]) -> Seen:
        frame, image_hw, found = looked
        fields = None if isinstance(found, Poses) else found
        poses = found if isinstance(found, Poses) else estimator.parse(found, image_hw)
        poses = _in_px_of_frame(poses[poses.person_scores >= min_score], image_hw, frame)
        if tracker is not None:
            poses = tracker(poses, frame.time_s)
        picture = None
        if draw is not None:
            picture = draw(frame.image, poses, fields, Letterbox.fit(image_hw, estimator.size))
        return Seen(frame=frame, poses=poses, picture=picture)

    # Nothing may wait between a live source and the network: it would be old by then.
    frames: Any = video if video.is_live else overlap(video)
    return overlap(frames, look, understand)


def _in_px_of_frame(poses: Poses, image_hw: _HW, frame: VideoFrame) -> Poses:
    """Poses in px of the picture with square pixels (H, W) to poses in px of the frame itself."""
    frame_hw = (frame.image.shape[0], frame.image.shape[1])
    if frame_hw == image_hw:
        return poses
    return Letterbox(image_hw=frame_hw, resized_hw=image_hw, size_hw=image_hw).undo(poses)


def skeletons(
    image: NDArray[np.uint8], poses: Poses, fields: Fields | None, letterbox: Letterbox
) -> NDArray[np.uint8]:
    """The skeletons over the picture."""
    from openpaf.visualization.draw import draw_poses

    return draw_poses(image, poses)


def heatmaps(
    image: NDArray[np.uint8], poses: Poses, fields: Fields | None, letterbox: Letterbox
) -> NDArray[np.uint8]:
    """The highest heatmap of each cell, in colours, over the darkened picture.

    Where a detector found the people there are none, so the skeletons are drawn.
    """
    import cv2

    if fields is None:
        return skeletons(image, poses, fields, letterbox)
    height, width = letterbox.resized_hw
    highest = np.clip(fields.heatmaps[:-1].max(axis=0), 0, 1)  # (h, w) cells
    enlarged = cv2.resize(highest, letterbox.size_hw[::-1])[:height, :width]
    shown = cv2.resize(enlarged, image.shape[1::-1])  # (H, W)
    colors = cv2.applyColorMap((255 * shown).astype(np.uint8), cv2.COLORMAP_INFERNO)
    dark = cv2.convertScaleAbs(image, alpha=0.5)
    return np.asarray(cv2.add(dark, cv2.cvtColor(colors, cv2.COLOR_BGR2RGB)))
