"""What kind of error every joint of a found person has: jitter, inversion, swap or miss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.evaluation.label_files import Annotations, Detection
from openpaf.evaluation.matching import found_joints, labeled_joints, match_people
from openpaf.oks import joint_similarity, joint_variance
from openpaf.skeleton import Skeleton

#: The kinds, from right to wrong.
KINDS = ("good", "jitter", "inversion", "swap", "miss")

MATCH_OKS = 0.1  # people less alike are background errors, not badly placed joints
JITTER_FROM = 0.5  # keypoint similarities: from here on a joint is near,
GOOD_FROM = 0.85  # and here where annotators' own joints are


def classify(
    joints: NDArray[np.float64],
    people: Sequence[tuple[NDArray[np.float64], float]],
    own: int,
    skeleton: Skeleton = Skeleton.COCO17,
) -> list[str | None]:
    """The kind of error of each joint of one found person.

    With ks the keypoint similarity, ``exp(-d^2 / (2 s^2 k^2))``, of a found joint and a labeled
    one at distance d, of a person of area s^2, k being twice the joint's OKS sigma:

    * good: nearest to its own labeled joint, ks >= 0.85;
    * jitter: nearest to its own, 0.5 <= ks < 0.85;
    * inversion: nearest to the same person's joint of the other side, ks >= 0.5;
    * swap: nearest to another person's joint of that kind, of either side, ks >= 0.5;
    * miss: ks < 0.5 to all of these, or not found at all.

    Nearest is meant by ks.

    Args:
        joints: (K, 3) found x, y in px and a number that is 0 where not found.
        people: The labeled people of the photo: (K, 3) x, y and v, and the area in px.
        own: Which of them the found person was matched to.
        skeleton: The K joints.

    Returns:
        One of :data:`KINDS` for each joint; None where it is not labeled in the matched person.

    Reference:
        Ronchi and Perona, ICCV 2017, section 3.1; parts that may be confused are the left
        and the right one, as in their published analysis.
    """
    swap = np.array(skeleton.flip_permutation)
    same = np.array([_similarity(joints, labels, area, skeleton) for labels, area in people])
    other = np.array([_similarity(joints, labels[swap], area, skeleton) for labels, area in people])
    other[:, swap == np.arange(len(swap))] = 0  # the nose has no other side
    strangers = [i for i in range(len(people)) if i != own]
    kinds: list[str | None] = []
    for k in range(skeleton.n_joints):
        if people[own][0][k, 2] <= 0:
            kinds.append(None)
            continue
        # The order decides ties: the more excusable kind first.
        near = {
            "good": same[own, k],
            "inversion": other[own, k],
            "swap": max((max(same[i, k], other[i, k]) for i in strangers), default=0.0),
        }
        kind = max(near, key=lambda name: near[name])
        if near[kind] < JITTER_FROM:
            kinds.append("miss")
        elif kind == "good" and near[kind] < GOOD_FROM:
            kinds.append("jitter")
        else:
            kinds.append(kind)
    return kinds


def error_breakdown(
    annotations: Annotations,
    detections: Sequence[Detection],
    image_ids: Sequence[int] | None = None,
) -> dict[str, Any]:
    """How the labeled joints of found people came out.

    Found people are those matched to a labeled person at an OKS of 0.1 or more, by falling score.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        detections: In COCO's submission format.
        image_ids: Which photos; all of them if None.

    Returns:
        ``joints``, how many labeled joints found people have, the count of each of
        :data:`KINDS`, ``share``, the same relative to ``joints``, and ``by_joint``, the shares of
        each joint by name; besides ``found``, ``missed`` (no match) and ``false`` people.

    Reference:
        Ronchi and Perona, ICCV 2017, sections 3.1 and 3.3.
    """
    photos = match_people(annotations, detections, image_ids, oks=MATCH_OKS)
    skeleton = annotations.skeleton
    joints = skeleton.joints
    counts: Counter[tuple[int, str]] = Counter()
    for photo in photos:
        labeled = [
            person
            for person in annotations.imgToAnns[photo.image_id]
            if person["num_keypoints"] > 0 and not person["iscrowd"]
        ]
        people = [(labeled_joints(person), float(person["area"])) for person in labeled]
        place = {person["id"]: i for i, person in enumerate(labeled)}
        for pair in photo.pairs:
            own = place[pair.truth["id"]]
            kinds = classify(found_joints(pair.detection), people, own, skeleton)
            counts.update((k, kind) for k, kind in enumerate(kinds) if kind is not None)
    total = {kind: sum(counts[k, kind] for k in range(len(joints))) for kind in KINDS}
    return {
        "found": sum(len(photo.pairs) for photo in photos),
        "missed": sum(len(photo.missed) for photo in photos),
        "false": sum(len(photo.false) for photo in photos),
        "joints": sum(total.values()),
        **total,
        "share": _shares(total),
        "by_joint": {
            name: _shares({kind: counts[k, kind] for kind in KINDS})
            for k, name in enumerate(joints)
        },
    }


def _shares(counts: dict[str, int]) -> dict[str, float]:
    whole = max(sum(counts.values()), 1)
    return {kind: n / whole for kind, n in counts.items()}


def _similarity(
    joints: NDArray[np.float64], labels: NDArray[np.float64], area: float, skeleton: Skeleton
) -> NDArray[np.float64]:
    """(K,) keypoint similarities; 0 where a joint is not found or not labeled."""
    variance = joint_variance(skeleton, np.array([area + np.spacing(1)]))[0]
    squared = ((joints[:, :2] - labels[:, :2]) ** 2).sum(axis=1)
    both = (joints[:, 2] > 0) & (labels[:, 2] > 0)
    return joint_similarity(np.where(both, squared, np.nan), variance)
