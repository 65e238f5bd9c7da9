"""Makes openpaf/kernels/bitcode/: the kernels, compiled as far as no processor need be known.

    python .ci/ship_kernels.py

Run it with the version of numba of constraints.txt, on each platform to ship for, after a change
of a kernel; ``tests/test_shipped_kernels.py`` fails until then. It takes a minute.
"""

from __future__ import annotations

import lzma
import os
import pickle
import re
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Loops are vectorized for 256 bits, which nearly every processor since 2013 has; others run the
# same code with narrower instructions. Machine code is made for the processor at hand, later.
X86 = "avx,avx2,bmi,bmi2,cx16,f16c,fma,lzcnt,movbe,popcnt,sse4.1,sse4.2,ssse3"


def main() -> None:
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp()
    if "x86" in os.uname().machine:
        os.environ["NUMBA_CPU_NAME"] = "x86-64-v3"
        os.environ["NUMBA_CPU_FEATURES"] = ",".join(f"+{name}" for name in X86.split(","))
    sys.path.insert(0, str(ROOT))
    from openpaf.cli.warm_up import kernels, prepare_kernels
    from openpaf.kernels import cache, shipped

    cache.load_shipped = lambda *_: None  # type: ignore[assignment]
    _keep_assembly()
    prepare_kernels()
    for kernel in kernels():
        own = kernel._cache
        forms = [_form(result) for result in kernel.overloads.values()]
        content = pickle.dumps((shipped.shipped_key(own._source, cache._options()), forms))
        file = shipped.shipped_file(own._name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(lzma.compress(content, preset=9))
        sys.stdout.write(f"{file.relative_to(ROOT)}: {file.stat().st_size} bytes\n")


def _keep_assembly() -> None:
    """Keep the optimized assembly of each library: to make machine code changes it."""
    from numba.core.codegen import CPUCodeLibrary

    finalize = CPUCodeLibrary._finalize_final_module

    def keep_and_finalize(library: Any) -> None:
        library.kept_assembly = str(library._final_module)
        finalize(library)

    CPUCodeLibrary._finalize_final_module = keep_and_finalize


def _form(result: Any) -> bytes:
    """A compiled function as :func:`openpaf.kernels.shipped.load_shipped` reads it."""
    import llvmlite.binding as llvm
    from numba.core.serialize import dumps

    module = llvm.parse_assembly(_without_paths(result.library.kept_assembly))
    (name, *_), *rest = result._reduce()
    rest[5] = ""  # the source with its types, for reading only
    content: bytes = dumps((result.signature.args, name, module.as_bitcode(), tuple(rest)))
    return _without_paths(content.decode("latin-1")).encode("latin-1")


def _without_paths(text: str) -> str:
    """The text with the folders of this machine made unreadable; no length in it changes."""
    folders = {str(ROOT), sysconfig.get_path("purelib"), sys.prefix, sys.base_prefix}
    for folder in sorted(folders, key=len, reverse=True):
        text = re.sub(re.escape(folder), "~" * len(folder), text)
    return text


if __name__ == "__main__":
    main()
