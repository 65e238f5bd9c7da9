"""Compiled kernels on disk: numba's own files have no hash, and a damaged one is run."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import config
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from openpaf.io.cache import read_sealed, write_sealed
from openpaf.kernels.shipped import load_shipped

_log = logging.getLogger(__name__)
_waiting = logging.getLogger("openpaf.waiting")  # what a command says when it takes a while
_SUFFIX = ".kernel"
_OPTIONS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")
_MAX_BYTES = 128 << 20  # of a folder


class KernelCache(_Cache):
    """The compiled forms of one function, a file each, which numba asks for before it compiles.

    A file is read from, and written to, the first usable folder: ``__pycache__`` beside the
    source, then ``kernels`` in :func:`openpaf.io.cache.cache_folder`; where ``NUMBA_CACHE_DIR`` is
    set, only there. After any failure the function is compiled as without a cache. Kernels call
    functions of other files, so a change of any of them makes the files stale.

    A file is code, as those in ``__pycache__`` are: write access to these folders is permission to
    run code.

    Args:
        function: The function, not compiled.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._source = Path(function.__code__.co_filename)
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self._enabled = True

    @property
    def cache_path(self) -> str:
        """The first folder; numba prints it."""
        return str(self._folders()[0])

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for a signature; None if it must be compiled."""
        if not self._enabled:
            return None
        target_context.refresh()
        key = self._key(sig, target_context.codegen())
        for folder in self._folders():
            data = read_sealed(folder / self._file(key))
            if data is None:
                continue
            try:
                known, payload = pickle.loads(data)
                if known == key:
                    return CompileResult._rebuild(target_context, *payload)
            except Exception as error:  # any error: the function is compiled instead
                _log.warning("%s: cannot be loaded, so it is compiled again: %r", folder, error)
        return self._load_shipped(key, sig, target_context)

    def _load_shipped(self, key: Any, sig: Any, target_context: Any) -> Any:
        """The function from the package's own file, written to the cache; None without one."""
        payload = load_shipped(self._name, self._source, _options(), sig, target_context.codegen())
        if payload is None:
            if self._source.parent.name == "decoding":
                _announce()
            return None
        self._write(key, dumps((key, payload)))
        return CompileResult._rebuild(target_context, *payload)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write a compiled function; a failure is logged."""
        if not self._enabled or data.lifted or data.library.has_dynamic_globals:
            return
        key = self._key(sig, data.codegen)
        self._write(key, dumps((key, data._reduce())))

    def _write(self, key: Any, content: bytes) -> None:
        reason = None
        for folder in self._folders():
            try:
                write_sealed(folder / self._file(key), content, max_bytes=_MAX_BYTES)
                return
            except OSError as error:
                reason = error.strerror
        _warn_of_loss(reason)

    def enable(self) -> None:
        """Use the files."""
        self._enabled = True

    def disable(self) -> None:
        """Neither read nor write files."""
        self._enabled = False

    def flush(self) -> None:
        """Delete the files of this function."""
        for folder in self._folders():
            for path in folder.glob(f"{self._name}-*{_SUFFIX}"):
                path.unlink(missing_ok=True)

    def _folders(self) -> list[Path]:
        from openpaf.io.cache import cache_folder

        named = getattr(config, "CACHE_DIR", "")
        if named:
            return [Path(named) / "openpaf"]
        return [self._source.parent / "__pycache__", cache_folder() / "kernels"]

    def _file(self, key: Any) -> str:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()
        return f"{self._name}-{digest[:16]}{_SUFFIX}"

    def _key(self, sig: Any, codegen: Any) -> Any:
        """Everything that the machine code depends on; types are compared as numba does."""
        versions = (numba.__version__, sys.version_info[:2])
        return sig, codegen.magic_tuple(), versions, _options(), _sources(self._source)


def _options() -> tuple[str, ...]:
    return tuple(str(getattr(config, name, None)) for name in _OPTIONS)


@functools.cache
def _sources(path: Path) -> str:
    """The SHA-256 of a kernel's source and of the files whose functions it may call."""
    beside = sorted(path.parent.glob("*.py")) if path.parent.name == "decoding" else [path]
    digest = hashlib.sha256()
    for source in [Path(__file__).with_name("compile.py"), *beside]:
        with contextlib.suppress(OSError):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


@functools.cache
def _announce() -> None:
    """Log once that the next call takes long."""
    _waiting.info("compiling the parser, once: up to a minute")


@functools.cache
def _warn_of_loss(reason: str | None) -> None:
    _log.warning(
        "the parser is compiled for this process only, as it cannot be cached (%s): "
        "set OPENPAF_CACHE to a writable folder",
        reason,
    )
