"""Contact sheets: pages of small images with their labels, for quick inspection."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from openpaf.annotation.labels import LabeledImage, LabelSet, PersonLabel
from openpaf.errors import ImageError
from openpaf.evaluation.run import read_ahead
from openpaf.geometry import Letterbox
from openpaf.io.files import replacing
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton
from openpaf.visualization.draw import draw_poses

_COLUMNS, _ROWS = 4, 3
_SIDE_PX = 400  # of a cell, without its caption
_GAP_PX, _LINE_PX, _FONT_PX = 12, 20, 14
_PAPER, _INK, _RED = (250, 250, 250), (30, 30, 30), (215, 30, 30)
_PAGE = re.compile(r"review-\d{4,}\.jpg")


def draw_review(
    labels: LabelSet,
    root: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    progress: bool = True,
) -> list[Path]:
    """Draw contact sheets of labels: 12 images a page, with file names and person scores.

    Doubtful people are in red boxes, and images that have any are framed in red.

    Args:
        labels: The labels.
        root: The folder that their file names are relative to.
        folder: Where the pages go, as ``review-0001.jpg`` and so on; made if missing. Pages of an
            earlier run are replaced, and those beyond the last one deleted.
        progress: Whether a terminal shows a bar.

    Returns:
        The pages.

    Raises:
        OSError: If a page cannot be written.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    pages: list[Path] = []
    cells: list[Image.Image] = []
    n_images = len(labels.images)
    hidden = None if progress else True  # None: hidden unless on a terminal
    with tqdm(total=n_images, desc="review", unit="image", disable=hidden) as bar:
        for number, cell in enumerate(_cells(labels, Path(root)), 1):
            cells.append(cell)
            bar.update()
            if len(cells) == _COLUMNS * _ROWS or number == n_images:
                pages.append(place / f"review-{len(pages) + 1:04}.jpg")
                _save(_page(cells), pages[-1])
                cells = []
    for old in sorted(place.iterdir()):
        if _PAGE.fullmatch(old.name) and old not in pages:
            old.unlink()
    return pages


def _cells(labels: LabelSet, root: Path) -> Iterator[Image.Image]:
    paths = [root / image.file_name for image in labels.images]
    for entry, image in zip(labels.images, read_ahead(paths, 2), strict=True):
        yield _cell(entry, image, labels.skeleton)


def _cell(
    entry: LabeledImage, image: NDArray[np.uint8] | ImageError, skeleton: Skeleton
) -> Image.Image:
    """An image with its labels, over two lines of caption."""
    cell = Image.new("RGB", (_SIDE_PX, _SIDE_PX + 2 * _LINE_PX), _PAPER)
    pen = ImageDraw.Draw(cell)
    font = ImageFont.load_default(_FONT_PX)
    n_doubtful = sum(person.is_doubtful for person in entry.people)
    if isinstance(image, ImageError):  # gone since it was labeled
        pen.text((4, 4), "cannot be read any more", _RED, font)
    else:
        drawn = Image.fromarray(_drawn(image, entry.people, skeleton))
        corner = ((_SIDE_PX - drawn.width) // 2, _SIDE_PX - drawn.height)
        cell.paste(drawn, corner)
        if n_doubtful:
            frame = (*corner, corner[0] + drawn.width - 1, _SIDE_PX - 1)
            pen.rectangle(frame, outline=_RED, width=4)
    n_sure = len(entry.people) - n_doubtful
    words = f"{n_sure} {'person' if n_sure == 1 else 'people'}"
    words += f", {n_doubtful} doubtful" if n_doubtful else ""
    pen.text((2, _SIDE_PX + 1), _fitting(entry.file_name, font), _INK, font)
    pen.text((2, _SIDE_PX + _LINE_PX), words, _RED if n_doubtful else _INK, font)
    return cell


def _drawn(
    image: NDArray[np.uint8], people: Sequence[PersonLabel], skeleton: Skeleton
) -> NDArray[np.uint8]:
    """The small image with its people; joints are those that are labeled."""
    import cv2

    height, width = image.shape[:2]
    ratio = _SIDE_PX / max(height, width)
    hw = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    letterbox = Letterbox(image_hw=(height, width), resized_hw=hw, size_hw=hw)
    small = letterbox.apply(image).transpose(1, 2, 0).astype(np.uint8)
    keypoints = np.array([person.keypoints for person in people], np.float64)
    poses = Poses.from_keypoints(
        keypoints.reshape(-1, skeleton.n_joints, 3),
        skeleton,
        person_scores=[person.score for person in people],
    )
    moved = letterbox.points_to_network(poses.xy).astype(np.float32)
    canvas = draw_poses(small, poses.replace(xy=moved), scores=True)
    for person in people:
        if person.is_doubtful:
            x, y, box_width, box_height = person.box
            corners = letterbox.points_to_network(
                np.array([[x, y], [x + box_width, y + box_height]])
            )
            (x0, y0), (x1, y1) = np.rint(corners).astype(int).tolist()
            cv2.rectangle(canvas, (x0, y0), (x1, y1), _RED, 2, cv2.LINE_AA)
    return canvas


def _fitting(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The end of a name that is too long for a cell, which tells files apart."""
    text = name
    while font.getlength(text) > _SIDE_PX - 4 and len(text) > 4:
        text = "..." + text[4:]
    return text


def _page(cells: Sequence[Image.Image]) -> Image.Image:
    width, height = cells[0].size
    columns = min(_COLUMNS, len(cells))
    rows = math.ceil(len(cells) / _COLUMNS)
    size = (columns * (width + _GAP_PX) + _GAP_PX, rows * (height + _GAP_PX) + _GAP_PX)
    page = Image.new("RGB", size, _PAPER)
    for n, cell in enumerate(cells):
        row, column = divmod(n, _COLUMNS)
        page.paste(cell, (_GAP_PX + column * (width + _GAP_PX), _GAP_PX + row * (height + _GAP_PX)))
    return page


def _save(page: Image.Image, path: Path) -> None:
    with replacing(path) as temporary:
        page.save(temporary, "JPEG", quality=88)
