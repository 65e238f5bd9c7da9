"""Seeded strange fields, grids, arrays and thresholds, and what the parser must make of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scenes import random_people

from openpaf import DecodeConfig, Fields, Grid, Poses, Skeleton, encode_fields
from openpaf.decoding.strides import thinned

KINDS = ("noise", "constant", "zeros", "negative", "huge", "tiny", "peaks", "steps", "edge")
#: Kinds that must be refused, or are no rectangle of random cells.
MORE_KINDS = (
    "people", "denormal", "gaps", "one_cell", "one_row", "one_column", "full_size",
    "nan", "infinity", "empty", "shape", "skeleton", "dtype", "config",
)  # fmt: skip
LARGEST = np.finfo(np.float64).max
LEAST = 5e-324

PAIR = Skeleton(
    name="pair",
    joints=("a", "b", "c"),
    limbs=((0, 1), (1, 2), (0, 2)),
    oks_sigmas=(0.05, 0.1, 0.05),
)
_SKELETONS = (
    PAIR,
    Skeleton(name="lone", joints=("a",), limbs=(), oks_sigmas=(0.05,)),
    Skeleton(name="loose", joints=("a", "b", "c"), limbs=((0, 1),), oks_sigmas=(1e-3, 1.0, 1e3)),
    Skeleton(  # more joints than bits of a word
        name="centipede",
        joints=tuple(f"leg {k}" for k in range(70)),
        limbs=(*((k, k + 1) for k in range(69)), (0, 69), (3, 66)),
        oks_sigmas=(0.05,) * 70,
    ),
    Skeleton.COCO17,
    Skeleton.COCO18,
    Skeleton.BODY25,
    Skeleton.MPI15,
)
_POSITIVE = ("peak_threshold", "weak_peak_threshold", "sigma_px", "score_size_px")
_SHARES = ("peak_support", "split_flatness", "limb_fraction", "min_person_score")
_NOT_NEGATIVE = (
    "limb_point_threshold", "limb_threshold", "exchange_gain", "merge_distance", "merge_size_px",
    "share_threshold", "complete_reach", "complete_distance", "single_threshold", "duplicate_oks",
)  # fmt: skip
_WHOLE = {"max_peaks": 1, "limb_samples": 2, "n_fallbacks": 0, "min_joints": 1}
_CHOICES = {
    "matching": ("greedy", "optimal"),  # "exact" takes seconds, as it says
    "graph": ("tree", "tree", "redundant", "redundant", "full"),  # which most skeletons cannot
}


class Case(NamedTuple):
    """Arguments of :class:`Fields`, of its two grids, and of :class:`DecodeConfig`; unchecked."""

    kind: str
    heatmaps: Any
    pafs: Any
    grids: tuple[tuple[Any, ...], tuple[Any, ...]]
    skeleton: Skeleton
    config: dict[str, Any]

    def fields(self) -> Fields:
        heatmap_grid, paf_grid = (Grid(*arguments) for arguments in self.grids)
        return Fields(
            heatmaps=self.heatmaps,
            pafs=self.pafs,
            heatmap_grid=heatmap_grid,
            paf_grid=paf_grid,
            skeleton=self.skeleton,
        )


def strange_fields(kind: str, seed: int, h: int, w: int, skeleton: Skeleton = PAIR) -> Fields:
    """Fields of one of KINDS, on grids of stride 8 with random offsets."""
    rng = np.random.default_rng(seed)
    heatmaps, pafs = _strange_arrays(kind, rng, h, w, skeleton)
    return Fields(
        heatmaps=heatmaps,
        pafs=pafs,
        heatmap_grid=Grid(8, rng.uniform(-8, 8)),
        paf_grid=Grid(8, rng.uniform(-8, 8)),
        skeleton=skeleton,
    )


def fields_of_people(rng: np.random.Generator, h: int, w: int) -> Fields:
    """Fields of people with a little noise, of h x w cells of 8 px."""
    people = random_people(int(rng.integers(1, 4)), (8 * h, 8 * w), rng, height_px=(40, 200))
    fields = encode_fields(people, (8 * h, 8 * w))
    noise = rng.choice([0.0, 0.01])
    return Fields(
        heatmaps=fields.heatmaps + rng.normal(0, noise, fields.heatmaps.shape).astype(np.float32),
        pafs=fields.pafs + rng.normal(0, noise, fields.pafs.shape).astype(np.float32),
        heatmap_grid=fields.heatmap_grid,
        paf_grid=fields.paf_grid,
        skeleton=fields.skeleton,
    )


def strange_case(seed: int, i: int) -> Case:
    """The i-th case of a seed, whatever the others are."""
    rng = np.random.default_rng([seed, i])
    kinds = KINDS + MORE_KINDS
    kind = kinds[i % len(kinds)]
    skeleton = _SKELETONS[rng.integers(len(_SKELETONS))]
    h, w = (int(side) for side in rng.integers(1, 17, 2))
    config = _config(rng)
    content = kind if kind in KINDS else KINDS[rng.integers(len(KINDS))]
    if kind == "one_cell":
        h, w = 1, 1
    elif kind == "one_row":
        h, w = 1, int(rng.integers(2, 200))
    elif kind == "one_column":
        h, w = int(rng.integers(2, 200)), 1
    elif kind == "full_size":  # of the network's input of 368 px; the other limits are the user's
        h, w, skeleton = 46, int(rng.integers(46, 83)), Skeleton.COCO17
        config = {name: value for name, value in config.items() if name not in _WHOLE}
    if kind == "people":
        skeleton = Skeleton.COCO17
        heatmaps, pafs = _people(rng, 8 * h, 8 * w)
    else:
        heatmaps, pafs = _strange_arrays(content, rng, h, w, skeleton)
    if kind == "denormal":
        heatmaps, pafs = heatmaps * np.float32(1e-42), pafs * np.float32(1e-42)
    elif kind == "gaps":  # whole planes and rows of nothing
        heatmaps[rng.random(len(heatmaps)) < 0.5] = 0
        pafs[..., rng.random(w) < 0.5] = 0
    elif kind in ("nan", "infinity"):
        array = heatmaps if rng.random() < 0.5 or pafs.size == 0 else pafs
        value = np.nan if kind == "nan" else rng.choice([np.inf, -np.inf])
        array.flat[rng.integers(array.size, size=rng.integers(1, 4))] = value
    elif kind == "empty":
        cut = (0, w) if rng.random() < 0.5 else (h, 0)
        heatmaps, pafs = heatmaps[:, : cut[0], : cut[1]], pafs[..., : cut[0], : cut[1]]
    elif kind == "shape":
        heatmaps, pafs = _misshapen(rng, heatmaps, pafs)
    elif kind == "skeleton":
        others = [
            s for s in _SKELETONS if (s.n_joints, s.n_limbs) != (len(heatmaps) - 1, len(pafs))
        ]
        skeleton = others[rng.integers(len(others))]
    elif kind == "config":
        config.update(_illegal(rng))
    if kind == "dtype":
        dtype: Any = rng.choice(["bool", "complex64", "complex128", "U8", "S8", "O", "M8[s]"])
        heatmaps, pafs = (
            np.zeros(a.shape, dtype) if dtype == "M8[s]" else a.astype(dtype)
            for a in (heatmaps, pafs)
        )
    elif kind != "empty":
        heatmaps, pafs = _disguised(rng, heatmaps), _disguised(rng, pafs)
    if rng.random() < 0.5 and pafs.ndim == 4 and kind != "shape":
        pafs = pafs.reshape(2 * len(pafs), *pafs.shape[2:])
    return Case(kind, heatmaps, pafs, (_grid(rng), _grid(rng)), skeleton, config)


def fault_of(poses: Poses, fields: Fields, config: DecodeConfig | None = None) -> str | None:
    """What is wrong with a result of decode, which makes Poses without their checks, or None."""
    config = config or DecodeConfig()
    try:
        checked = Poses(
            xy=poses.xy,
            scores=poses.scores,
            person_scores=poses.person_scores,
            skeleton=poses.skeleton,
        )
    except ValueError as error:
        return f"invalid: {error}"
    if checked != poses or poses.skeleton is not fields.skeleton:
        return "not what Poses makes of the same arrays"
    if {a.dtype for a in (poses.xy, poses.scores, poses.person_scores)} != {np.dtype(np.float32)}:
        return "not float32"
    if (np.diff(poses.person_scores) > 0).any():
        return "people are not in order of their scores"
    if (poses.person_scores > 1).any():
        return "a person's score is above 1"
    if (poses.person_scores.astype(np.float64) < config.min_person_score).any():
        return "a person's score is below min_person_score"
    if ((poses.scores > 0).sum(axis=1) < config.min_joints).any():
        return "a person has fewer joints than min_joints"
    parsed = thinned(fields, config)  # a peak is near the cells that are used
    h, w = parsed.size_cells
    to_cells = parsed.heatmap_grid.to_cells
    cells = to_cells(poses.xy[poses.scores > 0].astype(np.float64))
    tolerance = 1e-3 + 1e-6 * abs(to_cells(0.0))  # an offset of many cells, in float32
    if ((cells < -0.75 - tolerance) | (cells > [w - 0.25 + tolerance, h - 0.25 + tolerance])).any():
        return "a joint lies outside the fields"
    return None


def _strange_arrays(
    kind: str, rng: np.random.Generator, h: int, w: int, skeleton: Skeleton
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    shapes = ((skeleton.n_joints + 1, h, w), (skeleton.n_limbs, 2, h, w))
    heatmaps, pafs = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in shapes)
    if kind == "constant":
        heatmaps[:], pafs[:] = rng.uniform(0.1, 1), rng.uniform(-1, 1)
    elif kind == "zeros":
        heatmaps[:], pafs[:] = 0, 0
    elif kind == "negative":
        heatmaps = -abs(heatmaps)
    elif kind == "huge":
        heatmaps, pafs = heatmaps * np.float32(3e38), pafs * np.float32(3e38)
    elif kind == "tiny":
        heatmaps, pafs = heatmaps * np.float32(1e-38), pafs * np.float32(1e-38)
    elif kind == "peaks":
        heatmaps[:] = 0.5
        heatmaps[:, ::2, ::2] = 1
        pafs[:] = 1
    elif kind == "steps":
        heatmaps, pafs = np.round(heatmaps * 2) / 2, np.round(pafs)
    elif kind == "edge":
        heatmaps[:, 1:-1, 1:-1] = 0
        heatmaps = abs(heatmaps)
    return heatmaps, pafs


def _people(
    rng: np.random.Generator, height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fields of true people, more or less well seen."""
    people = random_people(int(rng.integers(1, 8)), (height, width), rng, height_px=(10, 200))
    fields = encode_fields(people, (height, width))
    noise = rng.choice([0.0, 0.02, 0.2])
    return (
        fields.heatmaps + rng.normal(0, noise, fields.heatmaps.shape).astype(np.float32),
        fields.pafs + rng.normal(0, noise, fields.pafs.shape).astype(np.float32),
    )


def _misshapen(rng: np.random.Generator, heatmaps: Any, pafs: Any) -> tuple[Any, Any]:
    """One dimension too many, too few or too long."""
    choice = rng.integers(6)
    if choice == 0:
        return heatmaps[None], pafs
    if choice == 1:
        return heatmaps[0], pafs
    if choice == 2:
        return heatmaps, pafs[..., :1].repeat(pafs.shape[-1] + 1, axis=-1)
    if choice == 3:
        return heatmaps[:-1], pafs
    if choice == 4:
        return heatmaps.reshape(len(heatmaps), -1), pafs
    return heatmaps, np.concatenate([pafs, np.zeros_like(pafs[:1]), pafs, heatmaps[None, :2]])


def _disguised(rng: np.random.Generator, array: NDArray[np.float32]) -> Any:
    """The same numbers, or nearly, of another dtype, memory layout or library."""
    choice = rng.integers(12)
    if choice == 0:
        with np.errstate(over="ignore"):
            return array.astype(np.float16)
    if choice == 1:
        return array.astype(np.float64)
    if choice == 2:
        return array.astype(">f4")
    if choice == 3:
        return np.asfortranarray(array)
    if choice == 4:
        return array[..., ::-1, ::-1]
    if choice == 5:
        return array.repeat(2, axis=-1)[..., ::2]
    if choice == 6:
        array = array.copy()
        array.flags.writeable = False
        return array
    if choice == 7:  # not on a multiple of four bytes
        place = np.empty(array.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(array.shape)
        place[...] = array
        return place
    if choice == 8:
        return torch.from_numpy(array.copy()).requires_grad_()
    if choice == 9:
        return torch.from_numpy(array.copy()).to(
            torch.float16 if rng.random() < 0.5 else torch.bfloat16
        )
    if choice == 10:
        return torch.from_numpy(array.copy()).transpose(-1, -2).contiguous().transpose(-1, -2)
    return array


def _grid(rng: np.random.Generator) -> tuple[Any, ...]:
    choice = rng.random()
    if choice < 0.3:
        return (8,)
    if choice < 0.8:
        stride = int(rng.integers(1, 65))
        return (stride, rng.uniform(-2 * stride, 2 * stride))
    if choice < 0.95:
        return (8, rng.choice([0.0, -1e6, 1e6, 3.5]))
    stride = [1, 1e6, 10**18, 10**60, 10**400, 0, -8, 2.5, np.inf, np.nan][rng.integers(10)]
    offset = [None, 0, 1e6, -1e6, 1e30, 1e60, LARGEST, np.inf, np.nan][rng.integers(9)]
    return (8, offset) if choice < 0.97 else (stride, offset)


def _config(rng: np.random.Generator) -> dict[str, Any]:
    """Some thresholds anywhere in their range; the others are left at their defaults."""
    config: dict[str, Any] = {}
    often = rng.choice([0.0, 0.15, 0.6])
    for name in (*_POSITIVE, *_NOT_NEGATIVE):
        if rng.random() < often:
            config[name] = _anywhere(rng, 0 if name in _NOT_NEGATIVE else LEAST)
    for name in _SHARES:
        if rng.random() < often:
            config[name] = rng.choice([0, 1, rng.random()])
    for name, least in _WHOLE.items():
        if rng.random() < often:
            most = 1000 if name == "limb_samples" else 1_000_000  # a limb takes time for each
            value = max(least, int(most ** rng.random()))
            config[name] = [least, value, float(value), most][rng.integers(4)]
    for name, choices in _CHOICES.items():
        if rng.random() < 0.5:
            config[name] = choices[rng.integers(len(choices))]
    return config


def _anywhere(rng: np.random.Generator, least: float) -> float:
    choice = rng.integers(10)
    if choice == 0:
        return least
    if choice == 1:
        return LARGEST
    if choice == 2:
        return float(10 ** rng.uniform(-300, 300))
    return float(rng.uniform(0.001, 1) if choice < 7 else 10 ** rng.uniform(-6, 6))


def _illegal(rng: np.random.Generator) -> dict[str, Any]:
    names = (*_POSITIVE, *_SHARES, *_NOT_NEGATIVE, *_WHOLE, *_CHOICES)
    value = [-1, -LEAST, np.nan, np.inf, None, "much", 1j, [0.5]][rng.integers(8)]
    return {names[rng.integers(len(names))]: value}
