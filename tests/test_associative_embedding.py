"""Associative embedding as a method: from an image to people, at several sizes and mirrored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import openpaf
from openpaf import Grid, Poses, Skeleton
from openpaf.engines.base import Arrays, Engine
from openpaf.estimator.associative_embedding import AssociativeEmbedding
from openpaf.estimator.merging import MergedScales
from openpaf.estimator.methods import Options
from openpaf.fields import encode_fields
from openpaf.networks import build
from openpaf.weights import ModelSpec, save

COCO = Skeleton.COCO17
SIZE_HW = (256, 512)


def spec_of(**changes: Any) -> ModelSpec:
    fields: dict[str, Any] = {
        "name": "tags", "builder": "lightweight_tags", "options": {}, "skeleton": COCO,
        "heatmap_grid": Grid(2, 1.0), "paf_grid": Grid(4, 2.0), "mean": 0.0, "scale": 255.0,
        "licence": "Apache-2.0", "metrics": {}, **changes,
    }  # fmt: skip
    return ModelSpec(**fields)


def people(n: int = 4) -> Poses:
    """People side by side, each of joints at random places around its own middle."""
    rng = np.random.default_rng(0)
    keypoints = np.empty((n, 17, 3))
    for i in range(n):
        keypoints[i, :, 0] = (i + rng.uniform(0.25, 0.75, 17)) * SIZE_HW[1] / n
        keypoints[i, :, 1] = rng.uniform(8, SIZE_HW[0] - 9, 17)
    keypoints[..., 2] = 1
    return Poses.from_keypoints(keypoints, COCO)


def marked_image() -> NDArray[np.uint8]:
    """Bright on the left, so that a network can see that it is mirrored."""
    image = np.zeros((*SIZE_HW, 3), np.uint8)
    image[:, :100] = 255
    return image


def perfect_network(true: Poses, spec: ModelSpec) -> Engine:
    """Gives true heatmaps and tags, whatever the size, mirrored if the image is."""

    def run(inputs: NDArray[np.float32]) -> Arrays:
        _, _, h, w = inputs.shape
        xy, tag = (true.xy + 0.5) * (h / SIZE_HW[0]) - 0.5, 2.0 * np.arange(len(true))
        if inputs[0, 0, h // 2, 0] < 128:
            xy = xy[:, list(COCO.flip_permutation)]
            xy[..., 0] = w - 1 - xy[..., 0]
            tag = tag[::-1] - 5
        grid, own = spec.heatmap_grid, spec.paf_grid
        heatmaps = encode_fields(true.replace(xy=xy), (h, w), heatmap_grid=grid).heatmaps[:-1]
        shape = own.size_cells((h, w))
        y, x = (own.to_px(np.arange(n)) for n in shape)
        places = np.stack(np.meshgrid(x, y), axis=-1)
        nearest = np.linalg.norm(places - xy[:, :, None, None], axis=-1).argmin(axis=0)
        tags = tag[nearest].astype(np.float32)
        return {"heatmaps": np.stack([heatmaps]), "tags": np.stack([tags])}

    return Engine("perfect", run)


@pytest.mark.parametrize("scales", [(256,), (256, 384)])
@pytest.mark.parametrize("flip", [False, True])
def test_perfect_arrays_give_the_true_people(flip: bool, scales: tuple[int, ...]) -> None:
    true, spec = people(), spec_of()
    options = Options(size=256, flip=flip)
    method: Any = AssociativeEmbedding(perfect_network(true, spec), spec, options)
    if len(scales) > 1:
        method = MergedScales(method, scales)
    inferred = method.infer([marked_image()])
    found = method.postprocess(inferred[0], SIZE_HW)
    distance = np.linalg.norm(found.xy[:, None] - true.xy[None], axis=-1).max(axis=2)
    assert len(found) == len(true)
    assert (distance.min(axis=0) < 0.5).all()
    if flip and len(scales) == 1:
        # What the mirrored image gives alone is the same, too: its grid is moved, not only turned.
        arrays = inferred[0].mirrored
        heatmaps, tags = method._maps(arrays, inferred[0].arrays["heatmaps"].shape[1:], SIZE_HW[1])
        np.testing.assert_allclose(heatmaps, inferred[0].arrays["heatmaps"], atol=0.02)
        x, y = np.rint(spec.heatmap_grid.to_cells(true.xy[1, 5])).astype(int)
        assert tags[5, y, x] == pytest.approx(2 * 2 - 5)  # the third from the right


def test_with_flip_joints_have_two_tags() -> None:
    """People that the image's own tags do not tell apart are told apart by the mirrored ones."""
    true, spec = people(), spec_of()
    engine = perfect_network(true, spec)

    def without_tags(inputs: NDArray[np.float32]) -> Arrays:
        arrays = engine(inputs)
        is_mirrored = inputs[0, 0, inputs.shape[2] // 2, 0] < 128
        return {**arrays, "tags": arrays["tags"] * np.float32(is_mirrored)}

    blind = Engine("blind", without_tags)
    errors = []
    for flip in (False, True):
        method = AssociativeEmbedding(blind, spec, Options(size=256, flip=flip))
        found = method.postprocess(method.infer([marked_image()])[0], SIZE_HW)
        distance = np.linalg.norm(found.xy[:, None] - true.xy[None], axis=-1).max(axis=2)
        errors.append(distance.min(axis=0).max())
    assert errors[0] > 50
    assert errors[1] < 0.5


def test_a_model_file_runs(tmp_path: Path) -> None:
    """By every step of the estimator; arrays of another image are refused."""
    options = {"width": 16, "hidden_width": 16}
    torch.manual_seed(0)
    network = build("lightweight_tags", COCO, **options).eval()
    spec = spec_of(options=options, heatmap_grid=Grid(8), paf_grid=Grid(8), mean=128.0)
    save(network.state_dict(), tmp_path / "tags.safetensors", spec)
    image = np.random.default_rng(0).integers(0, 255, (96, 64, 3), dtype=np.uint8)
    estimator = openpaf.PoseEstimator(tmp_path / "tags.safetensors", size=64, engine="torch")
    other = openpaf.PoseEstimator.from_network(network, spec, size=64)
    inferred = estimator.infer(image)
    assert inferred.arrays["tags"].shape == (17, 12, 8)
    np.testing.assert_allclose(
        inferred.arrays["heatmaps"], other.infer(image).arrays["heatmaps"], atol=1e-3
    )  # half precision in the file
    assert estimator(image).skeleton == COCO
    with pytest.raises(ValueError, match="arrays of 96 x 64 px are not of an image of 64 x 96 px"):
        estimator.postprocess(inferred, (64, 96))
    with pytest.raises(ValueError, match="fields"):
        estimator.fields(image)


def test_a_file_of_other_cells_is_refused(tmp_path: Path) -> None:
    options = {"width": 16, "hidden_width": 16}
    network = build("lightweight_tags", COCO, **options)
    spec = spec_of(options=options, heatmap_grid=Grid(8), paf_grid=Grid(4))
    save(network.state_dict(), tmp_path / "tags.safetensors", spec)
    with pytest.raises(openpaf.WeightsError, match="paf_grid: expected the network's stride of 8"):
        openpaf.PoseEstimator(tmp_path / "tags.safetensors", engine="torch")
