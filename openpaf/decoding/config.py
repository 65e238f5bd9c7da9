"""Every threshold of the parser, by name."""

from __future__ import annotations

from dataclasses import dataclass

from openpaf.checks import check_choice, check_numbers

ASSOCIATIONS = ("paf", "one_midpoint", "two_midpoints")
MATCHINGS = ("greedy", "optimal", "exact")
GRAPHS = ("tree", "redundant", "full")


@dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """How fields become people: an argument of every step of the parser.

    Where no other source is named, a default was chosen by AP on the fields of true people (481
    photos of COCO val2017, clean and noisy) and on those of networks at 368 px short side: the
    embedded model's, and its start's, for 121 photos of COCO train2017, and the start's for 260
    photos of groups with pseudo-labels.

    Args:
        peak_threshold: Smallest heatmap value of a joint that may begin a person; above 0.
        weak_peak_threshold: Smallest heatmap value of a joint that may only complete a person
            found without it; above 0. As large as ``peak_threshold``, it completes nobody.
        peak_support: The neighbours above, below and beside a peak must have, on average, at
            least this share of its height, 0 to 1. A Gaussian of sigma 7 px has 0.52 or more at
            stride 8; a spike of noise about 0.
        sigma_px: Standard deviation of a joint's Gaussian in px, for peaks at the very border,
            where it cannot be seen. 7: the trainers of the 2017 network.
        max_peaks: At most this many peaks of one joint, the strongest; a warning is logged when
            there are more. 400: eight times the people of a dense crowd, and parsed within a second
            even if every peak could be tied to every other.
        association: What ties two peaks together: ``"paf"``, the line integral of the part
            affinity field; or the paper's two simpler rivals, the limb's presence, without its
            direction, at ``"one_midpoint"`` or ``"two_midpoints"``.
        limb_samples: Points of a limb at which its field is read; 10 in the published code, 7
            are as good at stride 8.
        limb_point_threshold: A point speaks for a limb where the field along it is above this;
            0.05 in the published code.
        limb_fraction: Share of the points that must speak for it, 0 to 1; 0.8 in the published
            code.
        limb_threshold: Smallest mean of the field along a limb.
        matching: How each limb's candidates become one-to-one: ``"greedy"``, the paper's;
            ``"optimal"``, the assignment of largest total weight; or ``"exact"``, the choice of
            largest total weight of all limbs together that makes whole people, for small scenes
            only: it takes seconds.
        runners_up: So many more candidates of each peak and limb are kept, after those of
            ``matching`` (not the exact one), to be used where the better ones contradict a whole
            person; 0 is the paper's rule.
        graph: Which limbs are used: ``"tree"``, the first that join all joints without a circle;
            ``"redundant"``, all that the skeleton has; ``"full"`` also, and every pair of joints
            must then be a limb.
        join_distance: Two fragments without a joint in common become one person where their
            nearest joints are at most this many times the larger one's size apart; 0 never.
        join_size_px: Added to that size in px, so that two single joints can be joined too.
        share_threshold: A joint already used is given to a second person who lacks it where the
            limb to it has at least this score (two people's joints in one peak); 1 never, on
            fields of at most 1.
        complete_reach: A weak joint that a limb ties to a person completes it only if the limb is
            at most this many times the sum of the person's size and ``join_size_px`` long.
        complete_distance: A person's missing joint is filled in by a single peak of that joint
            at most this many times the person's size away from a joint that it has a limb with;
            0 never.
        single_threshold: A single joint is a person only if its heatmap is at least this.
        duplicate_oks: Of two people as similar as this, by the object keypoint similarity of the
            joints of the weaker, the weaker is dropped; above 1 keeps all.
        score_size_px: Size at which a person is half as sure as a large one of the same joints,
            in px: small people are placed less well. Ranks people; drops nobody.
        min_joints: Fewest joints of a person; at least 1.
        min_person_score: Smallest score of a person, 0 to 1.

    Raises:
        ValueError: If a value is out of its range; the message names it.
    """

    peak_threshold: float = 0.2
    weak_peak_threshold: float = 0.01
    peak_support: float = 0.4
    sigma_px: float = 7.0
    max_peaks: int = 400
    association: str = "paf"
    limb_samples: int = 7
    limb_point_threshold: float = 0.0
    limb_fraction: float = 0.8
    limb_threshold: float = 0.1
    matching: str = "optimal"
    runners_up: int = 1
    graph: str = "redundant"
    join_distance: float = 0.4
    join_size_px: float = 80.0
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
            # Who raises the one threshold alone means: nothing below it.
            object.__setattr__(self, "weak_peak_threshold", self.peak_threshold)
        shares = ("peak_support", "limb_fraction", "min_person_score")
        check_numbers(self, shares, least=0, most=1)
        not_negative = ("limb_point_threshold", "limb_threshold", "join_distance", "join_size_px",
                        "share_threshold", "complete_reach", "complete_distance",
                        "single_threshold", "duplicate_oks")  # fmt: skip
        check_numbers(self, not_negative, least=0)
        for name, least in (("max_peaks", 1), ("limb_samples", 2), ("runners_up", 0),
                            ("min_joints", 1)):  # fmt: skip
            check_numbers(self, (name,), least=least, most=1_000_000, is_integer=True)
        check_choice("association", self.association, ASSOCIATIONS)
        check_choice("matching", self.matching, MATCHINGS)
        check_choice("graph", self.graph, GRAPHS)


#: Used where no configuration is given: to check a new one takes as long as parsing a person.
DEFAULTS = DecodeConfig()
