"""Networks of CenterNet, PersonLab and G-RMI learn eight images by heart, and run as models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training_overfits import folder  # noqa: F401 (a fixture)

from openpaf.cli import main
from openpaf.engines.load import load_source
from openpaf.errors import WeightsError
from openpaf.estimator.methods import Options
from openpaf.estimator.pose_estimator import PoseEstimator
from openpaf.estimator.top_down import TopDown
from openpaf.io.images import read_image
from openpaf.training.config import TrainConfig
from openpaf.training.groupings.map_losses import focal_loss, logistic_loss, offset_loss
from openpaf.training.loop import train
from openpaf.training.tables import as_table
from openpaf.weights import ModelSpec, read_header, resolve

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from by_heart import HEIGHT, MARGIN, SIZE

BOX = [[-0.5, -0.5, SIZE - 0.5, SIZE - 0.5]]  # whose crop is the image itself
OPTIONS: dict[str, Any] = {
    "width": 32, "hidden_width": 64,
    "trunk_widths": [16, 16, 32, 32, 32, 32, 64, 64, 64, 64, 64, 64],
}  # fmt: skip


def config_for(images: Path, output: Path, builder: str, **changes: Any) -> TrainConfig:
    photos = {"annotations": str(images / "people.json"), "images": str(images)}
    data = {"sets": [photos], "workers": 1}
    if builder != "lightweight_offsets":
        data["validation"] = photos
    return as_table(TrainConfig, {
        "output": str(output), "name": "tiny", "data": data,
        "network": {"name": builder, "options": OPTIONS},
        "targets": {"sigma_px": 5},
        "optimizer": {
            "steps": 160, "batch_size": 8, "learning_rate": 5e-3, "warmup": 10, "average": 0.9,
            "precision": "float32", "checkpoint_every": 1000, "validate_every": 1000,
            "validation_size": SIZE,
        },
        "augment": {
            "crop_px": SIZE, "person_px": [MARGIN * HEIGHT, MARGIN * HEIGHT], "rotation_deg": 0,
            "shift": 0, "flip": 0, "color": 0, "gray": 0, "blur": 0,
        },
        **changes,
    })  # fmt: skip


@pytest.mark.parametrize("method", ["center_net", "person_lab"])
def test_a_network_learns_eight_images_by_heart(
    folder: Path, tmp_path: Path, method: str, capsys: pytest.CaptureFixture[str]  # noqa: F811
) -> None:  # fmt: skip
    file = train(config_for(folder, tmp_path, f"lightweight_{method}"))
    spec = read_header(file)
    assert spec.method == method
    assert spec.metrics["validation"]["AP50"] >= 0.95
    assert spec.metrics["validation"]["AP"] >= 0.9
    # The file is a model as any other.
    options = ["--model", str(file), "--size", str(SIZE)]
    assert main(["predict", str(folder / "0.png"), "--output", str(tmp_path), *options]) == 0
    people = json.loads((tmp_path / "0.json").read_text())
    assert people[0]["score"] > 0.5
    truth = json.loads((folder / "people.json").read_text())["annotations"][0]["keypoints"]
    far = np.reshape(people[0]["keypoints"], (17, 3))[:, :2] - np.reshape(truth, (17, 3))[:, :2]
    assert np.abs(far).max() < 6
    data = json.loads((folder / "people.json").read_text())
    data["categories"][0]["name"] = "person"
    (tmp_path / "people.json").write_text(json.dumps(data))
    labels = ["--annotations", str(tmp_path / "people.json"), "--images", str(folder)]
    capsys.readouterr()
    assert main(["evaluate", *labels, *options]) == 0
    assert "8 people found: good 9" in " ".join(capsys.readouterr().out.split())
    estimator = PoseEstimator(file, engine="torch", size=SIZE)
    image = read_image(folder / "0.png")
    second = estimator.batch([image, image])[1]
    np.testing.assert_allclose(second.xy, estimator(image).xy, atol=0.01)
    inferred = estimator.infer(image)
    with pytest.raises(ValueError, match="image_hw: arrays of 96 x 96 px"):
        estimator.postprocess(inferred, (96, 200))
    inferred.arrays["heatmaps"][0, 0, 0] = np.nan
    with pytest.raises(WeightsError, match=r"tiny: heatmaps: expected finite numbers, 1 of \d+"):
        estimator.postprocess(inferred, (96, 96))


def test_a_network_of_one_person_learns_disks_and_offsets(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    file = train(config_for(folder, tmp_path, "lightweight_offsets"))
    source = resolve(str(file))
    assert source.spec.method == "single_person"
    assert source.spec.outputs == ("heatmaps", "offsets")
    assert source.spec.size_hw == (SIZE, SIZE)
    labels = json.loads((folder / "people.json").read_text())["annotations"]
    images = [read_image(folder / f"{i}.png") for i in range(8)]
    for flip, most in ((False, 2.0), (True, 40.0)):  # it has not seen mirrored people
        pair = top_down(source.spec, load_source(source, "torch", "cpu"), flip=flip)
        found = pair.infer_in_boxes(images, [BOX] * 8)
        for one, person in zip(found, labels, strict=True):
            poses = pair.postprocess(one, (SIZE, SIZE))
            truth = np.reshape(person["keypoints"], (17, 3))[:, :2]
            assert np.abs(poses.xy[0] - truth).mean() < most
    (tmp_path / "pair.json").write_text(json.dumps(
        {"name": "pair", "detectors": ["picodet-s-192"], "pose": "tiny.safetensors"}
    ))  # fmt: skip
    arguments = ["predict", str(folder / "0.png"), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--model", str(tmp_path / "pair.json")]) == 0


def top_down(pose_spec: ModelSpec, pose: Any, *, flip: bool) -> TopDown:
    spec = resolve("topdown").spec
    spec.options["padding"] = 1.0
    return TopDown([], pose, pose_spec, spec, Options(flip=flip))


def test_keys_that_do_not_go_with_a_network(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    photos = {"annotations": str(folder / "people.json"), "images": str(folder)}
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("lightweight_offsets", r"data\.validation: not for a network of one person",
         {"data": {"sets": [photos], "validation": photos}}),
        ("lightweight_offsets", r"augment\.crop_px: expected a multiple of 32, got 72",
         {"augment": {"crop_px": 72}}),
        ("lightweight_person_lab", r"targets\.heatmap_weight: not for networks of person_lab",
         {"targets": {"heatmap_weight": 2}}),
        ("lite_hrnet", r"network\.name: expected .* gives heatmaps, offsets of .*, got 'lite_hr",
         {"network": {"name": "lite_hrnet"}}),
    ]  # fmt: skip
    for network, message, changes in cases:
        with pytest.raises(ValueError, match=message):
            train(config_for(folder, tmp_path, network, **changes))


# --- Losses


def test_focal_loss_by_hand() -> None:
    target = torch.tensor([[[[1.0, 0.5, 0.0, torch.nan]]]])
    logits = torch.tensor([[[[0.0, 0.0, -30.0, 9.0]]]])
    # -(1 - .5)^2 log .5 at the peak, -(1 - .5)^4 .5^2 log .5 beside it, and nothing elsewhere.
    expected = np.log(2) * (0.25 + 0.0625 * 0.25)
    assert focal_loss(logits, target).item() == pytest.approx(expected, rel=1e-5)
    assert focal_loss(logits, torch.zeros_like(target)).isfinite()  # no peak


def test_losses_count_where_there_is_a_target() -> None:
    target = torch.tensor([1.0, torch.nan, 0.0])
    logits = torch.tensor([0.0, 50.0, 0.0], requires_grad=True)
    loss = logistic_loss(logits, target)
    assert loss.item() == pytest.approx(np.log(2))
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [-0.25, 0, 0.25]
    assert offset_loss(torch.tensor([3.0, 9.0, -1.0]), target).item() == 1.5
    assert offset_loss(torch.ones(2), torch.full((2,), torch.nan)).item() == 0
