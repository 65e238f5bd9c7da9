"""``"auto"``: which engine runs a model fastest on this processor, measured once, then known."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.base import Arrays, versions
from openpaf.engines.table import ENGINES, load_named
from openpaf.errors import OpenpafError
from openpaf.io.cache import file_key, read_note, write_note
from openpaf.io.extras import installed
from openpaf.weights.spec import ModelSource

logger = logging.getLogger(__name__)
_waiting = logging.getLogger("openpaf.waiting")  # what a command says when it takes a while

# Of the image, for networks that take any size; detectors want multiples of 32 px.
_SIZE_HW = {"part_affinity": (256, 456), "person_detector": (256, 448)}
_SECONDS = 1.0
_ROUNDS = 3
_PAUSE_SECONDS = 0.05
# The shortest times of an engine in two rounds are this near on a quiet machine.
_MAX_SPREAD = 1.25
# An engine that needs no conversion and takes at most this share of torch's time is taken at once:
# the others calculate in more bits, and converting the model for them takes ten times as long as
# measuring. In 8 bits, a network takes 0.3 of torch's time; in 32 bits, 0.8 of it with OpenVINO.
_CLEARLY_FASTER = 0.5
_QUICK_SECONDS = 0.3  # enough to see that


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """What ``"auto"`` means for a model here.

    Args:
        engine: Its name.
        seconds: The shortest time of each engine for an image of 256 x 456 px; empty where there
            was nothing to measure.
        reason: In words.
    """

    engine: str
    seconds: dict[str, float]
    reason: str


def fastest_engine(
    source: ModelSource,
    device: str | None = None,
    *,
    threads: int | None = None,
    measure_again: bool = False,
) -> EngineChoice:
    """The engine for ``engine="auto"``: torch on a GPU, otherwise what is fastest here.

    The engines that are available are measured on one image of 256 x 456 px for about a second
    together; the shortest time of each counts, as other programs can only make it longer. Those
    that a model must be converted for, which takes several seconds, are left out where another one
    takes less than half of torch's time. An
    engine whose arrays differ from torch's by more than its row of the table allows is left out.
    The result is kept in the cache for this model, processor, number of threads and versions,
    unless the measurement was disturbed: then the next call measures again. The environment
    variable ``OPENPAF_ENGINE`` names one to take instead.

    Args:
        source: The model.
        device: Any but None and ``"cpu"`` means torch.
        threads: As :func:`openpaf.engines.load.load_source` takes them.
        measure_again: Whether to measure even if the result is known, and then all of them.

    Raises:
        ValueError: If ``OPENPAF_ENGINE`` is none, or no engine runs the model here.
        WeightsError: If the model is damaged.
    """
    named = _named_by_environment()
    if source.parts and device in (None, "cpu") and not named:
        return _fastest_for_all(source, device, threads, measure_again)
    if device not in (None, "cpu"):
        return EngineChoice(engine="torch", seconds={}, reason=f"device {device}")
    if named:
        return EngineChoice(engine=named, seconds={}, reason="OPENPAF_ENGINE")
    if device is None and _gpu_is_there():
        return EngineChoice(engine="torch", seconds={}, reason="a GPU")
    candidates = _candidates(source)
    if len(candidates) == 1:
        return EngineChoice(engine=candidates[0], seconds={}, reason="no other is installed")
    key = file_key(
        source.file, *source.spec.to_metadata().values(), *_machine(), *candidates, str(threads)
    )
    note = f"engine-{key}.json"
    known = None if measure_again else _known(read_note(note), candidates)
    if known is not None:
        choice = _choice(known, "measured before")
    else:
        _waiting.info("measuring which engine is the fastest here, once: some seconds")
        # A detector runs with another network, in an engine that both were measured in.
        measure_all = measure_again or source.spec.method == "person_detector"
        seconds, disturbed = _measure_candidates(source, candidates, threads, measure_all)
        choice = _choice(
            seconds, "measured now, disturbed and so not kept" if disturbed else "measured now"
        )
        if not disturbed:
            write_note(note, {"seconds": seconds})
    logger.info("engine auto: %s (%s)", choice.engine, choice.reason)
    return choice


def _candidates(source: ModelSource) -> list[str]:
    """The engines that can run a model here.

    Raises:
        ValueError: If there is none, as torch is not installed.
    """
    names = [
        name
        for name, entry in ENGINES.items()
        if entry.load_module().available(source, entry.precision)
    ]
    if not names:
        raise ValueError(
            f"engine: {source.spec.name} needs torch, which is not installed; without it, take an "
            "exported file, or fast and default with the extra openvino"
        )
    return names


def _measure_candidates(
    source: ModelSource, candidates: list[str], threads: int | None, measure_all: bool
) -> tuple[dict[str, float], bool]:
    """As :func:`measure`, but of those without conversion alone if one is clearly faster."""
    ready = [
        name
        for name in candidates
        if name == candidates[0] or (ENGINES[name].precision == "int8" and source.eight_bit_file)
    ]
    if not measure_all and 1 < len(ready) < len(candidates):
        seconds, _ = measure(source, ready, _QUICK_SECONDS, threads=threads, n_rounds=1)
        if min(seconds.values()) < _CLEARLY_FASTER * seconds[candidates[0]]:
            return seconds, False
    if len(ready) < len(candidates):
        _waiting.info("converting the model for the other engines, once: up to half a minute")
    return measure(source, candidates, threads=threads)


def _fastest_for_all(
    pair: ModelSource, device: str | None, threads: int | None, measure_again: bool
) -> EngineChoice:
    """The engine that runs all the networks of a pair in the shortest time, each once."""
    parts = {part.file: part for part in pair.parts}.values()
    choices = [
        fastest_engine(part, device, threads=threads, measure_again=measure_again) for part in parts
    ]
    common = set.intersection(*(set(choice.seconds) for choice in choices))
    if not common:
        return choices[0]
    total = {
        name: sum(choice.seconds[name] for choice in choices) for name in ENGINES if name in common
    }
    return _choice(total, "each network once")


def _choice(seconds: dict[str, float], how: str) -> EngineChoice:
    best = min(seconds, key=lambda name: seconds[name])
    times = ", ".join(f"{name} {1000 * time_s:.1f} ms" for name, time_s in seconds.items())
    return EngineChoice(engine=best, seconds=seconds, reason=f"{times}; {how}")


def _known(note: object, candidates: list[str]) -> dict[str, float] | None:
    """The times of an earlier measurement, if they are ones of these candidates."""
    seconds = note.get("seconds") if isinstance(note, dict) else None
    if not isinstance(seconds, dict) or not seconds or not set(seconds) <= set(candidates):
        return None
    if not all(isinstance(value, float) and value > 0 for value in seconds.values()):
        return None
    return seconds


def _named_by_environment() -> str | None:
    for variable in ("OPENPAF_ENGINE", "OPENPAF_RUNTIME"):  # the second is the old name
        named = os.environ.get(variable)
        if named and named not in ENGINES:
            raise ValueError(f"{variable}: expected one of {', '.join(ENGINES)}, got {named!r}")
        if named:
            return named
    return None


def _gpu_is_there() -> bool:
    if not installed("torch"):
        return False
    import torch

    return torch.cuda.is_available()


def _machine() -> list[str]:
    """What the times depend on, beside the model."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            facts = [line for line in file if line.startswith(("model name", "flags"))]
        processor = "".join(facts[:2])
    except OSError:  # not Linux
        pass
    modules = [name for name in ("torch", "onnxruntime", "openvino") if installed(name)]
    return [processor, str(os.cpu_count()), *versions(*modules)]


def measure(
    source: ModelSource,
    names: list[str],
    seconds: float = _SECONDS,
    *,
    threads: int | None = None,
    n_rounds: int = _ROUNDS,
) -> tuple[dict[str, float], bool]:
    """The shortest time of each engine for one image, in seconds, and whether it was disturbed.

    Args:
        source: The model.
        names: What to compare; one that fails, or differs too much from the first, is left out.
        seconds: How long to measure, the loading and conversion apart.
        threads: As :func:`openpaf.engines.load.load_source` takes them.
        n_rounds: How often the engines take turns.
    """
    rng = np.random.default_rng(0)
    height, width = source.spec.size_hw or _SIZE_HW.get(
        source.spec.method, _SIZE_HW["part_affinity"]
    )
    coarse = rng.uniform(0, 255, (1, 3, height // 8, width // 8)).astype(np.float32)
    image = np.ascontiguousarray(coarse.repeat(8, axis=2).repeat(8, axis=3))
    engines: dict[str, Callable[[NDArray[np.float32]], Arrays]] = {}
    expected = None
    for name in names:
        try:
            engine = load_named(source, name, "cpu", threads=threads)
            arrays = engine(image)  # the first call prepares much
        except (OpenpafError, ValueError, RuntimeError) as error:
            if name == names[0]:
                raise
            logger.warning("engine %s cannot be used: %s", name, error)
            continue
        expected = arrays if expected is None else expected
        if difference(expected, arrays) > ENGINES[name].max_difference:
            logger.warning("engine %s is not used: its fields differ from torch's", name)
            continue
        engines[name] = engine
    rounds = _times_in_rounds(engines, image, seconds, n_rounds)
    return {name: min(times) for name, times in rounds.items()}, any(
        max(times) > _MAX_SPREAD * min(times) for times in rounds.values()
    )


def _times_in_rounds(
    engines: dict[str, Callable[[NDArray[np.float32]], Arrays]],
    image: NDArray[np.float32],
    seconds: float,
    n_rounds: int,
) -> dict[str, list[float]]:
    """The shortest time of each engine in each round: what else runs slows all of them."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    share = seconds / (n_rounds * max(1, len(engines)))
    for _ in range(n_rounds):
        for name, engine in engines.items():
            # The threads of the engine before go on waiting for work for a while, and hold the
            # cores: hence a pause, and a call that does not count.
            time.sleep(_PAUSE_SECONDS)
            engine(image)
            end, shortest, done = time.perf_counter() + share, float("inf"), False
            while not done:
                start = time.perf_counter()
                engine(image)
                stop = time.perf_counter()
                shortest = min(shortest, stop - start)
                done = stop > end
            times[name].append(shortest)
    return times


def difference(expected: Arrays, arrays: Arrays) -> float:
    """Root mean square difference of arrays, as a share of the root mean square of the first."""
    squares = sum(float(((expected[name] - arrays[name]) ** 2).sum()) for name in expected)
    total = sum(float((array**2).sum()) for array in expected.values())
    return float(np.sqrt(squares / max(total, 1e-12)))
