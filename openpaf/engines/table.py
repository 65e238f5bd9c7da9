"""The table of engines: a new one is a file beside these and a row here.

From it follow the names on the command line, what ``"auto"`` measures, and what ``openpaf export``
writes.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.base import Engine, Run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from openpaf.weights.spec import ModelSource


class EngineModule(Protocol):
    """What the file of an engine holds."""

    def available(self, source: ModelSource, precision: str) -> bool:
        """Whether the engine can run a model here, on the CPU: installed, and able to."""

    def load(
        self, source: ModelSource, device: str | None, *, threads: int | None, precision: str
    ) -> Run:
        """The model, ready to run.

        Raises:
            ValueError: If the engine or the device cannot be had here.
            WeightsError: If the model is damaged.
        """


class ExportModule(EngineModule, Protocol):
    """What the file of an engine holds besides if it reads files of its own."""

    def export(
        self,
        source: ModelSource,
        path: Path,
        *,
        precision: str,
        size_hw: tuple[int, int] | None,
        calibration: Sequence[NDArray[np.float32]],
    ) -> None:
        """Write the model as a file of the engine."""


@dataclass(frozen=True, kw_only=True)
class EngineEntry:
    """A row of the table.

    Args:
        module: Name of the module, an :class:`EngineModule`.
        precision: One of :data:`PRECISIONS`: what it calculates in.
        max_difference: Root mean square difference of its arrays from torch's, as a share of
            their root mean square, above which ``"auto"`` leaves it out.
        suffix: Of the files that ``openpaf export`` writes for it; None if it has none.
        exports: The precisions that these files are written in.
        pair_exports: Those for the networks of top-down pairs.
        fixed_sizes: Whether the files of a pair are for one size of input each.
        platform: The ``sys.platform`` that its files run on; any if None.
    """

    module: str
    precision: str = "float32"
    max_difference: float = 0.1
    suffix: str | None = None
    exports: tuple[str, ...] = ("float32",)
    pair_exports: tuple[str, ...] = ("float32",)
    fixed_sizes: bool = False
    platform: str | None = None

    @property
    def runs_here(self) -> bool:
        """Whether its files can be run on this platform, if its extra is installed."""
        return self.platform in (None, sys.platform)

    def load_module(self) -> EngineModule:
        """Import the module."""
        return cast(EngineModule, importlib.import_module(self.module))


#: What files are written in.
PRECISIONS = ("float32", "float16", "bfloat16", "int8")
#: By name; "torch" first, with whose arrays those of the others are compared.
ENGINES: dict[str, EngineEntry] = {
    "torch": EngineEntry(module="openpaf.engines.torch_engine"),
    "onnx": EngineEntry(
        module="openpaf.engines.onnx_engine", suffix=".onnx", exports=("float32", "int8")
    ),
    "openvino": EngineEntry(
        module="openpaf.engines.openvino_engine",
        suffix=".xml",
        exports=("float32", "bfloat16", "int8"),
        pair_exports=("float32", "bfloat16", "int8"),
    ),
    "litert": EngineEntry(
        module="openpaf.engines.litert_engine", suffix=".tflite", fixed_sizes=True
    ),
    "coreml": EngineEntry(
        module="openpaf.engines.coreml_engine",
        suffix=".mlpackage",
        exports=("float32", "float16"),
        pair_exports=("float32", "float16"),
        fixed_sizes=True,
        platform="darwin",
    ),
    "openvino-bf16": EngineEntry(module="openpaf.engines.openvino_engine", precision="bfloat16"),
    "openvino-int8": EngineEntry(
        module="openpaf.engines.openvino_engine", precision="int8", max_difference=0.3
    ),
}


def engine_names() -> tuple[str, ...]:
    """What ``engine=`` takes: ``"auto"`` and the engines of the table."""
    return ("auto", *ENGINES)


def export_formats() -> dict[str, str]:
    """The suffix of each kind of file that ``openpaf export`` writes."""
    return {name: entry.suffix for name, entry in ENGINES.items() if entry.suffix}


def load_named(
    source: ModelSource, name: str, device: str | None = None, *, threads: int | None = None
) -> Engine:
    """Load a model into an engine of the table; the arguments are those of ``load_engine``."""
    entry = ENGINES[name]
    module: Any = entry.load_module()
    return Engine(name, module.load(source, device, threads=threads, precision=entry.precision))
