"""What each network costs: parameters, receptive field, multiplications, and time.

    python benchmarks/networks.py [--height 368 --width 656] [--repeats 5] [--threads 2] [--busy]
        [--write]

Prints a Markdown table; ``--write`` puts it into ``docs/networks.md``. Times are the shortest of
the repeats after one to warm up, of one picture, float32 on the CPU, by torch and, if it is
installed, OpenVINO; if there is a GPU, of torch on it too. Weights are random: time does not
depend on them. Where other work keeps the cores busy, the clock says little: ``--busy`` takes the
processor time of all threads over their number instead, of the CPU only.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import time
import warnings
from collections.abc import Callable
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from openpaf.io.extras import openvino_core
from openpaf.networks import build, describe

PAGE = Path(__file__).resolve().parent.parent / "docs" / "networks.md"
START, END = "<!-- benchmarks/networks.py writes from here -->", "<!-- to here -->"

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "lightweight": ("lightweight", {}),
    "lightweight, stride=4": ("lightweight", {"stride": 4}),
    "lightweight, atrous=False": ("lightweight", {"atrous": False}),
    "lightweight, atrous=False, stride=16": ("lightweight", {"atrous": False, "stride": 16}),
    "lightweight of fast-coco17": (
        "lightweight",
        {
            "atrous": False,
            "ranks": [64, 24, 0],
            "hidden_width": 128,
            "refinement_hidden_width": 64,
        },
    ),
    "lightweight_batch_norm": ("lightweight_batch_norm", {}),
    "lightweight_coco": ("lightweight_coco", {}),
    "lightweight_coco, 3 refinements": ("lightweight_coco", {"n_refinement_stages": 3}),
    "mobilenet_v2": ("mobilenet_v2", {}),
    "open_model_zoo": ("open_model_zoo", {}),
    "cmu_coco": ("cmu_coco", {}),
    "cmu_mpi": ("cmu_mpi", {}),
    "body25": ("body25", {}),
}


class LastStage(nn.Module):
    """Only the result: what a runtime gives."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(image)[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--height", type=int, default=368)
    parser.add_argument("--width", type=int, default=656)
    parser.add_argument("--repeats", type=int, default=5, help="0: no times")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    parser.add_argument("--busy", action="store_true", help="processor time, not the clock's")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--write", action="store_true", help=f"into docs/{PAGE.name}")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    size_hw = (arguments.height, arguments.width)
    engines = engines_here(arguments.threads) if arguments.repeats > 0 else {}
    clock = time.perf_counter
    if arguments.busy:
        engines = {head: engine for head, engine in engines.items() if "GPU" not in head}
        clock = lambda: time.process_time() / arguments.threads  # noqa: E731
    rows, runs = [], []
    for name in tqdm(arguments.networks, unit="network", disable=None):
        row, of_network = row_of(name, size_hw, engines)
        rows.append(row)
        runs += of_network
    times = iter(shortest_of_turns(runs, arguments.repeats, clock))
    for row in rows:
        row += [f"{next(times):.0f}" for _ in engines]
    text = table(rows, size_hw, list(engines)) + "\n\n" + conditions(arguments) + "\n"
    print(text)
    if arguments.write:
        write(text)


def row_of(
    name: str, size_hw: tuple[int, int], engines: dict[str, Callable[..., Any]]
) -> tuple[list[str], list[Callable[[], Any]]]:
    """A network's figures, and what runs it in each engine."""
    builder, options = NETWORKS[name]
    network = build(builder, **options).eval()
    described = describe(network, size_hw)
    image = torch.zeros(1, 3, *size_hw)
    runs = [prepare(copy.deepcopy(network), image) for prepare in engines.values()]
    return [
        f"`{name}`",
        f"{described.parameters:,}",
        f"{described.receptive_field_px}",
        f"{described.stride}",
        f"{described.offset_px:g}",
        f"{described.gmacs:.1f}",
    ], runs


def engines_here(threads: int) -> dict[str, Callable[[nn.Module, Tensor], Callable[[], Any]]]:
    """By the heading of their column, functions that make a network ready to run."""
    engines = {"torch, ms": on_torch("cpu", torch.float32)}
    try:
        import openvino  # noqa: F401
    except ImportError:
        pass
    else:
        engines["OpenVINO, ms"] = on_openvino(threads)
    if torch.cuda.is_available():
        engines["GPU float32, ms"] = on_torch("cuda", torch.float32, channels_last=False)
        engines["GPU float32 channels-last, ms"] = on_torch("cuda", torch.float32)
        engines["GPU bfloat16 channels-last, ms"] = on_torch("cuda", torch.bfloat16)
    return engines


def on_torch(
    device: str, dtype: torch.dtype, *, channels_last: bool = True
) -> Callable[[nn.Module, Tensor], Callable[[], Any]]:
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def prepare(network: nn.Module, image: Tensor) -> Callable[[], Any]:
        network = network.to(device, dtype).to(memory_format=layout)
        image = image.to(device, dtype).contiguous(memory_format=layout)

        @torch.inference_mode()
        def run() -> None:
            network(image)
            if device == "cuda":
                torch.cuda.synchronize()

        return run

    return prepare


def on_openvino(threads: int) -> Callable[[nn.Module, Tensor], Callable[[], Any]]:
    import openvino

    def prepare(network: nn.Module, image: Tensor) -> Callable[[], Any]:
        network = network.to("cpu", torch.float32).to(memory_format=torch.contiguous_format)
        with warnings.catch_warnings():
            # OpenVINO reads torch modules by torch.jit.trace, which torch calls deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            small = torch.zeros(1, 3, 64, 64)
            model = openvino.convert_model(LastStage(network).eval(), example_input=small)
        model.reshape(list(image.shape))
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        compiled = openvino_core().compile_model(model, "CPU", options)
        pixels = image.numpy()
        return lambda: compiled(pixels)

    return prepare


def shortest_of_turns(
    runs: list[Callable[[], Any]], repeats: int, clock: Callable[[], float]
) -> list[float]:
    """Milliseconds of the shortest run of each, all taking turns, after one to warm up."""
    times: list[list[float]] = [[] for _ in runs]
    for turn in tqdm(range(repeats + 1 if runs else 0), unit="turn", disable=None):
        for run, of_run in zip(runs, times, strict=True):
            start = clock()
            run()
            if turn:
                of_run.append(clock() - start)
    return [1000 * min(of_run) for of_run in times]


def table(rows: list[list[str]], size_hw: tuple[int, int], engines: list[str]) -> str:
    heads = ["network", "parameters", "receptive field, px", "stride, px", "offset, px"]
    heads += [f"GMACs at {size_hw[0]}x{size_hw[1]}", *engines]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def conditions(arguments: argparse.Namespace) -> str:
    parts = [f"{date.today()}, {platform.machine()}", f"torch {metadata.version('torch')}"]
    if arguments.repeats > 0:
        parts += [
            f"{arguments.threads} threads",
            f"the shortest of {arguments.repeats} runs in turns",
        ]
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        if arguments.busy:
            parts.append("processor time over the number of threads, as others used the cores")
        parts.append(f"load of the machine at the end {load:.1f} on {os.cpu_count()} cores")
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return "Measured on " + ", ".join(parts) + "."


def write(text: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n{text}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
