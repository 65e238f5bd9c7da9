"""PCK: the share of joints that lie near enough to where they are labeled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import check_choice, check_number
from openpaf.evaluation.breakdown import MATCH_OKS
from openpaf.evaluation.label_files import Annotation, Annotations, Detection
from openpaf.evaluation.matching import found_joints, labeled_joints, match_people
from openpaf.skeleton import Skeleton
from openpaf.skeleton.names import plain_name

#: What "near enough" is relative to.
REFERENCES = ("box", "torso", "head")
_TORSO = (("left_shoulder", "right_hip"), ("right_shoulder", "left_hip"))
_FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


def reference_for(skeleton: Skeleton, reference: str | None = None) -> str:
    """One of :data:`REFERENCES` that a skeleton has the joints for.

    Args:
        skeleton: The joints of the labels.
        reference: The one that is asked for; torso, and box where there is none, if None.

    Raises:
        ValueError: If the reference is unknown, or its joints are missing.
    """
    places = _places(skeleton)
    has_torso = any(a in places and b in places for a, b in _TORSO)
    if reference is None:
        return "torso" if has_torso else "box"
    check_choice("reference", reference, REFERENCES)
    has_head = sum(name in places for name in _FACE) >= 2
    if (reference == "torso" and not has_torso) or (reference == "head" and not has_head):
        raise ValueError(
            f"reference: {reference} needs joints of people, expected box for "
            f"{skeleton.name!r}, which has {', '.join(skeleton.joints)}"
        )
    return reference


def reference_px(
    person: Annotation, reference: str, skeleton: Skeleton = Skeleton.COCO17
) -> float | None:
    """The length that a person's errors are compared with, in px.

    Args:
        person: A labeled person.
        reference: ``"box"``, the diagonal of the labeled box; ``"torso"``, the distance of left
            shoulder and right hip, or of right shoulder and left hip, the mean where both are
            labeled; ``"head"``, the largest distance of two labeled joints of the face.
        skeleton: The joints of the labels.

    Returns:
        None where the joints that it needs are not labeled, or it is 0.

    Raises:
        ValueError: If the reference is unknown.

    Reference:
        Yang and Ramanan, TPAMI 2013 (box); Sapp and Taskar, CVPR 2013 (torso, left
        shoulder to right hip); Andriluka et al., CVPR 2014 (head; COCO has no head box).
    """
    check_choice("reference", reference, REFERENCES)
    if reference == "box":
        length = math.hypot(*person["bbox"][2:])
        return length if length > 0 else None
    joints = _joints_by_name(person, skeleton)
    if reference == "torso":
        distances = [d for a, b in _TORSO if (d := _distance(joints, a, b)) is not None]
        length = float(np.mean(distances)) if distances else 0.0
        return length if length > 0 else None
    distances = [
        d
        for i, a in enumerate(_FACE)
        for b in _FACE[i + 1 :]
        if (d := _distance(joints, a, b)) is not None
    ]
    length = max(distances, default=0.0)
    return length if length > 0 else None


def pck(
    annotations: Annotations,
    detections: Sequence[Detection],
    image_ids: Sequence[int] | None = None,
    *,
    reference: str | None = None,
    alpha: float = 0.2,
) -> dict[str, Any]:
    """Percentage of correct keypoints, over the labeled joints of all people who have a reference.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        detections: In COCO's submission format.
        image_ids: Which photos; all of them if None.
        reference: As for :func:`reference_for`.
        alpha: A joint is right within this many times the reference.

    Returns:
        ``reference``, ``alpha``, ``people`` and ``joints`` counted, ``without_reference``, people
        left out; ``PCK``, 0 to 1, where joints of people who were not found (no match at an OKS of
        0.1) count as wrong; ``PCK_found``, over found people only; ``by_joint``, PCK by name. -1
        where there is nothing to measure.

    Raises:
        ValueError: If the reference is unknown or alpha is not positive.

    Reference:
        Yang and Ramanan, TPAMI 2013.
    """
    skeleton = annotations.skeleton
    reference = reference_for(skeleton, reference)
    check_number("alpha", alpha, above=0)
    n_joints = skeleton.n_joints
    right, labeled, found = np.zeros(n_joints), np.zeros(n_joints), np.zeros(n_joints)
    n_people = n_left_out = 0
    for image in match_people(annotations, detections, image_ids, oks=MATCH_OKS):
        people = [(pair.truth, pair.detection) for pair in image.pairs]
        for truth, detection in [*people, *((person, None) for person in image.missed)]:
            length = reference_px(truth, reference, skeleton)
            if length is None:
                n_left_out += 1
                continue
            n_people += 1
            joints = labeled_joints(truth)
            labeled += joints[:, 2] > 0
            if detection is not None:
                found += joints[:, 2] > 0
                near = _near(joints, found_joints(detection), alpha * length)
                right += (joints[:, 2] > 0) & near
    return {
        "reference": reference,
        "alpha": alpha,
        "people": n_people,
        "without_reference": n_left_out,
        "joints": int(labeled.sum()),
        "PCK": _share(right.sum(), labeled.sum()),
        "PCK_found": _share(right.sum(), found.sum()),
        "by_joint": {name: _share(right[k], labeled[k]) for k, name in enumerate(skeleton.joints)},
    }


def _share(n: float, of: float) -> float:
    return float(n / of) if of > 0 else -1.0


def _near(
    truth: NDArray[np.float64], detection: NDArray[np.float64], limit_px: float
) -> NDArray[np.bool_]:
    distance = np.linalg.norm(truth[:, :2] - detection[:, :2], axis=1)
    return np.asarray((detection[:, 2] > 0) & (distance <= limit_px))


def _places(skeleton: Skeleton) -> dict[str, int]:
    return {plain_name(name): k for k, name in enumerate(skeleton.joints)}


def _joints_by_name(person: Annotation, skeleton: Skeleton) -> dict[str, NDArray[np.float64]]:
    """x, y and v of the labeled joints of a person."""
    joints = labeled_joints(person)
    return {name: joints[k] for name, k in _places(skeleton).items() if joints[k, 2] > 0}


def _distance(joints: dict[str, NDArray[np.float64]], a: str, b: str) -> float | None:
    if a not in joints or b not in joints:
        return None
    return float(np.hypot(*(joints[a] - joints[b])[:2]))
