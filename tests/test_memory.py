"""Freed memory is kept for the next step of a training run."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own, as the setting lasts until its end.
_PROGRAM = """
import resource
import numpy as np
from openpaf.cli.memory import keep_freed_memory

def faults(n_bytes, times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.ones(n_bytes, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults(80_000_000, 4)
if not keep_freed_memory():
    print("no glibc")
else:
    faults(80_000_000, 1)
    print(given_back, faults(80_000_000, 4))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc's allocator can be told")
def test_memory_is_not_asked_for_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    if done.stdout.strip() == "no glibc":
        pytest.skip("not glibc")
    given_back, kept = map(int, done.stdout.split())
    assert kept < given_back / 4
