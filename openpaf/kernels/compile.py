"""How the library compiles its inner loops: four decorators around ``numba.njit``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core import config
from numba.core.cpu import CPUTargetOptions

from openpaf.kernels.cache import KernelCache

Function = TypeVar("Function", bound=Callable[..., Any])


def _load_numba_without_scipy() -> None:
    """Load numba's array functions without scipy.linalg, which takes a third of the first parse.

    They import it only to see whether it is there; where a kernel multiplies matrices, which none
    of ours does, numba imports it then. Where numba is made otherwise, nothing is done.
    """
    linalg = importlib.import_module("numba.np.linalg")
    ensure_blas = getattr(linalg, "ensure_blas", None)
    if ensure_blas is None or "numba.np.arraymath" in sys.modules:
        return
    linalg.ensure_blas = lambda: None  # type: ignore[attr-defined]
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        linalg.ensure_blas = ensure_blas  # type: ignore[attr-defined]


_load_numba_without_scipy()


def kernel(function: Function) -> Function:
    """Compile a function with numba: kept on disk, and without the interpreter's lock.

    Where it is kept, :class:`openpaf.kernels.cache.KernelCache` says.
    """
    compiled: Any = numba.njit(nogil=True, error_model="numpy")(function)
    if not getattr(config, "DISABLE_JIT", False):  # as a debugger wants it: functions stay Python's
        compiled._cache = KernelCache(function)
    return cast(Function, compiled)


def part(function: Function) -> Function:
    """Compile a function that only kernels call.

    It must not be called from Python: once two kernels that share it are loaded from the cache,
    numba takes the one's constants for the other's, and fails.
    """
    # No entries for callers from Python or C: they take a tenth of the time to compile.
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compiled: Any = numba.njit(nogil=True, error_model="numpy", **options)(function)
    return cast(Function, compiled)


def leaf(function: Function) -> Function:
    """Compile a part that makes no arrays and returns only numbers: it fills those it is given.

    Its caller holds them, so nobody needs to count references to them. Each count is an atomic
    operation: to parse nine people took 3,900 of them, and with leaves 500. To make an array in a
    leaf is an error of compilation.
    """
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    if hasattr(CPUTargetOptions, "_nrt"):  # numba does not document it
        options["_nrt"] = False
    compiled: Any = numba.njit(nogil=True, error_model="numpy", **options)(function)
    return cast(Function, compiled)


def inlined(function: Function) -> Function:
    """Compile a function into each kernel that calls it.

    For the small functions of inner loops: a call counts the references of every array that it
    passes, which took eight times as long as merging two fragments does.
    """
    compiled: Any = numba.njit(inline="always", error_model="numpy")(function)
    return cast(Function, compiled)
