"""Every threshold of the parser, by name."""

from __future__ import annotations

from dataclasses import dataclass

from openpaf.checks import check_choice, check_numbers, renamed_fields

MATCHINGS = ("greedy", "optimal", "exact")
GRAPHS = ("tree", "redundant", "full")


@renamed_fields(
    runners_up="n_fallbacks", join_distance="merge_distance", join_size_px="merge_size_px"
)
@dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """The thresholds of the parser, an argument of each of its steps.

    Where no other source is named, a default was chosen by AP on the fields of true people (481
    images of COCO val2017, clean and noisy) and on those of networks at 368 px short side: the
    default model and the network that it was trained from, on 121 images of COCO train2017, and
    that network on 260 images of groups with pseudo-labels.

    Args:
        peak_threshold: Smallest heatmap value of a joint that may begin a person; above 0.
        weak_peak_threshold: Smallest heatmap value of a joint that may only complete a person
            found without it; above 0. If as large as ``peak_threshold``, weak joints are not used.
        peak_support: The neighbors above, below and beside a peak must have, on average, at
            least this share of its height, 0 to 1, at stride 8 and sigma 7 px, where a Gaussian has
            0.52 or more and a spike of noise about 0. At other strides and sigmas it changes as the
            share of a Gaussian does.
        split_flatness: A peak of ``peak_threshold`` or more may be those of two people where the
            logarithm of the heatmap bends less than a Gaussian's by more than this share, 0 to 1;
            1 never.
        sigma_px: Standard deviation of a joint's Gaussian in px, for ``peak_support``, for two in
            one peak, for peaks in the outermost cells or beside another, where the curvature cannot
            be measured, and for fields of cells less than 0.3 times as far apart, of which every
            n-th is used. 7: the trainers of the 2017 network.
        max_peaks: At most this many peaks of one joint, the strongest; a warning is logged when
            there are more. 400: eight times the people of a dense crowd, and parsed within a second
            even if every pair of peaks were a candidate limb.
        limb_samples: Points of a limb at which its field is sampled; 10 in the published code, 7
            are as good at stride 8.
        limb_point_threshold: A point supports a limb where the field along it is above this;
            0.05 in the published code.
        limb_fraction: Share of the points that must support a limb, 0 to 1; 0.8 in the published
            code.
        limb_threshold: Smallest mean of the field along a limb.
        matching: How each limb's candidates become one-to-one: ``"greedy"``, as in the paper;
            ``"optimal"``, the assignment of largest total weight; or ``"exact"``, the choice of
            largest total weight of all limbs together that makes whole people, for small scenes
            only: it takes seconds.
        n_fallbacks: Number of further candidates of each peak and limb that are used where the
            better ones contradict a whole person; not for ``matching="exact"``. 0: the paper.
            (Called ``runners_up`` before.)
        graph: Which limbs are used: ``"tree"``, those of a spanning tree
            (:func:`openpaf.skeleton.trees.tree_limbs`); ``"redundant"``, all that the skeleton
            has; ``"full"`` also, and every pair of joints must then be a limb.
        exchange_gain: Two people whom a limb ties together exchange joints where the scores of the
            limbs inside both grow by more than this in sum; 1000, more than they can, never, as in
            the paper. 0.6: on the fields of networks, less loses AP.
        merge_distance: Two fragments without a joint in common are merged into one person where
            their nearest joints are at most this many times the larger one's size apart; 0 never.
            (Called ``join_distance`` before.)
        merge_size_px: Added to that size in px, so that two single joints can be merged too.
            (Called ``join_size_px`` before.)
        share_threshold: A joint already used is given to a second person who lacks it where the
            limb to it has at least this score (two people's joints in one peak); 1 never, on
            fields of at most 1.
        complete_reach: A weak joint that a limb connects to a person completes it only if the limb
            is at most this many times the sum of the person's size and ``merge_size_px`` long.
        complete_distance: A person's missing joint is filled in by a single peak of that joint
            at most this many times the person's size away from a joint that it has a limb with;
            0 never.
        single_threshold: A single joint is a person only if its heatmap is at least this.
        duplicate_oks: Of two people as similar as this, by the object keypoint similarity of the
            joints of the weaker, the weaker is dropped; above 1 keeps all.
        score_size_px: Size in px at which a person's score is half that of a very large person
            with the same joint scores: small people are located less accurately. It changes the
            order of the people and drops none.
        min_joints: Fewest joints of a person; at least 1.
        min_person_score: Smallest score of a person, 0 to 1; the parser's own score, from which
            :mod:`openpaf.estimator.calibration` makes a probability.

    Raises:
        ValueError: If a value is out of its range; the message names it.

    Reference:
        Cao et al., CVPR 2017, section 2, and its published code, where a value is from there.

    Example:
        >>> import openpaf
        >>> config = openpaf.DecodeConfig(peak_threshold=0.3, matching="greedy")
        >>> config.limb_samples
        7
        >>> openpaf.DecodeConfig(limb_fraction=2)
        Traceback (most recent call last):
        ValueError: limb_fraction: expected a number from 0 to 1, got 2
    """

    peak_threshold: float = 0.2
    weak_peak_threshold: float = 0.01
    peak_support: float = 0.4
    split_flatness: float = 0.15
    sigma_px: float = 7.0
    max_peaks: int = 400
    limb_samples: int = 7
    limb_point_threshold: float = 0.0
    limb_fraction: float = 0.8
    limb_threshold: float = 0.1
    matching: str = "optimal"
    n_fallbacks: int = 1
    graph: str = "redundant"
    exchange_gain: float = 0.6
    merge_distance: float = 0.4
    merge_size_px: float = 80.0
    share_threshold: float = 0.7
    complete_reach: float = 2.0
    complete_distance: float = 0.5
    single_threshold: float = 0.3
    duplicate_oks: float = 0.9
    score_size_px: float = 80.0
    min_joints: int = 1
    min_person_score: float = 0.0

    def __post_init__(self) -> None:
        positive = ("peak_threshold", "weak_peak_threshold", "sigma_px", "score_size_px")
        check_numbers(self, positive, above=0)
        if self.weak_peak_threshold > self.peak_threshold:
            # If only peak_threshold was raised, no weaker peaks are meant to be used.
            object.__setattr__(self, "weak_peak_threshold", self.peak_threshold)
        shares = ("peak_support", "split_flatness", "limb_fraction", "min_person_score")
        check_numbers(self, shares, least=0, most=1)
        not_negative = ("limb_point_threshold", "limb_threshold", "exchange_gain", "merge_distance",
                        "merge_size_px", "share_threshold", "complete_reach",
                        "complete_distance", "single_threshold", "duplicate_oks")  # fmt: skip
        check_numbers(self, not_negative, least=0)
        for name, least in (("max_peaks", 1), ("limb_samples", 2), ("n_fallbacks", 0),
                            ("min_joints", 1)):  # fmt: skip
            check_numbers(self, (name,), least=least, most=1_000_000, is_integer=True)
        check_choice("matching", self.matching, MATCHINGS)
        check_choice("graph", self.graph, GRAPHS)


#: Used where no configuration is given: checking a new one takes as long as parsing a person.
DEFAULTS = DecodeConfig()
