"""Models in 8-bit integers are compiled for one shape at a time where the processor needs it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from openpaf.engines import openvino_engine
from openpaf.engines.load import load_engine

pytest.importorskip("openvino", reason="OpenVINO is not installed")
SIZES = [(64, 96), (96, 64), (64, 96), (128, 128), (64, 96)]


def _crops(n: int, size_hw: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(n).uniform(-0.5, 0.5, (n, 3, *size_hw)).astype(np.float32)


def test_compiled_shape_by_shape_a_model_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def with_shape(model: object, shape: tuple[int, ...]) -> object:
        compiled.append(shape)
        return made(model, shape)

    made = openvino_engine._with_shape
    monkeypatch.setattr(openvino_engine, "_with_shape", with_shape)
    monkeypatch.setattr(openvino_engine, "_MAX_COMPILED_SIZES", 1)  # of two numbers of images
    engines = []
    for by_shape in (False, True):
        monkeypatch.setattr(openvino_engine, "_has_amx", lambda by_shape=by_shape: by_shape)
        engines.append(load_engine("fast", "openvino-int8", threads=1)[0])
    assert len(compiled) == 1  # of the one that is compiled by shape, to see that it can be run
    for n, size in enumerate(SIZES, 1):
        any_shape, one_shape = (engine(_crops(n, size)) for engine in engines)
        for name, array in any_shape.items():
            assert one_shape[name].shape == array.shape
            # Kernels differ by shape, and round on the way.
            assert np.abs(one_shape[name] - array).mean() < 0.05 * np.abs(array).mean()
    # Two are kept; five images are four and one.
    shapes = [(n, *size) for n, _, *size in compiled[1:]]
    assert shapes == [(1, 64, 96), (1, 96, 64), (4, 128, 128), (4, 64, 96), (1, 64, 96)]


def test_sizes_at_which_openvino_dies_are_run() -> None:
    """With AMX, OpenVINO dies at both if it compiles for any shape: hence a process of its own."""
    script = """\
import numpy
from openpaf.engines.load import load_engine

for model, size in (("rtmdet-nano", (608, 416)), ("fast", (32, 8))):
    engine, _ = load_engine(model, "openvino-int8", threads=1)
    arrays = engine(numpy.zeros((2, 3, *size), numpy.float32))
    print(model, all(numpy.isfinite(array).all() for array in arrays.values()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "rtmdet-nano True\nfast True\n"), done.stderr
