"""What is in a set: people per photo, joints per person, sizes, as text and as plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from openpaf.io.extras import install_hint
from openpaf.skeleton import Skeleton
from openpaf.training.data.dataset import PhotoSet


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Counts of one set.

    Args:
        name: Of the set.
        people: (P,) labeled people of each photo.
        ignored: (P,) ignored boxes of each photo.
        n_uncertain: Uncertain joints of the set.
        joints: (N,) labeled joints of each person.
        labeled: (K,) share of the people with each joint.
        hidden: Share of the labeled joints that are marked as hidden (v = 1).
        sizes_px: Longer side of the box around the joints of each person who has two or more.
        sizes_rel: The same as a share of the photo's short side; empty where photos have no
            sizes in the labels.
        photos_px: (P, 2) height and width; empty where the labels have none.
    """

    name: str
    people: NDArray[np.int64]
    ignored: NDArray[np.int64]
    n_uncertain: int
    joints: NDArray[np.int64]
    labeled: NDArray[np.float64]
    hidden: float
    sizes_px: NDArray[np.float64]
    sizes_rel: NDArray[np.float64]
    photos_px: NDArray[np.int64]


def survey(photo_set: PhotoSet) -> Survey:
    """Count what is in a set."""
    photos = photo_set.photos
    keypoints = np.concatenate([photo.keypoints for photo in photos])  # (N, K, 3)
    seen = keypoints[..., 2] > 0
    high = np.where(seen[..., None], keypoints[..., :2], -np.inf).max(axis=1)
    low = np.where(seen[..., None], keypoints[..., :2], np.inf).min(axis=1)
    sizes = (high - low).max(axis=1).astype(np.float64)
    people = np.array([len(photo.keypoints) for photo in photos])
    known = [photo.size_hw for photo in photos if photo.size_hw is not None]
    whole = len(known) == len(photos)
    short = np.repeat([min(size) for size in known], people) if whole else np.zeros(0)
    joints = seen.sum(axis=1)
    return Survey(
        name=photo_set.name,
        people=people,
        ignored=np.array([len(photo.ignore_boxes) for photo in photos]),
        n_uncertain=sum(len(photo.uncertain_joints) for photo in photos),
        joints=joints,
        labeled=seen.mean(axis=0),
        hidden=float((keypoints[..., 2] == 1).sum() / max(1, seen.sum())),
        sizes_px=sizes[joints > 1],
        sizes_rel=(sizes / short)[joints > 1] if whole else np.zeros(0),
        photos_px=np.array(known, np.int64).reshape(-1, 2),
    )


def as_text(counts: Survey, skeleton: Skeleton = Skeleton.COCO17) -> str:
    """A survey in a dozen lines."""
    lines = [
        f"{counts.name}: {len(counts.people)} photos, {len(counts.joints)} people, "
        f"{counts.joints.sum()} joints; ignored boxes {counts.ignored.sum()}, "
        f"uncertain joints {counts.n_uncertain}",
        _shares("people per photo", counts.people, (1, 2, 3, 5, 10)),
        _shares("joints per person", counts.joints, (1, 5, 9, 13, 17)),
        f"hidden (v = 1): {counts.hidden:.0%} of the labeled joints",
        _quantiles("person, longer side of the joints' box, px", counts.sizes_px, ".0f"),
        _quantiles("the same, share of the photo's short side", counts.sizes_rel, ".2f"),
        _quantiles("photo's short side, px", counts.photos_px.min(axis=1, initial=10**9), ".0f"),
        "joints, share of the people: "
        + ", ".join(
            f"{name} {share:.0%}"
            for name, share in zip(skeleton.joints, counts.labeled, strict=True)
        ),
    ]
    return "\n".join(lines) + "\n"


def _shares(what: str, values: NDArray[np.int64], starts: Sequence[int]) -> str:
    """How many values lie from each start to the next."""
    parts = []
    for start, stop in zip(starts, [*starts[1:], None], strict=True):
        inside = (values >= start) & (values < stop if stop is not None else True)
        last = f" to {stop - 1}" if stop is not None and stop > start + 1 else ""
        if stop is None and values.max() > start:
            last = f" to {values.max()}"
        parts.append(f"{start}{last}: {inside.mean():.0%}")
    return f"{what}: mean {values.mean():.1f}; " + ", ".join(parts)


def _quantiles(what: str, values: NDArray[np.floating] | NDArray[np.int64], form: str) -> str:
    if not len(values):
        return f"{what}: not in the labels"
    cuts = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
    return f"{what}: 5 % {cuts[0]:{form}}, quarter {cuts[1]:{form}}, half {cuts[2]:{form}}, " \
           f"three quarters {cuts[3]:{form}}, 95 % {cuts[4]:{form}}"  # fmt: skip


def draw(counts: Survey, path: Path, skeleton: Skeleton = Skeleton.COCO17) -> None:
    """A survey as six plots.

    Raises:
        ImportError: Without matplotlib.
        OSError: If the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(install_hint("benchmarks")) from error
    figure = Figure(figsize=(13, 7), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{counts.name}: {len(counts.people)} photos, {len(counts.joints)} people")
    axes = figure.subplots(2, 3)
    top = int(min(counts.people.max(), 20))
    _bars(axes[0, 0], np.minimum(counts.people, top), 1, top, "people in the photo", "photos")
    _bars(axes[0, 1], counts.joints, 1, skeleton.n_joints, "labeled joints", "people")
    plot = axes[0, 2]
    plot.barh([name.replace("_", " ") for name in skeleton.joints], 100 * counts.labeled)
    plot.invert_yaxis()
    plot.set(xlabel="% of the people with this joint", xlim=(0, 100))
    sizes = np.maximum(counts.sizes_px, 1)
    plot = axes[1, 0]
    if len(sizes):
        plot.hist(sizes, bins=np.geomspace(sizes.min(), sizes.max() * 1.001, 40).tolist())
    plot.set(xscale="log", xlabel="longer side of the joints' box, px", ylabel="people")
    plot = axes[1, 1]
    plot.hist(np.clip(counts.sizes_rel, 0, 2), bins=40)
    plot.set(xlabel="the same, share of the photo's short side", ylabel="people")
    plot = axes[1, 2]
    if len(counts.photos_px):
        plot.hexbin(
            counts.photos_px[:, 1], counts.photos_px[:, 0], gridsize=30, mincnt=1, bins="log"
        )
    plot.set(xlabel="photo's width, px", ylabel="height, px")
    figure.savefig(path, dpi=90)


def _bars(plot: object, values: NDArray[np.int64], low: int, high: int, x: str, y: str) -> None:
    places = np.arange(low, high + 1)
    plot.bar(places, [(values == place).sum() for place in places])  # type: ignore[attr-defined]
    plot.set(xlabel=x, ylabel=y)  # type: ignore[attr-defined]
    plot.locator_params(axis="x", integer=True)  # type: ignore[attr-defined]
