"""Frames per second from decoded to drawn frame: the pipeline, step by step, and the network alone.

    python benchmarks/realtime.py vtest.avi [--engine auto] [--size 256] [--frames 600]

``vtest.avi`` comes with OpenCV's documentation (Debian: opencv-doc). Frames are decoded before the
clock starts. Machines that are shared give noisy figures, so the ways take turns: in each round,
the network alone, the pipeline and the steps one after the other take the same 60 frames. A time
is the median over the rounds. A ratio is the median over the rounds of a way's time to that of the
network alone in the same round; the start and the end of the pipeline count, in every round.
Latency is how many frames further the source was when a frame came out drawn, measured with a
source that delivers at the rate that the pipeline reached. ``--minutes 60`` is a soak: the pipeline
runs on, in circles, and gives memory, descriptors and threads at its start and end, and how much
they grew a minute.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from openpaf import Letterbox, PoseEstimator, Tracker
from openpaf.video.base import VideoFrame
from openpaf.video.open import open_video
from openpaf.video.stream import process_video
from openpaf.visualization.overlay import skeletons

N_SAMPLES = 500


class Memory:
    """Decoded frames as a source, again and again, with times that go on."""

    name, is_live, fps, n_frames = "memory", True, None, None

    def __init__(self, images: list[np.ndarray], n: int, pause_s: float = 0.0) -> None:
        self.images, self.n, self.pause_s = images, n, pause_s
        self.n_given = 0

    def __iter__(self) -> Iterator[VideoFrame]:
        start = time.perf_counter()
        for k in range(self.n):
            # As a camera does: what comes between two reads is lost.
            if self.pause_s:
                due = int((time.perf_counter() - start) / self.pause_s) + 1
                time.sleep(max(start + due * self.pause_s - time.perf_counter(), 0))
                self.n_given = due
            yield VideoFrame(
                image=self.images[k % len(self.images)],
                index=self.n_given if self.pause_s else k,
                time_s=k / 25,
                captured_s=time.perf_counter(),
            )

    def close(self) -> None: ...

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *details: object) -> None: ...


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("video", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument(
        "--minutes", type=float, default=0, help="also run on for so long, and watch what grows"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with open_video(arguments.video) as video:
        images = [frame.image for frame in islice(video, arguments.frames)]
    estimator = PoseEstimator(arguments.model, engine=arguments.engine, size=arguments.size)
    for _ in process_video(Memory(images, 20), estimator, tracker=Tracker(), draw=skeletons):
        pass  # compiles the parser and fills caches
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, load "
          f"{os.getloadavg()[0]:.1f}, {arguments.video.name}, {len(images)} frames, engine "
          f"{arguments.engine}, short side {arguments.size} px")  # fmt: skip
    pipeline_s = compare(estimator, images)
    latency(estimator, images, pipeline_s)
    if arguments.minutes:
        soak(estimator, images, arguments.minutes)


def compare(estimator: PoseEstimator, images: list[np.ndarray], n_frames: int = 60) -> float:
    """Seconds a frame of the three ways, in rounds; prints them and returns the pipeline's."""
    box = Letterbox.fit(images[0].shape[:2], estimator.size)
    steps: dict[str, list[float]] = {}
    ways: dict[str, Callable[[list[np.ndarray], list[np.ndarray]], None]] = {
        "network alone": lambda _, inputs: network(estimator, inputs),
        "pipeline": lambda part, _: pipeline(estimator, part),
        "sequential": lambda part, _: sequential(estimator, part, steps),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    n_frames = min(n_frames, len(images))
    for start in range(0, len(images) - n_frames + 1, n_frames):
        part = images[start : start + n_frames]
        inputs = [box.apply(image)[None] for image in part]
        for name, way in ways.items():
            began = time.perf_counter()
            way(part, inputs)
            times[name].append((time.perf_counter() - began) / n_frames)
    for name, values in times.items():
        seconds = statistics.median(values)
        ratios = [own / alone for own, alone in zip(values, times["network alone"], strict=True)]
        print(f"{name:14} {1000 * seconds:8.2f} ms a frame  {1 / seconds:7.1f} frames a second  "
              f"{statistics.median(ratios):6.3f} of the network ({min(ratios):.3f} to "
              f"{max(ratios):.3f} in {len(values)} rounds)")  # fmt: skip
    total = sum(statistics.median(values) for values in steps.values())
    for name, values in steps.items():
        median = statistics.median(values)
        print(f"  {name:12} {1000 * median:8.2f} ms  {100 * median / total:5.1f} % of the "
              "sequential way")  # fmt: skip
    return statistics.median(times["pipeline"])


def network(estimator: PoseEstimator, inputs: list[np.ndarray]) -> None:
    for network_input in inputs:
        estimator.method.fields_of(network_input)


def pipeline(estimator: PoseEstimator, images: list[np.ndarray]) -> None:
    source = Memory(images, len(images))
    for _ in process_video(source, estimator, tracker=Tracker(), draw=skeletons):
        pass


def sequential(
    estimator: PoseEstimator, images: list[np.ndarray], steps: dict[str, list[float]]
) -> None:
    """One step after the other; adds the seconds of each."""
    tracker = Tracker()
    for n, image in enumerate(images):
        marks = [time.perf_counter()]

        def mark(marks: list[float] = marks) -> None:
            marks.append(time.perf_counter())

        box = Letterbox.fit(image.shape[:2], estimator.size)
        network_input = box.apply(image)[None]
        mark()
        (fields,) = estimator.method.fields_of(network_input)
        mark()
        poses = estimator.parse(fields, image.shape[:2])
        mark()
        poses = tracker(poses[poses.person_scores >= 0.1], n / 25)
        mark()
        skeletons(image, poses, fields, box)
        mark()
        names = ("letterbox", "network", "parser", "tracker", "drawing")
        for name, a, b in zip(names, marks, marks[1:], strict=False):
            steps.setdefault(name, []).append(b - a)


def latency(estimator: PoseEstimator, images: list[np.ndarray], pipeline_s: float) -> None:
    source = Memory(images, 100, pause_s=pipeline_s)
    behind, waits = [], []
    for result in process_video(source, estimator, tracker=Tracker(), draw=skeletons):
        behind.append((time.perf_counter() - result.frame.captured_s) / pipeline_s)
        waits.append(time.perf_counter() - result.frame.captured_s)
    print(f"latency        {1000 * statistics.median(waits):8.2f} ms, "
          f"{statistics.median(behind):.2f} frames (median), "
          f"{np.percentile(behind, 95):.2f} frames (95 %)")  # fmt: skip


def soak(estimator: PoseEstimator, images: list[np.ndarray], minutes: float) -> None:
    """What the process holds while the pipeline runs for so long, and how much that grows.

    The growth is the slope of a line through the samples after the first tenth of the time.
    """
    began = time.perf_counter()
    samples: list[tuple[float, Holdings]] = []
    n = 0
    results = process_video(Memory(images, 10**9), estimator, tracker=Tracker(), draw=skeletons)
    for n, _ in enumerate(results, 1):
        passed = (time.perf_counter() - began) / 60
        if n == 1 or passed >= len(samples) * minutes / N_SAMPLES:
            samples.append((passed, holdings()))
        if passed > minutes:
            break
    samples.append(((time.perf_counter() - began) / 60, holdings()))
    results.close()
    print(f"soak           {n} frames in {samples[-1][0]:.1f} minutes")
    late = [sample for sample in samples if sample[0] >= minutes / 10]
    for name in Holdings._fields:
        first, last = (getattr(samples[k][1], name) for k in (0, -1))
        values = [(at, getattr(held, name)) for at, held in late]
        slope = np.polyfit(*np.array(values).T, 1)[0] if len(values) > 1 else float("nan")
        print(
            f"  {name:12} {first:8.1f} at the start, {last:8.1f} at the end, {slope:+.3f} a minute"
        )


class Holdings(NamedTuple):
    """What a process holds."""

    memory_mib: float
    descriptors: int
    threads: int


def holdings() -> Holdings:
    import psutil

    process = psutil.Process()
    n_open = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
    return Holdings(process.memory_info().rss / 2**20, n_open, process.num_threads())


if __name__ == "__main__":
    main()
