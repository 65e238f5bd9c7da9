"""Modules of extras, imported where they are used."""

from __future__ import annotations

import importlib.util
import sys
import threading
from typing import Any

from openpaf.checks import import_extra as import_extra
from openpaf.checks import install_hint as install_hint

_openvino_cores: list[Any] = []  # one at most, see openvino_core()
_lock = threading.Lock()


#: What each extra brings; those for the tests and the development of openpaf are left out.
EXTRAS: dict[str, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "openvino": ("openvino",),
    "litert": ("ai_edge_litert",),
    "coreml": ("coremltools",),
    "export": ("nncf", "onnx", "onnxruntime", "onnxscript", "openvino"),
    "video": ("av",),
    "demo": ("aiohttp",),
    "heic": ("pillow_heif",),
    "convert": ("h5py", "yaml"),
    "sleap": ("sleap_io",),
    "train": ("msgspec",),
    "tensorboard": ("tensorboard",),
    "analyze": ("matplotlib",),
    "compare": ("matplotlib",),
    "completion": ("shtab",),
    "tables": ("pandas", "pyarrow"),
    "ray": ("pandas", "pyarrow", "ray"),
    "supervision": ("supervision",),
    "rerun": ("rerun",),
    "serve": ("fastapi", "prometheus_client", "python_multipart", "uvicorn"),
}


def need_extra(extra: str, argument: str) -> None:
    """See that an extra is installed, without importing it, before anything that takes long.

    Raises:
        ValueError: If a module of it is not there; the message names the extra.
    """
    for module in EXTRAS[extra]:
        if not installed(module):
            raise ValueError(f"{argument}: {module!r} is not installed; {install_hint(extra)}")


def installed(*modules: str) -> bool:
    """Whether all of the modules can be imported."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in modules)
    except ValueError:  # a module that a test or a program has taken out of sys.modules
        return False


def openvino_core() -> Any:
    """OpenVINO's ``Core``, the same for the whole process, as only one that stays is safe.

    The CPU plugin of a ``Core`` gives the thread that loads it a stack for signals, and frees that
    stack with its last model, in whatever order and thread that happens. Of two plugins that go
    oldest first, the thread keeps a stack that is freed: the next Ctrl-C or SIGTERM that Python
    handles then ends the process with SIGSEGV, or writes over other memory.

    Raises:
        ValueError: If the extra ``openvino`` is not installed.

    Reference:
        SigAltStackSetup in OpenVINO's src/plugins/intel_cpu, as of 2026.4.
    """
    with _lock:
        openvino = import_without_telemetry("openvino", "openvino")
        if not _openvino_cores:
            _openvino_cores.append(openvino.Core())
        return _openvino_cores[0]


def import_without_telemetry(module: str, extra: str) -> Any:
    """Import a package of OpenVINO's, which then reports nothing to its makers.

    Otherwise each ``import openvino`` starts a process that sends a report over the network.

    Raises:
        ValueError: If the extra is not installed.
    """
    name = "openvino_telemetry"
    if name in sys.modules:  # a program that imported it before has decided
        return import_extra(module, extra)
    sys.modules[name] = None  # type: ignore[assignment]  # so its import fails: a stub is taken
    try:
        return import_extra(module, extra)
    finally:
        sys.modules.pop(name, None)
