"""The parser: from fields to people, and its four steps."""

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
    """The people of an image, from its heatmaps and part affinity fields.

    Args:
        fields: Heatmaps (K+1, h, w) and PAFs (L, 2, h, w) of one image.
        config: Thresholds; the defaults where not given.

    Returns:
        People by falling score, in px of the network's input; see :func:`assemble_people`.

    Raises:
        ValueError: If ``config.graph`` is ``"full"`` and a pair of joints is not a limb, or
            ``config.matching`` is ``"exact"`` and the scene is too large.

    Reference:
        Cao et al., Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields, CVPR 2017,
        equations 10 to 15.

    Example:
        >>> import numpy as np
        >>> import openpaf
        >>> keypoints = np.zeros((1, 17, 3))  # x, y and score; a joint of score 0 is missing
        >>> keypoints[0, 5:8] = (60, 40, 1), (100, 40, 1), (60, 80, 1)  # shoulders and an elbow
        >>> poses = openpaf.Poses.from_keypoints(keypoints, openpaf.Skeleton.COCO17)
        >>> fields = openpaf.encode_fields(poses, size_hw=(128, 160))
        >>> people = openpaf.decode(fields)
        >>> len(people)
        1
        >>> np.allclose(people.xy, poses.xy, atol=0.1, equal_nan=True)
        True
    """
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
    """The people of several images, parsed in parallel threads.

    Args:
        batch: The fields of each image, of any sizes.
        config: Thresholds; the defaults where not given.
        n_threads: Number of threads, at least 1; one per core where not given.

    Returns:
        The people of each image, in order, equal to those of :func:`decode`.

    Raises:
        ValueError: As :func:`decode`.
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
