"""Networks: shapes, channels from the skeleton, and parity with the Open Model Zoo's original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from openpaf.channels import CHANNEL_ORDERS
from openpaf.errors import WeightsError
from openpaf.geometry import Letterbox
from openpaf.images import read_image
from openpaf.networks import LightweightNetwork, build
from openpaf.skeleton import Skeleton
from openpaf.training.open_model_zoo import load_open_model_zoo, shared_channels


@pytest.mark.parametrize("n_refinement_stages", [0, 1, 3])
@pytest.mark.parametrize("skeleton", [Skeleton.COCO17, Skeleton.MPI15], ids=lambda s: s.name)
def test_heads_follow_from_the_skeleton(skeleton: Skeleton, n_refinement_stages: int) -> None:
    network = build("lightweight", skeleton, n_refinement_stages=n_refinement_stages)
    stages = network(torch.zeros(2, 3, 64, 96))
    assert len(stages) == 1 + n_refinement_stages
    for heatmaps, pafs in stages:
        assert heatmaps.shape == (2, skeleton.n_joints + 1, 8, 12)
        assert pafs.shape == (2, 2 * skeleton.n_limbs, 8, 12)


def test_parameters_of_the_known_member() -> None:
    network = LightweightNetwork(Skeleton.COCO18)
    # As many as the Open Model Zoo's file holds: batch norms folded away, biases everywhere.
    assert sum(p.numel() for p in network.parameters()) == 4_099_058


def test_unknown_network_and_options() -> None:
    with pytest.raises(ValueError, match=r"expected one of lightweight, .*got 'resnet'"):
        build("resnet")
    with pytest.raises(ValueError, match=r"n_refinement_stages"):
        build("lightweight", n_refinement_stages=-1)


def test_cell_zero_lies_at_the_default_offset_of_the_heatmap_grid() -> None:
    """Shifting the picture by one stride shifts the fields by one cell, away from the borders."""
    torch.manual_seed(0)
    network = LightweightNetwork(Skeleton.COCO17, n_refinement_stages=0).eval()
    image = torch.zeros(1, 3, 256, 256)
    image[:, :, 120:136, 120:136] = 1
    moved = image.roll(8, dims=3)
    with torch.no_grad():
        here = network(image)[-1][0][0, :, :, 10:20]
        there = network(moved)[-1][0][0, :, :, 11:21]
    torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-4)


def test_shared_channels_point_along_the_same_limb() -> None:
    rows = shared_channels(Skeleton.COCO17)
    ours, theirs = Skeleton.COCO17, Skeleton.COCO18
    assert len(rows["heatmaps"]) == 18  # 17 joints and background
    for mine, other, _ in rows["heatmaps"][:-1]:
        assert ours.joints[mine] == theirs.joints[other]
    for mine, other, sign in rows["pafs"]:
        a, b = (ours.joints[k] for k in ours.limbs[mine // 2])
        c, d = (theirs.joints[k] for k in theirs.limbs[other // 2])
        assert (a, b) == ((c, d) if sign > 0 else (d, c))
        assert mine % 2 == other % 2


def test_a_file_of_other_layers_is_refused(tmp_path: Path) -> None:
    network = LightweightNetwork(Skeleton.COCO17)
    with pytest.raises(WeightsError, match=r"missing\.npz"):
        load_open_model_zoo(network, tmp_path / "missing.npz", Skeleton.COCO17)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(WeightsError, match="conv5_5_CPM_L1"):
        load_open_model_zoo(network, tmp_path / "other.npz", Skeleton.COCO17)


def test_parity_with_the_open_model_zoo(shared_dir: Path, repo_root: Path) -> None:
    """The network in torch says what Intel's INT8 original says in OpenVINO."""
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    teacher = shared_dir / "weights" / "teacher"
    network = LightweightNetwork(Skeleton.COCO18).eval()
    load_open_model_zoo(network, teacher / "hpe0001_fp16.npz", Skeleton.COCO18)
    image = read_image(repo_root / "data" / "photos" / "astronaut.jpg")
    pixels = Letterbox.fit(image.shape[:2], 256).apply(image)
    with torch.inference_mode():
        heatmaps, pafs = network((torch.from_numpy(pixels[None]) - 128) / 255)[-1]

    core = openvino.Core()
    model = core.read_model(teacher / "human-pose-estimation-0001.xml")
    model.reshape([1, 3, *pixels.shape[1:]])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result = compiled(np.ascontiguousarray(pixels[None, ::-1]))  # BGR
    theirs = {value.shape[1]: value for value in result.values()}
    in_order = CHANNEL_ORDERS["cmu_coco18"].apply(theirs[19], theirs[38])
    assert np.corrcoef(heatmaps.numpy().ravel(), in_order[0].ravel())[0, 1] > 0.999
    assert np.corrcoef(pafs.numpy().ravel(), in_order[1].ravel())[0, 1] > 0.99
