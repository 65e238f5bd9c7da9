"""Ctrl-C and SIGTERM are heard after engines of OpenVINO have gone.

Each case is a process of its own, as it dies with SIGSEGV where the engines leave it without a
stack for signals, see :func:`openpaf.io.extras.openvino_core`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import openpaf
from openpaf.io.extras import openvino_core

SCRIPT = """\
import signal, sys, threading
import numpy, openvino
from openvino import opset13
from openpaf.engines.openvino_engine import run_openvino


def engine():
    pixels = opset13.parameter([1, 3, 8, 8], numpy.float32)
    model = openvino.Model([opset13.relu(pixels)], [pixels])
    return run_openvino(model, "float32", ["pixels"], threads=1)


engines = [engine(), engine()]
if sys.argv[1] == "oldest first":
    del engines[0]
    del engines[0]
else:
    thread = threading.Thread(target=engines.clear)
    thread.start()
    thread.join()
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
signal.raise_signal(signal.SIGTERM)
"""


@pytest.mark.parametrize("way", ["oldest first", "in another thread"])
def test_a_signal_is_heard_after_engines_of_openvino_have_gone(way: str) -> None:
    pytest.importorskip("openvino")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, way],
        env={**os.environ, "PYTHONPATH": str(Path(openpaf.__file__).parent.parent)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_all_threads_get_one_core_of_openvino() -> None:
    pytest.importorskip("openvino")
    with ThreadPoolExecutor(8) as threads:
        cores = list(threads.map(lambda _: openvino_core(), range(64)))
    assert {id(core) for core in cores} == {id(openvino_core())}


def test_openvino_reports_nothing_to_its_makers() -> None:
    pytest.importorskip("openvino_telemetry")
    code = (
        "import multiprocessing, sys\n"
        "started = []\n"
        "multiprocessing.Process.start = lambda self: started.append(self)\n"
        "import multiprocessing.context as context\n"
        "context.Process.start = context.ForkProcess.start = multiprocessing.Process.start\n"
        "from openpaf.io.extras import openvino_core\n"
        "openvino_core()\n"
        "print(started, 'openvino_telemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[] False\n", 0), done.stderr


def test_a_process_that_a_package_forks_ends_without_a_word() -> None:
    """As that in which OpenVINO's package sends its telemetry where a program imports it first."""
    code = (
        "import multiprocessing, time\n"
        "from openpaf.cli.interrupts import no_interrupt_is_swallowed\n"
        "from openpaf.cli.signals import sigterm_like_ctrl_c\n"
        "with sigterm_like_ctrl_c(), no_interrupt_is_swallowed():\n"
        "    child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))\n"
        "    child.start()\n"
        "    time.sleep(0.2)\n"
        "    child.terminate()\n"
        "    child.join()\n"
        "print(child.exitcode)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("-15\n", "")
