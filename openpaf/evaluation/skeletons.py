"""The skeleton of a set of labels: its category's, with OKS sigmas from the labels if need be."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.evaluation.labels import person_layout
from openpaf.io.categories import Category, choose_category, is_called_person
from openpaf.io.skeleton_files import read_skeleton
from openpaf.skeleton import Skeleton, known_sigmas
from openpaf.skeleton.names import flip_pairs_of, plain_name

logger = logging.getLogger(__name__)

#: A joint's OKS sigma relative to its distance from the nearest other joint. Over 895 people of
#: COCO train2017, 0.32 gives COCO's own 17 constants to a factor of 0.6 to 1.3
#: (tests/test_skeleton_data.py).
SIGMA_PER_DISTANCE = 0.32
#: About the smallest and the largest of COCO's constants, eyes and hips.
_LEAST, _MOST = 0.02, 0.11
_UNKNOWN = 0.05  # of a joint that is labeled beside no other


def skeleton_of(
    data: Mapping[str, Any],
    source: str | Path,
    *,
    category: str | None = None,
    file: str | Path | None = None,
) -> Skeleton:
    """The skeleton that a set of labels is learned or measured with.

    Args:
        data: Labels in COCO format, with ``categories`` and ``annotations``.
        source: The file that they are from, for messages.
        category: Name of the category; as for :func:`openpaf.io.categories.choose_category`.
        file: A file of a skeleton, as for :func:`openpaf.io.skeleton_files.read_skeleton`, whose
            joints are taken instead of the category's.

    Returns:
        The skeleton. People of whom at least half of the joints are COCO's have
        :attr:`openpaf.Skeleton.COCO17`. OKS sigmas that are not given are estimated by
        :func:`estimate_oks_sigmas`, with a warning.

    Raises:
        ValueError: If the category is not clear, has no joints, or is no skeleton; the message
            names file, category and joint.
    """

    def estimated(joints: Sequence[str]) -> tuple[float, ...]:
        return _estimated(joints, chosen, data, source)

    try:
        chosen = choose_category(data.get("categories") or [], category)
        if file is None:
            if _has_cocos_joints(chosen):
                return Skeleton.COCO17
            skeleton = Skeleton.from_coco_category(chosen)
            if not chosen.get("oks_sigmas") and known_sigmas(skeleton.joints) is None:
                skeleton = replace(skeleton, oks_sigmas=estimated(skeleton.joints))
            return skeleton
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return read_skeleton(file, oks_sigmas=estimated)


def labeled_people(
    data: Mapping[str, Any], skeleton: Skeleton, source: str | Path, *, category: str | None = None
) -> list[tuple[Any, NDArray[np.float64]]]:
    """The labels of a set that have joints of a skeleton.

    Returns:
        For each the id of its image, and (K, 3) x, y in px and v of the skeleton's joints.

    Raises:
        ValueError: If the category has other joints, or an entry is wrong; the message names file
            and annotation.
    """
    try:
        layout = person_layout(data, skeleton, category=category)
        rows = [row for row in data["annotations"] if layout.is_person(row)]
        people = [(row.get("image_id"), layout.keypoints(row)) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        what = f"no {error} in an annotation" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{source}: {what}") from error
    return [(image_id, joints) for image_id, joints in people if (joints[:, 2] > 0).any()]


def estimate_oks_sigmas(
    keypoints: NDArray[np.float64],
    areas: NDArray[np.float64],
    pairs: Sequence[tuple[int, int]] = (),
) -> tuple[float, ...]:
    """OKS sigmas from single labels: the nearer other joints are, the smaller.

    COCO's constants are the spread of several annotators' labels, which most sets do not have.
    Annotators are as precise as joints are close: COCO's constants are about
    :data:`SIGMA_PER_DISTANCE` times the median distance of a joint from the nearest other one,
    in units of the square root of the area.

    Args:
        keypoints: (N, K, 3) x, y in px and v of N people.
        areas: (N,) px^2; where 0, that of the box around the joints.
        pairs: Joints that get the same sigma, the left and the right one.

    Returns:
        K sigmas, 0.02 to 0.11; 0.05 for a joint that is labeled beside no other one.
    """
    n_joints = keypoints.shape[1]
    xy = np.where(keypoints[..., 2:] > 0, keypoints[..., :2], np.nan)
    near: list[list[float]] = [[] for _ in range(n_joints)]
    for person, area in zip(xy, areas, strict=True):
        labeled = np.flatnonzero(np.isfinite(person[:, 0]))
        if len(labeled) < 2:
            continue
        points = person[labeled]
        size = np.sqrt(area if area > 0 else np.prod(np.ptp(points, axis=0)))
        distances = np.linalg.norm(points[:, None] - points[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        for k, distance in zip(labeled, distances.min(axis=1), strict=True):
            if size > 0:
                near[k].append(float(distance / size))
    for a, b in pairs:
        near[a] = near[b] = near[a] + near[b]
    return tuple(
        round(float(np.clip(SIGMA_PER_DISTANCE * np.median(values), _LEAST, _MOST)), 4)
        if values
        else _UNKNOWN
        for values in near
    )


def _estimated(
    joints: Sequence[str], category: Category, data: Mapping[str, Any], source: str | Path
) -> tuple[float, ...]:
    """OKS sigmas of joints from the labels of a category, with a warning."""
    places = {plain_name(name): k for k, name in enumerate(category.get("keypoints") or ())}
    columns = [places.get(plain_name(name)) for name in joints]
    arrays, areas = [], []
    for person in data.get("annotations") or ():
        if person.get("category_id") != category["id"] or person.get("iscrowd"):
            continue
        values = _numbers(person.get("keypoints"), 3 * len(places))
        if values is not None:
            arrays.append([values[k] if k is not None else (0, 0, 0) for k in columns])
            area = person.get("area")
            areas.append(area if isinstance(area, (int, float)) else 0)
    sigmas = estimate_oks_sigmas(
        np.array(arrays, np.float64).reshape(-1, len(joints), 3),
        np.array(areas, np.float64),
        flip_pairs_of(joints),
    )
    logger.warning(
        "%s: no OKS sigmas for %r: estimated from the distances of joints in %d labels, %g to %g; "
        "for figures that compare with others' write them into a skeleton file",
        source, category.get("name"), len(arrays), min(sigmas), max(sigmas),
    )  # fmt: skip
    return sigmas


def _numbers(values: Any, length: int) -> NDArray[np.float64] | None:
    """(K, 3) of a list of so many numbers; None of anything else, which readers refuse."""
    if not isinstance(values, list) or len(values) != length:
        return None
    try:
        array = np.asarray(values, np.float64).reshape(-1, 3)
    except (TypeError, ValueError, OverflowError):
        return None
    return array if np.isfinite(array).all() else None


def _has_cocos_joints(category: Category) -> bool:
    """Whether at least half of the joints are COCO's, of people, or all of them, of any others."""
    names = category.get("keypoints") or ()
    joints = {plain_name(name) for name in names if isinstance(name, str)}
    shared = joints & set(Skeleton.COCO17.joints)
    if joints == set(Skeleton.COCO17.joints):
        return True
    return is_called_person(category) and bool(joints) and 2 * len(shared) >= len(joints)
