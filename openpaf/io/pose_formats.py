"""What a format of pose files is. The table of them is :data:`openpaf.io.pose_files.FORMATS`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from openpaf.io.pose_layouts import ImageEntries, ImageId
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton


@dataclass(frozen=True, kw_only=True)
class FrameInfo:
    """Which frame of a video a line is about.

    Args:
        index: Number of the frame.
        time_s: Its time in seconds.
        image_hw: Its height and width in px.
    """

    index: int
    time_s: float
    image_hw: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """``frame``, ``time_s`` and ``size`` (width, height), as every line of JSON begins."""
        height, width = self.image_hw
        return {"frame": self.index, "time_s": round(self.time_s, 4), "size": [width, height]}


@dataclass(frozen=True, kw_only=True)
class PoseFormat:
    """How people are written to a file, and read where the file is none of JSON.

    Args:
        description: What the help says that such a file is.
        suffix: What follows the name of an image in that of its file.
        video_suffix: What follows the name of a video in that of its file.
        text: The whole file, from the people of each image by image id, and the joints to write;
            raises a ValueError if these people cannot be written.
        line: The line of one frame of a video, without the line break.
        holds_many: Whether a file may hold the people of several images.
        read: From a path to the people of each image, for files that are neither JSON nor lines of
            it; None where :func:`openpaf.io.pose_layouts.entries_in` knows the contents.
    """

    description: str
    suffix: str
    video_suffix: str
    text: Callable[[Mapping[ImageId, Poses], Skeleton | None], str]
    line: Callable[[Poses, FrameInfo], str]
    holds_many: bool = False
    read: Callable[[str | os.PathLike[str]], ImageEntries] | None = None
