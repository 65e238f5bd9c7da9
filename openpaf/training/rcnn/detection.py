"""Training of Mask R-CNN."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from openpaf import weights
from openpaf.geometry import Grid
from openpaf.networks.rcnn.mask_rcnn import MaskRCNN
from openpaf.networks.rcnn.mobilenet import MobileNetV2
from openpaf.skeleton import Skeleton
from openpaf.training.config import DistillationConfig, TrainConfig
from openpaf.training.data.batches import load_sets
from openpaf.training.distributed import Processes
from openpaf.training.logging import Progress
from openpaf.training.optimizer import make_optimizer
from openpaf.training.rcnn.object_sets import load_object_sets
from openpaf.training.rcnn.targets import HALF_PX, DetectionBatch, DetectionBatchMaker
from openpaf.training.start import read_start

_log = logging.getLogger(__name__)


class DetectionTask:
    """See :class:`openpaf.training.task.Task`.

    Args:
        config: The run.
        processes: Those that it is shared by.

    Raises:
        DatasetError: If a set is missing or without people.
        ValueError: If the detector is unknown, has another number of classes than the sets, or the
            configuration has keys that are not for detectors.
    """

    def __init__(self, config: TrainConfig, processes: Processes) -> None:
        _check(config)
        self.labels = Skeleton.COCO17
        sets, self.classes = (
            load_object_sets(config.data)
            if read_start(config.network).method == "objects"
            else (load_sets(config.data, self.labels), ())
        )
        self.config, self.device = _with_classes(config, self.classes), processes.device
        self.start = read_start(self.config.network)
        network = self.start.build(self.labels)
        assert isinstance(network, MaskRCNN)
        self.detector = network
        self.network: nn.Module = network.to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.trunk = network.backbone.body
        self.precision = torch.float32
        batch_size = config.optimizer.batch_size
        self.rows = processes.rows(batch_size)
        self.batch_size = batch_size
        # Losses are means over a slice, and slices may differ by a crop.
        self.share = len(self.rows) * processes.n / batch_size
        self.maker = DetectionBatchMaker(
            sets,
            batch_size=batch_size,
            augment=config.augment,
            masks=network.config.masks,
            seed=config.seed,
        )
        self.images = self.maker.photos

    def load_start(self) -> None:
        file = self.start.file
        if file and file.suffix == ".npz" and isinstance(self.trunk, MobileNetV2):
            weights.load_trunk(self.detector, file)  # how a trunk was given before
        elif file and self.start.spec and self.start.spec.classes != self.classes:
            new = weights.load_detector(self.detector, self.start.spec, file)
            _log.info(
                "%s is a model of other classes: new for %s: %s",
                file, ", ".join(self.classes), ", ".join(new),
            )  # fmt: skip
        elif file:
            weights.load(self.detector, file)
        else:
            self.start.load(self.detector, Skeleton.COCO17)

    def make_optimizer(self) -> torch.optim.Optimizer:
        return make_optimizer(self.network, self.trunk, self.config.optimizer)

    def batches(self, start: int, stop: int, progress: Progress) -> Generator[DetectionBatch]:
        workers = self.config.data.workers
        yield from progress.timed(self.maker.stream(start, stop, workers, rows=self.rows))

    def loss(self, batch: DetectionBatch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        # Image by image: losses of a batch weigh its images by their anchors, people and joints, so
        # that the gradient would depend on how processes share the batch.
        parts: list[Tensor] = []
        sums: dict[str, Tensor] = {}
        for row, image, target in zip(self.rows, batch.images, batch.targets, strict=True):
            # Which anchors the losses look at is drawn anew, so that a resumed run draws the same.
            torch.manual_seed((self.config.seed << 32) + step * self.batch_size + row)
            targets = [{k: v.to(self.device) for k, v in target.items()}]
            losses = self.detector.losses([image.to(self.device)], targets, resize=False)
            parts += losses.values()
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0) + loss.detach() / len(self.rows)
        return torch.stack(parts).sum() * self.share / len(self.rows), sums

    def spec(self, metrics: dict[str, Any]) -> weights.ModelSpec:
        grid = Grid(1, -HALF_PX)
        return weights.ModelSpec(
            name=self.config.name,
            builder=self.start.builder,
            options=self.start.options,
            skeleton=self.labels,
            heatmap_grid=grid,
            paf_grid=grid,
            mean=0.0,
            scale=255.0,
            # That of the start binds its heirs.
            licence=self.start.spec.licence if self.start.spec else "Apache-2.0",
            metrics=metrics,
            classes=self.classes,
        )


def _check(config: TrainConfig) -> None:
    """Raise a ValueError where a key is not for a detector; the message begins with the key."""
    if key := config.targets.changed(*config.targets.__struct_fields__):
        raise ValueError(f"targets.{key[0]}: not for a detector")
    if config.data.skeleton is not None:
        raise ValueError("data.skeleton: not for a detector")
    if config.data.category is not None and read_start(config.network).method == "objects":
        raise ValueError("data.category: not for a detector of objects, which learns all of them")
    if config.distillation != DistillationConfig():
        raise ValueError("distillation: not for a detector")
    if (crop_px := config.augment.crop_px) % 32:
        raise ValueError(f"augment.crop_px: expected a multiple of 32, got {crop_px}")
    if (precision := config.optimizer.precision) not in ("auto", "float32"):
        raise ValueError(f"optimizer.precision: expected float32 for a detector, got {precision!r}")


def _with_classes(config: TrainConfig, classes: tuple[str, ...]) -> TrainConfig:
    """The run, with as many classes of its network as its sets have, and background.

    Raises:
        ValueError: If the options say another number.
    """
    if not classes:
        return config
    options = {"num_classes": len(classes) + 1, **config.network.options}
    if options["num_classes"] != len(classes) + 1:
        raise ValueError(
            f"network.options.num_classes: expected {len(classes) + 1}, background and "
            f"{', '.join(classes)}; got {options['num_classes']}"
        )
    network = msgspec.structs.replace(config.network, options=options)
    return msgspec.structs.replace(config, network=network)
