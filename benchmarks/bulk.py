"""Long runs: every input in one row, also after kills; memory; time beside the network alone.

    python benchmarks/bulk.py --photos 20000 --kills 10 [--engine openvino-int8] [--ray]

Photos are made of data/photos by cropping, mirroring, scaling and changing brightness; one in a
hundred is damaged. Then, in the folder --scratch:

1. `openpaf predict --format parquet` is killed by SIGKILL at random moments and resumed; at the end
   each input must have one row, and the rows of --checked photos must equal PoseEstimator's to the
   last bit;
2. an unbroken run: resident memory in its second and its last quarter;
3. the pipeline and its network alone, in turns, in one process;
4. `--workers 2` and `--workers 1`, in turns: photos a second between the first and the last part,
   and seconds of CPU a photo;
5. with --ray, `openpaf bulk` with a process of Ray killed: rows are those of 1.

Exits with 1 if a row is missing, doubled or different.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
from PIL import Image, ImageEnhance

import openpaf
from openpaf.bulk.inputs import Listing
from openpaf.bulk.process import PipelineConfig, process
from openpaf.bulk.rows import row_of
from openpaf.cli.common import IMAGE_THRESHOLD
from openpaf.geometry import Letterbox
from openpaf.tables.files import read_table

_ROOT = Path(__file__).resolve().parent.parent
_SIZES = ((640, 480), (480, 640), (640, 427), (500, 375), (1280, 960))  # width, height
_LISTS = ("boxes", "person_scores", "keypoints", "joint_scores")


def make_photos(folder: Path, n: int, seed: int) -> None:
    """Write photos, a thousand to a subfolder; those that are there stay."""
    rng = np.random.default_rng(seed)
    sources = [
        Image.open(path).convert("RGB")
        for path in sorted((_ROOT / "data/photos").glob("*.[jp][pn]g"))
    ]
    for i in range(n):
        path = folder / f"{i // 1000:04}" / f"{i:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        source = sources[int(rng.integers(len(sources)))]
        width, height = _SIZES[int(rng.integers(len(_SIZES)))]
        share = rng.uniform(0.6, 1.0)
        w, h = int(source.width * share), int(source.height * share)
        x, y = int(rng.integers(source.width - w + 1)), int(rng.integers(source.height - h + 1))
        image = source.crop((x, y, x + w, y + h)).resize((width, height))
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.6, 1.4))
        image.save(path, quality=int(rng.integers(75, 95)))
        if i % 100 == 37:
            data = path.read_bytes()
            path.write_bytes((data[: len(data) // 2], b"", b"no image")[i // 100 % 3])


class Bench:
    """The runs of one folder of photos."""

    def __init__(self, arguments: argparse.Namespace, scratch: Path) -> None:
        self.arguments, self.scratch = arguments, scratch
        self.photos = scratch / "photos"
        self.rng = np.random.default_rng(arguments.seed)
        self.model = ["--engine", arguments.engine, "--size", str(arguments.size)]
        if arguments.model:
            self.model += ["--model", arguments.model]
        self.part = max(arguments.photos // 40, 8)
        self.problems: list[str] = []

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

    def killed_run(self) -> Path:
        """Step 1: the table of a run that was killed again and again."""
        out, flags = self.scratch / "killed", ("--threads", "1", "--resume")
        for _ in range(self.arguments.kills):
            process, n_before = self.start(out, *flags), n_parts(out)
            while process.poll() is None and n_parts(out) == n_before:
                time.sleep(0.05)
            time.sleep(self.rng.uniform(0, 2))
            process.kill()
            process.wait()
        self.finish(self.start(out, *flags))
        return out

    def check(self, out: Path, name: str) -> None:
        """Each input has one row, and it is the estimator's."""
        inputs = Counter(one.path for one in Listing(sources=(str(self.photos),), recursive=True))
        rows = {row["path"]: row for part in sorted(out.glob("people-*.parquet"))
                for row in read_table(part).to_pylist()}  # fmt: skip
        n_rows = sum(read_table(part).num_rows for part in out.glob("people-*.parquet"))
        n_failed = sum(row["error"] is not None for row in rows.values())
        if set(rows) != set(inputs) or n_rows != len(inputs):
            self.problems.append(
                f"{name}: {n_rows} rows of {len(rows)} paths, {len(inputs)} inputs"
            )
        n_checked = n_different = 0
        estimator = self.estimator(threads=1)
        chosen = sorted(rows)[:: max(1, len(rows) // self.arguments.checked)]
        for path in chosen:
            try:
                expected = estimator(path).to_arrow(path=path).to_pylist()[0]
            except openpaf.ImageError:
                n_different += rows[path]["error"] is None
            else:
                n_different += any(str(rows[path][c]) != str(expected[c]) for c in _LISTS)
            n_checked += 1
        if n_different:
            self.problems.append(f"{name}: {n_different} of {n_checked} rows differ")
        print(f"| {name} | {len(inputs)} | {n_rows} | {n_failed} | {n_checked} | {n_different} |")

    def estimator(self, threads: int | None) -> openpaf.PoseEstimator:
        a = self.arguments
        return openpaf.PoseEstimator(
            a.model, engine=a.engine, size=a.size, threads=threads, min_score=IMAGE_THRESHOLD
        )

    def memory(self) -> tuple[float, float]:
        """Step 2: mean resident megabytes in the second and the last quarter of a run."""
        process = self.start(self.scratch / "memory", "--overwrite")
        watched, samples = psutil.Process(process.pid), []
        while process.poll() is None:
            try:
                samples.append((n_parts(self.scratch / "memory"), watched.memory_info().rss / 1e6))
            except psutil.Error:
                break
            time.sleep(0.1)
        self.finish(process)
        last = max(part for part, _ in samples)
        quarters = [(last / 4, last / 2), (3 * last / 4, last)]
        second, fourth = (
            [mb for part, mb in samples if low <= part <= high and part] for low, high in quarters
        )
        return float(np.mean(second)), float(np.mean(fourth))

    def pipeline(self) -> list[tuple[float, float]]:
        """Step 3: the network alone over the pipeline, in time and in CPU time, of each round."""
        estimator = self.estimator(threads=None)
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
        return [tuple(network() / pipeline()) for _ in range(self.arguments.rounds)]

    def workers(self) -> dict[int, tuple[float, float]]:
        """Step 4: photos a second, and seconds of CPU a photo, by the number of processes."""
        rates: dict[int, list[float]] = {1: [], 2: []}
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for round_ in range(self.arguments.rounds):
            for n in (1, 2) if round_ % 2 else (2, 1):
                out = self.scratch / f"workers-{n}"
                before = os.times()
                process = self.start(out, "--overwrite", "--workers", str(n))
                self.finish(process)
                after = os.times()
                parts = sorted(out.glob("people-*.parquet"))
                span = parts[-1].stat().st_mtime - parts[0].stat().st_mtime
                rates[n].append((self.arguments.photos - self.part) / span)
                cpu = (after.children_user + after.children_system
                       - before.children_user - before.children_system)  # fmt: skip
                seconds[n].append(cpu / self.arguments.photos)
        return {n: (float(np.median(rates[n])), float(np.median(seconds[n]))) for n in (1, 2)}

    def on_ray(self) -> Path:
        """Step 5: the table of a run on Ray, one of whose processes is killed."""
        out = self.scratch / "ray"
        process = self.start(out, "--overwrite", verb="bulk")
        while process.poll() is None and n_parts(out) < 3:
            time.sleep(0.2)
        names = ("MapWorker", "MapBatches")
        for child in psutil.Process(process.pid).children(recursive=True):
            if process.poll() is None and any(name in " ".join(child.cmdline()) for name in names):
                child.send_signal(signal.SIGKILL)
                print(f"killed {child.name()} of Ray", file=sys.stderr)
                break
        self.finish(process)
        return out


def clocks() -> np.ndarray:
    """Seconds of time, and of CPU time of all threads of this process."""
    return np.array([time.perf_counter(), time.process_time()])


def n_parts(folder: Path) -> int:
    return len(list(folder.glob("people-*.parquet")))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
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
    arguments = parser.parse_args()
    steps = set(arguments.steps.split(",")) | ({"5"} if arguments.ray else set())
    with tempfile.TemporaryDirectory(prefix="openpaf-bulk-") as temporary:
        scratch = arguments.scratch or Path(temporary)
        make_photos(scratch / "photos", arguments.photos, arguments.seed)
        bench = Bench(arguments, scratch)
        if steps & {"1", "5"}:
            print("| run | inputs | rows | failures | compared | different |")
            print("|---|--:|--:|--:|--:|--:|")
        if "1" in steps:
            bench.check(bench.killed_run(), f"predict, {arguments.kills} kills")
        if "5" in steps:
            bench.check(bench.on_ray(), "bulk on Ray, a process killed")
        print("\n| figure | value |\n|---|--:|")
        if "2" in steps:
            second, fourth = bench.memory()
            print(f"| memory, last quarter / second quarter | {fourth / second:.2f} |")
            print(f"| memory, MB | {fourth:.0f} |")
        if "3" in steps:
            ratios = np.array(bench.pipeline())
            for n, what in enumerate(("time", "CPU time")):
                rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios[:, n])
                value = f"{np.median(ratios[:, n]):.2f} ({rounds})"
                print(f"| network alone / pipeline, {what}, {arguments.engine} | {value} |")
        if "4" in steps:
            by_n = bench.workers()
            print(f"| --workers 2 / 1, photos a second | {by_n[2][0] / by_n[1][0]:.2f} |")
            print(f"| --workers 2 / 1, CPU a photo | {by_n[2][1] / by_n[1][1]:.2f} |")
    for problem in bench.problems:
        print(problem, file=sys.stderr)
    return int(bool(bench.problems))


if __name__ == "__main__":
    sys.exit(main())
