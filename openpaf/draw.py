"""Skeletons drawn over a picture."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openpaf.images import read_image
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton

if TYPE_CHECKING:
    from PIL import Image

Color = tuple[int, int, int]

# Orange and blue stay apart for every kind of colour blindness; the middle is lighter than both.
LEFT: Color = (255, 138, 20)
RIGHT: Color = (38, 150, 255)
CENTER: Color = (214, 240, 106)
_DARK: Color = (24, 26, 30)
_WHITE: Color = (255, 255, 255)

# The limbs that a person would draw. Others between the same joints help a decoder but not an eye.
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
_SMALL = ("nose", "eye", "ear", "toe", "heel")  # joints so close together that they are drawn finer
_SHIFT = 4  # cv2 takes coordinates in 1/16 px
_SURE = 0.5  # joints of this score and more are drawn solid
_FAINTEST = 0.35


@dataclass(frozen=True)
class _Stroke:
    """A line or, where both ends are one, a disc; in px of the picture."""

    start: tuple[float, float]
    end: tuple[float, float]
    color: Color
    width: float
    alpha: float
    is_joint: bool


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
    """A copy of a picture with the skeletons of its people drawn over it.

    A person's left limbs are orange, the right ones blue, those between them light green. Limbs
    that only help decoding (a shoulder to a wrist past the elbow) are left out; the head of a
    skeleton without a neck is tied to the middle of the shoulders. Lines are as wide as the person
    is tall, so to speak, within limits that keep them visible; joints whose score is below 0.5 and
    their limbs are fainter. Large people are drawn first, so that small ones stay visible.

    Args:
        image: RGB uint8 (H, W, 3), or anything that :func:`read_image` takes.
        poses: People in px of this picture.
        boxes: Draw a box around each person's joints.
        scores: Write each person's score over the head.
        ids: Write each person's id over the head; where not given, if the poses have ids.
        min_joint_score: Leave out joints whose score is below this, and their limbs. The parser
            completes people from weak peaks, whose places help a metric more than an eye.
        width: Width of a limb in px, the same for all; chosen for each person where not given.

    Returns:
        RGB, uint8 (H, W, 3).

    Raises:
        ValueError: If an argument is of the wrong kind or range, or ids are asked for where there
            are none.
        ImageError: If ``image`` is a file that cannot be read.
    """
    _check(poses, ids, min_joint_score, width)
    canvas = read_image(image).copy()
    with_ids = poses.ids is not None if ids is None else ids
    extent = np.nan_to_num(_extents(poses))
    for n in np.argsort(-extent, kind="stable"):
        shown = poses.scores[n] >= max(min_joint_score, np.finfo(np.float32).tiny)
        if not shown.any():
            continue
        limb_width = width or _limb_width(float(extent[n]), canvas.shape[:2])
        strokes = _strokes(poses, int(n), shown, limb_width)
        _paint(canvas, strokes, _outline(limb_width))
        box = _box(poses.xy[n, shown])
        if boxes:
            _draw_box(canvas, box, limb_width)
        words = [f"#{poses.ids[n]}"] if with_ids and poses.ids is not None else []
        words += [f"{poses.person_scores[n]:.2f}"] if scores else []
        if words:
            _draw_label(canvas, "  ".join(words), box, limb_width)
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
    """Width of a person's limbs in px, from the person's size and the picture's."""
    side = min(image_hw)
    least = max(1.5, side / 280)  # still seen when the whole picture is looked at
    return min(max(extent_px / 42, least), max(side / 70, least))


def _outline(limb_width: float) -> float:
    return max(0.85, 0.2 * limb_width)


def _strokes(poses: Poses, n: int, shown: NDArray[np.bool_], width: float) -> list[_Stroke]:
    """Limbs, weakest first, then joints, weakest first."""
    limbs, sides, small, head_tie = _plan(poses.skeleton)
    xy = [(float(x), float(y)) for x, y in poses.xy[n]]
    alpha = np.clip(poses.scores[n] / _SURE, _FAINTEST, 1).tolist()
    strokes = []
    for a, b, side in limbs:
        if shown[a] and shown[b]:
            thin = 0.6 if small[a] and small[b] else 1.0
            strokes.append(
                _Stroke(xy[a], xy[b], side, thin * width, min(alpha[a], alpha[b]), False)
            )
    if head_tie and all(shown[k] for k in head_tie):
        nose, left, right = head_tie
        neck = ((xy[left][0] + xy[right][0]) / 2, (xy[left][1] + xy[right][1]) / 2)
        faintest = min(alpha[k] for k in head_tie)
        strokes.append(_Stroke(xy[nose], neck, CENTER, width, faintest, False))
    strokes.sort(key=lambda stroke: stroke.alpha)
    joints = [
        _Stroke(xy[k], xy[k], sides[k], (1.0 if small[k] else 1.75) * width, alpha[k], True)
        for k in np.flatnonzero(shown)
    ]
    return strokes + sorted(joints, key=lambda stroke: stroke.alpha)


@lru_cache(maxsize=32)
def _plan(
    skeleton: Skeleton,
) -> tuple[list[tuple[int, int, Color]], list[Color], list[bool], tuple[int, int, int] | None]:
    """What is drawn of a skeleton: limbs with colours, colours of joints, which are small."""
    sides = [_side(skeleton, k) for k in range(skeleton.n_joints)]
    small = [any(word in name.split("_") for word in _SMALL) for name in skeleton.joints]
    has = set(skeleton.joints)
    head_tie = None
    if {"nose", "left_shoulder", "right_shoulder"} <= has and "neck" not in has:
        nose, left, right = map(skeleton.index, ("nose", "left_shoulder", "right_shoulder"))
        head_tie = (nose, left, right)
    limbs = []
    for a, b in _drawn_limbs(skeleton, head_tie):
        colors = {sides[a], sides[b]} - {CENTER}
        limbs.append((a, b, colors.pop() if len(colors) == 1 else CENTER))
    return limbs, sides, small, head_tie


def _drawn_limbs(
    skeleton: Skeleton, head_tie: tuple[int, int, int] | None
) -> list[tuple[int, int]]:
    """Anatomical limbs, and the others only where no chain of those joins their ends."""
    names = skeleton.joints
    drawn = [limb for limb in skeleton.limbs if frozenset(names[k] for k in limb) in _ANATOMY]
    group = list(range(skeleton.n_joints))

    def root(k: int) -> int:
        while group[k] != k:
            k = group[k]
        return k

    for a, b in drawn:
        group[root(a)] = root(b)
    if head_tie:
        for shoulder in head_tie[1:]:
            group[root(shoulder)] = root(head_tie[0])
    # Compared with the groups of the anatomical limbs alone: a skeleton of other limbs, a hand's
    # say, is drawn whole even where they make rings.
    rest = [(a, b) for a, b in skeleton.limbs if (a, b) not in drawn and root(a) != root(b)]
    return drawn + rest


def _side(skeleton: Skeleton, k: int) -> Color:
    name = skeleton.joints[k].lower()
    if name.startswith(("left", "l_")):
        return LEFT
    if name.startswith(("right", "r_")):
        return RIGHT
    for left, right in skeleton.flip_pairs:  # a skeleton in another language, left named first
        if k in (left, right):
            return LEFT if k == left else RIGHT
    return CENTER


def _paint(canvas: NDArray[np.uint8], strokes: list[_Stroke], outline: float) -> None:
    """Draw a person: outlines, limbs, joints with a light rim; faint parts let through."""
    import cv2

    reach = max(stroke.width for stroke in strokes) + 2 * outline + 2
    ends = np.array([(stroke.start, stroke.end) for stroke in strokes])  # (S, 2, 2)
    height, width = canvas.shape[:2]
    corner = np.floor(ends.min(axis=(0, 1)) - reach)
    far_corner = np.ceil(ends.max(axis=(0, 1)) + reach) + 1
    x0, y0 = np.clip(corner, 0, (width, height)).astype(int).tolist()
    x1, y1 = np.clip(far_corner, 0, (width, height)).astype(int).tolist()
    if x0 >= x1 or y0 >= y1:
        return
    # cv2's antialiasing is coarse for shapes of a few px, so thin lines are drawn enlarged.
    zoom = _zoom(max(stroke.width for stroke in strokes))
    layer = np.zeros((zoom * (y1 - y0), zoom * (x1 - x0), 4), np.uint8)
    local = (ends - (x0, y0) + 0.5) * zoom - 0.5
    shapes = _shapes(strokes, outline)
    polygons = _polygons(local, shapes, zoom, layer.shape)
    for polygon, (n, _, color) in zip(polygons, shapes, strict=True):
        opaque = [channel * strokes[n].alpha for channel in (*color, 255)]
        cv2.fillConvexPoly(layer, polygon, opaque, cv2.LINE_AA, _SHIFT)
    if zoom > 1:
        layer = cv2.resize(layer, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    region = canvas[y0:y1, x0:x1]
    through = cv2.cvtColor(255 - layer[..., 3], cv2.COLOR_GRAY2RGB)
    # The layer's colours are multiplied by its opacity already.
    region[:] = cv2.add(
        cv2.multiply(region, through, scale=1 / 255), cv2.cvtColor(layer, cv2.COLOR_RGBA2RGB)
    )


def _zoom(width: float) -> int:
    return 4 if width < 5 else 2 if width < 14 else 1


def _shapes(strokes: list[_Stroke], outline: float) -> list[tuple[int, float, Color]]:
    """What to fill, in order: the stroke, the width in px, the colour."""
    shapes = [(n, stroke.width + 2 * outline, _DARK) for n, stroke in enumerate(strokes)]
    for n, stroke in enumerate(strokes):
        rim = 0.18 * stroke.width if stroke.is_joint and stroke.width > 3 else 0
        if rim:
            shapes.append((n, stroke.width, _WHITE))
        shapes.append((n, stroke.width - 2 * rim, stroke.color))
    return shapes


def _polygons(
    ends: NDArray[np.float64],
    shapes: list[tuple[int, float, Color]],
    zoom: int,
    shape: tuple[int, ...],
) -> NDArray[np.int32]:
    """Outlines of lines with round ends, or discs, of any width: (shapes, corners, 2) for cv2."""
    # Labels may lie anywhere, and cv2's fixed point overflows far outside the picture.
    size = np.array([shape[1], shape[0]], np.float64)
    chosen = np.clip(ends, -4 * size, 5 * size)[[n for n, _, _ in shapes]]  # (S, 2, 2)
    # Antialiasing adds a soft edge around the polygon it is given.
    radii = np.maximum(np.array([width for _, width, _ in shapes]) * zoom / 2 - 0.5, 0.5)
    along = chosen[:, 1] - chosen[:, 0]
    angle = np.arctan2(along[:, 1], along[:, 0]) - math.pi / 2
    corners = min(max(5, round(5 * math.sqrt(radii.max()))), 40)  # of half a disc
    turn = angle[:, None] + np.linspace(0, math.pi, corners)
    arc = radii[:, None, None] * np.stack([np.cos(turn), np.sin(turn)], axis=2)
    outlines = np.concatenate([chosen[:, 1:] + arc, chosen[:, :1] - arc], axis=1)
    fixed: NDArray[np.int32] = np.rint(outlines * (1 << _SHIFT)).astype(np.int32)
    return fixed


def _box(xy: NDArray[np.float32]) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
    return x0, y0, x1, y1


def _draw_box(
    canvas: NDArray[np.uint8], box: tuple[float, float, float, float], limb_width: float
) -> None:
    pad = 2.5 * limb_width
    x0, y0, x1, y1 = box[0] - pad, box[1] - pad, box[2] + pad, box[3] + pad
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    sides = zip(corners, corners[1:] + corners[:1], strict=True)
    thin = max(1.0, 0.4 * limb_width)
    strokes = [_Stroke(a, b, _WHITE, thin, 1.0, False) for a, b in sides]
    _paint(canvas, strokes, max(0.6, 0.5 * thin))


def _draw_label(
    canvas: NDArray[np.uint8],
    text: str,
    box: tuple[float, float, float, float],
    limb_width: float,
) -> None:
    """Dark text on a light plate over the person's head, moved inside the picture."""
    from PIL import Image, ImageDraw

    height, width = canvas.shape[:2]
    size = round(min(max(11, 2.9 * limb_width), max(11, min(height, width) / 16)))
    font: Any = _font(size)
    left, top, right, bottom = font.getbbox(text)
    pad = max(2, size // 4)
    plate = Image.new("RGB", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad), _WHITE)
    ImageDraw.Draw(plate).text((pad - left, pad - top), text, font=font, fill=_DARK)
    x0 = round(min(max((box[0] + box[2] - plate.width) / 2, 0), max(width - plate.width, 0)))
    above = box[1] - plate.height - 4 * limb_width
    y0 = round(min(max(above, 0), max(height - plate.height, 0)))
    region = canvas[y0 : y0 + plate.height, x0 : x0 + plate.width]
    region[:] = np.asarray(plate)[: region.shape[0], : region.shape[1]]


@lru_cache(maxsize=8)
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
