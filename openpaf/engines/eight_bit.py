"""The 8-bit form of a model: an OpenVINO file beside its weights, made by ``openpaf export``.

It cannot be made on first use as the others are, since the ranges of its integers are learnt from
photos. For the shipped models it lies beside the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openpaf.engines.openvino_engine import read_openvino, read_source
from openpaf.errors import WeightsError
from openpaf.weights.catalog import check_card, find
from openpaf.weights.hashing import sha256_of

_END = "-int8.xml"


def eight_bit_file(model: str | Path | None) -> Path | None:
    """The 8-bit file beside a model's weights, if there is one.

    Args:
        model: As :func:`openpaf.engines.load.load_engine` takes it; no export.

    Raises:
        WeightsError: If the model is missing.
    """
    path = find(model)
    path = path.with_name(path.stem + _END)
    return path if path.is_file() and path.with_suffix(".bin").is_file() else None


def read_eight_bit(model: str | Path | None) -> Any:
    """The 8-bit form of a model, as OpenVINO holds it.

    Raises:
        ValueError: If there is none, or the extra ``openvino`` is not installed.
        WeightsError: If it is damaged, or was made from other weights.
    """
    weights, path = find(model), eight_bit_file(model)
    if path is None:
        raise ValueError(
            f"runtime: 'openvino-int8' needs {weights.stem + _END} and .bin beside {weights}, "
            "found none; `openpaf export --to openvino --precision int8` makes them"
        )
    for file in (path, path.with_suffix(".bin")):
        check_card(file)
    network = read_openvino(path)
    if read_source(network) != sha256_of(weights):
        raise WeightsError(f"{path}: made from other weights than {weights}; export it again")
    return network
