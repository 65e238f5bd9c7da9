"""Recordings from the files that ``openpaf predict`` writes of a video."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from openpaf.analysis.recording import Recording
from openpaf.checks import check_number
from openpaf.io.json_files import is_number, read_json_or_lines
from openpaf.io.pose_entries import poses_by_image
from openpaf.io.pose_layouts import entries_in
from openpaf.skeleton import Skeleton


def read_recording(
    path: str | os.PathLike[str], *, fps: float | None = None, skeleton: Skeleton | None = None
) -> Recording:
    """The people of a video from a pose file.

    Args:
        path: A file of frames, as ``openpaf predict`` of a video writes it, or another program of
            :data:`openpaf.io.pose_layouts.LAYOUTS`.
        fps: Frames a second, above 0, by which frames without ``time_s`` get their time.
        skeleton: The joints, as for :func:`openpaf.read_poses`.

    Raises:
        ValueError: If the file is not of a video's frames, or a frame has no time and ``fps`` is
            not given, or people have no ids; the message names the file.
        OSError: If it cannot be read.
    """
    if fps is not None:
        check_number("fps", fps, above=0, unit="frames a second")
    data = read_json_or_lines(path)
    try:
        _, entries = entries_in(data)
        images = poses_by_image(entries, skeleton)
        if not images or not all(isinstance(number, int) for number in images):
            raise ValueError("expected the frames of a video, each with its number")
        described = _described(data)
        frames = [
            (int(number), _time_s(int(number), described, fps), poses)
            for number, poses in images.items()
        ]
        first = described.get(frames[0][0], {}).get("size")
        return Recording.of_frames(
            sorted(frames, key=lambda frame: frame[0]), image_hw=_image_hw(first)
        )
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error


def _described(data: Any) -> dict[int, Mapping[str, Any]]:
    """What the file says of each frame, by number."""
    lines = data if isinstance(data, list) else [data]
    return {line["frame"]: line for line in lines if type(line.get("frame")) is int}


def _time_s(number: int, described: Mapping[int, Mapping[str, Any]], fps: float | None) -> float:
    time_s = described.get(number, {}).get("time_s")
    if time_s is not None and is_number(time_s):
        return float(time_s)
    if fps is None:
        raise ValueError(f"frame {number} has no time_s; give fps, the frames a second")
    return number / fps


def _image_hw(value: Any) -> tuple[int, int] | None:
    """Height and width in px; None where the file does not say them."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    width, height = value
    if not all(type(side) is int and 0 < side < 1 << 16 for side in value):
        raise ValueError(f"size: expected width and height in px, got {value!r}")
    return height, width
