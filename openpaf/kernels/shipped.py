"""Kernels that come with the package, half compiled: LLVM's bitcode, optimized for any processor.

Nearly all of the time of compiling a kernel goes into what numba does before LLVM makes machine
code of it. That part depends on the kernel's code and on the version of numba, not on the
processor, so it is done once, by ``.ci/ship_kernels.py``. What is left takes a second.

A file is used only where everything that it depends on is the same; otherwise the kernel is
compiled. Files are code, as those of Python beside them.
"""

from __future__ import annotations

import ast
import hashlib
import io
import logging
import lzma
import pickle
import platform
import sys
import tokenize
from pathlib import Path
from typing import Any

import numba

_log = logging.getLogger(__name__)
_COMPILE = Path(__file__).with_name("compile.py")
_FOLDER = Path(__file__).with_name("bitcode")
_DECORATORS = {"kernel", "part", "leaf", "inlined"}


def shipped_file(name: str) -> Path:
    """The file of a kernel for this kind of processor; it need not exist."""
    return _FOLDER / f"{sys.platform}-{platform.machine().lower()}" / f"{name}.xz"


def load_shipped(name: str, source: Path, options: Any, sig: Any, codegen: Any) -> Any:
    """What :class:`openpaf.kernels.cache.KernelCache` writes for a kernel, from its shipped file.

    Args:
        name: Of the kernel, with that of its module.
        source: Its module.
        options: The options of numba that change machine code.
        sig: The numba signature of the call.
        codegen: Numba's maker of machine code.

    Returns:
        The arguments of ``CompileResult._rebuild``; None if there is no file for this version of
        numba, these options, this code or this signature.
    """
    import llvmlite.binding as llvm

    try:
        known, forms = pickle.loads(lzma.decompress(shipped_file(name).read_bytes()))
        if known != shipped_key(source, options):
            return None
        for form in forms:
            known_sig, library, bitcode, rest = pickle.loads(form)
            if known_sig == sig:
                machine_code = codegen._tm.emit_object(llvm.parse_bitcode(bitcode))
                return ((library, "object", (machine_code, bitcode)), *rest)
    except FileNotFoundError:
        return None
    except Exception as error:  # any error: the kernel is compiled instead
        _log.warning("%s: cannot be used, so it is compiled: %r", shipped_file(name), error)
    return None


def shipped_key(source: Path, options: Any) -> tuple[str, ...]:
    """What a shipped file depends on, beside the kind of processor.

    That is the code of kernels in the module and in those beside it that it imports, and the
    constants that they name. A change of anything else, of a comment too, leaves files valid.
    """
    text = _COMPILE.read_text(encoding="utf-8")
    kernels = [_tokens(text, [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)])]
    constants: list[tuple[str, str]] = []
    seen, todo = {_COMPILE}, [source]
    while todo:
        path = todo.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        text = path.read_text(encoding="utf-8")
        body = ast.parse(text).body
        kernels.append(_tokens(text, [node for node in body if _is_kernel(node)]))
        constants += [
            (name.id, _tokens(text, [node]))
            for node in body
            if isinstance(node, ast.Assign)
            for name in ast.walk(node)
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
        ]
        todo += [path.with_name(name) for name in _files_beside(path, body)]
    words = set(" ".join(kernels).split())
    texts = kernels + [text for name, text in constants if name in words]
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    return numba.__version__, repr(options), digest


def _files_beside(path: Path, body: list[ast.stmt]) -> list[str]:
    """The files in the folder of a module that it imports from, in order."""
    modules = [node.module or "" for node in body if isinstance(node, ast.ImportFrom)]
    split = [module.rpartition(".") for module in modules]
    return [f"{name}.py" for package, _, name in split
            if package.rpartition(".")[2] == path.parent.name]  # fmt: skip


def _is_kernel(node: ast.stmt) -> bool:
    """Whether a statement of a module is a kernel, or a named tuple of one."""
    if isinstance(node, ast.ClassDef):
        return any(isinstance(b, ast.Name) and b.id == "NamedTuple" for b in node.bases)
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(d, ast.Name) and d.id in _DECORATORS for d in node.decorator_list
    )


def _tokens(text: str, nodes: list[ast.stmt]) -> str:
    """The tokens of some statements, the same in every version of Python."""
    lines: set[int] = set()
    for node in nodes:
        assert node.end_lineno is not None  # it was parsed
        start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        lines |= set(range(start, node.end_lineno + 1))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node):
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return " ".join(
        token.string if token.string.strip() else tokenize.tok_name[token.type]
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.start[0] in lines and token.type not in (tokenize.COMMENT, tokenize.NL)
    )
