"""Compilation of inner loops: four decorators around ``numba.njit``."""

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

    They import it only to check that it is installed. If a kernel multiplies matrices, which none
    here does, numba imports it then. For versions of numba without that check, nothing is done.
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
    """Compile a function with numba, cached on disk and without the interpreter's lock.

    The cache is :class:`openpaf.kernels.cache.KernelCache`.
    """
    compiled: Any = numba.njit(nogil=True, error_model="numpy")(function)
    if not getattr(config, "DISABLE_JIT", False):  # for debuggers: functions are not compiled
        compiled._cache = KernelCache(function)
    return cast(Function, compiled)


def part(function: Function) -> Function:
    """Compile a function that only kernels call.

    It must not be called from Python: when two kernels that share it are loaded from the cache,
    numba confuses their constants, and fails.
    """
    # Without wrappers for Python and C, which take a tenth of the time of compilation.
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compiled: Any = numba.njit(nogil=True, error_model="numpy", **options)(function)
    return cast(Function, compiled)


def leaf(function: Function) -> Function:
    """Compile a part that allocates no arrays and returns only numbers.

    Its caller holds the arrays, so references to them need not be counted. Each count is an atomic
    operation: parsing nine people took 3,900 of them, and 500 with leaves. Allocating an array in
    a leaf is an error of compilation.
    """
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    if hasattr(CPUTargetOptions, "_nrt"):  # numba does not document it
        options["_nrt"] = False
    compiled: Any = numba.njit(nogil=True, error_model="numpy", **options)(function)
    return cast(Function, compiled)


def inlined(function: Function) -> Function:
    """Compile a function inline into each kernel that calls it.

    For small functions of inner loops: a call counts references of every array argument, which
    took eight times as long as merging two fragments.
    """
    compiled: Any = numba.njit(inline="always", error_model="numpy")(function)
    return cast(Function, compiled)
