"""Draws skeletons over an image."""

from __future__ import annotations

import math
import os
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from openpaf.io.images import read_image
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.visualization.shapes import Color, draw_box, draw_label, paint

if TYPE_CHECKING:
    from PIL import Image

# Orange and blue differ for every kind of color blindness; the center is lighter than both.
LEFT: Color = (255, 138, 20)
RIGHT: Color = (38, 150, 255)
CENTER: Color = (214, 240, 106)

# Anatomical limbs. The others only help the parser, and are not drawn.
_ANATOMY_PAIRS = (
    "left_shoulder-left_elbow left_elbow-left_wrist left_hip-left_knee left_knee-left_ankle "
    "right_shoulder-right_elbow right_elbow-right_wrist right_hip-right_knee "
    "right_knee-right_ankle left_shoulder-right_shoulder left_hip-right_hip "
    "left_shoulder-left_hip right_shoulder-right_hip nose-left_eye nose-right_eye "
    "left_eye-left_ear right_eye-right_ear nose-neck head-neck neck-left_shoulder "
    "neck-right_shoulder neck-left_hip neck-right_hip neck-mid_hip mid_hip-left_hip "
    "mid_hip-right_hip neck-chest chest-left_hip chest-right_hip left_ankle-left_big_toe "
    "left_big_toe-left_small_toe left_ankle-left_heel right_ankle-right_big_toe "
    "right_big_toe-right_small_toe right_ankle-right_heel"
)
_ANATOMY = frozenset(frozenset(pair.split("-")) for pair in _ANATOMY_PAIRS.split())
_SMALL = ("nose", "eye", "ear", "toe", "heel")  # joints close together, drawn finer
_SURE = 0.5  # joints of this score and more are drawn solid
_FAINTEST = 0.35


class _Plan(NamedTuple):
    """The S strokes of a skeleton, limbs before joints.

    Attributes:
        ends: (S, 2) indices of joints, the same twice for a joint; index K is the midpoint of the
            shoulders, if the head is connected to it.
        colors: (S, 3) uint8.
        widths: (S,) widths relative to a normal limb.
        are_joints: (S,) bool.
        shoulders: The two shoulders, if the head is connected to their midpoint.
    """

    ends: NDArray[np.int64]
    colors: NDArray[np.uint8]
    widths: NDArray[np.float64]
    are_joints: NDArray[np.bool_]
    shoulders: tuple[int, int] | None


def draw_poses(
    image: NDArray[np.uint8] | str | os.PathLike[str] | Image.Image,
    poses: Poses,
    *,
    boxes: bool = False,
    scores: bool = False,
    ids: bool | None = None,
    min_joint_score: float = 0.1,
    width: float | None = None,
) -> NDArray[np.uint8]:
    """A copy of an image with the skeletons of its people drawn over it.

    A person's left limbs are orange, the right ones blue, those between them light green. Limbs
    that only help the parser (from a shoulder to a wrist) are not drawn; the head of a skeleton
    without a neck is connected to the midpoint of the shoulders. Line widths are proportional to
    the size of the person, within limits; joints whose score is below 0.5 and their limbs are
    transparent. Large people are drawn first, so that small ones stay visible.

    Args:
        image: RGB uint8 (H, W, 3), or any argument of :func:`openpaf.read_image`.
        poses: People in px of this image.
        boxes: Whether a box is drawn around each person's joints.
        scores: Whether each person's score is written over the head.
        ids: Whether each person's id is written over the head; by default if the poses have ids.
        min_joint_score: Joints whose score is below this, and their limbs, are not drawn; at
            least 0. The parser completes people from weak peaks, which are less accurate.
        width: Width of a limb in px, above 0; by default proportional to each person's size.

    Returns:
        RGB, uint8 (H, W, 3).

    Raises:
        ValueError: If an argument has a wrong type or is out of range, or ``ids`` is set and the
            poses have none.
        ImageError: If ``image`` is a file that cannot be read.

    Example:
        >>> import numpy as np
        >>> import openpaf
        >>> keypoints = np.zeros((1, 17, 3))  # x, y and score; a joint of score 0 is missing
        >>> keypoints[0, 5:8:2] = (30, 20, 1), (30, 60, 1)  # left shoulder and elbow
        >>> poses = openpaf.Poses.from_keypoints(keypoints, openpaf.Skeleton.COCO17)
        >>> drawn = openpaf.draw_poses(np.zeros((80, 60, 3), np.uint8), poses)
        >>> drawn.shape
        (80, 60, 3)
        >>> drawn[40, 30].tolist()  # left limbs are orange
        [255, 138, 20]
    """
    _check(poses, ids, min_joint_score, width)
    canvas = read_image(image).copy()
    with_ids = poses.ids is not None if ids is None else ids
    extent = np.nan_to_num(_extents(poses))
    are_shown = poses.scores >= max(min_joint_score, 1e-30)  # (N, K); a missing joint has 0
    for n in np.argsort(-extent, kind="stable"):
        shown = are_shown[n]
        if not shown.any():
            continue
        limb_width = width or _limb_width(float(extent[n]), canvas.shape[:2])
        _draw_person(canvas, poses.xy[n], poses.scores[n], shown, poses.skeleton, limb_width)
        box = _box(poses.xy[n, shown])
        if boxes:
            draw_box(canvas, box, pad=2.5 * limb_width, width=max(1.0, 0.4 * limb_width))
        words = [f"#{poses.ids[n]}"] if with_ids and poses.ids is not None else []
        words += [f"{poses.person_scores[n]:.2f}"] if scores else []
        if words:
            middle, bottom = (box[0] + box[2]) / 2, box[1] - 4 * limb_width
            draw_label(canvas, "  ".join(words), middle, bottom, round(2.9 * limb_width))
    return canvas


def _check(poses: Poses, ids: bool | None, min_joint_score: float, width: float | None) -> None:
    if not isinstance(poses, Poses):
        raise ValueError(f"poses: expected Poses, got {type(poses).__name__}")
    if ids and poses.ids is None:
        raise ValueError("ids: these poses have none")
    if not 0 <= min_joint_score < math.inf:
        raise ValueError(f"min_joint_score: expected a number >= 0, got {min_joint_score!r}")
    if width is not None and not 0 < width < math.inf:
        raise ValueError(f"width: expected a positive number of px, got {width!r}")


def _extents(poses: Poses) -> NDArray[np.float32]:
    """Size of each person in px: the longer side of the box around the joints."""
    boxes = poses.boxes()
    return np.asarray(np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]))


def _limb_width(extent_px: float, image_hw: tuple[int, ...]) -> float:
    """Width of a person's limbs in px, from the person's size and the image's."""
    side = min(image_hw)
    least = max(1.5, side / 280)  # visible when the whole image is shown
    return min(max(extent_px / 42, least), max(side / 70, least))


def _outline(limb_width: float) -> float:
    return max(0.85, 0.2 * limb_width)


def _draw_person(
    canvas: NDArray[np.uint8],
    xy: NDArray[np.float32],
    scores: NDArray[np.float32],
    shown: NDArray[np.bool_],
    skeleton: Skeleton,
    limb_width: float,
) -> None:
    """Draw one person's limbs, weakest first, then joints, weakest first."""
    plan = _plan(skeleton)
    alphas = np.minimum(np.maximum(scores / _SURE, _FAINTEST), 1)
    if plan.shoulders is not None:
        left, right = plan.shoulders
        xy = np.concatenate([xy, [(xy[left] + xy[right]) / 2]])
        shown = np.append(shown, shown[left] & shown[right])
        alphas = np.append(alphas, min(alphas[left], alphas[right]))
    strengths = alphas[plan.ends].min(axis=1)  # (S,)
    order = np.lexsort((strengths, plan.are_joints))
    order = order[shown[plan.ends[order]].all(axis=1)]
    widths = limb_width * plan.widths[order]
    rims = np.where(plan.are_joints[order] & (widths > 3), 0.18 * widths, 0)
    paint(
        canvas,
        xy[plan.ends[order]],
        widths,
        plan.colors[order],
        outline=_outline(limb_width),
        rims=rims,
        alphas=strengths[order],
    )


@lru_cache(maxsize=32)
def _plan(skeleton: Skeleton) -> _Plan:
    """The strokes of a skeleton, cached."""
    n_joints = skeleton.n_joints
    sides = [side_color(skeleton, k) for k in range(n_joints)]
    small = [any(word in name.split("_") for word in _SMALL) for name in skeleton.joints]
    head_limb = _head_limb(skeleton)
    ends, colors, widths = [], [], []
    for a, b in _drawn_limbs(skeleton):
        own = {sides[a], sides[b]} - {CENTER}
        ends.append((a, b))
        colors.append(own.pop() if len(own) == 1 else CENTER)
        widths.append(0.6 if small[a] and small[b] else 1.0)
    if head_limb:
        ends.append((head_limb[0], n_joints))
        colors.append(CENTER)
        widths.append(1.0)
    n_limbs = len(ends)
    ends += [(k, k) for k in range(n_joints)]
    widths += [1.0 if is_small else 1.75 for is_small in small]
    return _Plan(
        ends=np.array(ends, np.int64),
        colors=np.array(colors + sides, np.uint8),
        widths=np.array(widths, np.float64),
        are_joints=np.arange(len(ends)) >= n_limbs,
        shoulders=head_limb[1:] if head_limb else None,
    )


def _head_limb(skeleton: Skeleton) -> tuple[int, int, int] | None:
    """Nose and shoulders of a skeleton without a neck: a limb connects nose and their midpoint."""
    has = set(skeleton.joints)
    if not {"nose", "left_shoulder", "right_shoulder"} <= has or "neck" in has:
        return None
    nose, left, right = map(skeleton.index, ("nose", "left_shoulder", "right_shoulder"))
    return nose, left, right


def _drawn_limbs(skeleton: Skeleton) -> list[tuple[int, int]]:
    """Anatomical limbs, and others only where no chain of those connects their joints."""
    names, head_limb = skeleton.joints, _head_limb(skeleton)
    drawn = [limb for limb in skeleton.limbs if frozenset(names[k] for k in limb) in _ANATOMY]
    group = list(range(skeleton.n_joints))

    def root(k: int) -> int:
        while group[k] != k:
            k = group[k]
        return k

    for a, b in drawn:
        group[root(a)] = root(b)
    if head_limb:
        for shoulder in head_limb[1:]:
            group[root(shoulder)] = root(head_limb[0])
    # Compared with the groups of the anatomical limbs alone, so that a skeleton without any, such
    # as a hand, is drawn with all limbs, also where they form cycles.
    rest = [(a, b) for a, b in skeleton.limbs if (a, b) not in drawn and root(a) != root(b)]
    return drawn + rest


def drawn_strips(
    poses: Poses, min_joint_score: float
) -> tuple[list[NDArray[np.float32]], list[Color]]:
    """The limbs that :func:`draw_poses` draws, as lines.

    Args:
        poses: The people.
        min_joint_score: Limbs of joints whose score is below this are left out; above 0.

    Returns:
        For each limb of each person its ends (2, 2) in px, and its color.
    """
    plan = _plan(poses.skeleton)
    limbs = np.flatnonzero(~plan.are_joints)
    strips, colors = [], []
    for xy, scores in zip(poses.xy, poses.scores, strict=True):
        is_shown = scores >= min_joint_score
        if plan.shoulders is not None:
            sides = list(plan.shoulders)
            xy = np.concatenate([xy, xy[sides].mean(axis=0, keepdims=True)])
            is_shown = np.append(is_shown, is_shown[sides].all())
        for limb in limbs[is_shown[plan.ends[limbs]].all(axis=1)]:
            strips.append(xy[plan.ends[limb]])
            red, green, blue = plan.colors[limb].tolist()
            colors.append((red, green, blue))
    return strips, colors


def side_color(skeleton: Skeleton, k: int) -> Color:
    """The color of a joint: orange of the left side, blue of the right, else light green."""
    name = skeleton.joints[k].lower()
    if name.startswith(("left", "l_")):
        return LEFT
    if name.startswith(("right", "r_")):
        return RIGHT
    for left, right in skeleton.flip_pairs:  # a skeleton in another language, left named first
        if k in (left, right):
            return LEFT if k == left else RIGHT
    return CENTER


def _box(xy: NDArray[np.float32]) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
    return x0, y0, x1, y1
