"""Which layers of a network stay in floating point in its 8-bit form, of OpenVINO and of ONNX."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FIRST = r".*trunk\.[01][/.].*"
_HEADS, _LAST_HEADS = r".*(heatmaps|pafs).*", r".*refinement.*(heatmaps|pafs)\.out.*"
_DETECTOR_LAYERS = (r".*stem.*", r".*trunk[.]fine.*", r".*(squeeze|excite).*", r".*heads.*")

#: Methods of networks that are no faster in 8 bits, and lose much: TinyPose 0.06 AP, with its head
#: in floating point (COCO train2017). They stay in floating point beside a detector in 8 bits.
NEVER_IN_8_BITS = {"single_person"}


def patterns_in_float(method: str, names: Iterable[str]) -> list[str]:
    """Regular expressions that match the names of the layers that stay in floating point.

    The first layers, which see the pixels, and those that give the fields; of networks with
    refinement stages only those of these stages. Of detectors the first layers and the whole heads,
    chosen on COCO train2017.

    Args:
        method: Of the model's spec.
        names: Of the network's layers.
    """
    if method == "person_detector":
        return list(_DETECTOR_LAYERS)
    return [_FIRST, _LAST_HEADS if any("refinement" in name for name in names) else _HEADS]


def is_in_float(name: str, patterns: Iterable[str]) -> bool:
    """Whether a layer stays in floating point, by the patterns of :func:`patterns_in_float`."""
    return any(re.fullmatch(pattern, name) for pattern in patterns)
