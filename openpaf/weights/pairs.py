"""Pairs: files that name the networks of a top-down model, and hold no weights themselves.

A pair is a JSON file such as::

    {
      "name": "mine",
      "detectors": ["picodet-s-320", "rtmdet-nano@640"],
      "pose": "tinypose-256x192",
      "padding": 1.25
    }

Networks are named as models are, or by the path of their file from the folder of the pair. What
stands after ``@`` is the long side in px of a detector's input, or, as in ``@256x256``, the height
and width that the image is stretched to; without it that is the size that the detector was trained
for. A crop is ``padding`` times as large as its box.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openpaf.checks import is_finite
from openpaf.errors import WeightsError, printable
from openpaf.io.json_files import read_json
from openpaf.weights.spec import PARTS, ModelSource, ModelSpec

_SIZE = re.compile(r"[0-9]{1,5}(x[0-9]{1,5})?")
_KEYS = {"name", "detectors", "pose", "padding", "flip", "licence", "metrics"}
_REQUIRED = {"name", "detectors", "pose"}
_MAX_BYTES = 100_000
_MAX_DETECTORS = 16
#: Of a detector's input in px: the long side, or height and width; None for its own.
DetectorSize = int | tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What a pair's file says.

    Args:
        name: Of the model.
        detectors: Name and size of the input of each run of a detector.
        pose: Name of the network that finds the joints in a box.
        padding: Size of a crop as a multiple of its box.
        flip: Whether mirrored images are always run, too.
        licence: In plain words.
        metrics: Figures of its card.
    """

    name: str
    detectors: tuple[tuple[str, DetectorSize], ...]
    pose: str
    padding: float = 1.25
    flip: bool = False
    licence: str = "not given"
    metrics: dict[str, Any] = field(default_factory=dict)


def read_pair(path: Path) -> Pair:
    """Read a pair's file.

    Raises:
        WeightsError: If it is missing, no JSON, or says something else than a pair does.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"expected at most {_MAX_BYTES} bytes")
        values = read_json(path)
        if not isinstance(values, dict) or not _REQUIRED <= set(values) <= _KEYS:
            raise ValueError(
                f"expected a dictionary with {', '.join(sorted(_REQUIRED))} and perhaps "
                f"{', '.join(sorted(_KEYS - _REQUIRED))}"
            )
        return _checked(values)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise WeightsError(
            f"{path}: its description of the pair cannot be used: {printable(error, 300)}"
        ) from error


def renamed_pair(path: Path, names: Sequence[str]) -> bytes:
    """A pair's file with other names for its networks.

    Args:
        path: The file; what it says beside them stays.
        names: Of its detectors, and last of its pose network.

    Raises:
        WeightsError: If the file is no pair's.
    """
    pair = read_pair(path)
    detectors = [
        name if size is None else f"{name}@{_size_text(size)}"
        for name, (_, size) in zip(names, pair.detectors, strict=False)
    ]
    values = {**dataclasses.asdict(pair), "detectors": detectors, "pose": names[-1]}
    return (json.dumps(values, indent=2) + "\n").encode()


def _checked(values: dict[str, Any]) -> Pair:
    for key in ("name", "pose", "licence"):
        if not _is_word(values.get(key, "-")):
            raise ValueError(f"{key}: expected a text of 1 to 200 characters")
    detectors = values["detectors"]
    if not isinstance(detectors, list) or not 1 <= len(detectors) <= _MAX_DETECTORS:
        raise ValueError(f"detectors: expected a list of 1 to {_MAX_DETECTORS} names")
    padding = values.get("padding", 1.0)
    if not is_finite(padding) or isinstance(padding, bool) or not 0.5 <= padding <= 4:
        raise ValueError(f"padding: expected a number from 0.5 to 4, got {padding!r}")
    if not isinstance(values.get("flip", False), bool):
        raise ValueError("flip: expected true or false")
    if not isinstance(values.get("metrics", {}), dict):
        raise ValueError("metrics: expected a dictionary")
    return Pair(**{**values, "detectors": tuple(_detector(text) for text in detectors)})


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 200 and value.isprintable()


def _size_text(size: int | tuple[int, int]) -> str:
    return str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"


def _detector(text: Any) -> tuple[str, DetectorSize]:
    if not _is_word(text):
        raise ValueError("detectors: expected texts of 1 to 200 characters")
    name, at, size = text.rpartition("@")
    if not at:
        return text, None
    sides = [int(side) for side in size.split("x")] if _SIZE.fullmatch(size) else []
    if not sides or not all(32 <= side <= 4096 for side in sides):
        raise ValueError(f"detectors: expected a long side of 32 to 4096 px after @, got {size!r}")
    if len(sides) == 1:
        return name, sides[0]
    if any(side % 32 for side in sides):
        raise ValueError(f"detectors: expected multiples of 32 px after @, got {size!r}")
    return name, (sides[0], sides[1])


def pair_source(path: Path, pair: Pair, parts: tuple[ModelSource, ...]) -> ModelSource:
    """The model of a pair.

    Args:
        path: Of its file.
        pair: What it says.
        parts: The sources of its detectors, and last of its pose network.

    Raises:
        WeightsError: If a network is given in the place of one of another kind.
    """
    kinds = ["person_detector"] * len(pair.detectors) + ["single_person"]
    names = [*(name for name, _ in pair.detectors), pair.pose]
    for name, part, kind in zip(names, parts, kinds, strict=True):
        if part.spec.method != kind:
            place = "pose" if kind == "single_person" else "detectors"
            found = PARTS.get(part.spec.method, f"a model of method {part.spec.method!r}")
            raise WeightsError(f"{path}: {place}: expected {PARTS[kind]}, but {name!r} is {found}")
    kinds = sorted({part.kind for part in parts})
    if len(kinds) > 1:
        raise WeightsError(f"{path}: expected networks of one kind, found {' and '.join(kinds)}")
    for (name, size), part in zip(pair.detectors, parts, strict=False):
        if size is None and part.spec.size_hw is None:
            raise WeightsError(
                f"{path}: detectors: {name!r} takes any size, so it needs one, as in '{name}@640'"
            )
    pose = parts[-1].spec
    if pose.size_hw is None or any(side % 32 for side in pose.size_hw):
        raise WeightsError(f"{path}: pose: {pair.pose!r} does not say the size of its crops")
    # Each part normalizes its own input.
    spec = ModelSpec(
        name=pair.name,
        builder="top_down",
        options={
            "detectors": [list(detector) for detector in pair.detectors],
            "pose": pair.pose,
            "padding": pair.padding,
            "flip": pair.flip,
        },
        skeleton=pose.skeleton,
        heatmap_grid=pose.heatmap_grid,
        paf_grid=pose.paf_grid,
        mean=0.0,
        scale=1.0,
        licence=pair.licence,
        metrics=pair.metrics,
    )
    return ModelSource(spec=spec, file=path, kind="pair", parts=parts)


def detector_sizes(spec: ModelSpec) -> list[DetectorSize]:
    """The size of the input of each detector of a pair."""
    return [size for _, size in spec.options["detectors"]]
