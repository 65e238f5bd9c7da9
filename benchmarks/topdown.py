"""Time of RoIAlign, of suppression, and of the detectors' steps.

    python benchmarks/topdown.py

Where a build of torchvision with its compiled operators is installed, RoIAlign and NMS are timed
beside those; else only ours are printed. On a CPU the figures are of processor time, which other
work on the machine changes little; with one thread that is the time one waits on an idle machine.
"""

from __future__ import annotations

import argparse
import functools
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import torch

from openpaf.networks import build
from openpaf.networks.rcnn.nms import nms
from openpaf.networks.rcnn.roi_pooling import find_regions, pool_regions, roi_align


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"{date.today()}, {platform.machine()}, {arguments.device}, torch {torch.__version__}, "
        f"{arguments.threads} threads, median of {arguments.repeat}"
    )
    compiled = _compiled_operators()
    if compiled is None:
        print("torchvision's compiled operators cannot be had here: ours are timed alone")
    for n_boxes, size in ((1000, 7), (100, 14)):
        _time_pooling(n_boxes, size, compiled, arguments)
    for n_boxes in (300, 1000, 5000):
        _time_nms(n_boxes, compiled, arguments)
    with torch.inference_mode():
        for name, side in (
            ("keypointrcnn_mobilenet_v2_fpn", 368),
            ("keypointrcnn_resnet50_fpn", 800),
        ):
            _time_detector(name, side, arguments)


def _compiled_operators() -> Any:
    """torchvision.ops if its compiled operators load beside this torch, or None."""
    try:
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, RuntimeError, AttributeError):
        return None
    return torchvision.ops


def _boxes(n: int, device: str, size: float = 800.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(n, 2, generator=generator) * size * 0.7
    side = 16 + torch.rand(n, 2, generator=generator) * 200
    return torch.cat([low, low + side], dim=1).to(device)


def _time_pooling(n: int, size: int, compiled: Any, arguments: argparse.Namespace) -> None:
    boxes = _boxes(n, arguments.device)
    features = torch.randn(1, 256, 200, 200, device=arguments.device)
    title = f"{n} regions of {size}x{size}, 256 channels at 200x200"
    ours = _time(lambda: roi_align(find_regions([features], [4], [boxes]), size), arguments)
    theirs = None
    if compiled is not None:
        theirs = _time(lambda: compiled.roi_align(features, [boxes], size, 1 / 4, 2), arguments)
    _show(f"RoIAlign, {title}", ours, theirs)
    pooled = functools.partial(pool_regions, [features], [4], [boxes], size=size, method="pool")
    theirs = None
    if compiled is not None:
        theirs = _time(lambda: compiled.roi_pool(features, [boxes], size, 1 / 4), arguments)
    _show(f"RoIPool, {title}", _time(pooled, arguments), theirs)
    learning = features.requires_grad_()

    def both_ways() -> None:
        roi_align(find_regions([learning], [4], [boxes]), size).sum().backward()

    def both_ways_compiled() -> None:
        compiled.roi_align(learning, [boxes], size, 1 / 4, 2).sum().backward()

    theirs = None if compiled is None else _time(both_ways_compiled, arguments)
    _show(f"RoIAlign and back, {title}", _time(both_ways, arguments), theirs)


def _time_nms(n: int, compiled: Any, arguments: argparse.Namespace) -> None:
    boxes, scores = _boxes(n, arguments.device), torch.rand(n, device=arguments.device)
    theirs = None
    if compiled is not None:
        theirs = _time(lambda: compiled.nms(boxes, scores, 0.7), arguments)
    _show(f"NMS of {n} boxes", _time(lambda: nms(boxes, scores, 0.7), arguments), theirs)


def _time_detector(name: str, side: int, arguments: argparse.Namespace) -> None:
    network = build(name, min_size=side).eval().to(arguments.device)
    image = torch.rand(3, side, side * 4 // 3, device=arguments.device)
    batch, _ = network.transform([image])
    features = network.backbone(batch.tensor)
    proposals, _ = network.rpn(batch, features, None)
    steps: dict[str, Callable[[], Any]] = {
        "transform": lambda: network.transform([image]),
        "backbone": lambda: network.backbone(batch.tensor),
        "proposals": lambda: network.rpn(batch, features, None),
        "heads": lambda: network.roi_heads.detect(features, proposals, batch),
    }
    for step, call in steps.items():
        _show(f"{name} at {side} px: {step}", _time(call, arguments))


def _time(call: Callable[[], Any], arguments: argparse.Namespace) -> float:
    clock = time.process_time if arguments.device == "cpu" else time.perf_counter
    times = []
    for _ in range(arguments.repeat + 1):
        start = clock()
        call()
        if arguments.device != "cpu":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return statistics.median(times[1:])  # the first warms up


def _show(title: str, ours: float, theirs: float | None = None) -> None:
    beside = (
        "" if theirs is None else f"  {1000 * theirs:9.2f} ms torchvision, {ours / theirs:.2f}x"
    )
    print(f"{title:70} {1000 * ours:9.2f} ms{beside}")


if __name__ == "__main__":
    main()
