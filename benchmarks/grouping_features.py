"""Features of the default model's frozen trunk, computed once and kept in a folder as float16."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from openpaf import Letterbox, read_image, weights
from openpaf.evaluation.label_files import Annotations, load_annotations
from openpaf.io.paths import inside_folder
from openpaf.networks import build
from openpaf.networks.lightweight import LightweightNetwork
from openpaf.training.data.augmentation import CropPlan
from openpaf.training.data.batches import CropMaker

_CHUNK = 8  # crops a file
_SIZE_PX = 368  # short side of a photo that is measured
_MEASURED_CROPS = 200  # at most, of those that are learned
_BODY_SHARE = 0.53  # of the box around the joints, as COCO's areas have it


class Trunk:
    """Trunk and context of the default model, up to the features that all of its stages read."""

    def __init__(self) -> None:
        source = weights.resolve("default")
        assert source.file is not None
        network = build(source.spec.builder, source.spec.skeleton, **source.spec.options)
        assert isinstance(network, LightweightNetwork)
        weights.load(network, source.file)
        self.network, self.spec = network.eval(), source.spec

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> NDArray[np.float16]:
        """Features (B, 128, h, w) of images (B, 3, H, W), RGB of 0 to 255."""
        inputs = (images - self.spec.mean) / self.spec.scale
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        features: Tensor = self.network.features(inputs)
        return features.half().contiguous().numpy()


@dataclass
class PlannedCrops(CropMaker[list[CropPlan]]):
    """The crops that all methods learn, drawn once; a fixed list by the seed."""

    def batch(self, step: int, rows: range | None = None) -> list[CropPlan]:
        return [next(self.plans(step, i)) for i in rows or range(self.batch_size)]

    def plan(self, index: int) -> CropPlan:
        """Of one crop of the list."""
        return next(self.plans(index // _CHUNK, index % _CHUNK))


def crop_features(
    folder: Path, crops: PlannedCrops, n_crops: int, trunk: Trunk
) -> list[NDArray[np.float16]]:
    """Features (128, h, w) of the first crops; those that a folder has are not computed again."""
    folder.mkdir(parents=True, exist_ok=True)
    chunks = []
    for chunk in range(-(-n_crops // _CHUNK)):
        file = folder / f"{chunk:04}.npy"
        if not file.exists():
            plans = [crops.plan(_CHUNK * chunk + i) for i in range(_CHUNK)]
            pixels = np.stack([plan.render(crops.photos.read) for plan in plans])
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
            _save(file, trunk(images))
        chunks.append(np.load(file, mmap_mode="r"))
    return [one for chunk in chunks for one in chunk][:n_crops]


class MeasuredPhoto(NamedTuple):
    """A photo that is measured, with its features and the map back to its px."""

    image_id: int
    features: NDArray[np.float16]
    letterbox: Letterbox


def photo_features(
    folder: Path, data: Path, ids: Sequence[int], trunk: Trunk
) -> tuple[Annotations, list[MeasuredPhoto]]:
    """Labels of a set, and the features of some of its photos, computed once as those of crops."""
    folder.mkdir(parents=True, exist_ok=True)
    annotations = load_annotations(data / "person_keypoints.json")
    photos = []
    for image_id in ids:
        entry = annotations.imgs[image_id]
        letterbox = Letterbox.fit((entry["height"], entry["width"]), _SIZE_PX)
        file = folder / f"{image_id}.npy"
        if not file.exists():
            pixels = letterbox.apply(read_image(inside_folder(data / "images", entry["file_name"])))
            _save(file, trunk(torch.from_numpy(pixels)[None])[0])
        photos.append(MeasuredPhoto(image_id, np.load(file, mmap_mode="r"), letterbox))
    return annotations, photos


def learned_photos(
    folder: Path, crops: PlannedCrops, features: Sequence[NDArray[np.float16]]
) -> tuple[Annotations, list[MeasuredPhoto]]:
    """Crops that are learned as photos that are measured; not those with ignore regions."""
    images: list[dict[str, Any]] = []
    people: list[dict[str, Any]] = []
    photos = []
    for i in range(0, len(features), 1 + len(features) // _MEASURED_CROPS):
        plan = crops.plan(i)
        if plan.labels.ignore or not plan.fully_annotated:
            continue
        side = {"height": plan.size, "width": plan.size}
        images.append({"id": i, "file_name": f"{i}.jpg", **side})
        for keypoints in plan.labels.keypoints.astype(float):
            is_inside = ((keypoints[:, :2] >= 0) & (keypoints[:, :2] < plan.size)).all(axis=1)
            is_joint = is_inside & (keypoints[:, 2] > 0)
            if not is_joint.any():
                continue
            low, high = keypoints[is_joint, :2].min(axis=0), keypoints[is_joint, :2].max(axis=0)
            sides = np.maximum(high - low, 1)
            people.append({
                "id": len(people) + 1, "image_id": i, "category_id": 1, "iscrowd": 0,
                "keypoints": np.where(is_joint[:, None], keypoints, 0).ravel().tolist(),
                "num_keypoints": int(is_joint.sum()), "bbox": [*low.tolist(), *sides.tolist()],
                "area": _BODY_SHARE * float(sides.prod()),
            })  # fmt: skip
        photos.append(MeasuredPhoto(i, features[i], Letterbox.fit((plan.size,) * 2, plan.size)))
    file = folder / "learned.json"
    labels = {"categories": [{"id": 1, "name": "person"}], "images": images, "annotations": people}
    file.write_text(json.dumps(labels), encoding="utf-8")
    return load_annotations(file), photos


def _save(file: Path, array: NDArray[np.float16]) -> None:
    """Write a file that is whole or not there, as a run may be stopped at any time."""
    partial = file.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.save(stream, array)
    partial.replace(file)
