"""Objects of 5, 21 and 17 joints that are drawn: a kite, a hand and an animal, on cluttered images.

    python benchmarks/synthetic_objects.py kite FOLDER --images 300

writes FOLDER/kite.json, labels in COCO format, and FOLDER/images.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Color = tuple[int, int, int]

_FINGERS = ("thumb", "index", "middle", "ring", "little")
_JOINTS = {
    "kite": ("top", "left", "right", "bottom", "tail"),
    "hand": (
        "wrist",
        *(f"{finger}_{k}" for finger in _FINGERS for k in ("knuckle", "middle", "end", "tip")),
    ),
    "animal": (
        "left_eye", "right_eye", "nose", "neck", "root_of_tail", "left_shoulder", "left_elbow",
        "left_front_paw", "right_shoulder", "right_elbow", "right_front_paw", "left_hip",
        "left_knee", "left_back_paw", "right_hip", "right_knee", "right_back_paw",
    ),
}  # fmt: skip
# 1-based, as COCO has them.
_LIMBS = {
    "kite": [[1, 2], [1, 3], [2, 4], [3, 4], [1, 4], [4, 5]],
    # Knuckles in a chain besides, that a hand whose wrist is hidden is not five fingers.
    "hand": [pair for f in range(5) for pair in (
        [1, 4 * f + 2], [4 * f + 2, 4 * f + 3], [4 * f + 3, 4 * f + 4], [4 * f + 4, 4 * f + 5],
    )] + [[4 * f + 2, 4 * f + 6] for f in range(4)],
    "animal": [
        [1, 2], [1, 3], [2, 3], [3, 4], [4, 5], [4, 6], [6, 7], [7, 8], [4, 9], [9, 10], [10, 11],
        [5, 12], [12, 13], [13, 14], [5, 15], [15, 16], [16, 17],
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """A part of an object: a polygon, or a line of a width, relative to the object's size."""

    points: Points
    color: Color
    width: float = 0.0


@dataclass(frozen=True)
class Drawn:
    """An object around (0, 0), about as long as 1: joints (K, 2), and pieces from back to front."""

    joints: Points
    pieces: Sequence[Piece]


def _at(x: float, y: float) -> Points:
    return np.array([x, y])


def _color(rng: np.random.Generator, low: int = 0, high: int = 255) -> Color:
    r, g, b = rng.integers(low, high + 1, 3).tolist()
    return r, g, b


def _shade(color: Color, factor: float) -> Color:
    r, g, b = (int(min(255, factor * value)) for value in color)
    return r, g, b


def _kite(rng: np.random.Generator) -> Drawn:
    """Four fields, of warm colors on the left and of cold ones on the right, and a tail."""
    half, waist = rng.uniform(0.22, 0.32), rng.uniform(-0.25, -0.1)
    joints = np.array(
        [[0, -0.5], [-half, waist], [half, waist], [0, 0.2], [rng.uniform(-0.12, 0.12), 0.5]]
    )
    top, left, right, bottom, tail = joints
    center = np.array([0, waist])
    warm, cold = (225, int(rng.integers(40, 180)), 40), (40, int(rng.integers(40, 180)), 225)
    light = rng.uniform(0.6, 1.1)
    t = np.linspace(0, 1, 12)[:, None]
    wave = np.sin(np.pi * 4 * t) * 0.025 * np.array([[1.0, 0.0]])
    pieces = [Piece((1 - t) * bottom + t * tail + wave, _shade((250, 250, 250), light), 0.02)]
    pieces.append(Piece(np.array([tail - 0.03, tail + 0.03]), _shade(warm, light), 0.05))
    for a, b, color, factor in ((top, left, warm, 1.1), (left, bottom, warm, 0.6),
                                (top, right, cold, 1.1), (right, bottom, cold, 0.6)):  # fmt: skip
        pieces.append(Piece(np.array([center, a, b]), _shade(color, factor * light)))
    return Drawn(joints, pieces)


def _hand(rng: np.random.Generator) -> Drawn:
    """A palm and five fingers that are spread and bent more or less."""
    skin = _shade((240, 190, 160), rng.uniform(0.4, 1.05))
    joints = [np.array([0.0, 0.5])]
    bases = [(-0.17, 0.3), (-0.13, 0.02), (-0.04, -0.01), (0.05, 0.01), (0.13, 0.06)]
    angles = np.deg2rad(np.array([-55, -14, -3, 8, 20]) + rng.normal(0, 5, 5))
    lengths = np.array([0.36, 0.42, 0.46, 0.42, 0.34]) * rng.uniform(0.85, 1.05, 5)
    pieces = [Piece(np.array([[-0.1, 0.5], [-0.2, 0.28], [-0.15, 0.0], [0.15, 0.03], [0.16, 0.25],
                              [0.1, 0.5]]), skin)]  # fmt: skip
    for base, angle, length in zip(bases, angles, lengths, strict=True):
        bend, points = rng.normal(0, 0.1), [np.array(base)]
        for share in (0.42, 0.32, 0.26):
            step = np.array([np.sin(angle), -np.cos(angle)]) * share * length
            points.append(points[-1] + step)
            angle += bend
        joints += points
        chain = np.array(points)
        pieces.append(Piece(chain, _shade(skin, 0.75), 0.085))
        pieces.append(Piece(chain, _shade(skin, 1.08), 0.06))
        pieces += [Piece(chain[k : k + 1], _shade(skin, 0.6), 0.03) for k in (1, 2)]
        pieces.append(Piece(chain[-1:], _shade(skin, 1.4), 0.045))
    return Drawn(np.array(joints), pieces)


def _animal(rng: np.random.Generator) -> Drawn:
    """From the side, its head to the right; the far legs, those of its left side, are darker."""
    coat = _color(rng, 90, 220)
    neck, tail = np.array([0.22, -0.22]), np.array([-0.34, -0.12 + rng.normal(0, 0.02)])
    nose = np.array([0.5, -0.3 + rng.normal(0, 0.05)])
    eye = nose + _at(-0.13, -0.07)
    near: list[Points] = []
    for root, swing in ((np.array([0.18, 0.0]), 0.25), (np.array([-0.28, 0.02]), -0.1)):
        for side in (0, 1):
            angle = rng.normal(0, 0.3)
            knee = root + 0.2 * np.array([np.sin(angle), np.cos(angle)])
            angle += rng.normal(swing, 0.15)
            paw = knee + 0.22 * np.array([np.sin(angle), np.cos(angle)])
            near.append(np.array([root, knee, paw]) + (1 - side) * _at(0.08, -0.02))
    left_front, right_front, left_back, right_back = near
    joints = np.array(
        [eye + _at(0.03, -0.01), eye - _at(0.03, 0), nose, neck, tail, *left_front, *right_front,
         *left_back, *right_back]
    )  # fmt: skip
    body = np.array(
        [neck, neck + _at(0.05, 0.15), _at(0.15, 0.12), _at(-0.3, 0.12), tail - _at(0.03, 0), tail]
    )
    end = tail + _at(-0.14, rng.uniform(-0.1, 0.15))
    pieces = [Piece(leg, _shade(coat, 0.5), 0.06) for leg in (left_front, left_back)]
    pieces.append(Piece(np.array([tail, end]), _shade(coat, 0.7), 0.03))
    pieces.append(Piece(body, coat))
    pieces += [Piece(leg, _shade(coat, 1.15), 0.06) for leg in (right_front, right_back)]
    pieces += [Piece(leg[1:2], _shade(coat, 0.6), 0.05) for leg in (right_front, right_back)]
    pieces.append(Piece(np.array([neck, nose - _at(0.08, 0)]), coat, 0.13))
    pieces.append(Piece(np.array([nose - _at(0.1, 0), nose]), _shade(coat, 0.8), 0.09))
    pieces.append(Piece(joints[2:3], (20, 20, 20), 0.045))
    pieces += [Piece(joints[k : k + 1], (250, 250, 250), 0.04) for k in (0, 1)]
    pieces += [Piece(joints[k : k + 1], (10, 10, 10), 0.02) for k in (0, 1)]
    return Drawn(joints, pieces)


#: How each kind is drawn, and how far it is turned, in degrees, to either side.
KINDS: dict[str, tuple[Callable[[np.random.Generator], Drawn], float]] = {
    "kite": (_kite, 45.0),
    "hand": (_hand, 45.0),
    "animal": (_animal, 20.0),
}


def category(kind: str) -> dict[str, Any]:
    """A kind's category in COCO format."""
    return {"id": 1, "name": kind, "keypoints": list(_JOINTS[kind]), "skeleton": _LIMBS[kind]}


def write_set(
    kind: str,
    folder: Path,
    n_images: int,
    *,
    seed: int = 0,
    size: int = 192,
    most: int = 3,
    turn: float = 1.0,
) -> Path:
    """Draw a set of images with labels.

    Args:
        kind: One of :data:`KINDS`.
        folder: Gets ``images`` and ``KIND.json``.
        n_images: How many images.
        seed: Of everything.
        size: Side of the images in px.
        most: Each image has one to so many objects.
        turn: How far objects are turned, relative to their kind's usual.

    Returns:
        The file of the labels.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    for n in range(1, n_images + 1):
        rng = np.random.default_rng((seed, n))
        image, objects = draw_image(kind, rng, size, most, turn)
        name = f"{n:05}.png"
        cv2.imwrite(str(folder / "images" / name), image[:, :, ::-1])
        images.append({"id": n, "file_name": name, "width": size, "height": size})
        for one in objects:
            labels.append({"id": len(labels) + 1, "image_id": n, "category_id": 1, **one})
    path = folder / f"{kind}.json"
    data = {"images": images, "annotations": labels, "categories": [category(kind)]}
    path.write_text(json.dumps(data))
    return path


def draw_image(
    kind: str, rng: np.random.Generator, size: int, most: int = 3, turn: float = 1.0
) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    """An image, RGB uint8 (size, size, 3), and the labels of its objects."""
    canvas = _background(rng, size)
    placed: list[tuple[Points, NDArray[np.bool_]]] = []
    centers: list[Points] = []
    draw, most_deg = KINDS[kind]
    for _ in range(rng.integers(1, most + 1)):
        length = rng.uniform(0.36, 0.62) * size
        center = rng.uniform(0.42 * length, size - 0.42 * length, 2)
        if any(np.hypot(*(center - other)) < 0.75 * length for other in centers):
            continue  # they overlap, but are not in one place
        centers.append(center)
        angle_deg = turn * rng.uniform(-most_deg, most_deg)
        is_mirrored = bool(rng.random() < 0.5)
        place = _Place(center, length, angle_deg, is_mirrored)
        placed.append(_paint(draw(rng), canvas, place, _JOINTS[kind]))
    covered = _occluders(canvas, rng, size)
    labels = []
    for i, (joints, mask) in enumerate(placed):
        hidden = covered.copy()
        for _, other in placed[i + 1 :]:
            hidden |= other
        labels.append(_label(joints, mask, hidden, size))
    noise = rng.normal(0, rng.uniform(2, 8), canvas.shape)
    return np.clip(canvas + noise, 0, 255).astype(np.uint8), labels


def _label(
    joints: Points, mask: NDArray[np.bool_], hidden: NDArray[np.bool_], size: int
) -> dict[str, Any]:
    """The label of an object; joints outside of the image have none, hidden ones v = 1."""
    keypoints = np.zeros((len(joints), 3))
    inside = ((joints >= 0) & (joints <= size - 1)).all(axis=1)
    x, y = np.rint(joints[inside]).astype(int).T
    keypoints[inside, :2] = joints[inside].round(2)
    keypoints[inside, 2] = np.where(hidden[y, x], 1, 2)
    rows, columns = np.nonzero(mask)
    x0, y0 = float(columns.min()), float(rows.min())
    box = [x0, y0, float(columns.max()) - x0 + 1, float(rows.max()) - y0 + 1]
    return {
        "keypoints": keypoints.ravel().tolist(),
        "num_keypoints": int(inside.sum()),
        "bbox": box,
        "area": float(mask.sum()),
        "iscrowd": 0,
    }


@dataclass(frozen=True)
class _Place:
    """Where an object is: its center in px, its length in px, how it is turned and mirrored."""

    center: Points
    length: float
    angle_deg: float
    is_mirrored: bool

    def to_px(self, points: Points) -> Points:
        angle = np.deg2rad(self.angle_deg)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        flipped = points * ([-1, 1] if self.is_mirrored else [1, 1])
        return np.asarray(self.length * flipped @ turn.T + self.center)


def _paint(
    drawn: Drawn, canvas: NDArray[np.uint8], place: _Place, names: Sequence[str]
) -> tuple[Points, NDArray[np.bool_]]:
    """Draw an object: its joints in px, and the pixels that it covers."""
    mask = np.zeros(canvas.shape[:2], np.uint8)
    for piece in drawn.pieces:
        points = np.rint(16 * place.to_px(piece.points)).astype(np.int32)  # to a sixteenth of a px
        width = max(1, round(piece.width * place.length))
        for image, color in ((canvas, piece.color), (mask, 1)):
            if not piece.width:
                cv2.fillPoly(image, [points], color, cv2.LINE_AA if image is canvas else 8, 4)
            elif len(points) == 1:
                cv2.circle(image, points[0].tolist(), 8 * width, color, -1, cv2.LINE_8, 4)
            else:
                cv2.polylines(image, [points], False, color, width, cv2.LINE_8, 4)
    others = [names.index(_other_side(name)) for name in names]
    joints = drawn.joints[others] if place.is_mirrored else drawn.joints
    return place.to_px(joints), mask.astype(bool)


def _other_side(name: str) -> str:
    return name.replace("left", "#").replace("right", "left").replace("#", "right")


def _background(rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """A gradient with rectangles, ellipses and lines of all colors."""
    a, b = np.array(_color(rng)), np.array(_color(rng))
    t = np.linspace(0, 1, size)[:, None, None]
    canvas = np.ascontiguousarray(np.broadcast_to((1 - t) * a + t * b, (size, size, 3)), np.uint8)
    for _ in range(rng.integers(6, 20)):
        (x0, y0), (x1, y1) = rng.integers(0, size, (2, 2)).tolist()
        color = _color(rng)
        kind = rng.integers(3)
        if kind == 0:
            cv2.rectangle(canvas, (x0, y0), (x0 + x1 // 4, y0 + y1 // 4), color, -1)
        elif kind == 1:
            cv2.ellipse(canvas, ((x0, y0), (x1 / 4, y1 / 4), float(x0)), color, -1)
        else:
            cv2.line(canvas, (x0, y0), (x1, y1), color, int(rng.integers(1, 5)), cv2.LINE_AA)
    return canvas


def _occluders(canvas: NDArray[np.uint8], rng: np.random.Generator, size: int) -> NDArray[np.bool_]:
    """Bars over everything; which pixels they cover."""
    mask = np.zeros(canvas.shape[:2], np.uint8)
    for _ in range(rng.integers(0, 3)):
        (x0, y0), (x1, y1) = rng.integers(0, size, (2, 2)).tolist()
        color, width = _color(rng), int(rng.integers(3, 8))
        cv2.line(canvas, (x0, y0), (x1, y1), color, width)
        cv2.line(mask, (x0, y0), (x1, y1), 1, width)
    return mask.astype(bool)


def main() -> None:
    """Write a set."""
    parser = argparse.ArgumentParser(description="Draw a set of labeled objects.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=300, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(write_set(arguments.kind, arguments.folder, arguments.images, seed=arguments.seed))


if __name__ == "__main__":
    main()
