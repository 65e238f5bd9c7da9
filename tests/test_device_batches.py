"""Batches of the recipes that are made on the network's device, and made ready ahead."""

# ruff: noqa: F811  # fixtures of another file

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from test_training_data import BUSY, folder, maker_for, write_config  # noqa: F401

from openpaf import Skeleton
from openpaf.training.config import AugmentConfig
from openpaf.training.data.batches import Batch
from openpaf.training.data.dataset import DatasetError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipes"))
from batches_ahead import made_ahead
from device_batches import DeviceBatchMaker, make_device_batches
from train import main

S = Skeleton.COCO17
CPU = torch.device("cpu")
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
DEVICES = [
    pytest.param(CPU, id="cpu"),
    pytest.param(torch.device("cuda"), id="cuda", marks=NO_GPU),
]


@pytest.mark.parametrize("place", DEVICES)
@pytest.mark.parametrize("skeleton", [S, Skeleton.COCO18_REDUNDANT], ids=lambda s: s.name)
def test_batches_of_the_device_are_those_of_the_processor(
    folder: Path, skeleton: Skeleton, place: torch.device
) -> None:
    maker = maker_for(folder, BUSY, skeleton)
    if skeleton != S:  # targets of other widths
        maker.sigma_px, maker.paf_half_width_px = 8.5, 10.0
    device = DeviceBatchMaker(maker, place, workers=2)
    for step, there in enumerate(device.stream(0, 6)):
        assert there.images.device.type == place.type
        batch = there.to(CPU)
        wanted = maker.batch(step)
        for name in ("heatmaps", "pafs", "heatmap_weights", "paf_weights"):
            assert torch.equal(getattr(batch, name), getattr(wanted, name)), name
        assert torch.equal(batch.fully_annotated, wanted.fully_annotated)
        error = (batch.images - wanted.images).abs()
        assert error.mean() < 1.5  # the processor samples at 32nds of a pixel
        assert error.flatten(1).quantile(0.99, dim=1).max() < 25
    some = device.batch(2, range(1, 3))
    assert torch.equal(some.heatmaps, device.batch(2).heatmaps[1:3])


def test_a_plain_crop_of_the_device_is_nearly_exact(folder: Path) -> None:
    plain = AugmentConfig(crop_px=96, person_px=(50, 120), color=0.3, gray=0, blur=0)
    maker = maker_for(folder, plain)
    for step in range(3):
        ours = DeviceBatchMaker(maker, CPU, workers=1).batch(step).images
        error = (ours - maker.batch(step).images).abs()
        assert error.mean() < 0.6
        assert error.flatten(1).quantile(0.99, dim=1).max() <= 4


def test_plans_drawn_by_other_processes_are_the_same(folder: Path) -> None:
    maker = maker_for(folder, BUSY)
    device = DeviceBatchMaker(maker, CPU, workers=1)
    device.in_processes = True
    for step, batch in enumerate(device.stream(0, 3, workers=1, rows=range(4))):
        wanted = device.batch(step, range(4))
        assert torch.equal(batch.images, wanted.images)
        assert torch.equal(batch.pafs, wanted.pafs)
        assert torch.equal(batch.heatmap_weights, wanted.heatmap_weights)


@pytest.mark.parametrize("place", DEVICES)
def test_batches_made_ahead_are_the_same_and_may_be_left(folder: Path, place: torch.device) -> None:
    maker = DeviceBatchMaker(maker_for(folder, BUSY), place, workers=1)
    wanted = [maker.batch(step) for step in range(4)]
    source = maker.stream(0, 4, 1)
    for ours, theirs in zip(made_ahead(source, place), wanted, strict=True):
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.heatmap_weights, theirs.heatmap_weights)
    source = maker.stream(0, 100, 1)
    ahead = made_ahead(source, place)
    assert torch.equal(next(ahead).images, wanted[0].images)
    ahead.close()  # as where a run stops: nobody asks for batches any more
    source.close()

    def broken() -> Iterator[Batch]:
        yield wanted[0]
        raise DatasetError("no more photos")

    ahead = made_ahead(broken(), place)
    next(ahead)
    with pytest.raises(DatasetError, match="no more photos"):
        next(ahead)


def test_the_device_is_used_where_asked_for(folder: Path) -> None:
    maker = maker_for(folder, BUSY)
    assert make_device_batches(maker, CPU, "auto") is maker
    assert make_device_batches(maker, CPU, "no") is maker
    assert isinstance(make_device_batches(maker, CPU, "yes"), DeviceBatchMaker)
    (folder / "images" / "2.png").write_bytes(b"nothing")
    holed = DeviceBatchMaker(maker_for(folder, BUSY), CPU)
    assert [Path(name).name for name in holed.maker.photos.bad_files] == ["2.png"]
    ours, wanted = holed.batch(0), maker_for(folder, BUSY).batch(0)
    assert torch.equal(ours.heatmaps, wanted.heatmaps)
    path = write_config(folder, more='[recipe]\non_device = "yes"')
    main([str(path)])
    assert (folder / "run" / "tiny.safetensors").exists()


def test_joints_that_a_set_lacks_are_not_background(folder: Path) -> None:
    data = json.loads((folder / "people.json").read_text())
    data["categories"] = [{"id": 1, "name": "person", "keypoints": ["head_top", *S.joints[1:]]}]
    (folder / "people.json").write_text(json.dumps(data))
    maker = maker_for(folder, BUSY)
    ours, wanted = DeviceBatchMaker(maker, CPU).batch(0), maker.batch(0)
    assert not ours.heatmap_weights[:, 0].any()
    assert torch.equal(ours.heatmap_weights, wanted.heatmap_weights)
    assert torch.equal(ours.paf_weights, wanted.paf_weights)


def test_photos_of_another_size_than_labeled_are_refused(folder: Path) -> None:
    data = json.loads((folder / "people.json").read_text())
    data["images"][0] |= {"width": 320, "height": 242}
    (folder / "people.json").write_text(json.dumps(data))
    with pytest.raises(DatasetError, match=r"1.png: the image is 160 x 121"):
        DeviceBatchMaker(maker_for(folder, BUSY), CPU)
