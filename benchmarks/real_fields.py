"""What networks say of labelled photos: fields for the benchmarks of the parser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from openpaf import Fields, Letterbox, PoseEstimator, read_image
from openpaf.evaluation.label_files import load_annotations
from openpaf.io.paths import inside_folder


class PhotoFields(NamedTuple):
    """Fields of one photo, and the way from their px back to the photo's."""

    image_id: int
    fields: Fields
    letterbox: Letterbox


def models(teacher: Path) -> Iterator[tuple[str, PoseEstimator]]:
    """The shipped model, and the one it started from where its weights are at hand."""
    yield "the shipped model", PoseEstimator(engine="torch")
    if not teacher.is_file():
        return
    zoo = PoseEstimator("human-pose-estimation-0001", weights=teacher, engine="torch")
    yield "Open Model Zoo 0001", zoo


def fields_of_photos(data: Path, estimator: PoseEstimator) -> tuple[Any, list[PhotoFields]]:
    """The annotations of a folder, and the fields of its completely labelled photos."""
    truth = load_annotations(data / "person_keypoints.json")
    photos = []
    chosen = [row for row in truth.dataset["images"] if row.get("ann_complete", True)]
    for row in tqdm(chosen, unit="photo", disable=None):
        picture = read_image(inside_folder(data / "images", row["file_name"]))
        letterbox = Letterbox.fit(picture.shape[:2], estimator.size)
        photos.append(PhotoFields(row["id"], estimator.fields(picture), letterbox))
    return truth, photos
