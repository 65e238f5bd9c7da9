"""``openpaf serve`` as a process: it starts, answers, and stops without losing a request."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from serving_data import encoded

from openpaf.cli import main

pytest.importorskip("fastapi", reason="fastapi is not installed (the extra 'serve')")

# The command, with an estimator that takes half a second and needs no network.
_SERVER = """
import sys
from openpaf.cli import main, serve
from serving_data import Fake
serve.load_estimator = lambda *a, **k: Fake(pause_s=0.5)
sys.exit(main(["serve", "--port", "0", "--batch-size", "1", "--threshold", "0.5"]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_what_is_queued(number: signal.Signals) -> None:
    statuses: list[Any] = []
    with _started() as process:
        try:
            assert process.stdout is not None
            address = re.findall(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
            clients = [
                threading.Thread(target=_post, args=(address, statuses), daemon=True)
                for _ in range(4)
            ]
            for client in clients:
                client.start()
            _wait_until_inside(address, len(clients))
            process.send_signal(number)
            for client in clients:
                client.join(30)
            said, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert statuses == [200] * 4
    assert process.returncode == 0
    assert (said.startswith("stopped after"), errors) == (True, "")


def _started() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )


def _post(address: str, statuses: list[Any]) -> None:
    try:
        with urllib.request.urlopen(f"{address}/predict", encoded(), timeout=30) as answer:
            statuses.append(answer.status)
    except OSError as error:
        statuses.append(error)


def _wait_until_inside(address: str, n_requests: int) -> None:
    for _ in range(100):
        with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
            if f"openpaf_queue_length {n_requests}.0" in answer.read().decode():
                return
    raise AssertionError("the requests did not come")


def test_a_port_in_use_is_said_before_the_model_loads(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port), "--model", "missing.safetensors"]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(rf"openpaf: --host, --port: '127.0.0.1', {port}: Address .*in use\n", error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "65536"], "a whole number from 0 to 65535"),
        (["--port", "x"], "a whole number from 0 to 65535"),
        (["--host", "no such host"], "--host, --port: 'no such host'"),
        (["--max-queue", "0"], "a whole number above 0"),
        (["--model", "missing.safetensors", "--port", "0"], "missing.safetensors"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_extra_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve"]) == 2
    assert "pip install 'openpaf[serve]'" in capsys.readouterr().err


def test_the_page_has_the_steps_of_the_dockerfile(repo_root: Path) -> None:
    after = (repo_root / "Dockerfile").read_text(encoding="utf-8").partition("\nUSER ")[2]
    steps = re.findall(r"^RUN (.+)$", after, flags=re.M)
    (command,) = re.findall(r"^CMD (.+)$", after, flags=re.M)
    assert len(steps) == 3
    page = (repo_root / "docs" / "serve.md").read_text(encoding="utf-8")
    assert "\n".join(["```", *steps, " ".join(json.loads(command)), "```"]) in page
