"""Skeletons: the joints of a person and the limbs that connect them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from openpaf.skeleton import tables
from openpaf.skeleton.entries import ENTRIES, check_joints, check_pairs, coco_limbs
from openpaf.skeleton.names import flip_pairs_of, plain_name


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
        for name, expected, convert in ENTRIES:
            try:
                value = tuple(convert(entry) for entry in getattr(self, name))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name} of {self.name!r}: expected {expected}") from error
            object.__setattr__(self, name, value)
        check_joints(self.name, self.joints, self.oks_sigmas)
        for name in ("limbs", "flip_pairs"):
            check_pairs(f"{name} of {self.name!r}", getattr(self, name), self.n_joints)
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
    def unconnected(self) -> tuple[str, ...]:
        """The joints that limbs do not connect to most others; none if it hangs together."""
        parts: list[set[int]] = []
        for k in range(self.n_joints):
            near = {k, *(joint for limb in self.limbs if k in limb for joint in limb)}
            touched = [part for part in parts if part & near]
            parts = [part for part in parts if not part & near] + [near.union(*touched)]
        largest = max(parts, key=len)
        return tuple(name for k, name in enumerate(self.joints) if k not in largest)

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
            category: A dictionary with ``keypoints`` (names) and ``skeleton`` (1-based pairs), and
                ``oks_sigmas`` where they are known.
            oks_sigmas: OKS constant of each joint. If None, those of the category; else COCO's
                where all joints are COCO's; else 0.05 each.

        Returns:
            A skeleton whose flip pairs follow from names with ``left`` and ``right``, ``l`` and
            ``r``; see :func:`openpaf.skeleton.names.flip_pairs_of`.

        Raises:
            ValueError: If the category has no ``keypoints``, or they are not names, a pair is none,
                or an index is out of range; the message names category and joint.
        """
        name = str(category.get("name", "custom"))
        joints = category.get("keypoints")
        if not joints:
            raise ValueError(f"category {category.get('name')!r}: no 'keypoints' in it")
        if not isinstance(joints, (list, tuple)) or not all(isinstance(n, str) for n in joints):
            raise ValueError(f"keypoints of {name!r}: expected a list of names, got {joints!r}")
        if oks_sigmas is None:
            oks_sigmas = category.get("oks_sigmas") or known_sigmas(joints) or [0.05] * len(joints)
        return cls(
            name=name,
            joints=tuple(joints),
            limbs=coco_limbs(category, name),
            flip_pairs=flip_pairs_of(joints),
            oks_sigmas=tuple(oks_sigmas),
        )

    def select(self, joints: Sequence[str]) -> Skeleton:
        """This skeleton with some of its joints, in another order.

        Limbs and flip pairs of which a joint is left out are left out, too.

        Raises:
            ValueError: If it has no such joint; the message lists those that it has.
        """
        if tuple(joints) == self.joints:
            return self
        old = [self.index(name) for name in joints]
        new = {k: place for place, k in enumerate(old)}

        def of_new(pairs: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
            return tuple((new[a], new[b]) for a, b in pairs if a in new and b in new)

        return Skeleton(
            name=self.name,
            joints=tuple(joints),
            limbs=of_new(self.limbs),
            flip_pairs=of_new(self.flip_pairs),
            oks_sigmas=tuple(self.oks_sigmas[k] for k in old),
        )


def known_sigmas(joints: Sequence[str]) -> tuple[float, ...] | None:
    """COCO's OKS constants of joints, however they are spelled; None unless all are COCO's."""
    coco = dict(zip(Skeleton.COCO17.joints, Skeleton.COCO17.oks_sigmas, strict=True))
    plain = [plain_name(joint) for joint in joints]
    return tuple(coco[name] for name in plain) if set(plain) <= set(coco) else None


Skeleton.COCO17 = Skeleton(**tables.COCO17)
Skeleton.COCO18 = Skeleton(**tables.COCO18)
Skeleton.COCO18_REDUNDANT = Skeleton(**tables.COCO18_REDUNDANT)
Skeleton.BODY25 = Skeleton(**tables.BODY25)
Skeleton.MPI15 = Skeleton(**tables.MPI15)
