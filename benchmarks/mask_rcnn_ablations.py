"""The ablations of Mask R-CNN on synthetic shapes: pooling, masks, mask heads, and boxes alone.

    python benchmarks/mask_rcnn_ablations.py --trunk mobilenet_v2_1.0.npz --output ablations.json

Every variant is trained with the same images in the same order, seed by seed, from the same trunk,
MobileNetV2 of ImageNet, and measured on images of its own. Runs that are in the output already are
not repeated, and --minutes stops between two runs, so that the table can be made in parts.

Reference:
    He et al., Mask R-CNN, ICCV 2017, tables 2b, 2c, 2e and 3.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from shapes import CLASSES, SIDE_PX, as_coco, make_image

from openpaf.estimator.object_detector import ObjectDetector
from openpaf.evaluation.object_files import index_objects
from openpaf.evaluation.objects import evaluate_objects, object_results
from openpaf.geometry import Grid
from openpaf.networks import build
from openpaf.networks.rcnn import MaskRCNN
from openpaf.skeleton import Skeleton
from openpaf.weights import ModelSpec
from openpaf.weights.imagenet import load_imagenet

#: Each differs from the first in one thing.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "Mask R-CNN: RoIAlign, sigmoid, FCN": ("maskrcnn", {}),
    "RoIPool": ("maskrcnn", {"roi": "pool"}),
    "RoIWarp": ("maskrcnn", {"roi": "warp"}),
    "softmax masks": ("maskrcnn", {"mask_activation": "softmax"}),
    "MLP mask head": ("maskrcnn", {"mask_head": "mlp"}),
    "Faster R-CNN: no masks": ("fasterrcnn", {}),
}
OPTIONS: dict[str, Any] = {
    "num_classes": len(CLASSES) + 1, "fpn_channels": 48, "box_channels": 128,
    "mask_channels": (48,) * 4, "min_size": SIDE_PX, "max_size": SIDE_PX,
    "anchor_sizes": (16, 24, 36, 54, 80), "rpn_pre_nms_top_n_train": 100,
    "rpn_post_nms_top_n_train": 60, "rpn_pre_nms_top_n_test": 100, "rpn_post_nms_top_n_test": 60,
    "rpn_batch_size_per_image": 64, "box_batch_size_per_image": 32, "box_detections_per_img": 30,
}  # fmt: skip
FIGURES = ("bbox AP", "bbox AP75", "segm AP", "segm AP50", "segm AP75")
TEST_SEEDS = range(10_000_000, 10_000_150)


def train(variant: str, seed: int, arguments: argparse.Namespace) -> MaskRCNN:
    """A trained variant, in evaluation mode."""
    kind, options = VARIANTS[variant]
    torch.manual_seed(seed)
    network = build(f"{kind}_mobilenet_v2_fpn", **OPTIONS, **options)
    assert isinstance(network, MaskRCNN)
    if arguments.trunk:
        load_imagenet(network.backbone.body, arguments.trunk)
    trunk = {id(parameter) for parameter in network.backbone.body.parameters()}
    groups = [
        {"params": [p for p in network.parameters() if (id(p) in trunk) is inside], "factor": rate}
        for inside, rate in ((True, 0.3), (False, 1.0))
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-4)
    for step in range(arguments.steps):
        torch.manual_seed((seed << 32) + step)  # which proposals are sampled
        rate = arguments.rate * min(1, (step + 1) / 30)
        rate *= 0.5 * (1 + math.cos(math.pi * step / arguments.steps)) + 0.01
        for group in optimizer.param_groups:
            group["lr"] = group["factor"] * rate
        first = seed * 1_000_000 + step * arguments.batch
        batch = [make_image(first + n) for n in range(arguments.batch)]
        targets = [{k: torch.from_numpy(v) for k, v in one.items()} for _, one in batch]
        losses = network.losses([_tensor(image) for image, _ in batch], targets, resize=False)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
    return network.eval()


def measure(network: MaskRCNN) -> dict[str, float]:
    """Figures of boxes, and of masks where there are some."""
    px = Grid(1, 0.0)
    spec = ModelSpec(
        name="shapes", builder="maskrcnn_mobilenet_v2_fpn", options={}, skeleton=Skeleton.COCO17,
        heatmap_grid=px, paf_grid=px, mean=0.0, scale=255.0, licence="", metrics={},
        classes=CLASSES,
    )  # fmt: skip
    detector = ObjectDetector.from_network(network, spec, device="cpu")
    truth = index_objects(as_coco(TEST_SEEDS))
    same = {label: label for label in range(1, len(CLASSES) + 1)}
    results = []
    for seed in TEST_SEEDS:
        results += object_results(detector(make_image(seed)[0]), seed, same)
    figures = {}
    for task in ("bbox", "segm") if network.config.masks else ("bbox",):
        for name, value in evaluate_objects(truth, results, task).items():
            if f"{task} {name}" in FIGURES:
                figures[f"{task} {name}"] = value
    return figures


def table(runs: dict[str, dict[str, dict[str, float]]]) -> str:
    """The figures as Markdown: means, and differences to the first variant, seed by seed."""
    lines = [
        f"| variant | seeds | {' | '.join(FIGURES)} | difference in bbox AP | in segm AP |",
        f"|---|---|{'---|' * (len(FIGURES) + 2)}",
    ]
    base = runs[next(iter(VARIANTS))]
    for variant in VARIANTS:
        own = runs.get(variant, {})
        cells = [_spread([run[name] for run in own.values() if name in run]) for name in FIGURES]
        for name in ("bbox AP", "segm AP"):
            pairs = [(own[s][name], base[s][name]) for s in own if s in base and name in own[s]]
            text = _spread([a - b for a, b in pairs], sign="+")
            cells.append("" if own is base else text)
        lines.append(f"| {variant} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: list[float], sign: str = "") -> str:
    if not values:
        return ""
    points = 100 * np.array(values)
    deviation = f" ± {points.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{points.mean():{sign}.1f}{deviation}"


def _tensor(image: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).float() / 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("--trunk", help="mobilenet_v2_1.0.npz of ImageNet; a fresh trunk without it")
    add("--output", type=Path, required=True, help="figures of all runs, JSON")
    add("--steps", type=int, default=400)
    add("--batch", type=int, default=4)
    add("--rate", type=float, default=1e-3)
    add("--seeds", type=int, default=3)
    add("--minutes", type=float, default=math.inf, help="begin no run after so many minutes")
    arguments = parser.parse_args()
    runs: dict[str, dict[str, dict[str, float]]] = {}
    if arguments.output.exists():
        runs = json.loads(arguments.output.read_text(encoding="utf-8"))
    deadline = time.monotonic() + 60 * arguments.minutes
    for seed in range(1, arguments.seeds + 1):
        for variant in VARIANTS:
            if str(seed) in runs.setdefault(variant, {}) or time.monotonic() > deadline:
                continue
            started = time.monotonic()
            figures = measure(train(variant, seed, arguments))
            runs[variant][str(seed)] = figures
            arguments.output.write_text(json.dumps(runs, indent=1), encoding="utf-8")
            text = ", ".join(f"{name} {100 * value:.1f}" for name, value in figures.items())
            print(f"seed {seed}, {variant}: {text}, {time.monotonic() - started:.0f} s", flush=True)
    print(
        f"\n{date.today()}, {platform.machine()}, torch {torch.__version__}, {arguments.steps} "
        f"steps of {arguments.batch}, AP in percent, mean ± standard deviation over seeds\n"
    )
    print(table(runs))


if __name__ == "__main__":
    main()
