"""Frames per second on a GPU: of networks alone, and of the way from picture to people.

    python benchmarks/gpu.py [--networks lightweight cmu_coco ...] [--batches 1 16] [--size 368]

Pictures are 720 x 1280 px, so that the networks see 368 x 656. A network alone is timed with
random weights, its input on the GPU already. The whole way is that of the shipped model: resizing
on the CPU, the network, and the parser on the CPU, one picture after the other. Beside it stand
the 10.4 frames per second of the paper's demo (Cao et al., CVPR 2017).
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from openpaf import Fields, Letterbox, decode, weights
from openpaf.io.images import list_images, read_image
from openpaf.networks import build

ROOT = Path(__file__).resolve().parent.parent
PICTURE_HW = (720, 1280)
NETWORKS = ("lightweight", "lightweight_coco", "cmu_coco", "body25")
PAPER_FPS = 10.4


class Mode(NamedTuple):
    """One way to run a network."""

    name: str
    dtype: torch.dtype
    layout: torch.memory_format
    how: str = "eager"


MODES = (
    Mode("float32", torch.float32, torch.contiguous_format),
    Mode("float32 channels-last", torch.float32, torch.channels_last),
    Mode("bfloat16 channels-last", torch.bfloat16, torch.channels_last),
    Mode("the same, torch.compile", torch.bfloat16, torch.channels_last, "compile"),
    Mode("the same, CUDA graph", torch.bfloat16, torch.channels_last, "graph"),
    Mode("both", torch.bfloat16, torch.channels_last, "compile graph"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--size", type=int, default=368, help="short side in px")
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no GPU that torch can use; --device cpu runs without one", file=sys.stderr)
        return 2
    # Compiling and graphs are for GPUs: on a CPU they take minutes or do not exist.
    modes = [mode for mode in MODES if device.type == "cuda" or mode.how == "eager"]
    print_heading(device, arguments)
    size_hw = Letterbox.fit(PICTURE_HW, arguments.size).size_hw
    for batch in arguments.batches:
        for name in arguments.networks:
            for mode in modes:
                network = build(name).eval()
                image = torch.zeros(batch, 3, *size_hw)
                run = on_device(network, mode, image, device)
                frames = batch / seconds(lambda run=run: run(None), arguments.repeats, device)
                print_row(name, batch, mode.name, frames)
        for mode in modes:
            frames = whole_way(mode, batch, arguments.size, arguments.repeats, device)
            print_row("picture to people", batch, mode.name, frames)
    print(f"{'the demo of CVPR 2017':20} {'':5} {'':26} {PAPER_FPS:9.1f}")
    return 0


def print_heading(device: torch.device, arguments: argparse.Namespace) -> None:
    cuda = device.type == "cuda"
    where = torch.cuda.get_device_name(device) if cuda else f"CPU {platform.machine()}"
    print(f"{date.today()}, {where}, torch {torch.__version__}, {arguments.repeats} repeats")
    print(f"{'':20} {'batch':5} {'':26} {'frames/s':>9}")


def print_row(name: str, batch: int, mode: str, frames: float) -> None:
    print(f"{name:20} {batch:5} {mode:26} {frames:9.1f}", flush=True)


def on_device(
    network: nn.Module, mode: Mode, example: Tensor, device: torch.device
) -> Callable[[Tensor | None], tuple[Tensor, Tensor]]:
    """A function from a normalised batch (None: the last one again) to its fields."""
    network = network.to(device, mode.dtype).to(memory_format=mode.layout)
    image = example.to(device, mode.dtype).contiguous(memory_format=mode.layout)
    call: Callable[[Tensor], Any] = network
    if "compile" in mode.how:
        call = torch.compile(network)
    replay: Callable[[], tuple[Tensor, Tensor]] = lambda: call(image)[-1]  # noqa: E731
    if "graph" in mode.how:
        with torch.inference_mode():
            replay = graphed(replay)

    @torch.inference_mode()
    def run(batch: Tensor | None) -> tuple[Tensor, Tensor]:
        if batch is not None:
            image.copy_(batch)
        return replay()

    return run


def graphed(call: Callable[[], tuple[Tensor, Tensor]]) -> Callable[[], tuple[Tensor, Tensor]]:
    """The same call, its kernels recorded once and launched together from then on."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # what happens only in first calls must not be recorded
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = call()

    def replay() -> tuple[Tensor, Tensor]:
        graph.replay()
        return result

    return replay


def seconds(run: Callable[[], Any], repeats: int, device: torch.device) -> float:
    """Mean time of a call, after three to warm up."""
    for _ in range(min(3, repeats)):
        run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / repeats


def whole_way(mode: Mode, batch: int, size: int, repeats: int, device: torch.device) -> float:
    """Frames per second from pictures in memory to people, with the shipped model."""
    network, row = weights.load_model()
    letterbox = Letterbox.fit(PICTURE_HW, size)
    pictures = some_pictures(batch)
    run = on_device(network, mode, torch.zeros(batch, 3, *letterbox.size_hw), device)

    def people() -> None:
        inputs = np.stack([letterbox.apply(picture) for picture in pictures])
        pixels = torch.from_numpy(inputs).to(device)
        heatmaps, pafs = (
            field.float().cpu().numpy() for field in run((pixels - row.mean) / row.scale)
        )
        for one in Fields.from_batch(
            heatmaps,
            pafs,
            heatmap_grid=row.heatmap_grid,
            paf_grid=row.paf_grid,
            skeleton=row.skeleton,
        ):
            letterbox.undo(decode(one))

    return batch / seconds(people, repeats, device)


def some_pictures(n: int) -> list[np.ndarray]:
    """The sample photos, in turn, each on a frame of ``PICTURE_HW``."""
    height, width = PICTURE_HW
    pictures = []
    for path in list_images(str(ROOT / "data" / "photos")):
        photo = read_image(path)
        scale = min(height / photo.shape[0], width / photo.shape[1])
        size = (int(photo.shape[1] * scale), int(photo.shape[0] * scale))
        frame = np.full((height, width, 3), 128, np.uint8)
        frame[: size[1], : size[0]] = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        pictures.append(frame)
    return [pictures[i % len(pictures)] for i in range(n)]


if __name__ == "__main__":
    sys.exit(main())
