"""Modules of extras, imported where they are used."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any


def import_extra(module: str, extra: str, argument: str = "engine") -> Any:
    """Import a module that only an extra installs.

    Args:
        module: Its name, e.g. ``"openvino"``.
        extra: The extra's name, e.g. ``"openvino"`` of ``openpaf[openvino]``.
        argument: What the error names as the reason.

    Raises:
        ValueError: If it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"{argument}: {module!r} is not installed; pip install 'openpaf[{extra}]'"
        ) from error


def installed(*modules: str) -> bool:
    """Whether all of the modules can be imported."""
    try:
        return all(importlib.util.find_spec(name) is not None for name in modules)
    except ValueError:  # a module that a test or a program has taken out of sys.modules
        return False
