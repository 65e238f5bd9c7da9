"""The photos that went worst, truth beside result, on one page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openpaf.evaluation.label_files import Annotations, Detection
from openpaf.evaluation.labels import check_image_size
from openpaf.evaluation.matching import ImageMatches, found_joints, labeled_joints, match_people
from openpaf.evaluation.page import image_data, page
from openpaf.geometry import Letterbox
from openpaf.io.images import read_image
from openpaf.io.paths import inside_folder
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.visualization.draw import draw_poses

_RED = (235, 45, 45)


def photo_error(photo: ImageMatches) -> float:
    """How wrong a photo is: 1 for each person missed or false, ``1 - OKS`` for each found."""
    return len(photo.missed) + len(photo.false) + sum(1 - pair.oks for pair in photo.pairs)


def worst_photos(
    annotations: Annotations,
    detections: Sequence[Detection],
    image_ids: Sequence[int],
    n_photos: int,
    *,
    min_score: float = 0.65,
) -> list[ImageMatches]:
    """The photos of the largest error, worst first; those without any error are left out.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        detections: In COCO's submission format.
        image_ids: Which photos.
        n_photos: At most so many.
        min_score: People of a lower score do not count, neither as right nor as wrong.
    """
    sure = [person for person in detections if person["score"] >= min_score]
    photos = match_people(annotations, sure, image_ids, oks=0.5)
    ranked = sorted(photos, key=lambda photo: (-photo_error(photo), photo.image_id))
    return [photo for photo in ranked[:n_photos] if photo_error(photo) > 0]


def gallery(
    annotations: Annotations,
    images: str | Path,
    photos: Sequence[ImageMatches],
    *,
    title: str,
    note: str = "",
    side_px: int = 640,
) -> str:
    """A page of photos with the labeled people beside the found ones.

    Red boxes are around people missed, on the left, and false ones, on the right.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        images: Folder of the photos.
        photos: From :func:`worst_photos`.
        title: Of the page.
        note: A line below the title.
        side_px: Longest side of a photo on the page.

    Returns:
        HTML, everything in one file.

    Raises:
        ImageError: If a photo cannot be read.
        ValueError: If a photo has another size than its labels are for.
    """
    parts = [
        f"<p>{escape(note)}</p>" if note else "",
        "<p>Sorted by error: 1 for each person missed or false, 1 - OKS for each found. Red boxes "
        "are people missed (left) and false people (right). Left limbs are orange, right ones "
        "blue.</p>",
    ]
    if not photos:
        parts.append("<p>No photo has an error.</p>")
    for rank, photo in enumerate(photos, 1):
        entry = annotations.imgs[photo.image_id]
        image = read_image(inside_folder(images, entry["file_name"]))
        check_image_size(entry["file_name"], image.shape, entry)
        draw = partial(_drawn, *_shrunk(image, side_px), annotations.skeleton)
        parts.append(_pair(rank, entry["file_name"], photo, draw))
    return page(title, "\n".join(parts))


def _pair(rank: int, name: str, photo: ImageMatches, draw: Callable[..., NDArray[np.uint8]]) -> str:
    """One photo of the page, labeled and found."""
    truth = [*(pair.truth for pair in photo.pairs), *photo.missed]
    people = [*(pair.detection for pair in photo.pairs), *photo.false]
    labeled = draw(list(map(labeled_joints, truth)), photo.missed)
    found = draw(list(map(_scored_joints, people)), photo.false)
    oks = ", ".join(f"{pair.oks:.2f}" for pair in photo.pairs) or "none"
    return (
        f"<h2>{rank}. {escape(name)}: error {photo_error(photo):.2f}</h2>\n"
        f"<p>{len(truth)} people labeled; {len(photo.pairs)} found (OKS {oks}), "
        f"{len(photo.missed)} missed, {len(photo.false)} false</p>\n"
        f'<div class="pair">{image_data(labeled, "labeled")}{image_data(found, "found")}</div>'
    )


def _scored_joints(person: Detection) -> NDArray[np.float64]:
    """As found, with the scores of joints where the system gives any: weak ones are fainter."""
    joints, scores = found_joints(person), labeled_joints(person)[:, 2]
    if (scores > 0).any():
        joints[:, 2] *= np.maximum(scores, 0)
    return joints


def _shrunk(image: NDArray[np.uint8], side_px: int) -> tuple[NDArray[np.uint8], Letterbox]:
    height, width = image.shape[:2]
    ratio = min(1.0, side_px / max(height, width))
    hw = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    letterbox = Letterbox(image_hw=(height, width), resized_hw=hw, size_hw=hw)
    return letterbox.apply(image).transpose(1, 2, 0).astype(np.uint8), letterbox


def _drawn(
    image: NDArray[np.uint8],
    letterbox: Letterbox,
    skeleton: Skeleton,
    people: Sequence[NDArray[np.float64]],
    marked: Sequence[Detection],
) -> NDArray[np.uint8]:
    import cv2

    keypoints = np.array(people, np.float64).reshape(-1, skeleton.n_joints, 3)
    poses = Poses.from_keypoints(keypoints, skeleton)
    canvas = draw_poses(image, poses.replace(xy=letterbox.points_to_network(poses.xy)))
    for person in marked:
        x, y, width, height = person["bbox"]
        corners = letterbox.points_to_network(np.array([[x, y], [x + width, y + height]]))
        (x0, y0), (x1, y1) = np.rint(corners).astype(int).tolist()
        cv2.rectangle(canvas, (x0, y0), (x1, y1), _RED, 2, cv2.LINE_AA)
    return canvas
