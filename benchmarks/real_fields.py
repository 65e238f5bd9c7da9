"""What networks say of labelled photos: fields for the benchmarks of the parser."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from openpaf import Fields, Grid, Letterbox, PoseEstimator, Skeleton, read_image, weights
from openpaf.evaluation.label_files import load_annotations
from openpaf.io.paths import inside_folder
from openpaf.networks import LightweightNetwork
from openpaf.training.open_model_zoo import load_open_model_zoo


class PhotoFields(NamedTuple):
    """Fields of one photo, and the way from their px back to the photo's."""

    image_id: int
    fields: Fields
    letterbox: Letterbox


def models(teacher: Path) -> Iterator[tuple[str, PoseEstimator]]:
    """The shipped model, and the one it started from where its weights are at hand."""
    yield "the shipped model", PoseEstimator(runtime="torch")
    if not teacher.is_file():
        return
    network = LightweightNetwork(Skeleton.COCO18)
    load_open_model_zoo(network, teacher, Skeleton.COCO18)
    row = weights.ModelSpec(
        name="open-model-zoo", builder="lightweight", options={"n_refinement_stages": 1},
        skeleton=Skeleton.COCO18, heatmap_grid=Grid(8), paf_grid=Grid(8, 0.0), mean=128.0,
        scale=255.0, licence="Apache-2.0", metrics={},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "open-model-zoo.safetensors"
        weights.save(network.state_dict(), file, row)
        estimator = PoseEstimator(file, runtime="torch")
    yield "Open Model Zoo 0001", estimator


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
