"""The four steps of the parser one by one, with what belongs together, and what does not.

The oracle: the steps of one picture give what ``decode`` gives. Peaks, limbs, fields and skeletons
of different pictures, and arrays that are no peaks or limbs at all, give people or a ValueError.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import strange

from fuzzing.case import Case
from openpaf import DecodeConfig, Fields, Poses, Skeleton, decode
from openpaf.decoding import (
    Limbs,
    Peaks,
    assemble_people,
    find_peaks,
    match_limbs,
    score_limbs,
)

_SKELETONS = (Skeleton.COCO17, Skeleton.COCO18, Skeleton.BODY25, strange.PAIR)


def prepare() -> None:
    """Compiles the kernels of each step and of the whole parser, so that no case waits for that."""
    for matching in ("greedy", "optimal"):
        _together(strange.strange_fields("noise", 1, 9, 7), DecodeConfig(matching=matching))


def make(rng: np.random.Generator, folder: Path) -> Case:
    fields, other = _fields(rng), _fields(rng)
    config = DecodeConfig(matching=str(rng.choice(["greedy", "optimal"])))
    peaks = find_peaks(fields, config)
    candidates = score_limbs(fields, peaks, config)
    if rng.random() < 0.15:
        return Case("of one picture", lambda: _together(fields, config), is_good=True, strict=True)
    peaks_of_other = find_peaks(other, config)
    candidates_of_other = score_limbs(other, peaks_of_other, config)
    kind = int(rng.integers(5))
    if kind == 0:
        name = "peaks of another picture"
        peaks = peaks_of_other
    elif kind == 1:
        name = "limbs of another picture"
        candidates = candidates_of_other
    elif kind == 2:
        name = "fields of another picture"
        fields = other
    elif kind == 3:
        field, value = _spoiled(rng, peaks)
        name, peaks = f"peaks whose {field} are spoiled", value
    else:
        field, value = _spoiled(rng, candidates)
        name, candidates = f"limbs whose {field} are spoiled", value
    (folder / "input.txt").write_text(f"{fields}\n{peaks}\n{candidates}\n", "utf-8", "replace")
    step = int(rng.integers(3))
    return Case(f"{_STEPS[step].__name__.strip('_')}, {name}",
                lambda: _STEPS[step](fields, peaks, candidates, config), strict=True)  # fmt: skip


def _fields(rng: np.random.Generator) -> Fields:
    h, w = (int(side) for side in rng.integers(1, 20, 2))
    if rng.random() < 0.5:
        return strange.fields_of_people(rng, h, w)
    skeleton = _SKELETONS[int(rng.integers(len(_SKELETONS)))]
    kind = str(rng.choice(["noise", "peaks", "edge", "steps"]))
    return strange.strange_fields(kind, int(rng.integers(2**31)), h, w, skeleton)


def _together(fields: Fields, config: DecodeConfig) -> str | None:
    peaks = find_peaks(fields, config)
    limbs = match_limbs(score_limbs(fields, peaks, config), config, peaks)
    found = assemble_people(peaks, limbs, fields.skeleton, config)
    return None if found == decode(fields, config) else "not what decode gives"


def _assembling(
    fields: Fields, peaks: Peaks, candidates: Limbs, config: DecodeConfig
) -> str | None:
    limbs = match_limbs(candidates, config)
    return _valid(assemble_people(peaks, limbs, fields.skeleton, config))


def _assembling_all(
    fields: Fields, peaks: Peaks, candidates: Limbs, config: DecodeConfig
) -> str | None:
    return _valid(assemble_people(peaks, candidates, fields.skeleton, config))


def _scoring(fields: Fields, peaks: Peaks, candidates: Limbs, config: DecodeConfig) -> str | None:
    limbs = score_limbs(fields, peaks, config)
    if len(limbs.peaks) and not 0 <= limbs.peaks.min() <= limbs.peaks.max() < len(peaks.scores):
        return "limbs between peaks that are not there"
    return _assembling_all(fields, peaks, limbs, config)


_STEPS = (_assembling, _assembling_all, _scoring)


def _valid(poses: Poses) -> str | None:
    try:
        Poses(xy=poses.xy, scores=poses.scores, person_scores=poses.person_scores,
              skeleton=poses.skeleton)  # fmt: skip
    except ValueError as error:
        return f"invalid people: {error}"
    return None


def _spoiled(rng: np.random.Generator, value: Any) -> tuple[str, Any]:
    """Peaks or limbs of which one array is not what it should be."""
    name = str(rng.choice(value._fields))
    array = getattr(value, name)
    choice = int(rng.integers(14))
    spoiled: Any = array.copy()
    if choice == 0:
        spoiled = array[:-1]
    elif choice == 1:
        spoiled = np.concatenate([array, array[-1:], array[-1:]])
    elif choice == 2:
        spoiled = array[:0]
    elif choice == 3:
        spoiled = array.astype(
            str(rng.choice(["f8", "i8", "f2", "u1", "c8", "O", "U9", "?", ">f4"]))
        )
    elif choice == 4:
        spoiled = array[..., None]
    elif choice == 5:
        spoiled = array.ravel()[0] if array.size else np.zeros(())
    elif choice == 6:
        spoiled = None
    elif choice == 7:
        spoiled = array.tolist()
    elif choice == 8:
        spoiled = array[::-1]
    elif array.size:
        number: Any = [-1, -(2**31), 2**31 - 1, 10_000, 0][int(rng.integers(5))]
        if array.dtype.kind == "f":
            number = [np.nan, np.inf, -np.inf, -1.0, 1e38, 0.0][int(rng.integers(6))]
        spoiled.flat[rng.integers(array.size, size=int(rng.integers(1, 4)))] = number
    return name, value._replace(**{name: spoiled})
