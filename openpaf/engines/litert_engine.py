"""LiteRT, the successor of TensorFlow Lite, of the extra ``litert``: its files, on the CPU.

Only files that were exported for it run: to convert a model takes a minute, so that none is
converted for ``"auto"``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import threading
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.base import Arrays, Run, check_cpu, last_line, quiet
from openpaf.engines.wrapper import wrap_network
from openpaf.errors import WeightsError
from openpaf.io.extras import import_extra
from openpaf.weights.exported import LITERT_NOTE, NOTE, read_litert
from openpaf.weights.model_files import load_network
from openpaf.weights.spec import ModelSource

_EXAMPLE_HW = (256, 344)


def available(source: ModelSource, precision: str) -> bool:
    """Never, for models that are no files of LiteRT."""
    return False


def load(source: ModelSource, device: str | None, *, threads: int | None, precision: str) -> Run:
    """A model, ready to run; see :class:`openpaf.engines.table.EngineModule`."""
    check_cpu("litert", device)
    if source.kind != "litert":
        raise ValueError(
            "engine: 'litert' runs files of `openpaf export --to litert`, "
            f"got the model {source.spec.name!r}"
        )
    content = read_litert(source.file)[0]
    return run_litert(content, str(source.file), source.spec.outputs, threads=threads)


def export(
    source: ModelSource,
    path: Path,
    *,
    precision: str,
    size_hw: tuple[int, int] | None,
    calibration: Sequence[NDArray[np.float32]],
) -> None:
    """Write a model as a LiteRT file; see :class:`openpaf.engines.table.ExportModule`.

    The description of the model is a zip archive after the file's end, as TensorFlow Lite's
    metadata have files that belong to a model.

    Raises:
        ValueError: If litert-torch is not installed.
    """
    import torch

    with quiet(), _without_remarks():
        try:
            litert_torch: Any = importlib.import_module("litert_torch")
        except ImportError as error:
            raise ValueError(
                "to: litert_torch, which writes LiteRT's files, is not installed; "
                "pip install litert-torch"
            ) from error
        module = wrap_network(load_network(source), source.spec)
        example = torch.zeros(1, 3, *(size_hw or source.spec.size_hw or _EXAMPLE_HW))
        litert_torch.convert(module, (example,)).export(str(path))
    note = json.loads(source.spec.converted().to_metadata()[NOTE])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(LITERT_NOTE, json.dumps(note))


@contextlib.contextmanager
def _without_remarks() -> Iterator[None]:
    """Without what litert-torch and its parts say of GPUs and versions."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def run_litert(
    content: bytes, name: str, outputs: Sequence[str], *, threads: int | None = None
) -> Run:
    """A model in LiteRT's form, ready to run; any number of threads may call it, one at a time.

    Args:
        content: The file.
        name: What errors call it.
        outputs: Names of its arrays, in their order.
        threads: Threads of a call; all cores' number is LiteRT's own choice if None.

    Raises:
        WeightsError: If the file cannot be run.
    """
    interpreter = import_extra("ai_edge_litert.interpreter", "litert").Interpreter
    try:
        model = interpreter(model_content=content, num_threads=threads)
        model.allocate_tensors()
        signature = model.get_signature_runner()
        (images_in,) = signature.get_input_details().values()
        # By the number at the end of output_0, output_1 ..., which is the order of the network's.
        details = signature.get_output_details()
        places = [details[key]["index"] for key in sorted(details, key=_number)]
        if len(places) != len(outputs):
            raise RuntimeError(f"expected {len(outputs)} outputs, found {len(places)}")
    except (KeyError, RuntimeError, ValueError) as error:
        raise WeightsError(f"{name}: cannot be run by LiteRT ({last_line(error)})") from error
    lock = threading.Lock()
    shape = tuple(int(side) for side in images_in["shape"])

    def run_one(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        nonlocal shape
        if image.shape != shape:
            shape = ()  # none, until all of it has been laid out
            model.resize_tensor_input(images_in["index"], image.shape)
            model.allocate_tensors()
            shape = image.shape
        model.set_tensor(images_in["index"], image)
        model.invoke()
        return [model.get_tensor(place) for place in places]  # copies

    def run(images: NDArray[np.float32]) -> Arrays:
        with lock:
            try:
                # One by one, as many layers are written for one image.
                results = [run_one(images[i : i + 1]) for i in range(len(images))]
            except (RuntimeError, ValueError) as error:
                height, width = images.shape[2:]
                raise WeightsError(
                    f"{name}: LiteRT fails at {height} x {width} px ({last_line(error)}); "
                    "`openpaf export --fixed-size` makes a file for one size"
                ) from error
        arrays = [np.concatenate(of_output) for of_output in zip(*results, strict=True)]
        return dict(zip(outputs, arrays, strict=True))

    return run


def _number(key: str) -> int:
    return int(key.rpartition("_")[2])
