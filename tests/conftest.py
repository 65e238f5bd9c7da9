"""What the tests share. `pytest` runs them against the installed package."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

REPO_ROOT = Path(__file__).resolve().parents[1]

# No deadline: the first call of a kernel compiles it, and CI shares its cores.
hypothesis.settings.register_profile("openpaf", deadline=None)
hypothesis.settings.load_profile("openpaf")


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
