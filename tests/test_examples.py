"""Every public name has an example in its docstring, and what the example shows is true."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import openpaf

_NAMES = [name for name in openpaf.__all__ if name != "__version__"]


def _example(name: str) -> doctest.DocTest:
    """The examples of the docstring itself; those of a class's methods do not count."""
    docstring = getattr(openpaf, name).__doc__ or ""
    parser = doctest.DocTestParser()
    names = {"openpaf": openpaf, name: getattr(openpaf, name)}
    return parser.get_doctest(docstring, names, f"openpaf.{name}", None, None)


@pytest.mark.parametrize("name", _NAMES)
def test_the_example_of(name: str, repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo_root)  # the examples read data/photos
    test = _example(name)
    assert test.examples, f"openpaf.{name}: no example in the docstring"
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert not report, "".join(report)
