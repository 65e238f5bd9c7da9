"""Every threshold of the parser, by name."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """How fields become people: an argument of every step of the parser.

    Args:
        peak_threshold: Smallest heatmap value of a joint.
        sigma_px: Standard deviation of a joint's Gaussian in px.
        max_peaks: At most so many peaks of one joint are kept, the strongest.
        limb_samples: Points of a limb at which its PAF is read.
        limb_point_threshold: A point speaks for a limb where the PAF along it is above this.
        limb_fraction: Share of the points that must do so.
        limb_threshold: Smallest mean of the PAF along a limb.
        join_distance: Two fragments of different joints become one person where their nearest
            joints are closer than this many times the larger fragment's size; 0 never joins.
        duplicate_oks: Of two people as similar as this, the weaker is dropped; 1 keeps all.
        min_joints: Fewest joints of a person.
        min_person_score: Smallest score of a person.

    Raises:
        ValueError: If a value is out of its range; the message names it.
    """

    peak_threshold: float = 0.1
    sigma_px: float = 7.0
    max_peaks: int = 512
    limb_samples: int = 8
    limb_point_threshold: float = 0.05
    limb_fraction: float = 0.75
    limb_threshold: float = 0.1
    join_distance: float = 0.5
    duplicate_oks: float = 0.7
    min_joints: int = 1
    min_person_score: float = 0.0
    variant: int = 0

    def __post_init__(self) -> None:
        pass
