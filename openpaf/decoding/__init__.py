"""The parser: fields in, people out."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from openpaf.decoding.compiled import decode_compiled
from openpaf.decoding.config import DEFAULTS, DecodeConfig
from openpaf.decoding.limbs import match_limbs, score_limbs
from openpaf.decoding.peaks import find_peaks
from openpaf.decoding.people import assemble_people
from openpaf.decoding.types import Limbs, Peaks
from openpaf.fields import Fields
from openpaf.poses import Poses


def decode(fields: Fields, config: DecodeConfig | None = None) -> Poses:
    """The people of a picture, in px of the network's input."""
    config = config or DEFAULTS
    if config.matching != "exact":
        return decode_compiled(fields, config)
    peaks = find_peaks(fields, config)
    candidates = score_limbs(fields, peaks, config)
    limbs = match_limbs(candidates, config, peaks)
    return assemble_people(peaks, limbs, fields.skeleton, config)


def decode_batch(
    batch: Iterable[Fields], config: DecodeConfig | None = None, *, n_threads: int | None = None
) -> list[Poses]:
    """The people of several pictures, parsed in parallel threads.

    Args:
        batch: Fields of one picture each, of any sizes.
        config: Thresholds; the defaults where not given.
        n_threads: Threads to use; one a core where not given.

    Returns:
        One Poses a picture, in order, the same as :func:`decode` gives.
    """
    many = list(batch)
    if len(many) <= 1 or n_threads == 1:
        return [decode(fields, config) for fields in many]
    with ThreadPoolExecutor(n_threads or os.cpu_count()) as pool:
        return list(pool.map(lambda fields: decode(fields, config), many))


__all__ = [
    "DecodeConfig",
    "Limbs",
    "Peaks",
    "assemble_people",
    "decode",
    "decode_batch",
    "find_peaks",
    "match_limbs",
    "score_limbs",
]
