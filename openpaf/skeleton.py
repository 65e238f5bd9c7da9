"""Skeletons: the joints of a person and the limbs that connect them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from openpaf.checks import is_finite, is_whole


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _pair(value: Any) -> tuple[int, int]:
    a, b = value
    if not is_whole(a) or not is_whole(b):
        raise TypeError(value)
    return int(a), int(b)


def _sigma(value: Any) -> float:
    if not is_finite(value):
        raise TypeError(value)
    return float(value)


#: The lists of a skeleton: name, description of an entry for messages, and its conversion.
_ENTRIES = (
    ("joints", "names", _name),
    ("limbs", "pairs of joint numbers", _pair),
    ("flip_pairs", "pairs of joint numbers", _pair),
    ("oks_sigmas", "finite positive numbers", _sigma),
)


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """The joints of a person and the limbs that connect them.

    Everything that depends on the choice of joints follows from this one object: the number and
    order of heatmaps and part affinity fields, which of them swap in a mirrored image, and the
    tolerance of each joint in the object keypoint similarity.

    Args:
        name: A short name, e.g. ``"coco17"``.
        joints: Names of the K joints, unique, in heatmap channel order.
        limbs: L pairs ``(from, to)`` of 0-based joint indices, in PAF channel order. The PAF of a
            limb points from its first to its second joint. There may be more limbs than a tree
            needs; each pair may appear once, in one direction.
        flip_pairs: Pairs of joints that swap when the image is mirrored.
        oks_sigmas: K constants of the object keypoint similarity, above 0, in units of the square
            root of the person's area.

    Attributes:
        COCO17: COCO's 17 joints, with 28 limbs; that of the shipped models.
        COCO18: COCO's 17 joints and a neck, with the 19 limbs of the 2017 network.
        COCO18_REDUNDANT: The same joints with 31 limbs.
        BODY25: The 25 joints of the 2019 network, with feet.
        MPI15: The 15 joints of CMU's MPI network.

    Raises:
        ValueError: If a name repeats, an index is out of range, a limb joins a joint to itself or
            repeats, a joint is in two flip pairs, or the number of sigmas is not K.

    Reference:
        Cao et al., CVPR 2017, section 2; OKS sigmas: cocodataset.org/#keypoints-eval.

    Example:
        >>> import openpaf
        >>> openpaf.Skeleton.COCO17.index("left_wrist")
        9
        >>> arm = openpaf.Skeleton(
        ...     name="arm",
        ...     joints=("shoulder", "elbow", "wrist"),
        ...     limbs=((0, 1), (1, 2)),
        ...     oks_sigmas=(0.079, 0.072, 0.062),
        ... )
        >>> arm.n_joints, arm.n_limbs
        (3, 2)
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()
    oks_sigmas: tuple[float, ...]

    COCO17: ClassVar[Skeleton]
    COCO18: ClassVar[Skeleton]
    COCO18_REDUNDANT: ClassVar[Skeleton]
    BODY25: ClassVar[Skeleton]
    MPI15: ClassVar[Skeleton]

    def __post_init__(self) -> None:
        # Lists are converted to tuples, so that a skeleton can be hashed.
        if not isinstance(self.name, str):
            raise ValueError(f"name: expected text, got {self.name!r}")
        for name, expected, convert in _ENTRIES:
            try:
                value = tuple(convert(entry) for entry in getattr(self, name))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name} of {self.name!r}: expected {expected}") from error
            object.__setattr__(self, name, value)
        self._check_joints()
        self._check_pairs("limbs", self.limbs)
        self._check_pairs("flip_pairs", self.flip_pairs)
        if len({frozenset(limb) for limb in self.limbs}) != len(self.limbs):
            raise ValueError(f"limbs of {self.name!r}: every pair of joints may appear once")
        flipped = [joint for pair in self.flip_pairs for joint in pair]
        if len(set(flipped)) != len(flipped):
            raise ValueError(f"flip_pairs of {self.name!r}: every joint may appear once")

    def __hash__(self) -> int:
        # Cached, as the parser looks up a skeleton's tables for every image.
        if "_hash" not in self.__dict__:
            own = (self.name, self.joints, self.limbs, self.flip_pairs, self.oks_sigmas)
            object.__setattr__(self, "_hash", hash(own))
        cached: int = self.__dict__["_hash"]
        return cached

    def __getstate__(self) -> dict[str, Any]:
        # The hash of a string differs between processes.
        return {name: value for name, value in self.__dict__.items() if name != "_hash"}

    def _check_joints(self) -> None:
        if not self.joints:
            raise ValueError(f"joints of {self.name!r}: expected at least one, got none")
        if len(set(self.joints)) != len(self.joints):
            repeated = sorted({j for j in self.joints if self.joints.count(j) > 1})
            raise ValueError(f"joints of {self.name!r}: names must be unique, {repeated} repeat")
        if len(self.oks_sigmas) != len(self.joints):
            raise ValueError(
                f"oks_sigmas of {self.name!r}: expected {len(self.joints)}, one a joint, "
                f"got {len(self.oks_sigmas)}"
            )
        if not all(0 < sigma < float("inf") for sigma in self.oks_sigmas):
            raise ValueError(f"oks_sigmas of {self.name!r}: expected finite positive numbers")

    def _check_pairs(self, field: str, pairs: Iterable[tuple[int, int]]) -> None:
        for a, b in pairs:
            if not (0 <= a < self.n_joints and 0 <= b < self.n_joints):
                raise ValueError(
                    f"{field} of {self.name!r}: ({a}, {b}) is out of range for "
                    f"{self.n_joints} joints"
                )
            if a == b:
                raise ValueError(f"{field} of {self.name!r}: ({a}, {b}) joins a joint to itself")

    @property
    def n_joints(self) -> int:
        """K, the number of joints."""
        return len(self.joints)

    @property
    def n_limbs(self) -> int:
        """L, the number of limbs."""
        return len(self.limbs)

    def index(self, joint: str) -> int:
        """Index of a joint by name.

        Raises:
            ValueError: If the skeleton has no such joint; the message lists those it has.
        """
        try:
            return self.joints.index(joint)
        except ValueError:
            raise ValueError(
                f"joint {joint!r} is not in skeleton {self.name!r}, which has: "
                f"{', '.join(self.joints)}"
            ) from None

    @property
    def flip_permutation(self) -> tuple[int, ...]:
        """(K,) for each joint, the one that it swaps with when the image is mirrored."""
        permutation = list(range(self.n_joints))
        for a, b in self.flip_pairs:
            permutation[a], permutation[b] = b, a
        return tuple(permutation)

    @property
    def flip_limbs(self) -> tuple[tuple[int, bool], ...]:
        """For each limb, its mirror image: the limb's index, and whether it runs backwards.

        Raises:
            ValueError: If the mirror image of a limb is not a limb of this skeleton.
        """
        index = {limb: i for i, limb in enumerate(self.limbs)}
        swap = self.flip_permutation
        mirrored = []
        for a, b in self.limbs:
            image = (swap[a], swap[b])
            if image in index:
                mirrored.append((index[image], False))
            elif image[::-1] in index:
                mirrored.append((index[image[::-1]], True))
            else:
                raise ValueError(
                    f"limb {self.joints[a]}-{self.joints[b]} of {self.name!r} has no mirror image "
                    f"{self.joints[image[0]]}-{self.joints[image[1]]} among the limbs"
                )
        return tuple(mirrored)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Skeleton:
        """A skeleton from a dictionary as of :meth:`to_dict`, e.g. read from JSON.

        Raises:
            ValueError: If a key is missing or unknown, or the values are not a valid skeleton.
        """
        known = {"name", "joints", "limbs", "flip_pairs", "oks_sigmas"}
        unknown, missing = set(data) - known, known - {"flip_pairs"} - set(data)
        if unknown or missing:
            raise ValueError(
                f"skeleton dictionary: missing keys {sorted(missing)}, "
                f"unknown keys {sorted(unknown)}"
            )
        return cls(**dict(data))

    def to_dict(self) -> dict[str, Any]:
        """The skeleton as plain lists, numbers and strings, e.g. for JSON."""
        return {
            "name": self.name,
            "joints": list(self.joints),
            "limbs": [list(limb) for limb in self.limbs],
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
            "oks_sigmas": list(self.oks_sigmas),
        }

    @classmethod
    def from_coco_category(
        cls, category: Mapping[str, Any], *, oks_sigmas: Sequence[float] | None = None
    ) -> Skeleton:
        """The skeleton of a category of a COCO-keypoints file.

        Args:
            category: A dictionary with ``keypoints`` (names) and ``skeleton`` (1-based pairs).
            oks_sigmas: Per-joint OKS constants; 0.05 each where not given, except that COCO's own
                17 joints get COCO's constants.

        Returns:
            A skeleton whose flip pairs follow from names that start with ``left``/``right`` or
            ``l_``/``r_``.

        Raises:
            ValueError: If the category has no ``keypoints``, or an index is out of range.
        """
        if "keypoints" not in category or not category["keypoints"]:
            raise ValueError(f"category {category.get('name')!r}: no 'keypoints' in it")
        joints = tuple(str(name) for name in category["keypoints"])
        if oks_sigmas is None:
            is_coco = joints == cls.COCO17.joints
            oks_sigmas = cls.COCO17.oks_sigmas if is_coco else (0.05,) * len(joints)
        seen: set[frozenset[int]] = set()
        limbs = []
        for a, b in category.get("skeleton") or ():
            if frozenset((a, b)) not in seen:
                seen.add(frozenset((a, b)))
                limbs.append((int(a) - 1, int(b) - 1))
        return cls(
            name=str(category.get("name", "custom")),
            joints=joints,
            limbs=tuple(limbs),
            flip_pairs=_flip_pairs_by_name(joints),
            oks_sigmas=tuple(oks_sigmas),
        )


def _flip_pairs_by_name(joints: Sequence[str]) -> tuple[tuple[int, int], ...]:
    pairs = []
    for i, name in enumerate(joints):
        for left, right in (("left", "right"), ("l_", "r_"), ("L_", "R_")):
            if name.startswith(left) and right + name[len(left) :] in joints:
                pairs.append((i, joints.index(right + name[len(left) :])))
    return tuple(pairs)


def _named(joints: Sequence[str], pairs: str) -> tuple[tuple[int, int], ...]:
    """Pairs of indices from text like ``nose-neck neck-left_hip``."""
    return tuple(
        (joints.index(a), joints.index(b)) for a, b in (pair.split("-") for pair in pairs.split())
    )


_COCO17_JOINTS = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
    "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle"
).split()
_COCO17_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
    0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
)  # fmt: skip
_COCO18_JOINTS = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye "
    "right_ear left_ear"
).split()
_BODY25_JOINTS = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "mid_hip right_hip right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye "
    "right_ear left_ear left_big_toe left_small_toe left_heel right_big_toe right_small_toe "
    "right_heel"
).split()
_MPI15_JOINTS = (
    "head neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist "
    "right_hip right_knee right_ankle left_hip left_knee left_ankle chest"
).split()


def _sigmas(joints: Sequence[str]) -> tuple[float, ...]:
    """COCO's constants by joint name; joints that COCO lacks get those of their neighbors."""
    known = dict(zip(_COCO17_JOINTS, _COCO17_SIGMAS, strict=True))
    # Neck and chest lie between the shoulders and the mid hip between the hips; feet as ankles.
    known.update(neck=0.079, mid_hip=0.107, head=0.079, chest=0.107)
    return tuple(known.get(name, 0.089) for name in joints)


Skeleton.COCO17 = Skeleton(
    name="coco17",
    joints=tuple(_COCO17_JOINTS),
    # The first 19 are COCO's own limbs. The rest are redundant: they connect a person where a joint
    # in between is hidden, as an eye, an elbow or a knee.
    limbs=_named(
        _COCO17_JOINTS,
        "left_shoulder-left_elbow left_elbow-left_wrist right_shoulder-right_elbow "
        "right_elbow-right_wrist left_hip-left_knee left_knee-left_ankle right_hip-right_knee "
        "right_knee-right_ankle nose-left_eye nose-right_eye left_eye-left_ear "
        "right_eye-right_ear left_ear-left_shoulder right_ear-right_shoulder "
        "left_shoulder-right_shoulder left_hip-right_hip left_shoulder-left_hip "
        "right_shoulder-right_hip left_eye-right_eye "
        "nose-left_shoulder nose-right_shoulder left_wrist-left_hip right_wrist-right_hip "
        "left_knee-right_knee left_shoulder-left_wrist right_shoulder-right_wrist "
        "left_hip-left_ankle right_hip-right_ankle",
    ),
    flip_pairs=_flip_pairs_by_name(_COCO17_JOINTS),
    oks_sigmas=_COCO17_SIGMAS,
)
# The 19 limbs of the 2017 network, in the order of OpenPose's table; the permutation of its PAF
# channels belongs to each checkpoint, not to the skeleton.
Skeleton.COCO18 = Skeleton(
    name="coco18",
    joints=tuple(_COCO18_JOINTS),
    limbs=(
        (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11),
        (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (2, 16), (5, 17),
    ),
    flip_pairs=_flip_pairs_by_name(_COCO18_JOINTS),
    oks_sigmas=_sigmas(_COCO18_JOINTS),
)  # fmt: skip
# The same, and redundant limbs that connect a person where a joint in between is hidden.
Skeleton.COCO18_REDUNDANT = Skeleton(
    name="coco18_redundant",
    joints=tuple(_COCO18_JOINTS),
    limbs=Skeleton.COCO18.limbs
    + _named(
        _COCO18_JOINTS,
        "right_shoulder-left_shoulder right_hip-left_hip right_shoulder-right_hip "
        "left_shoulder-left_hip right_eye-left_eye right_wrist-right_hip left_wrist-left_hip "
        "right_knee-left_knee right_shoulder-right_wrist left_shoulder-left_wrist "
        "right_hip-right_ankle left_hip-left_ankle",
    ),
    flip_pairs=_flip_pairs_by_name(_COCO18_JOINTS),
    oks_sigmas=_sigmas(_COCO18_JOINTS),
)
Skeleton.BODY25 = Skeleton(
    name="body25",
    joints=tuple(_BODY25_JOINTS),
    limbs=_named(
        _BODY25_JOINTS,
        "neck-mid_hip neck-right_shoulder neck-left_shoulder right_shoulder-right_elbow "
        "right_elbow-right_wrist left_shoulder-left_elbow left_elbow-left_wrist "
        "mid_hip-right_hip right_hip-right_knee right_knee-right_ankle mid_hip-left_hip "
        "left_hip-left_knee left_knee-left_ankle neck-nose nose-right_eye right_eye-right_ear "
        "nose-left_eye left_eye-left_ear right_shoulder-right_ear left_shoulder-left_ear "
        "left_ankle-left_big_toe left_big_toe-left_small_toe left_ankle-left_heel "
        "right_ankle-right_big_toe right_big_toe-right_small_toe right_ankle-right_heel",
    ),
    flip_pairs=_flip_pairs_by_name(_BODY25_JOINTS),
    oks_sigmas=_sigmas(_BODY25_JOINTS),
)
Skeleton.MPI15 = Skeleton(
    name="mpi15",
    joints=tuple(_MPI15_JOINTS),
    limbs=_named(
        _MPI15_JOINTS,
        "head-neck neck-right_shoulder right_shoulder-right_elbow right_elbow-right_wrist "
        "neck-left_shoulder left_shoulder-left_elbow left_elbow-left_wrist neck-chest "
        "chest-right_hip right_hip-right_knee right_knee-right_ankle chest-left_hip "
        "left_hip-left_knee left_knee-left_ankle",
    ),
    flip_pairs=_flip_pairs_by_name(_MPI15_JOINTS),
    oks_sigmas=_sigmas(_MPI15_JOINTS),
)
