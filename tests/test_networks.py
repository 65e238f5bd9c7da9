"""Networks: shapes, channels from the skeleton, and parity with the Open Model Zoo's original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from openpaf import weights
from openpaf.geometry import Letterbox
from openpaf.io.extras import openvino_core
from openpaf.io.images import read_image
from openpaf.networks import LightweightNetwork, build, describe
from openpaf.networks.rcnn.mobilenet import MobileNetV2
from openpaf.skeleton import Skeleton


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


def test_a_dilated_trunk_gives_what_the_strided_one_does() -> None:
    """At every second cell: MobileNetV2 pads on the right and bottom, so that these are odd."""
    network = build("mobilenet_v2", width=4).eval()
    strided = MobileNetV2().eval()
    own = network.trunk.state_dict()
    strided.load_state_dict({key: own.get(key, value) for key, value in
                             strided.state_dict().items()})  # fmt: skip
    image = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        dilated, expected = network.trunk(image), strided(image)[2]
    assert dilated.shape[2:] == (28, 28)
    inner = slice(6, 9)  # zeros beyond the image are at other places
    ours = dilated[:, :, 1::2, 1::2][:, :, inner, inner]
    torch.testing.assert_close(ours, expected[:, :, inner, inner], rtol=1e-4, atol=1e-5)
    figures = describe(network)
    assert (figures.stride, figures.offset_px) == (8, 7.0)


def test_batch_norms_follow_the_convolutions_of_trunk_and_refinement() -> None:
    plain, normed = (build(f"lightweight{kind}", width=4) for kind in ("", "_batch_norm"))
    n_norms = sum(isinstance(module, torch.nn.BatchNorm2d) for module in normed.modules())
    assert n_norms == 1 + 11 * 2 + 5 * 3  # of the reference
    biases = [sum(key.endswith("bias") for key in network.state_dict())
              for network in (plain, normed)]  # fmt: skip
    assert biases[0] == biases[1]  # those of the batch norms in place of the convolutions'
    shapes = [[field.shape for stage in network(torch.zeros(2, 3, 32, 40)) for field in stage]
              for network in (plain, normed)]  # fmt: skip
    assert shapes[0] == shapes[1]


def test_unknown_network_and_options() -> None:
    with pytest.raises(ValueError, match=r"expected one of lightweight, .*got 'resnet'"):
        build("resnet")
    with pytest.raises(ValueError, match=r"n_refinement_stages"):
        build("lightweight", n_refinement_stages=-1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trunk_widths": (8, 8)}, "trunk_widths: expected 12 numbers"),
        ({"n_refinement_blocks": 0}, "n_refinement_blocks: expected >= 1, got 0"),
        ({"refinement_width": 0}, "refinement_width: expected >= 1, or None, got 0"),
        ({"refinement_hidden_width": 0}, "refinement_hidden_width: expected >= 1, or None, got 0"),
        ({"ranks": (8, 8)}, "ranks: expected three numbers >= 0, or None"),
        ({"ranks": (8, 8, -1)}, "ranks: expected three numbers >= 0, or None"),
        ({"stride": 12, "atrous": False}, "stride: expected one of 4, 8, 16 with atrous=False"),
        ({"stride": 12}, "stride: expected one of 4, 8 with atrous=True, got 12"),
    ],
)
def test_widths_and_ranks_that_no_network_has_are_refused(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LightweightNetwork(Skeleton.COCO17, **options)


def test_cell_zero_lies_at_the_default_offset_of_the_heatmap_grid() -> None:
    """Shifting the image by one stride shifts the fields by one cell, away from the borders."""
    torch.manual_seed(0)
    network = LightweightNetwork(Skeleton.COCO17, n_refinement_stages=0).eval()
    image = torch.zeros(1, 3, 256, 256)
    image[:, :, 120:136, 120:136] = 1
    moved = image.roll(8, dims=3)
    with torch.no_grad():
        here = network(image)[-1][0][0, :, :, 10:20]
        there = network(moved)[-1][0][0, :, :, 11:21]
    torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-4)


def network_inputs(folder: Path, n_photos: int) -> list[np.ndarray]:
    """Landscape photos as (1, 3, 256, 344) BGR, 0 to 255: every one of the same shape."""
    inputs = []
    for path in sorted(folder.glob("*.jpg")):
        image = read_image(path)
        if image.shape == (480, 640, 3) and len(inputs) < n_photos:
            pixels = Letterbox.fit(image.shape[:2], 256).apply(image)
            inputs.append(np.ascontiguousarray(pixels[None, ::-1]))
    return inputs


def correlation(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    ours, theirs = (
        np.concatenate([field.ravel() for field in side]) for side in zip(*pairs, strict=True)
    )
    return float(np.corrcoef(ours, theirs)[0, 1])


def without_rounding(model: Any) -> Any:
    """Take the rounding of activations to 8 bits out of an OpenVINO model."""
    for node in model.get_ops():
        source = node.input_value(0) if node.get_type_name() == "FakeQuantize" else None
        if source is not None and source.get_node().get_type_name() in ACTIVATIONS:
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(source)
    model.validate_nodes_and_infer_types()
    return model


ACTIVATIONS = ("Add", "Concat", "Convolution", "Elu", "GroupConvolution", "Parameter", "Relu")


def test_the_open_model_zoo_file_on_real_photos(shared_dir: Path) -> None:
    """Filled by its table of names, the network is Intel's: its 8 bits are all that differs.

    OpenVINO's kernels for 8 bits round more than the file says, so they are left out; with them
    the heatmaps correlate by 0.9996 on these photos.
    """
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    teacher = shared_dir / "weights" / "teacher"
    network = build("open_model_zoo").eval()
    weights.load(network, teacher / "hpe0001_fp16.npz")  # as a user's file is
    inputs = network_inputs(shared_dir / "data" / "coco_val_dev" / "images", 6)
    with torch.inference_mode():
        ours = [network((torch.from_numpy(image) - 128) / 255)[-1] for image in inputs]

    def original(rounded: bool) -> list[dict[int, np.ndarray]]:
        core = openvino_core()
        model = core.read_model(teacher / "human-pose-estimation-0001.xml")
        model.reshape([1, 3, *inputs[0].shape[2:]])
        compiled = core.compile_model(
            model if rounded else without_rounding(model),
            "CPU",
            {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": False},
        )
        return [{v.shape[1]: v.copy() for v in compiled(x).values()} for x in inputs]

    for rounded, least in ((True, 0.9997), (False, 0.99999)):
        theirs = original(rounded)
        heatmaps = [(h.numpy(), t[19]) for (h, _), t in zip(ours, theirs, strict=True)]
        pafs = [(p.numpy(), t[38]) for (_, p), t in zip(ours, theirs, strict=True)]
        assert correlation(heatmaps) > least
        assert correlation(pafs) > (0.998 if rounded else least)
        if not rounded:
            assert max(np.abs(a - b).max() for a, b in heatmaps + pafs) < 0.02


def test_a_finer_stride_and_a_strided_trunk_keep_the_rest_of_the_network() -> None:
    plain = LightweightNetwork(Skeleton.COCO17)
    finer = LightweightNetwork(Skeleton.COCO17, stride=4)
    strided = LightweightNetwork(Skeleton.COCO17, atrous=False, stride=16)
    extra = set(finer.state_dict()) - set(plain.state_dict())
    assert {key.rpartition(".")[0] for key in extra} == {"context.pyramid.steps.0.lateral"}
    shapes = [{k: v.shape for k, v in n.state_dict().items()} for n in (plain, strided)]
    assert shapes[0] == shapes[1]  # so that weights of the one can start the other
    factors = LightweightNetwork(Skeleton.COCO17, ranks=[8, 8, 8])
    sizes = ((plain, (6, 8)), (finer, (12, 16)), (strided, (3, 4)), (factors, (6, 8)))
    for network, size in sizes:
        assert network(torch.zeros(1, 3, 48, 64))[-1][0].shape[2:] == size


def test_every_part_of_the_pyramid_learns() -> None:
    network = LightweightNetwork(Skeleton.COCO17, atrous=False, stride=4)
    heatmaps, pafs = network(torch.randn(1, 3, 64, 64))[-1]
    (heatmaps.square().mean() + pafs.square().mean()).backward()
    used = [name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()]
    assert {name for name, _ in network.named_parameters() if "pyramid" in name} <= set(used)
