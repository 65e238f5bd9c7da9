"""``openpaf doctor``: what is installed here, for people and for reports of bugs."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from openpaf.cli.arguments import add_verb
from openpaf.cli.common import one_line, say, shown, waiting

_PACKAGES = ("torch", "numpy", "numba", "scipy", "cv2", "PIL", "pycocotools", "safetensors")


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb."""
    add_verb(
        verbs,
        "doctor",
        run,
        help="versions, engines, extras, caches and GPU",
        description="Prints versions, engines, extras, caches and GPU of this machine.",
    )


def run(arguments: argparse.Namespace) -> int:
    """Do it; the exit status is 1 if a package that openpaf needs cannot be imported."""
    import openpaf

    say(f"openpaf      {openpaf.__version__}, {shown(Path(openpaf.__file__).parent)}")
    say(f"python       {platform.python_version()}, {shown(sys.executable)}")
    say(f"system       {platform.platform()}, {os.cpu_count()} cores")
    with waiting("importing torch and others"):
        are_there = [_package(name) for name in _PACKAGES]
    say(f"gpu          {_gpu()}")
    say(f"engines      {', '.join(_engines())}")
    _extras()
    _caches()
    for name in sorted(name for name in os.environ if name.startswith("OPENPAF_")):
        say(f"environment  {name}={shown(os.environ[name])}")
    return 0 if all(are_there) else 1


def _package(name: str) -> bool:
    """Say a package's version; whether it can be imported."""
    try:
        module = importlib.import_module(name)
    except Exception as error:  # whatever a broken installation raises
        say(f"{name:<12} cannot be imported: {one_line(error)}")
        return False
    version = getattr(module, "__version__", None)
    if version is None:
        with contextlib.suppress(metadata.PackageNotFoundError):
            version = metadata.version(name)
    say(f"{name:<12} {version or 'version unknown'}")
    return True


def _gpu() -> str:
    try:
        import torch
    except Exception:  # it is named above
        return "unknown without torch"
    if not torch.cuda.is_available():
        return f"none that torch {torch.__version__} can use"
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _engines() -> list[str]:
    """The engines that run the default model here; what ``auto`` took before is in the cache."""
    from openpaf.engines.table import ENGINES
    from openpaf.weights.catalog import resolve

    source = resolve()
    names = []
    for name, entry in ENGINES.items():
        try:
            if entry.load_module().available(source, entry.precision):
                names.append(name)
        except Exception as error:  # whatever a broken installation raises
            names.append(f"{name} is broken ({one_line(error)})")
    return names or ["none runs the default model"]


def _extras() -> None:
    from openpaf.io.extras import EXTRAS, install_hint, installed

    there = [name for name, modules in EXTRAS.items() if installed(*modules)]
    missing = [name for name in EXTRAS if name not in there]
    say(f"extras       {', '.join(there) or 'none'}")
    if missing:
        say(f"not there    {', '.join(missing)} ({install_hint('NAME')})")


def _caches() -> None:
    from openpaf.io.cache import cache_folder

    folder = cache_folder()
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    parent = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    state = "" if os.access(parent, os.W_OK) else ", not writable"
    say(f"cache        {shown(folder)}: {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB{state}")
