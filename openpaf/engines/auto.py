"""Which engine and precision run a model fastest on this processor: measured once, then known."""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.eight_bit import eight_bit_file
from openpaf.io.cache import file_key, read_note, write_note
from openpaf.weights.catalog import locate

_log = logging.getLogger(__name__)

_SIZE_HW = (256, 456)
_SECONDS = 1.0
_LARGEST_DIFFERENCE = 0.1
_LARGEST_DIFFERENCE_8_BIT = 0.3
_ROUNDS = 2
_PAUSE_SECONDS = 0.05


def chosen_runtime(
    model: str | Path | None,
    runtime: str,
    device: str | None = None,
    *,
    weights: str | Path | None = None,
) -> str:
    """The runtime that a model runs in: what ``"auto"`` means here, any other as it is.

    Args:
        model: As :class:`openpaf.PoseEstimator` takes it.
        runtime: Likewise.
        device: Likewise.
        weights: Likewise.

    Raises:
        ValueError: If ``OPENPAF_RUNTIME`` is none.
        WeightsError: If the model is missing or damaged.
    """
    from openpaf.engines.conversion import FORMATS, is_export
    from openpaf.estimator import is_detector

    if runtime != "auto":
        return runtime
    if is_export(model):
        return next(name for name, end in FORMATS.items() if str(model).lower().endswith(end))
    if is_detector(model or weights):
        return "torch"
    return fastest_runtime(model, device, weights=weights)


def fastest_runtime(
    model: str | Path | None = None,
    device: str | None = None,
    *,
    weights: str | Path | None = None,
) -> str:
    """The runtime for ``runtime="auto"``: torch on a GPU, otherwise what is fastest here.

    All engines that are installed are measured on one picture of 256 x 456 px for about a second
    together; the shortest time of each counts, as other programs can only make it longer. The
    result is kept in the cache for this file, processor, number of threads and versions. bfloat16
    is tried where the processor calculates with it, and refused where its fields differ by more
    than a tenth of their root mean square; 8-bit integers where the model has a file for them (see
    :mod:`openpaf.engines.eight_bit`), and refused above three tenths. The environment variable
    ``OPENPAF_RUNTIME`` names one to take instead.

    Args:
        model: As :func:`openpaf.engines.load.load_engine` takes it.
        device: Likewise; any but None and ``"cpu"`` means torch.
        weights: Likewise.

    Returns:
        A runtime that can be had here; which, and the times, are logged.

    Raises:
        ValueError: If ``OPENPAF_RUNTIME`` is none.
        WeightsError: If the model is missing or damaged.
    """
    from openpaf.engines.load import RUNTIMES

    named = os.environ.get("OPENPAF_RUNTIME")
    if named and named not in RUNTIMES[1:]:
        raise ValueError(
            f"OPENPAF_RUNTIME: expected one of {', '.join(RUNTIMES[1:])}, got {named!r}"
        )
    if device not in (None, "cpu"):
        return "torch"
    if named:
        return named
    candidates = _candidates(device)
    if "openvino" in candidates and weights is None and eight_bit_file(model) is not None:
        candidates.append("openvino-int8")
    if len(candidates) == 1:
        return candidates[0]
    row, path = locate(model, weights)
    key = file_key(path, *row.to_metadata().values(), *_machine(), *candidates)
    note = f"fastest-{key}.json"
    known = read_note(note)
    if isinstance(known, dict) and known.get("runtime") in candidates:
        _log.info("runtime auto: %s (%s; measured before)", known["runtime"], known.get("times"))
        return str(known["runtime"])
    times = measure(model, candidates, weights=weights)
    best = min(times, key=lambda name: times[name])
    said = ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in times.items())
    _log.info("runtime auto: %s (%s; measured now)", best, said)
    write_note(note, {"runtime": best, "times": said})
    return best


def _candidates(device: str | None) -> list[str]:
    """The runtimes that can be had here."""
    if device is None:
        import torch

        if torch.cuda.is_available():
            return ["torch"]
    found = ["torch"]
    if all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript")):
        found.append("onnx")
    if importlib.util.find_spec("openvino"):
        found.append("openvino")
        import openvino

        if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            found.append("openvino-bf16")
    return found


def _machine() -> list[str]:
    """What the times depend on, beside the model."""
    from openpaf.engines.load import versions

    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            facts = [line for line in file if line.startswith(("model name", "flags"))]
        processor = "".join(facts[:2])
    except OSError:  # not Linux
        pass
    installed = [
        name for name in ("torch", "onnxruntime", "openvino") if importlib.util.find_spec(name)
    ]
    return [processor, str(os.cpu_count()), *versions(*installed)]


def measure(
    model: str | Path | None,
    runtimes: list[str],
    seconds: float = _SECONDS,
    *,
    weights: str | Path | None = None,
) -> dict[str, float]:
    """The shortest time of each runtime for one picture, in seconds.

    Args:
        model: As :func:`openpaf.engines.load.load_engine` takes it.
        runtimes: What to compare; one that fails, or differs too much from the first, is left out.
        seconds: How long to measure, the loading and conversion apart.
        weights: As :func:`openpaf.engines.load.load_engine` takes them.
    """
    from openpaf.engines.load import load_engine

    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (1, 3, _SIZE_HW[0] // 8, _SIZE_HW[1] // 8)).astype(np.float32)
    picture = np.ascontiguousarray(coarse.repeat(8, axis=2).repeat(8, axis=3))
    engines: dict[str, Any] = {}
    expected = None
    for name in runtimes:
        try:
            engine = load_engine(model, name, "cpu", weights=weights)[0]
            fields = engine(picture)  # the first call prepares much
        except (ValueError, RuntimeError) as error:
            if name == "torch":
                raise
            _log.warning("runtime %s cannot be used: %s", name, error)
            continue
        expected = fields if expected is None else expected
        limit = _LARGEST_DIFFERENCE_8_BIT if name.endswith("int8") else _LARGEST_DIFFERENCE
        if difference(expected, fields) > limit:
            _log.warning("runtime %s is not used: its fields differ from torch's", name)
            continue
        engines[name] = engine
    return _shortest_times(engines, picture, seconds)


def _shortest_times(
    engines: dict[str, Any], picture: NDArray[np.float32], seconds: float
) -> dict[str, float]:
    """The shortest time of each engine, in rounds, so that what else runs slows all alike."""
    times = dict.fromkeys(engines, float("inf"))
    share = seconds / (_ROUNDS * max(1, len(engines)))
    for _ in range(_ROUNDS):
        for name, engine in engines.items():
            # The threads of the engine before go on waiting for work for a while, and hold the
            # cores: hence a pause, and a call that does not count.
            time.sleep(_PAUSE_SECONDS)
            engine(picture)
            end, done = time.perf_counter() + share, False
            while not done:
                start = time.perf_counter()
                engine(picture)
                stop = time.perf_counter()
                times[name] = min(times[name], stop - start)
                done = stop > end
    return times


def difference(expected: Any, fields: Any) -> float:
    """Root mean square difference of fields, as a share of the root mean square of the first."""
    squares = sum(float(((a - b) ** 2).sum()) for a, b in zip(expected, fields, strict=True))
    return float(np.sqrt(squares / max(sum(float((a**2).sum()) for a in expected), 1e-12)))
