"""Long runs: every input in one row, also after kills; memory; time beside the network alone.

    python benchmarks/bulk.py --photos 20000 --kills 12 --checked 20000 --model fast --size 256 \
        --scratch FOLDER

Photos are made of data/photos by cropping, mirroring, scaling and changing brightness; one in a
hundred is damaged. Then, in the folder --scratch:

1. `openpaf predict --format parquet --workers 2 --resume` is killed by SIGKILL at random moments
   and started again, and single workers are killed, too; at the end each input must have one row,
   and the rows of --checked photos must equal PoseEstimator's to the last bit;
2. an unbroken run: resident memory over its tenths;
3. the pipeline and its network alone, in turns, in one process;
4. `--workers 2` and `--workers 1`, in turns, of a shard each: photos a second between the first
   and the last part, and seconds of CPU a photo;
5. with --ray, `openpaf bulk` with a process of Ray killed: its rows must be those of step 1.

What a step prints is kept in the folder: a run that is broken off goes on where it was. Exits with
1 if a row is missing, doubled or different.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from bulk_photos import compare_inputs, count_different, make_photos, same_rows

import openpaf
from openpaf.bulk.inputs import Listing
from openpaf.bulk.process import PipelineConfig, process
from openpaf.bulk.rows import row_of
from openpaf.cli.common import IMAGE_THRESHOLD
from openpaf.geometry import Letterbox

_LONGEST_S = 20.0  # between two kills


class Bench:
    """The runs of one folder of photos."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        self.arguments, self.scratch = arguments, scratch
        self.photos = scratch / "photos"
        self.rng = np.random.default_rng(arguments.seed)
        self.model = ["--engine", arguments.engine, "--size", str(arguments.size)]
        if arguments.model:
            self.model += ["--model", arguments.model]
        self.options = {
            "model": arguments.model, "engine": arguments.engine, "size": arguments.size,
            "min_score": IMAGE_THRESHOLD,
        }  # fmt: skip
        self.part = max(arguments.photos // 80, 8)
        self.problems: list[str] = []

    def step(self, name: str, run: Callable[[], list[str]]) -> None:
        """Print what a step gives, or what it gave to an earlier run of the same arguments."""
        file = self.scratch / f"step-{name}.json"
        chosen = {n: str(v) for n, v in vars(self.arguments).items() if n not in ("steps", "ray")}
        own = {"arguments": chosen}
        earlier = json.loads(file.read_text()) if file.exists() else {}
        if earlier.get("arguments") == own["arguments"]:
            print("\n".join(earlier["lines"]), flush=True)
            return
        lines = run()
        print("\n".join(lines), flush=True)
        if not self.problems:
            file.write_text(json.dumps({**own, "lines": lines}))

    def start(self, out: Path, *flags: str, verb: str = "predict") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "openpaf", verb, str(self.photos), "--recursive",
                   "--output", str(out), "--part-size", str(self.part), "--quiet", *self.model,
                   *flags]  # fmt: skip
        if verb == "predict":
            command += ["--format", "parquet"]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def finish(self, process: subprocess.Popen[bytes]) -> None:
        if process.wait() not in (0, 1):
            self.problems.append(f"{process.args!r}: exit status {process.returncode}")

    def killed_run(self) -> list[str]:
        """Step 1."""
        out, n_workers = self.scratch / "killed", 0
        flags = ("--workers", "2", "--resume")
        for n in range(self.arguments.kills):
            process, n_before = self.start(out, *flags), n_parts(out)
            time.sleep(self.rng.uniform(0, _LONGEST_S / 2))
            n_workers += kill_worker(process.pid)
            time.sleep(self.rng.uniform(0, _LONGEST_S / 2))
            own = children_of(process.pid)
            process.kill()
            process.wait()
            alive = psutil.wait_procs(own, timeout=20)[1]
            if alive:
                self.problems.append(f"{len(alive)} workers outlive their run")
            print(f"kill {n + 1}: {n_parts(out) - n_before} parts more", file=sys.stderr)
        process = self.start(out, *flags)
        while process.poll() is None and n_workers < self.arguments.kills:
            time.sleep(self.rng.uniform(1, _LONGEST_S / 2))
            n_workers += kill_worker(process.pid)
        self.finish(process)
        name = f"predict, {self.arguments.kills} kills, {n_workers} of workers"
        row = self.inputs_row(name, out)
        n, n_different = count_different(out, self.options, self.arguments.checked, 0)
        if n_different:
            self.problems.append(f"{n_different} of {n} rows differ from PoseEstimator's")
        return [f"{row} {n} | {n_different} |"]

    def inputs_row(self, name: str, out: Path) -> str:
        """The row of a table of results, without its last two columns."""
        n_inputs, n_rows, n_failed, n_other = compare_inputs(out, self.photos)
        if n_other or n_rows != n_inputs:
            self.problems.append(f"{name}: {n_rows} rows of {n_inputs} inputs, {n_other} wrong")
        return f"| {name} | {n_inputs} | {n_rows} | {n_failed} |"

    def memory(self) -> list[str]:
        """Step 2: mean resident megabytes in each tenth of a run of two workers."""
        out = self.scratch / "memory"
        process, samples = self.start(out, "--overwrite", "--workers", "2"), []
        n_all = -(-self.arguments.photos // self.part)
        while process.poll() is None:
            sizes = [megabytes(one) for one in [psutil.Process(process.pid)]]
            sizes += [megabytes(one) for one in children_of(process.pid) if is_worker(one)]
            if len(sizes) == 3:
                samples.append((10 * n_parts(out) // n_all, sizes[0], max(sizes[1:])))
            time.sleep(0.2)
        self.finish(process)
        lines = []
        for column, name in ((1, "listing, table"), (2, "the larger worker")):
            tenths = [[s[column] for s in samples if s[0] == n] for n in range(10)]
            text = ", ".join(f"{np.mean(mb):.0f}" if mb else "-" for mb in tenths)
            lines.append(f"| memory of {name}, MB by tenths of the run | {text} |")
        return lines

    def pipeline(self) -> list[str]:
        """Step 3: the network alone over the pipeline, in time and in CPU time, of each round."""
        estimator = openpaf.PoseEstimator(**self.options)
        inputs = list(Listing(sources=(str(self.photos),), recursive=True))[: self.arguments.timed]

        def pipeline() -> np.ndarray:
            start = clocks()
            rows = process(
                inputs, estimator, lambda r: row_of(r, None if r.error else r.found),
                PipelineConfig(),
            )  # fmt: skip
            n = sum(row["error"] is None for row in rows)
            return (clocks() - start) / n

        def network() -> np.ndarray:
            spent, n = np.zeros(2), 0
            for one in inputs:
                try:
                    image = openpaf.read_image(one.path)
                except openpaf.ImageError:
                    continue
                tensor = Letterbox.fit(image.shape[:2], estimator.size).apply(image)[None]
                start = clocks()
                estimator.method.run(tensor)  # type: ignore[attr-defined]
                spent += clocks() - start
                n += 1
            return spent / n

        pipeline(), network()  # warm
        ratios = np.array([network() / pipeline() for _ in range(self.arguments.rounds)])
        lines = []
        for n, what in enumerate(("time", "CPU time")):
            rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios[:, n])
            value = f"{np.median(ratios[:, n]):.2f} ({rounds})"
            lines.append(f"| network alone / pipeline, {what}, {self.arguments.engine} | {value} |")
        return lines

    def workers(self) -> list[str]:
        """Step 4."""
        rates: dict[int, list[float]] = {1: [], 2: []}
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for round_ in range(self.arguments.rounds):
            for n in (1, 2) if round_ % 2 else (2, 1):
                out, before = self.scratch / f"workers-{n}", os.times()
                self.finish(self.start(out, "--overwrite", "--workers", str(n), "--shard", "0/8"))
                after, parts = os.times(), sorted(out.glob("people-*.parquet"))
                span = parts[-1].stat().st_mtime - parts[0].stat().st_mtime
                n_rows = compare_inputs(out, self.photos)[1]
                rates[n].append((n_rows - self.part) / span)
                cpu = (after.children_user + after.children_system
                       - before.children_user - before.children_system)  # fmt: skip
                seconds[n].append(cpu / n_rows)
        lines = []
        for name, by in (("photos a second", rates), ("CPU a photo", seconds)):
            ratios = np.array(by[2]) / np.array(by[1])
            rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            lines.append(f"| --workers 2 / 1, {name} | {np.median(ratios):.2f} ({rounds}) |")
        ms = 1000 * np.median(seconds[2])
        return [*lines, f"| CPU a photo, --workers 2, with its share of the start | {ms:.1f} ms |"]

    def on_ray(self) -> list[str]:
        """Step 5."""
        out = self.scratch / "ray"
        process, n_killed = self.start(out, "--overwrite", verb="bulk"), 0
        while process.poll() is None and n_parts(out) < 3:
            time.sleep(0.2)
        names = ("MapWorker", "MapBatches")
        for child in children_of(process.pid):
            if any(name in " ".join(child.cmdline()) for name in names):
                child.send_signal(signal.SIGKILL)
                n_killed += 1
                break
        self.finish(process)
        row = self.inputs_row(f"bulk on Ray, {n_killed} kill of a process", out)
        n_different = same_rows(out, self.scratch / "killed")
        if n_different:
            self.problems.append(f"{n_different} rows of Ray differ")
        return [f"{row} {self.arguments.photos} | {n_different} |"]


def clocks() -> np.ndarray:
    """Seconds of time, and of CPU time of all threads of this process."""
    return np.array([time.perf_counter(), time.process_time()])


def n_parts(folder: Path) -> int:
    return len(list(folder.glob("people-*.parquet")))


def children_of(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def megabytes(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss / 1e6)
    except psutil.Error:
        return 0.0


def kill_worker(pid: int) -> int:
    """Kill a worker of a run that has begun to work; 1 if there is one."""
    workers = [one for one in children_of(pid) if is_worker(one) and one.cpu_times().user > 3]
    for one in workers[:1]:
        one.kill()
    return len(workers[:1])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add: Any = parser.add_argument
    add("--photos", type=int, default=400)
    add("--kills", type=int, default=4)
    add("--checked", type=int, default=100, help="rows compared with PoseEstimator (100)")
    add("--timed", type=int, default=200, help="photos of step 3 (200)")
    add("--rounds", type=int, default=3, help="of steps 3 and 4 (3)")
    add("--model", help="as for openpaf predict")
    add("--engine", default="openvino-int8")
    add("--size", type=int, default=368)
    add("--seed", type=int, default=0)
    add("--steps", default="1,2,3,4", help="which of them (1,2,3,4)")
    add("--ray", action="store_true", help="step 5, too")
    add("--scratch", type=Path, help="a folder to keep (default: a temporary one)")
    return parser.parse_args()


def main() -> int:
    arguments = parsed()
    steps = set(arguments.steps.split(",")) | ({"5"} if arguments.ray else set())
    with tempfile.TemporaryDirectory(prefix="openpaf-bulk-") as temporary:
        scratch = arguments.scratch or Path(temporary)
        make_photos(scratch / "photos", arguments.photos, arguments.seed)
        bench = Bench(arguments, scratch)
        if steps & {"1", "5"}:
            print("| run | inputs | rows | failures | compared | different |")
            print("|---|--:|--:|--:|--:|--:|")
        for name, run in (("1", bench.killed_run), ("5", bench.on_ray)):
            if name in steps:
                bench.step(name, run)
        print("\n| figure | value |\n|---|--:|")
        for name, run in (("2", bench.memory), ("3", bench.pipeline), ("4", bench.workers)):
            if name in steps:
                bench.step(name, run)
    for problem in bench.problems:
        print(problem, file=sys.stderr)
    return int(bool(bench.problems))


if __name__ == "__main__":
    sys.exit(main())
