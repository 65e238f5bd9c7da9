"""Photos for long runs, made of data/photos; and whether a table has what PoseEstimator finds."""

from __future__ import annotations

import functools
import io
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

import openpaf
from openpaf.bulk.inputs import Listing
from openpaf.io.files import write_whole
from openpaf.tables.files import read_table

_ROOT = Path(__file__).resolve().parent.parent
_SIZES = ((320, 240), (240, 320), (320, 214), (375, 250), (480, 360))  # width, height
_COLUMNS = ("height", "width", "n_people", "boxes", "person_scores", "keypoints", "joint_scores")


def make_photos(folder: Path, n: int, seed: int) -> None:
    """Write photos, a thousand to a subfolder; those that are there stay.

    They are cropped, mirrored, scaled and of another brightness; one in a hundred is damaged: cut
    off, empty, or no image at all.
    """
    paths = [(i, folder / f"{i // 1000:04}" / f"{i:06}.jpg") for i in range(n)]
    missing = [(seed, i, path) for i, path in paths if not path.exists()]
    for parent in {path.parent for _, _, path in missing}:
        parent.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for _ in pool.imap_unordered(_make_photo, missing, chunksize=100):
            pass


def _make_photo(task: tuple[int, int, Path]) -> None:
    seed, i, path = task
    rng = np.random.default_rng((seed, i))
    source = _sources()[int(rng.integers(len(_sources())))]
    width, height = _SIZES[int(rng.integers(len(_SIZES)))]
    share = rng.uniform(0.5, 1.0)
    w, h = int(source.width * share), int(source.height * share)
    x, y = int(rng.integers(source.width - w + 1)), int(rng.integers(source.height - h + 1))
    image = source.resize((width, height), box=(x, y, x + w, y + h))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.6, 1.4))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=int(rng.integers(75, 95)))
    data = encoded.getvalue()
    if i % 100 == 37:
        data = (data[: len(data) // 2], b"", b"no image")[i // 100 % 3]
    write_whole(path, data)


@functools.cache
def _sources() -> list[Image.Image]:
    photos = sorted((_ROOT / "data/photos").glob("*.[jp][pn]g"))
    return [Image.fromarray(openpaf.read_image(path)) for path in photos]


def rows_of(table: Path) -> Iterator[dict[str, Any]]:
    """The rows of all parts of a table."""
    for part in sorted(table.glob("people-*.parquet")):
        yield from read_table(part).to_pylist()


def compare_inputs(table: Path, photos: Path) -> tuple[int, int, int, int]:
    """Numbers of inputs, of rows, of rows with an error, and of paths that are not in both."""
    inputs = Counter(one.path for one in Listing(sources=(str(photos),), recursive=True))
    rows, n_failed = Counter[str](), 0
    for row in rows_of(table):
        rows[row["path"]] += 1
        n_failed += row["error"] is not None
    n_other = sum(((inputs - rows) + (rows - inputs)).values())
    return inputs.total(), rows.total(), n_failed, n_other


def count_different(
    table: Path, options: dict[str, Any], n_checked: int, seed: int
) -> tuple[int, int]:
    """How many rows were compared with an estimator of one thread, and how many are not equal to
    the last bit, or have an error where it has none.

    Args:
        table: The folder of the parts.
        options: Of the estimator.
        n_checked: How many rows, chosen at random; all if there are no more.
        seed: Of the choice.
    """
    rows = list(rows_of(table))
    if n_checked < len(rows):
        chosen = np.random.default_rng(seed).choice(len(rows), n_checked, replace=False)
        rows = [rows[i] for i in sorted(chosen)]
    pieces = [rows[i : i + 50] for i in range(0, len(rows), 50)]
    n_processes = os.cpu_count() or 1
    with multiprocessing.get_context("spawn").Pool(n_processes, _load, (options,)) as pool:
        return len(rows), sum(pool.imap_unordered(_n_different, pieces))


def same_rows(table: Path, other: Path) -> int:
    """How many rows of one table are not in another, to the last bit."""
    own = {row["path"]: _values(row) for row in rows_of(other)}
    return sum(own.get(row["path"]) != _values(row) for row in rows_of(table))


_estimator: openpaf.PoseEstimator


def _load(options: dict[str, Any]) -> None:
    global _estimator
    _estimator = openpaf.PoseEstimator(**options, threads=1)


def _n_different(rows: Sequence[dict[str, Any]]) -> int:
    n = 0
    for row in rows:
        try:
            image = openpaf.read_image(row["path"])
            poses = _estimator(image)
        except openpaf.ImageError:
            n += row["error"] is None
        else:
            table = poses.to_arrow(path=row["path"], image_hw=image.shape[:2])
            n += _values(row) != _values(table.to_pylist()[0])
    return n


def _values(row: dict[str, Any]) -> tuple[Any, ...]:
    # As text, because a missing coordinate is NaN, which equals nothing.
    return (str([row[name] for name in _COLUMNS]), row["error"])
