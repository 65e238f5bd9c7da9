"""Loading a model into an engine."""

from __future__ import annotations

from pathlib import Path

from openpaf.engines.auto import fastest_engine
from openpaf.engines.base import Engine
from openpaf.engines.table import ENGINES, engine_names, load_named
from openpaf.errors import WeightsError, did_you_mean
from openpaf.weights.catalog import resolve
from openpaf.weights.spec import ModelSource, ModelSpec


def load_engine(
    model: str | Path | None = None,
    engine: str = "auto",
    device: str | None = None,
    *,
    weights: str | Path | None = None,
    threads: int | None = None,
) -> tuple[Engine, ModelSpec]:
    """Load a model into an engine.

    Args:
        model: As :func:`openpaf.weights.resolve` takes it.
        engine: As :func:`load_source` takes it.
        device: As :func:`load_source` takes it.
        weights: A checkpoint file to take in place of the model's own.
        threads: As :func:`load_source` takes them.

    Returns:
        A function from a batch of images to arrays by name, in the order of the skeleton, and the
        model's description.

    Raises:
        ValueError: As :func:`load_source` raises it.
        WeightsError: If the model is missing or damaged, or is a top-down one.
    """
    check_engine(engine)
    source = resolve(model, weights)
    return load_source(source, engine, device, threads=threads), source.spec


def load_source(
    source: ModelSource,
    engine: str = "auto",
    device: str | None = None,
    *,
    threads: int | None = None,
) -> Engine:
    """Load a model into an engine.

    Args:
        source: The model.
        engine: ``"torch"``; ``"onnx"``, ONNX Runtime, and ``"openvino"``, each of the extra of that
            name; ``"openvino-bf16"``, which calculates in bfloat16; ``"openvino-int8"``, in 8-bit
            integers, for models that have a file for it; ``"litert"`` and ``"coreml"``, for
            their own files; or ``"auto"``: a GPU with torch if there is one, else what is fastest
            here by a measurement of about a second, which is kept (see
            :mod:`openpaf.engines.auto`). An exported file has its own engine.
        device: A torch device such as ``"cpu"`` or ``"cuda:0"``; the first GPU if there is one,
            else the CPU, if None. With ``"onnx"`` also ``"tensorrt"``, ``"coreml"`` and
            ``"directml"``, where ONNX Runtime was built with them.
        threads: Threads of the CPU that a call uses; the engine's own number if None.

    Raises:
        ValueError: If the engine or the device is unknown, or cannot be had here.
        WeightsError: If the model is damaged, or is a top-down one.
    """
    name = choose_engine(source, engine, device, threads=threads)
    if source.spec.method in ("mask_rcnn", "objects", "top_down"):
        raise WeightsError(
            f"{source.spec.name}: a top-down network, which has no heatmaps and no PAFs"
        )
    return load_named(source, name, device, threads=threads)


def choose_engine(
    source: ModelSource,
    engine: str = "auto",
    device: str | None = None,
    *,
    threads: int | None = None,
) -> str:
    """The engine that runs a model: what ``"auto"`` means here, any other as it is.

    The arguments are those of :func:`load_source`.

    Raises:
        ValueError: If the engine is unknown, or does not run this file.
    """
    check_engine(engine)
    if threads is not None and (isinstance(threads, bool) or threads < 1):
        raise ValueError(f"threads: expected a whole number from 1 on, got {threads!r}")
    if source.spec.method in ("mask_rcnn", "objects"):
        if engine not in ("auto", "torch"):
            raise ValueError(f"engine: a detector runs in 'torch' only, got {engine!r}")
        return "torch"
    kind = source.parts[0].kind if source.kind == "pair" else source.kind
    if kind == "weights":
        if engine != "auto":
            return engine
        return fastest_engine(source, device, threads=threads).engine
    if engine not in ("auto", kind):
        raise ValueError(f"engine: {source.file} runs with {kind!r}, got {engine!r}")
    return kind


def check_engine(engine: str) -> None:
    """Refuse an unknown engine.

    Raises:
        ValueError: If it is none of :data:`openpaf.engines.table.ENGINES` nor ``"auto"``.
    """
    if engine != "auto" and engine not in ENGINES:
        hint = did_you_mean(str(engine), engine_names())
        raise ValueError(
            f"engine: expected one of {', '.join(engine_names())}, got {engine!r}{hint}"
        )
