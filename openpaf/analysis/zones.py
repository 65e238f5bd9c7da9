"""Zones of the image, and how long people stand in them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from openpaf.analysis.recording import Recording
from openpaf.io.json_files import is_number, read_json

#: Corners (x, y) in px of each zone, by name; the last is connected to the first.
Zones = Mapping[str, Sequence[tuple[float, float]]]


def read_zones(path: str | os.PathLike[str]) -> dict[str, list[tuple[float, float]]]:
    """The zones of a JSON file: ``{"door": [[0, 0], [90, 0], [90, 200], [0, 200]]}``, in px.

    Raises:
        ValueError: If it is not JSON, or a zone is not three corners or more; the message names
            the file.
        OSError: If it cannot be read.
    """
    data = read_json(path)
    if not isinstance(data, dict) or not data:
        raise ValueError(f"{os.fspath(path)}: expected zones, each a name and its corners in px")
    zones = {}
    for name, corners in data.items():
        pairs = corners if isinstance(corners, list) else []
        if len(pairs) < 3 or not all(_is_point(pair) for pair in pairs):
            raise ValueError(
                f"{os.fspath(path)}: zone {name!r}: expected three corners [x, y] in px or more"
            )
        zones[name] = [(float(x), float(y)) for x, y in pairs]
    return zones


def _is_point(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def inside(
    corners: Sequence[tuple[float, float]], points: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """(M,) whether points (M, 2) are inside of a polygon; NaN is not.

    Reference:
        Shimrat, Algorithm 112: position of point relative to polygon, 1962 (even-odd rule).
    """
    x, y = np.asarray(points, np.float64).T
    crossed = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if y0 != y1:
            is_beside = (y0 > y) != (y1 > y)
            crossed ^= is_beside & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return crossed & np.isfinite(x) & np.isfinite(y)


def time_in_zones(recording: Recording, zones: Zones) -> dict[str, dict[int, float]]:
    """How long each person stands in each zone.

    Args:
        recording: The frames; where a person stands is :meth:`Recording.places`.
        zones: Corners of each zone; zones may overlap.

    Returns:
        For each zone the seconds of each id that is ever in it.
    """
    places = recording.places()
    seconds: dict[str, dict[int, float]] = {}
    for name, corners in zones.items():
        is_in = inside(corners, places)
        people = [person for person in recording.ids if recording.is_of(person)[is_in].any()]
        seconds[name] = {person: recording.seconds_of(person, is_in) for person in people}
    return seconds
