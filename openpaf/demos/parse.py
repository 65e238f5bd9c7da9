"""What the parser did with an image: peaks, candidate limbs and whose they are; and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from openpaf.decoding import (
    DecodeConfig,
    Limbs,
    Peaks,
    assemble_people,
    find_peaks,
    match_limbs,
    score_limbs,
)
from openpaf.errors import did_you_mean
from openpaf.fields import Fields
from openpaf.geometry import Grid, Letterbox
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton

ImageArray = NDArray[np.uint8]

PANEL_AREA_PX, PANEL_SIDE_PX = 640_000, 2400  # of each panel, for images of any size


class View(NamedTuple):
    """Maps from the network's input to the image, and to a panel that shows a part of the image.

    Both are letterboxes, so that half pixels are treated as in the package.
    """

    network: Letterbox
    panel: Letterbox
    corner_xy: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, network: Letterbox, crop: Sequence[int] | None) -> View:
        height, width = network.image_hw
        x0, y0, x1, y1 = crop or (0, 0, width, height)
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if x0 >= x1 or y0 >= y1:
            raise ValueError(f"--crop: nothing of the image, {width} x {height} px, is inside")
        h, w = y1 - y0, x1 - x0
        zoom = min((PANEL_AREA_PX / (h * w)) ** 0.5, PANEL_SIDE_PX / max(h, w))
        size_hw = (max(1, round(h * zoom)), max(1, round(w * zoom)))
        panel = Letterbox(image_hw=(h, w), resized_hw=size_hw, size_hw=size_hw)
        return cls(network, panel, (x0, y0))

    def points(self, xy: NDArray[Any]) -> NDArray[np.float32]:
        """Points (..., 2) in px of the network's input, in px of the panel."""
        return self.panel.points_to_network(self.network.points_to_image(xy) - self.corner_xy)

    def image(self, image: ImageArray) -> ImageArray:
        """The part of the image that the panel shows."""
        (x0, y0), (height, width) = self.corner_xy, self.panel.image_hw
        part = self.panel.apply(image[y0 : y0 + height, x0 : x0 + width])
        return np.ascontiguousarray(part.transpose(1, 2, 0).astype(np.uint8))

    def field(self, values: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
        """The part of a field (h, w) that the panel shows: bilinear, positioned by its grid."""
        cells = np.array([(0, 0), (100, 0), (0, 100)], np.float32)
        affine = cv2.getAffineTransform(cells, self.points(grid.to_px(cells)))
        size, border = self.panel.size_hw[::-1], cv2.BORDER_REPLICATE
        return np.asarray(cv2.warpAffine(values, affine, size, borderMode=border), np.float32)


@dataclass(frozen=True)
class Parse:
    """The parser's steps, in px of the network's input."""

    fields: Fields
    peaks: Peaks
    joints: NDArray[np.int64]  # (P,) the joint of each peak
    limbs: Limbs  # all M candidates
    chosen: NDArray[np.bool_]  # (M,) those accepted by the matching
    people: Poses
    owners: NDArray[np.bool_]  # (N, P) whether the person has the peak
    limb_owners: NDArray[np.bool_]  # (N, M) whether the person has both joints

    @classmethod
    def of(cls, fields: Fields, config: DecodeConfig) -> Parse:
        peaks = find_peaks(fields, config)
        limbs = score_limbs(fields, peaks, config)
        matched = match_limbs(limbs, config)
        people = assemble_people(peaks, matched, fields.skeleton, config)
        people = people.replace(ids=np.arange(len(people)))
        joints = np.repeat(np.arange(fields.skeleton.n_joints), np.diff(peaks.starts))
        matches = set(zip(matched.types.tolist(), *matched.peaks.T.tolist(), strict=True))
        all_limbs = zip(limbs.types.tolist(), *limbs.peaks.T.tolist(), strict=True)
        chosen = np.array([limb in matches for limb in all_limbs], np.bool_)
        owners = (people.xy[:, joints] == peaks.xy).all(axis=-1)  # people are made of peaks
        limb_owners = owners[:, limbs.peaks].all(axis=-1)
        return cls(fields, peaks, joints, limbs, chosen, people, owners, limb_owners)


class Shown(NamedTuple):
    """Indices of the joints and limbs to show, and whether they are a choice."""

    joints: list[int]
    limbs: list[int]
    is_choice: bool

    @classmethod
    def of(cls, skeleton: Skeleton, joint: str | None, limb: str | None) -> Shown:
        joints, limbs = list(range(skeleton.n_joints)), list(range(skeleton.n_limbs))
        if limb is not None:  # in either direction
            names, turned = limb_names(skeleton), limb_names(skeleton, -1)
            limbs = [i for i in limbs if limb in (names[i], turned[i])]
            if not limbs:
                hint = did_you_mean(limb, names)
                known = f"skeleton {skeleton.name!r}{hint}, which has: {', '.join(names)}"
                raise ValueError(f"limb {limb!r} is not in {known}")
            joints = list(skeleton.limbs[limbs[0]])
        if joint is not None:
            joints = [skeleton.index(joint)]
            limbs = limbs if limb else [i for i in limbs if joints[0] in skeleton.limbs[i]]
        return cls(joints, limbs, is_choice=(joint or limb) is not None)

    def words(self, skeleton: Skeleton) -> tuple[str, str]:
        """The names of the joints and of the limbs, or their number."""
        joints = [skeleton.joints[k] for k in self.joints]
        limbs = [limb_names(skeleton)[limb] for limb in self.limbs]
        return (
            ", ".join(joints) if len(joints) < 3 else f"all {len(joints)} joints",
            ", ".join(limbs) if len(limbs) < 3 else f"{len(limbs)} kinds of limbs",
        )


def limb_names(skeleton: Skeleton, step: int = 1) -> list[str]:
    return ["-".join(skeleton.joints[k] for k in limb[::step]) for limb in skeleton.limbs]


def as_json(parse: Parse, letterbox: Letterbox) -> dict[str, Any]:
    """All peaks and candidates, shown or not; positions in px of the image."""
    skeleton, peaks, limbs = parse.fields.skeleton, parse.peaks, parse.limbs
    names = limb_names(skeleton)
    return {
        "peaks": rows(
            joint=[skeleton.joints[k] for k in parse.joints],
            xy=letterbox.points_to_image(peaks.xy).tolist(),
            score=peaks.scores.tolist(),
            people=[np.flatnonzero(owners).tolist() for owners in parse.owners.T],
        ),
        "limbs": rows(
            limb=[names[limb] for limb in limbs.types],
            peaks=limbs.peaks.tolist(),
            score=limbs.scores.tolist(),
            weight=limbs.weights.tolist(),
            chosen=parse.chosen.tolist(),
            people=[np.flatnonzero(owners).tolist() for owners in parse.limb_owners.T],
        ),
        "people": rows(score=parse.people.person_scores.tolist()),
    }


def rows(**columns: list[Any]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
