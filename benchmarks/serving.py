"""`openpaf serve` under load: a server in a process of its own, and clients that wait in turns.

    python benchmarks/serving.py --model fast --size 256 --seconds 20

Prints, for one image at a time and for batches, requests per second and latency; what an overloaded
server answers; and what a stop under load answers. Every answer is compared with what the estimator
finds in this process. The exit status is 1 if an answer is wrong or a request is lost.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TOLERANCE_PX = 2.0  # of a median joint: a batch adds in another order than a single image


@dataclass
class Seen:
    """What clients got."""

    statuses: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    n_wrong: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Server:
    """A server in a process of its own.

    Args:
        command: That starts it; it prints its address.
    """

    def __init__(self, command: Sequence[str], folder: Path | None = None) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = re.search(r"http://[\d.]+:(\d+)", line)
        if match is None:
            raise SystemExit(f"the server did not start: {line!r}")
        self.port = int(match[1])

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of one answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def stop(self) -> int:
        """End it as `docker stop` does; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=120)
        return self.process.returncode


def differs(answer: bytes, expected: list[np.ndarray]) -> bool:
    """Whether an answer has other people than were expected, (K, 3) each."""
    people = [np.reshape(p["keypoints"], (-1, 3)) for p in json.loads(answer)["people"]]
    if len(people) != len(expected):
        return True
    for person, other in zip(people, expected, strict=True):
        both = (person[:, 2] > 0) & (other[:, 2] > 0)
        if np.median(np.abs(person[both, :2] - other[both, :2])) > TOLERANCE_PX:
            return True
    return False


def load(
    server: Server, photos: list[bytes], expected: list[list[np.ndarray]], n: int, until: float
) -> Seen:
    """Send requests from so many clients, each waiting for its answer, until a time."""
    seen = Seen()

    def client(k: int) -> None:
        while time.perf_counter() < until:
            started, number = time.perf_counter(), k % len(photos)
            try:
                status, answer = server.ask("POST", "/predict", photos[number])
            except (ConnectionRefusedError, ConnectionResetError, http.client.RemoteDisconnected):
                status, answer = 0, b""
            with seen.lock:
                seen.statuses[str(status) if status else "not accepted"] += 1
                if status == 200:
                    seen.latencies_s.append(time.perf_counter() - started)
                    seen.n_wrong += differs(answer, expected[number])
            if status != 200:
                time.sleep(0.05)
            k += n

    clients = [threading.Thread(target=client, args=(k,)) for k in range(n)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return seen


def line(name: str, n_clients: int, seen: Seen, seconds: float) -> str:
    """A line of the table."""
    middle, high = np.percentile(seen.latencies_s or [0], (50, 95))
    statuses = ", ".join(f"{n} x {status}" for status, n in sorted(seen.statuses.items()))
    rate = len(seen.latencies_s) / seconds
    return (
        f"| {name} | {n_clients} | {rate:.1f} | {middle:.2f} / {high:.2f} | {statuses} "
        f"| {seen.n_wrong} |"
    )


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default="fast")
    add("--size", type=int, default=256)
    add("--engine", default="torch")
    add("--clients", type=int, default=8)
    add("--seconds", type=float, default=20.0, help="of each part")
    add("--photos", type=Path, default=ROOT / "data" / "photos")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run all parts; the exit status."""
    arguments = parser().parse_args(argv)
    import openpaf
    from openpaf.io.image_lists import list_images
    from openpaf.io.keypoint_values import keypoint_values

    paths = [path for path in list_images([str(arguments.photos)]) if path.suffix == ".jpg"]
    photos = [path.read_bytes() for path in paths]
    estimator = openpaf.PoseEstimator(
        arguments.model, size=arguments.size, engine=arguments.engine, min_score=0.7
    )
    expected = [
        [np.reshape(values, (-1, 3)) for values in keypoint_values(poses)]
        for poses in map(estimator, paths)
    ]
    start = [sys.executable, "-m", "openpaf", "serve", "--port", "0", "--model", arguments.model]
    start += ["--size", str(arguments.size), "--engine", arguments.engine, "--threshold", "0.7"]
    n, seconds = arguments.clients, arguments.seconds
    parts = [
        ("one at a time", n, ["--batch-size", "1", "--max-queue", str(2 * n)]),
        ("batches of up to 8", n, ["--batch-size", "8", "--max-queue", str(2 * n)]),
        ("overloaded, `--max-queue 4`", 4 * n, ["--max-queue", "4"]),
    ]
    print("| | clients | requests/s | latency, median / 95 % (s) | answers | wrong |")
    print("|---|---:|---:|---:|---|---:|")
    is_right = True
    for name, n_clients, flags in parts:
        server = Server(start + flags)
        seen = load(server, photos, expected, n_clients, time.perf_counter() + seconds)
        status = server.stop()
        print(line(name, n_clients, seen, seconds), flush=True)
        is_right &= status == 0 and not seen.n_wrong and set(seen.statuses) <= {"200", "503"}
    server = Server(start)
    timer = threading.Timer(seconds / 2, server.process.send_signal, (signal.SIGTERM,))
    timer.start()
    seen = load(server, photos, expected, n, time.perf_counter() + seconds)
    server.process.communicate(timeout=120)
    print(line("stopped half-way", n, seen, seconds / 2))
    is_right &= server.process.returncode == 0 and set(seen.statuses) <= {"200", "not accepted"}
    print("every answer is right, none is lost" if is_right else "WRONG")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
