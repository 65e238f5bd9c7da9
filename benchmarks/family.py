"""The shipped bottom-up models side by side: what they find, what they cost, by engine.

    python benchmarks/family.py [--data ../shared/data/coco_val_dev] [--seconds 20] [--threads 2]
        [--model FILE]

Prints two Markdown tables. Accuracy: COCO AP over the completely labelled photos of a folder with
``person_keypoints.json`` and ``images/``, at two sizes, in torch and in 8-bit integers; without
the folder this table is left out. Cost: parameters, multiplications, and the time of the network
for one picture of 368 x 656 px by every engine that is installed, relative to the default model's
in torch. All take turns, the shortest time of each counts.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from openpaf import PoseEstimator, weights
from openpaf.engines.load import load_engine
from openpaf.evaluation.coco import detect, evaluate
from openpaf.evaluation.label_files import load_annotations
from openpaf.networks import build, describe

ROOT = Path(__file__).resolve().parent.parent
SIZES = (368, 256)
TIMED_HW = (368, 656)
ENGINES = ("torch", "onnx", "openvino", "openvino-int8")
PAUSE_SECONDS = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data" / "coco_val_dev"
    )
    parser.add_argument("--seconds", type=float, default=20, help="of measuring time; 0: no times")
    parser.add_argument("--model", action="append", default=[], help="a file to measure as well")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU, for torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    models = [*bottom_up_models(), *arguments.model]
    print(
        f"{date.today()}, {platform.machine()}, torch {metadata.version('torch')}, "
        f"{arguments.threads} threads\n"
    )
    if arguments.data.is_dir():
        print(accuracy_table(models, arguments.data), "\n")
    if arguments.seconds > 0:
        print(cost_table(models, arguments.seconds))
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        print(f"\nload of the machine at the end {load:.1f} on {os.cpu_count()} cores")


def bottom_up_models() -> list[str]:
    """Names of the shipped models that have fields, the default first."""
    shipped = [row["name"] for row in weights.table() if row["shipped"]]
    return [name for name in shipped if weights.resolve(name).spec.builder == "lightweight"]


def accuracy_table(models: list[str], data: Path) -> str:
    annotations = load_annotations(data / "person_keypoints.json")
    ids = [i for i in sorted(annotations.imgs) if annotations.imgs[i].get("ann_complete")]
    figures = ("AP", "AP50", "AP75", "APM", "APL")
    lines = [f"| model | engine | size | {' | '.join(figures)} |", "|---" * 8 + "|"]
    for model in models:
        for engine in engines_of(model, ("torch", "openvino-int8")):
            for size in SIZES:
                estimator = PoseEstimator(model, size=size, engine=engine)
                found = detect(annotations, data / "images", estimator, ids)
                values = evaluate(annotations, found, ids)
                row = [model, engine, str(size), *(f"{values[name]:.3f}" for name in figures)]
                lines.append("| " + " | ".join(row) + " |")
    return "\n".join([*lines, "", f"{len(ids)} photos"])


def engines_of(model: str, engines: tuple[str, ...]) -> list[str]:
    """Those of the engines that the model has here."""
    found = []
    for engine in engines:
        try:
            load_engine(model, engine, "cpu")
        except ValueError as error:
            print(f"{model}: {error}\n")
        else:
            found.append(engine)
    return found


def cost_table(models: list[str], seconds: float) -> str:
    picture = np.random.default_rng(0).uniform(0, 255, (1, 3, *TIMED_HW)).astype(np.float32)
    runs: dict[tuple[str, str], Callable[..., object]] = {}
    for model in models:
        for engine in engines_of(model, ENGINES):
            runs[model, engine] = load_engine(model, engine, "cpu")[0]
    times = shortest_times(runs, picture, seconds)
    first = times[models[0], ENGINES[0]]
    heads = ["model", "parameters", "GMACs", *ENGINES]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for model in models:
        row = weights.resolve(model).spec
        described = describe(build(row.builder, row.skeleton, **row.options), TIMED_HW)
        cells = [model, f"{described.parameters:,}", f"{described.gmacs:.1f}"]
        for engine in ENGINES:
            seconds_of_one = times.get((model, engine))
            cells.append("" if seconds_of_one is None else f"{seconds_of_one / first:.2f}x")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shortest_times(
    runs: dict[tuple[str, str], Callable[..., object]], picture: np.ndarray, seconds: float
) -> dict[tuple[str, str], float]:
    times = dict.fromkeys(runs, float("inf"))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for key, run in runs.items():
            time.sleep(PAUSE_SECONDS)  # threads of the engine before stop waiting for work
            run(picture)
            for _ in range(3):
                start = time.perf_counter()
                run(picture)
                times[key] = min(times[key], time.perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
