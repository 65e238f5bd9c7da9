"""Files of skeletons: TOML or JSON with the names of joints, or the category of a COCO file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from openpaf.io.categories import choose_category
from openpaf.io.files import write_text
from openpaf.io.json_files import read_json
from openpaf.io.toml_files import read_toml
from openpaf.skeleton import Skeleton, known_sigmas
from openpaf.skeleton.names import flip_pairs_of

_KEYS = ("name", "joints", "limbs", "flip_pairs", "oks_sigmas")

#: From the names of joints to their OKS sigmas.
SigmasOf = Callable[[Sequence[str]], Sequence[float]]


def read_skeleton(
    path: str | os.PathLike[str],
    *,
    category: str | None = None,
    oks_sigmas: SigmasOf | None = None,
) -> Skeleton:
    """Read a skeleton from a TOML or JSON file.

    A file has ``joints``, a list of names, and may have ``name`` (that of the file if it has none),
    ``limbs`` and ``flip_pairs``, pairs of names or of 0-based numbers, and ``oks_sigmas``. A JSON
    file may also be a category of COCO (``keypoints``, ``skeleton``), or annotations that have one.

    Args:
        path: The file.
        category: Which category of annotations; as for
            :func:`openpaf.io.categories.choose_category`.
        oks_sigmas: Gives the OKS sigmas of a file that has none. If None, or where all joints are
            COCO's, COCO's constants, and 0.05 each for other joints.

    Returns:
        The skeleton; its flip pairs follow from the names where the file has none.

    Raises:
        ValueError: If the file cannot be read or is no skeleton; the message names file and joint.

    Example:
        >>> import pathlib, tempfile
        >>> import openpaf
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "arrow.toml"
        >>> _ = path.write_text('''
        ... joints = ["tip", "left_barb", "right_barb"]
        ... limbs = [["tip", "left_barb"], ["tip", "right_barb"]]
        ... oks_sigmas = [0.05, 0.05, 0.05]
        ... ''')
        >>> openpaf.read_skeleton(path).flip_pairs
        ((1, 2),)
    """
    path = Path(path)
    try:
        values = read_toml(path) if path.suffix.lower() == ".toml" else read_json(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        if not isinstance(values, Mapping):
            raise ValueError("expected a skeleton, with 'joints'")
        if "joints" in values:
            return _own(values, path.stem, oks_sigmas)
        found = (
            choose_category(values["categories"], category) if "categories" in values else values
        )
        return _of_category(found, path.stem, oks_sigmas)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_skeleton(skeleton: Skeleton, path: str | os.PathLike[str]) -> Path:
    """Write a skeleton with the names of its joints, as TOML, or as JSON by the file's ending.

    Returns:
        The path.

    Raises:
        OSError: If the file cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> import openpaf
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> path = openpaf.write_skeleton(openpaf.Skeleton.MPI15, folder / "mpi15.toml")
        >>> openpaf.read_skeleton(path) == openpaf.Skeleton.MPI15
        True
    """
    path = Path(path)
    values = {
        "name": skeleton.name,
        "joints": list(skeleton.joints),
        "limbs": _by_name(skeleton, skeleton.limbs),
        "flip_pairs": _by_name(skeleton, skeleton.flip_pairs),
        "oks_sigmas": list(skeleton.oks_sigmas),
    }
    if path.suffix.lower() == ".json":
        write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    else:
        write_text(path, "".join(_toml_lines(values)))
    return path


def _by_name(skeleton: Skeleton, pairs: Sequence[tuple[int, int]]) -> list[list[str]]:
    return [[skeleton.joints[a], skeleton.joints[b]] for a, b in pairs]


def _toml_lines(values: Mapping[str, Any]) -> list[str]:
    """A pair a line; text and numbers of JSON are TOML's, too."""
    lines = []
    for key, value in values.items():
        if value and isinstance(value, list) and isinstance(value[0], list):
            pairs = "".join(f"    {json.dumps(pair, ensure_ascii=False)},\n" for pair in value)
            lines.append(f"{key} = [\n{pairs}]\n")
        else:
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}\n")
    return lines


def _own(values: Mapping[str, Any], stem: str, sigmas_of: SigmasOf | None) -> Skeleton:
    unknown = sorted(set(values) - set(_KEYS))
    if unknown:
        raise ValueError(f"unknown keys {unknown}, expected some of {', '.join(_KEYS)}")
    name, joints = values.get("name", stem), values["joints"]
    if not isinstance(joints, list) or not all(isinstance(joint, str) for joint in joints):
        raise ValueError(f"joints of {name!r}: expected a list of names, got {joints!r}")
    pairs = {
        key: [_pair(pair, key, name, joints) for pair in _list(values, key, name)]
        for key in ("limbs", "flip_pairs")
        if key in values
    }
    return Skeleton(
        name=name,
        joints=tuple(joints),
        limbs=tuple(pairs.get("limbs", ())),
        flip_pairs=tuple(pairs.get("flip_pairs", flip_pairs_of(joints))),
        oks_sigmas=tuple(values.get("oks_sigmas") or _sigmas(joints, sigmas_of)),
    )


def _of_category(category: Mapping[str, Any], stem: str, sigmas_of: SigmasOf | None) -> Skeleton:
    named = {"name": stem, **category}
    skeleton = Skeleton.from_coco_category(named)
    if sigmas_of is None or category.get("oks_sigmas"):
        return skeleton
    sigmas = tuple(_sigmas(skeleton.joints, sigmas_of))
    return Skeleton.from_coco_category(named, oks_sigmas=sigmas)


def _sigmas(joints: Sequence[str], sigmas_of: SigmasOf | None) -> Sequence[float]:
    known = known_sigmas(joints)
    if known is not None:
        return known
    return [0.05] * len(joints) if sigmas_of is None else sigmas_of(joints)


def _list(values: Mapping[str, Any], key: str, name: str) -> list[Any]:
    if not isinstance(values[key], list):
        raise ValueError(f"{key} of {name!r}: expected a list of pairs of joints")
    return list(values[key])


def _pair(pair: Any, key: str, name: str, joints: Sequence[str]) -> tuple[int, int]:
    """A pair of joints by names or 0-based numbers, as numbers."""
    if not isinstance(pair, list) or len(pair) != 2:
        raise ValueError(f"{key} of {name!r}: expected pairs of joints, got {pair!r}")
    unknown = [joint for joint in pair if isinstance(joint, str) and joint not in joints]
    if unknown:
        raise ValueError(
            f"{key} of {name!r}: joint {unknown[0]!r} is none of {', '.join(map(str, joints))}"
        )
    a, b = (joints.index(joint) if isinstance(joint, str) else joint for joint in pair)
    return a, b
