"""Images per second of the loader and of the training step, and time of encoding.

    python benchmarks/training.py models/recipes/lightweight-coco17.toml --loop 60

The loader should deliver at least 1.5 times what the network takes, so that training never waits
for data. Both are measured alone, on as many threads as the run would use. ``--loop`` times so
many steps of the run itself; on a GPU, nvidia-smi says for what share of them it is busy.
``--recipe`` runs it as models/recipes/train.py does, e.g. with images held on the GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace

from openpaf import Poses, Skeleton, encode_fields
from openpaf.training.config import SKELETONS, TrainConfig
from openpaf.training.config_files import read_config, read_config_as
from openpaf.training.data.batches import Batch
from openpaf.training.distributed import join
from openpaf.training.loop import Run
from openpaf.training.part_affinity import PartAffinityTask

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models" / "recipes"))
from recipe_task import BatchSource, RecipeConfig, RecipeTask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("config", help="a training configuration")
    parser.add_argument("--steps", type=int, default=8, help="of the training (default: 8)")
    parser.add_argument("--batches", type=int, default=30, help="of the loader (default: 30)")
    parser.add_argument("--loop", type=int, default=0, help="steps of the whole run (default: 0)")
    parser.add_argument("--no-training", action="store_true", help="leave the network out")
    parser.add_argument("--recipe", action="store_true", help="with its table [recipe]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as output:
        path = arguments.config
        config = read_config_as(RecipeConfig, path) if arguments.recipe else read_config(path)
        config = replace(config, output=output, data=replace(config.data, validation=None))
        measure(config, arguments)


def measure(config: TrainConfig, arguments: argparse.Namespace) -> None:
    with join() as processes:
        device = processes.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
        print(f"{date.today()}, {name}, {os.cpu_count()} cores, torch {torch.__version__}")
        print(
            f"crops of {config.augment.crop_px} px, {config.optimizer.batch_size} a step, "
            f"{config.data.workers} threads for data, {torch.get_num_threads()} for the network"
        )
        encode(config)
        make = partial(RecipeTask, config) if isinstance(config, RecipeConfig) else None
        run = Run(config, processes, make)
        task = run.task
        if not isinstance(task, PartAffinityTask):
            raise ValueError("this benchmark is for networks that give fields, not for detectors")
        source = task.source() if isinstance(task, RecipeTask) else task.maker
        delivered = loader(source, config, arguments.batches)
        print(f"loader               {delivered:9.1f} images/s")
        if arguments.no_training:
            return
        run.resume_or_start()
        batch = next(source.stream(0, 1)).to(device)
        seconds = repeated(lambda: step(run, task, batch), arguments.steps)
        taken = config.optimizer.batch_size / seconds
        print(f"step                 {taken:9.1f} images/s, {seconds:.3f} s a step, "
              f"{str(task.precision).removeprefix('torch.')}")  # fmt: skip
        print(f"loader / step        {delivered / taken:9.2f}")
        if arguments.loop:
            loop(run, arguments.loop)


def loop(run: Run, n_steps: int) -> None:
    """What a run does with its time, after enough steps to have met every size of crops."""
    for first in (True, False):
        n = 20 if first else n_steps
        run.settings = replace(run.settings, steps=run.step + n)
        start = time.perf_counter()
        with GpuBusy(run.device) as busy:
            run.go(math.inf)
        seconds = time.perf_counter() - start
        if first:
            print(f"first {n} steps       {seconds:9.1f} s")
    log = [json.loads(line) for line in (run.output / "log.jsonl").read_text().splitlines()]
    rows = [row for row in log if row["step"] > run.step - n_steps and "waiting" in row]
    rate, waiting = (statistics.median(row[k] for row in rows) for k in ("images_per_s", "waiting"))
    print(f"loop                 {rate:9.1f} images/s, {waiting:.0%} waiting for data")
    if busy.shares:
        print(f"GPU busy             {statistics.mean(busy.shares):9.0%} of the time (mean of "
              f"{len(busy.shares)} readings, the lowest {min(busy.shares):.0%})")  # fmt: skip


class GpuBusy:
    """Reads the share of time in which a GPU is busy, while the block runs.

    Its ``shares`` leave out the start and the end of the block, and are empty without a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.shares: list[float] = []

    def __enter__(self) -> GpuBusy:
        self.process = None
        if self.device.type == "cuda":
            query = ["nvidia-smi", f"--id={self.device.index or 0}", "--loop-ms=200",
                     "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]  # fmt: skip
            self.process = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.terminate()
            values = [float(line) / 100 for line in self.process.communicate()[0].split()]
            margin = len(values) // 4  # workers start then, and the last weights are saved
            self.shares = values[margin : len(values) - margin]


def encode(config: TrainConfig, n_people: int = 10, cells: int = 46) -> None:
    """Time of the targets of one picture."""
    rng = np.random.default_rng(0)
    size = 8 * cells
    centres = rng.uniform(40, size - 40, (n_people, 1, 2))
    labels = Skeleton.COCO17
    keypoints = np.ones((n_people, labels.n_joints, 3), np.float32)
    keypoints[..., :2] = centres + rng.uniform(-60, 60, (n_people, labels.n_joints, 2))
    poses = Poses.from_keypoints(keypoints, labels)
    poses = poses.to(SKELETONS.get(config.data.skeleton or "", labels))
    seconds = repeated(lambda: encode_fields(poses, (size, size)), 200)
    print(f"encode_fields        {1000 * seconds:9.3f} ms, {n_people} people, {cells} x {cells} "
          f"cells, {poses.skeleton.n_limbs} limbs")  # fmt: skip


def loader(source: BatchSource, config: TrainConfig, n_batches: int) -> float:
    """Images per second of batches that are not used, once their makers are at work."""
    next(source.stream(0, 1))  # compiles
    batches = source.stream(1, n_batches + 2, config.data.workers)
    next(batches)
    start = time.perf_counter()
    for batch in batches:
        last = batch
    if last.images.is_cuda:
        torch.cuda.synchronize()
    return n_batches * config.optimizer.batch_size / (time.perf_counter() - start)


def step(run: Run, task: PartAffinityTask, batch: Batch) -> None:
    """One step, the teacher included."""
    run.learn(task.ready(batch, run.step))
    if run.device.type == "cuda":
        torch.cuda.synchronize()


def repeated(call: Callable[[], object], n: int) -> float:
    """Median seconds of a call; the first two warm up."""
    times = []
    for _ in range(n + 2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if "model name" in line]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
