"""Other groupings than part affinity fields learn a few images by heart, and their losses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import openpaf
from openpaf import Grid, Skeleton
from openpaf.cli import main
from openpaf.networks import BUILDERS, build
from openpaf.networks.lightweight_arrays import LightweightArrays
from openpaf.training.config import TrainConfig
from openpaf.training.groupings.associative_embedding import AssociativeEmbedding, tag_losses
from openpaf.training.loop import train
from openpaf.training.tables import as_table
from openpaf.weights import read_header

SIZE, HEIGHT = 96, 75  # of images and people in px; crops show the whole image as it is
MARGIN = 1.15  # by which training makes a person larger than the joints
NETWORK: dict[str, Any] = {
    "width": 32, "hidden_width": 64, "stride": 4,
    "trunk_widths": [16, 16, 32, 32, 32, 32, 64, 64, 64, 64, 64, 64],
}  # fmt: skip
# A person who faces the viewer, in shares of the height: COCO's 17 joints.
POSE = np.array([
    (50, 18), (54, 14), (46, 14), (60, 17), (40, 17), (64, 34), (36, 34), (74, 48), (26, 48),
    (80, 62), (20, 62), (58, 60), (42, 60), (61, 76), (39, 76), (63, 92), (37, 92),
]) / 100  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images of two people in the same box, one head down; joints have colors of their own."""
    folder, rng = tmp_path_factory.mktemp("pairs"), np.random.default_rng(0)
    colors = rng.integers(60, 255, (17, 3)).tolist()
    images, people = [], []
    for i in range(4):
        pixels = rng.integers(0, 40, (SIZE, SIZE, 3), dtype=np.uint8)
        for gray, pose in ((160, POSE), (70, 1 - POSE)):
            joints = pose + rng.normal(0, 0.03, (17, 2))
            joints = (joints - joints.min(axis=0)) / np.ptp(joints, axis=0) * (57, HEIGHT)
            joints += (19, 10)
            for a, b in Skeleton.COCO17.limbs[:16]:
                ends = joints[[a, b]].round().astype(int).tolist()
                cv2.line(pixels, *ends, (gray, gray, gray), 2)
            for xy, color in zip(joints.round().astype(int).tolist(), colors, strict=True):
                cv2.circle(pixels, xy, 3, color, -1)
            people.append({
                "id": len(people), "image_id": i, "category_id": 1, "iscrowd": 0,
                "num_keypoints": 17, "bbox": [7.5, 5.5, 80, 84], "area": 80 * 84,
                "keypoints": np.column_stack([joints, np.full(17, 2)]).ravel().tolist(),
            })  # fmt: skip
        cv2.imwrite(str(folder / f"{i}.png"), pixels)
        images.append({"id": i, "file_name": f"{i}.png", "width": SIZE, "height": SIZE})
    data = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    (folder / "people.json").write_text(json.dumps(data))
    return folder


def config_of(folder: Path, output: Path, name: str, **optimizer: Any) -> dict[str, Any]:
    photos = {"annotations": str(folder / "people.json"), "images": str(folder)}
    return {
        "output": str(output),
        "data": {"sets": [photos], "validation": photos, "workers": 1},
        "network": {"name": name, "options": NETWORK},
        "targets": {"sigma_px": 4.0},
        "optimizer": {
            "steps": 200, "batch_size": 4, "learning_rate": 5e-3, "warmup": 20, "average": 0.95,
            "precision": "float32", "checkpoint_every": 1000, "validate_every": 1000,
            "validation_size": SIZE, **optimizer,
        },
        "augment": {
            "crop_px": SIZE, "person_px": [MARGIN * HEIGHT, MARGIN * HEIGHT], "rotation_deg": 0,
            "shift": 0, "flip": 0, "color": 0, "gray": 0, "blur": 0,
        },
    }  # fmt: skip


def test_associative_embedding_learns_images_by_heart(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, tmp_path, "lightweight_tags")
    file = train(as_table(TrainConfig, config))
    spec = read_header(file)
    assert (spec.method, spec.builder) == ("associative_embedding", "lightweight_tags")
    assert (spec.heatmap_grid, spec.paf_grid) == (Grid(4), Grid(4))
    assert spec.metrics["validation"]["AP50"] >= 0.95
    assert spec.metrics["validation"]["AP"] >= 0.7
    # The file runs by the command line as any model.
    shared = ["--model", str(file), "--engine", "torch", "--size", str(SIZE), "--quiet"]
    labels = ["--annotations", str(folder / "people.json"), "--images", str(folder)]
    figures = tmp_path / "figures.json"
    assert main(["evaluate", *labels, *shared, "--json", str(figures)]) == 0
    evaluated = json.loads(figures.read_text())
    assert evaluated["settings"]["method"] == "associative-embedding"
    assert evaluated["AP"] == pytest.approx(spec.metrics["validation"]["AP"], abs=0.02)
    photo = [str(folder / "0.png"), "--output", str(tmp_path / "people"), "--format", "coco"]
    assert main(["predict", *photo, *shared, "--threshold", "0.5"]) == 0
    assert len(json.loads((tmp_path / "people" / "0.json").read_text())) == 2


def test_higher_hrnet_trains_from_its_weights(folder: Path, tmp_path: Path) -> None:
    """Its two resolutions are both learned, and a further run starts from the file of the first."""
    config = config_of(folder, tmp_path / "1", "lightweight_tags", steps=2)
    config["network"] = {"name": "higher_hrnet", "options": {"width": 4}}
    del config["data"]["validation"]
    file = train(as_table(TrainConfig, config))
    spec = read_header(file)
    assert (spec.heatmap_grid, spec.paf_grid) == (Grid(2), Grid(4))
    assert (spec.mean, spec.scale) == (0, 255)  # what its normalization takes
    log = [json.loads(line) for line in (tmp_path / "1" / "log.jsonl").read_text().splitlines()]
    assert {"heatmaps_1", "heatmaps_2", "pull", "push"} <= set(log[-1])
    again = config_of(folder, tmp_path / "2", "lightweight_tags", steps=1)
    again["network"] = {"weights": str(file)}
    del again["data"]["validation"]
    assert read_header(train(as_table(TrainConfig, again))).options == {"width": 4}


def test_tag_losses_are_those_of_the_paper() -> None:
    """Pull and push of two people of two joints and one of one, by hand."""
    tags = torch.zeros(2, 2, 1, 3)  # images, joints, height, width
    tags[0, 0, 0] = torch.tensor([1.0, 4.0, 2.0])
    tags[0, 1, 0] = torch.tensor([3.0, 5.0, 9.0])
    tags.requires_grad_()
    joints = torch.full((2, 4, 2), -1)
    joints[0, 0] = torch.tensor([0, 0])  # 1 and 3: mean 2, mean square 1
    joints[0, 2] = torch.tensor([1, 1])  # 4 and 5: mean 4.5, mean square 1/4
    joints[0, 3] = torch.tensor([2, -1])  # 2 alone
    pull, push = tag_losses(tags, joints)  # the second image has no people
    assert float(pull.detach()) == pytest.approx((1 + 0.25 + 0) / 3 / 2)
    pairs = 2 * (math.exp(-(2.5**2)) + math.exp(0) + math.exp(-(2.5**2)))
    assert float(push.detach()) == pytest.approx(0.5 * pairs / (3 * 2) / 2)
    (pull + push).backward()
    assert tags.grad is not None
    assert torch.isfinite(tags.grad).all()
    assert tags.grad[0, 1, 0, 2] == 0  # the cell of no joint


def test_tags_of_two_people_separate_from_nearly_equal_ones() -> None:
    """Also where joints of one person differ more than two people do, as in a trained trunk.

    Beside 0 the loss is a w^2 with a = pull * within - push * between, so that with equal weights
    of pull and push these tags stay alike.
    """
    rng = torch.Generator().manual_seed(0)
    of_person = 0.8 * torch.randn(64, 2, 1, generator=rng)  # images, people, joints
    features = of_person + torch.randn(64, 2, 17, generator=rng)
    columns = features.permute(0, 2, 1)[:, :, None]  # a joint is a map of two cells, a person each
    joints = torch.arange(2)[None, :, None].expand(64, 2, 17)
    grouping = AssociativeEmbedding(Skeleton.COCO17, [[Grid(4), Grid(4)]], {})
    heatmaps = torch.zeros(64, 17, 1, 2)
    targets = {"heatmaps_0": heatmaps, "weights_0": heatmaps, "joints": joints}
    weight = torch.tensor(0.01, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        losses = grouping.loss([(heatmaps, weight * columns)], targets)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    means = (weight * features).detach().mean(dim=2)
    assert (means[:, 0] - means[:, 1]).abs().mean() > 0.5


def test_keys_of_part_affinity_fields_are_refused(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, tmp_path, "lightweight_tags")
    config["distillation"] = {"teacher": "t"}
    with pytest.raises(ValueError, match="distillation: not for networks of associative_embedd"):
        train(as_table(TrainConfig, config))
    del config["distillation"]
    config["targets"] = {"paf_half_width_px": 5}
    with pytest.raises(ValueError, match=r"targets\.paf_half_width_px: not for networks of assoc"):
        train(as_table(TrainConfig, config))


def test_arrays_of_other_channels_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_tag(skeleton: Skeleton, **options: Any) -> LightweightArrays:
        return LightweightArrays(skeleton, (skeleton.n_joints, 1), **options)

    monkeypatch.setitem(BUILDERS, "lightweight_tags", (one_tag, Skeleton.COCO17))
    config = as_table(TrainConfig, config_of(folder, tmp_path, "lightweight_tags"))
    with pytest.raises(ValueError, match=r"network\.name: expected .* gives heatmaps, tags of"):
        train(config)


def test_a_trunk_of_part_affinity_fields_starts_one_of_tags(tmp_path: Path) -> None:
    """Layers before the heads have the same names, so that weights of one start the other."""
    torch.manual_seed(0)
    options = {key: value for key, value in NETWORK.items() if key != "stride"}
    ours, fields = build("lightweight_tags", **options), build("lightweight", **options)
    torch.save(fields.state_dict(), tmp_path / "fields.pth")
    taken = openpaf.weights.load_trunk(ours, tmp_path / "fields.pth")
    rest = {key.rpartition(".")[0] for key in ours.state_dict()} - set(taken)
    assert rest == {f"heads.{i}.{layer}" for i in (0, 1) for layer in ("hidden", "out")}
