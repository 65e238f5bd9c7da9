"""On the module path of a process, its reading of an image whose name has "kills" kills it, and of
one whose name has "hangs" never ends.

As a decoder that is given a damaged file, or memory that is short, does.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from typing import Any

_MODULE = "openpaf.bulk.process"


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_change(module: Any) -> None:
            execute(module)
            decode = module.decode_image

            def killing(source: Any, shown_path: str) -> Any:
                if "kills" in shown_path:
                    os.kill(os.getpid(), signal.SIGKILL)
                while "hangs" in shown_path:
                    time.sleep(1)
                return decode(source, shown_path)

            module.decode_image = killing

        spec.loader.exec_module = execute_and_change  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Finder())
