"""What a measurement was made with: the model and its hash, thresholds, versions, the day."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import openpaf
from openpaf import weights
from openpaf.errors import WeightsError, did_you_mean
from openpaf.estimator import PoseEstimator
from openpaf.evaluation.result_files import files_of
from openpaf.io.files import sha256_of
from openpaf.skeleton import Skeleton
from openpaf.skeleton.names import plain_name
from openpaf.weights.catalog import model_sha256

#: Bottom-up with part affinity fields, and top-down.
METHODS = ("paf", "mask-rcnn", "top-down")
_METHOD_NAMES = {
    "part_affinity": "paf",
    "mask_rcnn": "mask-rcnn",
    "top_down": "top-down",
}


def method_of(model: str) -> str:
    """The method of a model by its name here, e.g. one of :data:`METHODS`.

    Raises:
        WeightsError: If the model is missing or damaged.
    """
    return _name(weights.resolve(model).spec.method)


def _name(method: str) -> str:
    return _METHOD_NAMES.get(method, method.replace("_", "-"))


def default_model(method: str) -> str:
    """The shipped model of a method that is taken where none is named.

    Raises:
        ValueError: If the method is unknown.
        WeightsError: If no model of that method ships.
    """
    if method not in METHODS:
        hint = did_you_mean(method, METHODS)
        raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {method!r}{hint}")
    rows = [row for row in weights.table() if row["shipped"]]
    shipped = [str(row["name"]) for row in rows]
    chosen = [str(row["name"]) for row in rows if _METHOD_NAMES.get(row["method"]) == method]
    for name in (weights.DEFAULT_MODEL, "topdown"):
        if name in chosen:
            return name
    if not chosen:
        raise WeightsError(
            f"method {method!r}: no such model ships; has: {', '.join(shipped) or 'none'}"
        )
    return chosen[0]


def describe(estimator: PoseEstimator, device: str | None = None) -> dict[str, Any]:
    """The settings of an estimator, fit for JSON.

    Args:
        estimator: The estimator, of a named model or a file.
        device: As it was given to it.

    Returns:
        Method, model and its hash, engine, device, size, scales, flip, all thresholds of the
        parser, versions, machine and date.
    """
    assert estimator.source is not None  # a network in memory has no hash
    return {
        "method": _name(estimator.spec.method),
        "model": estimator.source.file.stem,
        "model_sha256": model_sha256(estimator.source),
        "engine": estimator.engine,
        "device": device or "auto",
        "size": estimator.size,
        "scales": list(estimator.scales),
        "flip": estimator.flip,
        "decode": asdict(estimator.config),
        **surroundings(),
    }


def surroundings() -> dict[str, Any]:
    """Versions, machine and date."""
    names = ("torch", "numpy", "opencv-python-headless", "pycocotools", "openvino")
    versions = {"openpaf": openpaf.__version__, "python": platform.python_version()}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # not all are needed by all
            continue
    return {
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def skeleton_of_model(model: str) -> Skeleton:
    """The joints of the people that a model finds.

    Raises:
        WeightsError: If the model is missing or damaged.
    """
    spec = weights.resolve(model).spec
    return spec.result or spec.skeleton


def check_joints(found: Skeleton, measured: Sequence[str], model: str) -> None:
    """See that a model finds the joints that are measured, however they are spelled.

    Raises:
        ValueError: If it lacks some; the message has the names of both.
    """
    names = set(map(plain_name, found.joints))
    missing = [name for name in measured if plain_name(name) not in names]
    if missing:
        raise ValueError(
            f"model {model}: expected the joints {', '.join(measured)}; its {found.name!r} has no "
            f"{', '.join(missing)}; it has {', '.join(found.joints)}"
        )


def results_sha256(path: str | Path) -> str:
    """The SHA-256 of a file of results; of a folder of them, that of all their names and hashes."""
    files = files_of(path)
    if files == [Path(path)]:
        return sha256_of(path)
    lines = [f"{file.name} {sha256_of(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode(errors="replace")).hexdigest()
