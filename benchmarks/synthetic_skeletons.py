"""Networks that learn 5, 21 and 17 joints from nothing: AP on drawn images that are held out.

    python benchmarks/synthetic_skeletons.py --threads 2

draws sets of a kite, a hand and an animal (see synthetic_objects.py), trains each by
`openpaf train` and measures it by `openpaf evaluate` on images of another seed; prints Markdown. An
interrupted run goes on where it stopped if it is given the same --folder.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from synthetic_objects import KINDS, write_set

_CONFIG = """
output = "run"
name = "{kind}"
[data]
workers = 1
[[data.sets]]
annotations = "train/{kind}.json"
images = "train/images"
[network]
name = "lightweight_batch_norm"
[network.options]
width = 64
hidden_width = 128
trunk_widths = [16, 24, 32, 48, 64, 64, 96, 96, 96, 96, 96, 96]
n_refinement_stages = 1
n_refinement_blocks = 2
[optimizer]
steps = {steps}
batch_size = 8
learning_rate = 1e-2
warmup = 20
average = 0.98
[augment]
crop_px = 192
person_px = [105, 160]
max_enlarge = 2
rotation_deg = 10
color = 0.2
gray = 0
blur = 0
"""


def main() -> None:
    """Train and measure every kind that is asked for."""
    parser = argparse.ArgumentParser(description="Train drawn objects of any joints.")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--images", type=int, default=2000, help="to train on")
    parser.add_argument("--held-out", type=int, default=100, help="to measure on")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="for sets and runs (default: a new one)")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    print("| object | joints | steps | CPU minutes | AP | AP50 | PCK, 0.1 of the box |")
    print("|---|---|---|---|---|---|---|")
    for kind in arguments.kinds:
        print(_row(kind, folder / kind, arguments), flush=True)


def _row(kind: str, folder: Path, arguments: argparse.Namespace) -> str:
    labels = write_set(kind, folder / "held-out", arguments.held_out, seed=1)
    write_set(kind, folder / "train", arguments.images)
    (folder / "run.toml").write_text(_CONFIG.format(kind=kind, steps=arguments.steps))
    before = _cpu_s()
    _openpaf(arguments.threads, "train", folder / "run.toml")
    minutes = (_cpu_s() - before) / 60
    figures = _figures(kind, labels, folder, arguments.threads)
    joints = len(figures["pck"]["by_joint"])
    return (
        f"| {kind} | {joints} | {arguments.steps} | {minutes:.1f} | {figures['AP']:.3f} | "
        f"{figures['AP50']:.3f} | {figures['pck']['PCK']:.3f} |"
    )


def _figures(kind: str, labels: Path, folder: Path, threads: int) -> dict[str, Any]:
    _openpaf(
        threads, "evaluate", "--annotations", labels, "--images", labels.parent / "images",
        "--model", folder / "run" / f"{kind}.safetensors", "--size", "256", "--engine",
        "torch", "--quiet", "--fresh", "--pck-reference", "box", "--pck-alpha", "0.1", "--json",
        folder / "figures.json",
    )  # fmt: skip
    figures: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    return figures


def _openpaf(threads: int, *arguments: str | Path) -> None:
    command = [sys.executable, "-m", "openpaf", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def _cpu_s() -> float:
    """CPU time of the processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
