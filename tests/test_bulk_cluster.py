"""``openpaf bulk --address`` on a Ray cluster of this machine, started by another process."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import psutil
import pytest

from openpaf.tables.files import read_table

pytest.importorskip("pyarrow")
pytest.importorskip("ray.data")
pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals"),
    pytest.mark.skipif(
        not list(Path(str(resources.files("openpaf.models"))).glob("*.safetensors")),
        reason="no weights in openpaf.models",
    ),
]


class Cluster:
    """A Ray cluster of one node."""

    def __init__(self, folder: Path) -> None:
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block",
            "--node-ip-address", "127.0.0.1", "--port", "0", "--num-cpus", "2", "--num-gpus", "1",
            "--include-dashboard", "false", "--disable-usage-stats", "--temp-dir", str(folder),
        ]  # fmt: skip
        self.said = folder / "said.txt"
        #: Also of those who use it: Ray's processes know each other by a word of theirs.
        self.environment = {
            **os.environ, "PYTHONUNBUFFERED": "1", "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }  # fmt: skip
        with open(self.said, "w") as said:
            self.process = psutil.Popen(
                command, stdout=said, stderr=subprocess.STDOUT,
                env=self.environment,
            )  # fmt: skip

    def address(self) -> str:
        """As what it says when it has started has it."""
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and self.process.is_running():
            if match := re.search(r"--address='([^']+)'", self.said.read_text()):
                return match[1]
            time.sleep(0.1)
        raise AssertionError(self.said.read_text())

    def workers(self) -> list[psutil.Process]:
        """Ray's processes that make parts."""
        return [one for one in self.process.children(recursive=True) if _makes_parts(one)]

    def stop(self) -> None:
        """End what was started here, and not every Ray of the machine, as ``ray stop`` does."""
        own = [*self.process.children(recursive=True), self.process]
        for one in own:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(own, timeout=10)


def _makes_parts(process: psutil.Process) -> bool:
    try:
        return "MapWorker" in " ".join(process.cmdline())
    except psutil.Error:
        return False


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # names of sockets must be short
        one = Cluster(Path(folder))
        try:
            yield one
        finally:
            one.stop()


def test_bulk_on_a_cluster(cluster: Cluster, tmp_path: Path, repo_root: Path) -> None:
    """A process of Ray that is killed, and a run that goes on, lose and double nothing."""
    data = (repo_root / "data" / "photos" / "astronaut.jpg").read_bytes()
    (tmp_path / "in").mkdir()
    for n in range(20):
        (tmp_path / "in" / f"{n}.jpg").write_bytes(data)
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "openpaf", "bulk", str(tmp_path / "in"), "--output", str(out),
        "--address", cluster.address(), "--part-size", "2", "--size", "128", "--model", "fast",
        "--engine", "torch",
    ]  # fmt: skip
    running = subprocess.Popen(
        command, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    n_killed = 0
    while running.poll() is None and not n_killed:
        for one in cluster.workers() if list(out.glob("people-*.parquet")) else []:
            one.kill()
            n_killed += 1
        time.sleep(0.02)
    said, errors = running.communicate(timeout=400)
    assert running.returncode == 0, errors
    assert n_killed >= 1
    assert "20 people" in said
    parts = sorted(out.glob("people-*.parquet"))
    rows = [row for part in parts for row in read_table(part).to_pylist()]
    assert len({row["path"] for row in rows}) == len(rows) == 20
    for part in parts[3:5]:
        part.unlink()
    again = subprocess.run(
        [*command, "--resume", "--gpus", "0.5"],  # Ray takes the cluster's word for it
        env=cluster.environment, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert "4 photos, 4 people, 0 failed" in again.stdout
    assert sorted(out.glob("people-*.parquet")) == parts
