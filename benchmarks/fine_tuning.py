"""AP of a model on whole images that it is fine-tuned on, and on others, epoch after epoch.

    python benchmarks/fine_tuning.py coco/person_keypoints.json coco/images --size 256
    python benchmarks/fine_tuning.py ... --images 40 --size 368 --epochs 60 --rate 1e-4 --least 0.85

Only images on which everybody has labels are used: those at even places of the file are learned,
without augmentation, those at odd places held out (the last of them are learned too, where those at
even places are too few). A line says what the style and the weight of
the targets do to a short run; ``--least`` makes it a test of whether a network can learn by heart.
"""

from __future__ import annotations

import argparse
import copy
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from openpaf import PoseEstimator, Poses, Skeleton, encode_fields, weights
from openpaf.evaluation.coco import as_results, evaluate
from openpaf.evaluation.label_files import load_annotations
from openpaf.geometry import Letterbox
from openpaf.io.images import read_image
from openpaf.training.data.batches import Batch
from openpaf.training.losses import fields_loss
from openpaf.training.optimizer import PRECISIONS, autocast
from openpaf.weights import ModelSpec

_SHARE = 0.5  # of the way from the start to the end


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image with its labels, as it is and as the network is given it."""

    id: int
    pixels: NDArray[np.uint8]
    batch: Batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("annotations", help="a file in COCO-keypoints format")
    parser.add_argument("folder", type=Path, help="of its images")
    parser.add_argument("--model", default="lightweight-coco17", help="(default: %(default)s)")
    parser.add_argument("--images", type=int, default=24, help="learned, as many held out")
    parser.add_argument("--size", type=int, default=256, help="short side in px")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--every", type=int, default=1, help="epochs between lines")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--batch", type=int, default=4, help="images a step")
    parser.add_argument("--rate", type=float, default=3e-5, help="of AdamW")
    parser.add_argument("--sigma", type=float, default=7.5, help="px")
    parser.add_argument("--half-width", type=float, default=10.0, help="px")
    parser.add_argument("--heatmap-weight", type=float, default=10.0)
    parser.add_argument("--least", type=float, help="fail if AP at the end is lower")
    arguments = parser.parse_args()
    print(f"{date.today()}, {platform.machine()}, torch {torch.__version__}, {vars(arguments)}")
    ap = measure(arguments)
    if arguments.least is not None and ap < arguments.least:
        sys.exit(f"AP {ap:.3f} on the images that were learned, expected {arguments.least}")


def measure(arguments: argparse.Namespace) -> float:
    """Train and print a line per epoch; AP on the learned images at the end."""
    annotations = load_annotations(Path(arguments.annotations))
    network, spec = weights.load_model(arguments.model)
    sets = [
        [example(annotations, i, spec, arguments) for i in ids]
        for ids in split(annotations, arguments.images)
    ]
    learned = sets[0]
    start = copy.deepcopy(network.state_dict())

    def show(name: str, state: dict[str, Tensor]) -> float:
        shown = copy.deepcopy(network)
        shown.load_state_dict(state)
        aps = [average_precision(annotations, shown, spec, one, arguments.size) for one in sets]
        print(
            f"{name}: AP {aps[0]:.3f} on {len(learned)} learned, {aps[1]:.3f} on others", flush=True
        )
        return aps[0]

    optimizer = torch.optim.AdamW(network.parameters(), lr=arguments.rate, weight_decay=1e-4)
    rng = np.random.default_rng(0)
    ap = show("start", start)
    for epoch in range(1, arguments.epochs + 1):
        order = rng.permutation(len(learned))
        for first in range(0, len(order), arguments.batch):
            batch = [learned[i].batch for i in order[first : first + arguments.batch]]
            learn(network, spec, optimizer, batch, arguments)
        if epoch % arguments.every == 0 or epoch == arguments.epochs:
            ap = show(f"epoch {epoch}", network.state_dict())
    end = network.state_dict()
    between = {key: start[key].lerp(end[key], _SHARE) for key in start}
    show(f"{_SHARE} of the way from the start", between)
    return ap


def split(annotations: Any, n_images: int) -> tuple[list[int], list[int]]:
    """Images to learn and others, on which all people have labels.

    Those to learn are at even places of the file, then the last ones where these are too few.
    """
    places = [sorted(annotations.imgs)[remainder::2] for remainder in (0, 1)]
    even, odd = ([i for i in ids if is_labeled(annotations, i)] for ids in places)
    n_more = max(0, n_images - len(even))
    learned = even[:n_images] + odd[len(odd) - n_more :]
    return learned, [i for i in odd if i not in learned][:n_images]


def is_labeled(annotations: Any, image_id: int) -> bool:
    """Whether people are in an image, all of them with labels."""
    people = annotations.imgToAnns[image_id]
    return bool(people) and all(p["num_keypoints"] and not p["iscrowd"] for p in people)


def example(
    annotations: Any, image_id: int, spec: ModelSpec, arguments: argparse.Namespace
) -> Example:
    pixels = read_image(arguments.folder / annotations.imgs[image_id]["file_name"])
    letterbox = Letterbox.fit(pixels.shape[:2], arguments.size)
    people = [one["keypoints"] for one in annotations.imgToAnns[image_id]]
    joints = np.array(people, np.float32).reshape(-1, 17, 3)
    joints[:, :, :2] = letterbox.points_to_network(joints[:, :, :2])
    joints[:, :, 2] = joints[:, :, 2] > 0
    fields = encode_fields(
        Poses.from_keypoints(joints, Skeleton.COCO17).to(spec.skeleton),
        letterbox.size_hw,
        sigma_px=arguments.sigma,
        paf_half_width_px=arguments.half_width,
        heatmap_grid=spec.heatmap_grid,
        paf_grid=spec.paf_grid,
    )
    heatmaps = torch.from_numpy(fields.heatmaps)[None]
    pafs = torch.from_numpy(fields.pafs).flatten(0, 1)[None]
    batch = Batch(
        images=torch.from_numpy(letterbox.apply(pixels))[None],
        heatmaps=heatmaps,
        pafs=pafs,
        heatmap_weights=torch.ones_like(heatmaps),
        paf_weights=torch.ones_like(pafs),
        fully_annotated=torch.ones(1, dtype=torch.bool),
    )
    return Example(id=image_id, pixels=pixels, batch=batch)


def learn(
    network: nn.Module,
    spec: ModelSpec,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    arguments: argparse.Namespace,
) -> None:
    """A step; images have sizes of their own, so that each goes through the network alone."""
    network.train()
    optimizer.zero_grad()
    for batch in batches:
        with autocast(torch.device("cpu"), PRECISIONS[arguments.precision]):
            stages = network((batch.images - spec.mean) / spec.scale)
        loss, _ = fields_loss(stages, batch, heatmap_weight=arguments.heatmap_weight)
        (loss / len(batches)).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 10.0)
    optimizer.step()


def average_precision(
    annotations: Any, network: nn.Module, spec: ModelSpec, examples: Sequence[Example], size: int
) -> float:
    estimator = PoseEstimator.from_network(network, spec, size=size)
    detections = []
    for one in examples:
        detections += as_results(estimator(one.pixels), one.id, annotations)
    return evaluate(annotations, detections, [one.id for one in examples])["AP"]


if __name__ == "__main__":
    main()
