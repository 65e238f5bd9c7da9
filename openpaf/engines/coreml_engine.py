"""Core ML, of the extra ``coreml``: files for Apple's systems, which run on macOS.

They are written on Linux, too. As with LiteRT, only files that were exported for it run: to convert
a model takes a while, so that none is converted for ``"auto"``.
"""

from __future__ import annotations

import contextlib
import io
import logging
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.base import Arrays, Run, quiet
from openpaf.engines.wrapper import wrap_network
from openpaf.errors import WeightsError
from openpaf.io.extras import import_extra
from openpaf.weights.exported import NOTE
from openpaf.weights.model_files import load_network
from openpaf.weights.spec import ModelSource

_EXAMPLE_HW = (256, 344)
# Least and largest side of the input in px of a file for any size.
_SIDES_PX = (64, 2048)


def available(source: ModelSource, precision: str) -> bool:
    """Never, for models that are no files of Core ML."""
    return False


def load(source: ModelSource, device: str | None, *, threads: int | None, precision: str) -> Run:
    """A model, ready to run; see :class:`openpaf.engines.table.EngineModule`."""
    if source.kind != "coreml":
        raise ValueError(
            "engine: 'coreml' runs files of `openpaf export --to coreml`, "
            f"got the model {source.spec.name!r}"
        )
    if sys.platform != "darwin":
        raise ValueError(
            f"engine: {source.file} is a file for Core ML, which runs on macOS only; this is "
            f"{platform.system()}"
        )
    if device not in (None, "cpu"):
        raise ValueError(f"device: engine 'coreml' takes 'cpu' or none, got {device!r}")
    with _quiet():
        coremltools = import_extra("coremltools", "coreml")
        units = coremltools.ComputeUnit
        try:
            model = coremltools.models.MLModel(
                str(source.file), compute_units=units.ALL if device is None else units.CPU_ONLY
            )
        except Exception as error:  # its errors have no common class
            raise WeightsError(f"{source.file}: cannot be run by Core ML ({error})") from error
    return run_coreml(model, source.spec.outputs, str(source.file))


def run_coreml(model: Any, outputs: Sequence[str], name: str) -> Run:
    """A model of coremltools, ready to run; its files take one image at a time.

    Args:
        model: A ``coremltools.models.MLModel``.
        outputs: Names of its arrays.
        name: What errors call it.
    """

    def run(images: NDArray[np.float32]) -> Arrays:
        try:
            results = [model.predict({"images": images[i : i + 1]}) for i in range(len(images))]
        except Exception as error:
            height, width = images.shape[2:]
            raise WeightsError(
                f"{name}: Core ML fails at {height} x {width} px ({error}); "
                "`openpaf export --fixed-size` makes a file for one size"
            ) from error
        return {
            output: np.concatenate([np.float32(result[output]) for result in results])
            for output in outputs
        }

    return run


def export(
    source: ModelSource,
    path: Path,
    *,
    precision: str,
    size_hw: tuple[int, int] | None,
    calibration: Sequence[NDArray[np.float32]],
) -> None:
    """Write a model as a Core ML package; see :class:`openpaf.engines.table.ExportModule`.

    Raises:
        ValueError: If coremltools, of the extra ``coreml``, is not installed.
    """
    import torch

    spec = source.spec
    with _quiet():
        tools = import_extra("coremltools", "coreml", "to")
        module = wrap_network(load_network(source), spec)
        sides: list[Any] = list(size_hw or spec.size_hw or _EXAMPLE_HW)
        example = torch.zeros(1, 3, *sides)
        traced = torch.jit.trace(module, example, check_trace=False)
        if size_hw is None and spec.method != "single_person":
            sides = [tools.RangeDim(*_SIDES_PX, default=side) for side in sides]
        precisions = {"float32": tools.precision.FLOAT32, "float16": tools.precision.FLOAT16}
        model = tools.convert(
            traced,
            inputs=[tools.TensorType(name="images", shape=tools.Shape((1, 3, *sides)))],
            outputs=[tools.TensorType(name=name) for name in spec.outputs],
            minimum_deployment_target=tools.target.iOS16,  # macOS 13 is of the same year
            compute_precision=precisions[precision],
            skip_model_load=True,
        )
        model.short_description = f"{spec.name}: 2D poses of people, {spec.skeleton.name} joints"
        model.author, model.license = "openpaf", spec.licence
        model.input_description["images"] = "RGB values of 0 to 255, (1, 3, height, width)"
        model.user_defined_metadata[NOTE] = spec.converted().to_metadata()[NOTE]
        model.save(str(path))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars, and remarks on versions that coremltools was not tested with."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
