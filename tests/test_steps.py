"""The steps of the parser, called one by one, refuse what does not belong together.

What they do not refuse goes to kernels that look at no index: wrong ones would end the process,
so those that are tried by the hundred are tried in a process of their own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from openpaf import DecodeConfig, Fields, Grid, Poses, Skeleton, encode_fields
from openpaf.decoding import (
    Limbs,
    Peaks,
    assemble_people,
    decode,
    find_peaks,
    match_limbs,
    score_limbs,
)

COCO = Skeleton.COCO17
_N_HOSTILE = 500


def fields_of(n_people: int, size: int = 368, skeleton: Skeleton = COCO) -> Fields:
    rng = np.random.default_rng(n_people)
    xy = rng.uniform(20, size - 28, (n_people, skeleton.n_joints, 2))
    keypoints = np.concatenate([xy, np.ones((*xy.shape[:2], 1))], axis=2)
    return encode_fields(Poses.from_keypoints(keypoints, skeleton), (size, size))


@pytest.fixture(scope="module")
def crowd() -> tuple[Fields, Peaks, Limbs, Limbs]:
    fields = fields_of(20)
    peaks = find_peaks(fields)
    candidates = score_limbs(fields, peaks)
    return fields, peaks, candidates, match_limbs(candidates)


def test_limbs_of_another_image(crowd: tuple[Fields, Peaks, Limbs, Limbs]) -> None:
    _, _, candidates, limbs = crowd
    one = find_peaks(fields_of(1))
    with pytest.raises(ValueError, match=r"^limbs\.peaks: expected indices of 17 peaks, got \d+"):
        assemble_people(one, limbs, COCO)
    with pytest.raises(ValueError, match=r"^candidates\.peaks: expected indices of 17 peaks"):
        match_limbs(candidates, DecodeConfig(matching="exact"), one)
    few = find_peaks(fields_of(19))
    small = limbs._replace(peaks=np.minimum(limbs.peaks, len(few.scores) - 1))
    with pytest.raises(ValueError, match="are they limbs of another image"):
        assemble_people(few, small, COCO)


def test_peaks_of_another_image(crowd: tuple[Fields, Peaks, Limbs, Limbs]) -> None:
    fields = crowd[0]
    large = find_peaks(fields_of(3, size=640))
    with pytest.raises(ValueError, match=r"^peaks\.xy: expected px inside the fields, up to \[37"):
        score_limbs(fields, large)
    body = find_peaks(fields_of(3, skeleton=Skeleton.COCO18))
    with pytest.raises(ValueError, match=r"^peaks\.starts: expected shape \(18,\), for the 17"):
        score_limbs(fields, body)


_BAD_PEAKS: list[tuple[str, Callable[[Peaks], Any]]] = [
    (r"peaks: expected Peaks, got tuple", tuple),
    (r"peaks\.xy: expected an array of float32, got list", lambda p: p._replace(xy=[[1, 2]])),
    (r"peaks\.xy: expected an array of float32, got float64",
     lambda p: p._replace(xy=p.xy.astype(float))),
    (r"peaks\.xy: expected shape", lambda p: p._replace(xy=p.xy[1:])),
    (r"peaks\.xy: expected finite numbers, got nan", lambda p: p._replace(xy=p.xy * np.nan)),
    (r"peaks\.scores: expected finite numbers >= 0, got -",
     lambda p: p._replace(scores=-p.scores)),
    (r"peaks\.scores: expected numbers > 0", lambda p: p._replace(scores=p.scores * 0)),
    (r"peaks\.starts: expected ascending numbers from 0 to \d+, the number of peaks",
     lambda p: p._replace(starts=p.starts[::-1])),
    (r"peaks\.starts: expected ascending numbers", lambda p: p._replace(starts=p.starts + 1)),
    (r"peaks\.starts: expected an array of int32, got int64",
     lambda p: p._replace(starts=p.starts.astype(np.int64))),
]  # fmt: skip


@pytest.mark.parametrize(("said", "spoil"), _BAD_PEAKS)
def test_spoilt_peaks_are_named(
    said: str, spoil: Callable[[Peaks], Any], crowd: tuple[Fields, Peaks, Limbs, Limbs]
) -> None:
    fields, peaks, _, limbs = crowd
    with pytest.raises(ValueError, match=f"^{said}"):
        score_limbs(fields, spoil(peaks))
    with pytest.raises(ValueError, match=f"^{said}"):
        assemble_people(spoil(peaks), limbs, COCO)


_BAD_LIMBS: list[tuple[str, Callable[[Limbs], Any]]] = [
    (r": expected Limbs, got NoneType", lambda m: None),
    (r"\.types: expected an array of int32, got int64",
     lambda m: m._replace(types=m.types.astype(np.int64))),
    (r"\.types: expected indices of \d+ .*, got -1", lambda m: m._replace(types=m.types * 0 - 1)),
    (r"\.peaks: expected shape", lambda m: m._replace(peaks=m.peaks[:, :1])),
    (r"\.peaks: expected indices of \d+ peaks, got -",
     lambda m: m._replace(peaks=-m.peaks)),
    (r"\.scores: expected finite numbers >= 0, got nan",
     lambda m: m._replace(scores=m.scores * np.nan)),
    (r"\.weights: expected shape", lambda m: m._replace(weights=m.weights[:-1])),
    (r"\.weights: expected finite numbers >= 0, got inf",
     lambda m: m._replace(weights=m.weights * np.float32(np.inf))),
]  # fmt: skip


@pytest.mark.parametrize(("said", "spoil"), _BAD_LIMBS)
def test_spoilt_limbs_are_named(
    said: str, spoil: Callable[[Limbs], Any], crowd: tuple[Fields, Peaks, Limbs, Limbs]
) -> None:
    _, peaks, candidates, limbs = crowd
    with pytest.raises(ValueError, match=f"^candidates{said}"):
        match_limbs(spoil(candidates))
    with pytest.raises(ValueError, match=f"^limbs{said}"):
        assemble_people(peaks, spoil(limbs), COCO)


def test_indices_that_would_need_all_memory(crowd: tuple[Fields, Peaks, Limbs, Limbs]) -> None:
    candidates = crowd[2]
    types = candidates.types.copy()
    types[-1] = 2**31 - 2
    with pytest.raises(ValueError, match=r"^candidates\.types, candidates\.peaks: expected limbs"):
        match_limbs(candidates._replace(types=types))
    with pytest.raises(ValueError, match=r"^candidates\.types: expected ascending limb types"):
        match_limbs(candidates._replace(types=candidates.types[::-1]))


def test_read_only_and_strided_arrays_are_taken(crowd: tuple[Fields, Peaks, Limbs, Limbs]) -> None:
    fields, peaks, _, _ = crowd
    strided = Peaks(*(np.repeat(array, 2, axis=0)[::2] for array in peaks))
    for array in strided:
        array.flags.writeable = False
    candidates = score_limbs(fields, strided)
    limbs = match_limbs(candidates, None, strided)
    assert assemble_people(strided, limbs, COCO) == decode(fields)


def test_no_hostile_arrays_end_the_process() -> None:
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    n_refused, n_people = map(int, done.stdout.split())
    assert n_refused > _N_HOSTILE // 2
    assert n_people > 0


def hostile() -> None:
    """Call the steps with arrays of different images, cut, shuffled, and of random bits."""
    rng = np.random.default_rng(0)
    scenes = [fields_of(n, size) for n, size in ((1, 64), (2, 368), (20, 368), (9, 640))]
    empty = Fields(
        heatmaps=np.zeros((18, 4, 4), np.float32), pafs=np.zeros((COCO.n_limbs, 2, 4, 4)),
        heatmap_grid=Grid(8), paf_grid=Grid(8), skeleton=COCO,
    )  # fmt: skip
    scenes.append(empty)
    peaks = [find_peaks(fields) for fields in scenes]
    limbs = [score_limbs(fields, some) for fields, some in zip(scenes, peaks, strict=True)]
    n_refused = n_people = 0
    for _ in range(_N_HOSTILE):
        i, j = rng.integers(0, len(scenes), 2)
        some_peaks, some_limbs = spoilt(peaks[j], rng), spoilt(limbs[i], rng)
        for step in (
            lambda i=i, p=some_peaks: score_limbs(scenes[i], p),
            lambda m=some_limbs: match_limbs(m),
            lambda m=some_limbs: match_limbs(m, DecodeConfig(matching="greedy")),
            lambda p=some_peaks, m=some_limbs: assemble_people(p, m, COCO),
        ):
            try:
                result = step()
            except ValueError:
                n_refused += 1
            else:
                n_people += len(result) if isinstance(result, Poses) else 0
    sys.stdout.write(f"{n_refused} {n_people}")


def spoilt(arrays: Any, rng: np.random.Generator) -> Any:
    """One of the arrays cut, shuffled, moved, or of random bits; now and then none."""
    name = arrays._fields[rng.integers(len(arrays))]
    array = getattr(arrays, name)
    bits = rng.integers(0, 256, array.nbytes, np.uint8).view(array.dtype).reshape(array.shape)
    few = array.copy()
    few.flat[rng.integers(0, max(array.size, 1), 2) if array.size else []] = bits.flat[:1]
    changed = [
        array, array[: len(array) // 2], rng.permutation(array), array + 1, array - 1, array[::-1],
        array * 1000, bits, few, np.concatenate([array, array]), array.astype(np.float64),
    ]  # fmt: skip
    return arrays._replace(**{name: changed[rng.integers(len(changed))]})


if __name__ == "__main__":
    hostile()
