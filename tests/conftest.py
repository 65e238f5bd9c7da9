"""What the tests share. `pytest` runs them against the installed package."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

REPO_ROOT = Path(__file__).resolve().parents[1]
# Files that take longest, of few tests each.
_SLOWEST = {
    "test_accuracy", "test_docs_commands", "test_fuzz", "test_groupings_compared", "test_kills",
    "test_live_video", "test_pose_batch", "test_threads", "test_topdown_pair",
    "test_training_groupings", "test_training_interrupted", "test_training_learns",
    "test_training_offsets", "test_training_overfits", "test_training_runs", "test_tutorial",
}  # fmt: skip

# What is fastest depends on the machine and the hour; the golden results are torch's.
os.environ.setdefault("OPENPAF_ENGINE", "torch")

# One thread a process: the suite runs in several, and threads that wait for each other on busy
# cores take many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline: the first call of a kernel compiles it, and CI shares its cores.
hypothesis.settings.register_profile("openpaf", deadline=None)
hypothesis.settings.load_profile("openpaf")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite runs on all cores where pytest-xdist is; ``-n 0`` is one process."""
    whole = config.args_source == pytest.Config.ArgsSource.TESTPATHS
    option = config.option
    if "PYTEST_XDIST_WORKER" in os.environ or not whole or option.usepdb:
        return  # the processes themselves come here, too
    if getattr(option, "numprocesses", 0) is None:
        option.numprocesses = os.cpu_count() or 1
        option.dist = "loadfile"
        option.loadscopereorder = False  # but in the order of the function below


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slowest files come first, so that at the end no process waits long for another."""
    items.sort(key=lambda item: item.path.stem not in _SLOWEST)


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout that these tests lie in."""
    return REPO_ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Data sets and reference weights that are no part of the repository.

    They lie in ``shared`` beside the checkout, or where OPENPAF_SHARED says; without them the
    tests that need them are skipped.
    """
    folder = Path(os.environ.get("OPENPAF_SHARED") or REPO_ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip("no shared folder beside the checkout (or set OPENPAF_SHARED)")
    return folder
