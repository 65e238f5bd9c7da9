"""Heads of one kind on features of TinyPose's frozen trunk: what they learn from, and training."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from openpaf import Poses, Skeleton, encode_fields, read_image
from openpaf.decoding.offset_targets import encode_disks
from openpaf.engines.torch_engine import run_network
from openpaf.estimator.crops import affine_of, crop
from openpaf.geometry import transform_points
from openpaf.training.config import OptimizerConfig
from openpaf.training.data.dataset import PhotoSet
from openpaf.training.groupings.map_losses import logistic_loss, offset_loss
from openpaf.training.optimizer import learning_rate, make_optimizer
from openpaf.weights.spec import ModelSpec

SKELETON = replace(Skeleton.COCO17, limbs=())
_N_FEATURES, _HIDDEN = 40, 192  # channels
_LEAST_JOINTS = 8  # of a person who is learned
# A box that is learned is this much larger or smaller, and moved by this share of its sides.
_SCALE, _SHIFT = 1.2, 0.05
_CHUNK = 100  # crops a file
# Of Gaussians, as TinyPose has them; the disks have twice this radius.
SIGMA_CELLS = 2.0
_HEATMAP_WEIGHT = 4.0  # beside offsets in radii, as for PersonLab

Arrays = dict[str, NDArray[np.float32]]


class Kind(NamedTuple):
    """What a head gives, and what it is to give."""

    title: str
    channels: dict[str, int]
    targets: Callable[[Poses, ModelSpec], Arrays]  # of a person in px of a crop
    loss: Callable[[Sequence[Tensor], dict[str, Tensor]], Tensor]


class LearnedPerson(NamedTuple):
    """A crop that is learned."""

    path: Path
    affine: NDArray[np.float64]  # from the image to the crop
    poses: Poses  # one, in px of the crop


class Heads(nn.Module):
    """One 3x3 convolution, and one of 1x1 to all arrays."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(_N_FEATURES, _HIDDEN, 3, padding=1), nn.ReLU())
        self.out = nn.Conv2d(_HIDDEN, sum(kind.channels.values()), 1)
        self.channels = kind.channels
        nn.init.normal_(self.out.weight, std=0.01)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor) -> list[Tensor]:
        """Arrays, of which disks are logits."""
        return list(self.out(self.body(features)).split(list(self.channels.values()), dim=1))


def _gaussians(person: Poses, spec: ModelSpec) -> Arrays:
    grid = spec.heatmap_grid
    assert spec.size_hw is not None
    fields = encode_fields(
        person, spec.size_hw, grid.stride, sigma_px=SIGMA_CELLS * grid.stride, heatmap_grid=grid
    )
    return {"heatmaps": fields.heatmaps[:-1]}


def _disks(person: Poses, spec: ModelSpec) -> Arrays:
    grid = spec.heatmap_grid
    assert spec.size_hw is not None
    return encode_disks(person, spec.size_hw, grid, 2 * SIGMA_CELLS * grid.stride)


def _gaussian_loss(arrays: Sequence[Tensor], targets: dict[str, Tensor]) -> Tensor:
    return (arrays[0] - targets["heatmaps"]).square().mean()


def _disk_loss(arrays: Sequence[Tensor], targets: dict[str, Tensor]) -> Tensor:
    heatmaps, offsets = arrays
    radius = 2 * SIGMA_CELLS
    return _HEATMAP_WEIGHT * logistic_loss(heatmaps, targets["heatmaps"]) + offset_loss(
        offsets / radius, targets["offsets"] / radius
    )


N_JOINTS = SKELETON.n_joints
KINDS = {
    "gaussians": Kind("Gaussians", {"heatmaps": N_JOINTS}, _gaussians, _gaussian_loss),
    "offsets": Kind(
        "disks and offsets", {"heatmaps": N_JOINTS, "offsets": 2 * N_JOINTS}, _disks, _disk_loss
    ),
}


def learned_people(
    sets: Sequence[PhotoSet], n: int, pair: ModelSpec, pose: ModelSpec
) -> list[LearnedPerson]:
    """Some labelled people, drawn once by a fixed seed, and where their crops lie."""
    assert pose.size_hw is not None
    people = [
        (photo.path, keypoints, box)
        for one in sets
        for photo in one.photos
        for keypoints, box in zip(photo.keypoints, photo.boxes, strict=True)
        if (keypoints[:, 2] > 0).sum() >= _LEAST_JOINTS
    ]
    rng = np.random.default_rng(0)
    learned = []
    for i in rng.permutation(len(people))[:n]:
        path, keypoints, box = people[i]
        sides = box[2:] - box[:2]
        middle = (box[:2] + box[2:]) / 2 + rng.uniform(-_SHIFT, _SHIFT, 2) * sides
        half = sides / 2 * _SCALE ** rng.uniform(-1, 1)
        moved = np.concatenate([middle - half, middle + half]).astype(np.float32)
        affine = affine_of(moved, pose.size_hw, pair.options["padding"])
        learned.append(LearnedPerson(path, affine, in_crop(keypoints, affine)))
    return learned


def in_crop(keypoints: NDArray[np.float32], affine: NDArray[np.float64]) -> Poses:
    xy = transform_points(keypoints[:, :2], affine)
    return Poses.from_keypoints(np.column_stack([xy, keypoints[:, 2]])[None], SKELETON)


def person_features(
    folder: Path, learned: Sequence[LearnedPerson], trunk: nn.Module, spec: ModelSpec
) -> list[NDArray[np.float16]]:
    """Features (40, h, w) of crops; those that a folder has are not computed again."""
    folder.mkdir(parents=True, exist_ok=True)
    assert spec.size_hw is not None
    run = run_network(trunk, replace(spec, outputs=("features",)), torch.device("cpu"))
    features: list[NDArray[np.float16]] = []
    for start in range(0, len(learned), _CHUNK):
        part = learned[start : start + _CHUNK]
        file = folder / f"{start:06}-{len(part)}.npy"
        if not file.exists():
            crops = np.stack([crop(read_image(p.path), p.affine, spec.size_hw) for p in part])
            inputs = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32)
            partial = file.with_suffix(".partial")
            with partial.open("wb") as stream:
                np.save(stream, run(inputs)["features"].astype(np.float16))
            partial.replace(file)
        features += list(np.load(file, mmap_mode="r"))
    return features


def train(
    arguments: argparse.Namespace,
    name: str,
    learned: Sequence[LearnedPerson],
    features: Sequence[NDArray[np.float16]],
    spec: ModelSpec,
) -> Heads:
    """Heads of a kind, from the folder if it has them."""
    kind = KINDS[name]
    config = OptimizerConfig(
        steps=arguments.steps, batch_size=arguments.batch, learning_rate=arguments.rate, warmup=20
    )
    setting = f"{len(learned)}-{config.steps}x{config.batch_size}-{config.learning_rate:g}"
    file = arguments.folder / f"{name}-{setting}-{_HIDDEN}.pt"
    torch.manual_seed(0)
    heads = Heads(kind)
    if file.exists():
        heads.load_state_dict(torch.load(file, weights_only=True))
        return heads.eval()
    optimizer = make_optimizer(heads, None, config)
    rng = np.random.default_rng(0)
    order: list[int] = []
    for step in range(config.steps):
        while len(order) < config.batch_size:
            order += rng.permutation(len(learned)).tolist()
        chosen, order = order[: config.batch_size], order[config.batch_size :]
        targets = [kind.targets(learned[i].poses, spec) for i in chosen]
        stacked = {n: torch.from_numpy(np.stack([t[n] for t in targets])) for n in targets[0]}
        inputs = torch.from_numpy(np.stack([features[i] for i in chosen]).astype(np.float32))
        loss = kind.loss(heads(inputs), stacked)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if (step + 1) % 50 == 0:
            print(f"{name}, step {step + 1}: {loss.item():.4f}", flush=True)
    torch.save(heads.state_dict(), file)
    return heads.eval()
