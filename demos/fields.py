"""Draws an image's heatmaps, PAFs, candidate limbs and people as four panels of one image.

    python demos/fields.py photo.jpg --limb left_shoulder-left_elbow --json fields.json

A limb connects two peaks of one person (green), or was accepted by the matching but the person has
a better one (orange), or was not accepted (gray). Without --limb and --joint not every score has
room; --crop enlarges a part of the image. Exit status: 0, or 2 on bad use.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import openpaf
from openpaf.decoding import Limbs, Peaks, assemble_people, find_peaks, match_limbs, score_limbs

Color = tuple[int, int, int]
ImageArray = NDArray[np.uint8]
Label = tuple[list[Any], str, Color]  # places to try, in px of the panel; text; color

PANEL_AREA_PX, PANEL_SIDE_PX = 640_000, 2400  # of each panel, for images of any size
MIN_WIDTH_PX = 720  # room for the text over a panel
ARROW_MIN = 0.25  # a field as long as this gets an arrow,
ARROW_PX = 11  # no nearer to the next than this
LABEL_PX = 45  # without a choice, only limbs as long as this have their score written
BLACK, WHITE, PEAK = (0, 0, 0), (255, 255, 255), (255, 235, 80)
REJECTED, PASSED, JOINED = (165, 175, 195), (255, 130, 60), (70, 255, 110)


class View(NamedTuple):
    """Maps from the network's input to the image, and to a panel that shows a part of the image.

    Both are letterboxes, so that half pixels are treated as in the package.
    """

    network: openpaf.Letterbox
    panel: openpaf.Letterbox
    corner_xy: tuple[int, int] = (0, 0)

    @classmethod
    def of(cls, network: openpaf.Letterbox, crop: Sequence[int] | None) -> View:
        height, width = network.image_hw
        x0, y0, x1, y1 = crop or (0, 0, width, height)
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if x0 >= x1 or y0 >= y1:
            raise ValueError(f"--crop: nothing of the image, {width} x {height} px, is inside")
        h, w = y1 - y0, x1 - x0
        zoom = min((PANEL_AREA_PX / (h * w)) ** 0.5, PANEL_SIDE_PX / max(h, w))
        size_hw = (max(1, round(h * zoom)), max(1, round(w * zoom)))
        panel = openpaf.Letterbox(image_hw=(h, w), resized_hw=size_hw, size_hw=size_hw)
        return cls(network, panel, (x0, y0))

    def points(self, xy: NDArray[Any]) -> NDArray[np.float32]:
        """Points (..., 2) in px of the network's input, in px of the panel."""
        return self.panel.points_to_network(self.network.points_to_image(xy) - self.corner_xy)

    def image(self, image: ImageArray) -> ImageArray:
        """The part of the image that the panel shows."""
        (x0, y0), (height, width) = self.corner_xy, self.panel.image_hw
        part = self.panel.apply(image[y0 : y0 + height, x0 : x0 + width])
        return np.ascontiguousarray(part.transpose(1, 2, 0).astype(np.uint8))

    def field(self, values: NDArray[np.float32], grid: openpaf.Grid) -> NDArray[np.float32]:
        """The part of a field (h, w) that the panel shows: bilinear, positioned by its grid."""
        cells = np.array([(0, 0), (100, 0), (0, 100)], np.float32)
        affine = cv2.getAffineTransform(cells, self.points(grid.to_px(cells)))
        size, border = self.panel.size_hw[::-1], cv2.BORDER_REPLICATE
        return np.asarray(cv2.warpAffine(values, affine, size, borderMode=border), np.float32)


@dataclass(frozen=True)
class Parse:
    """The parser's steps, in px of the network's input."""

    fields: openpaf.Fields
    peaks: Peaks
    joints: NDArray[np.int64]  # (P,) the joint of each peak
    limbs: Limbs  # all M candidates
    chosen: NDArray[np.bool_]  # (M,) those accepted by the matching
    people: openpaf.Poses
    owners: NDArray[np.bool_]  # (N, P) whether the person has the peak
    limb_owners: NDArray[np.bool_]  # (N, M) whether the person has both joints

    @classmethod
    def of(cls, fields: openpaf.Fields, config: openpaf.DecodeConfig) -> Parse:
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
    def of(cls, skeleton: openpaf.Skeleton, joint: str | None, limb: str | None) -> Shown:
        joints, limbs = list(range(skeleton.n_joints)), list(range(skeleton.n_limbs))
        if limb is not None:  # in either direction
            names, turned = limb_names(skeleton), limb_names(skeleton, -1)
            limbs = [i for i in limbs if limb in (names[i], turned[i])]
            if not limbs:
                known = f"skeleton {skeleton.name!r}, which has: {', '.join(names)}"
                raise ValueError(f"limb {limb!r} is not in {known}")
            joints = list(skeleton.limbs[limbs[0]])
        if joint is not None:
            joints = [skeleton.index(joint)]
            limbs = limbs if limb else [i for i in limbs if joints[0] in skeleton.limbs[i]]
        return cls(joints, limbs, is_choice=(joint or limb) is not None)

    def words(self, skeleton: openpaf.Skeleton) -> tuple[str, str]:
        """The names of the joints and of the limbs, or their number."""
        joints = [skeleton.joints[k] for k in self.joints]
        limbs = [limb_names(skeleton)[limb] for limb in self.limbs]
        return (
            ", ".join(joints) if len(joints) < 3 else f"all {len(joints)} joints",
            ", ".join(limbs) if len(limbs) < 3 else f"{len(limbs)} kinds of limbs",
        )


def limb_names(skeleton: openpaf.Skeleton, step: int = 1) -> list[str]:
    return ["-".join(skeleton.joints[k] for k in limb[::step]) for limb in skeleton.limbs]


def colors_of(values: NDArray[np.float32]) -> ImageArray:
    """Colors of values from 0 to 1, without the darkest red, on which arrows are invisible."""
    levels = (215 * np.clip(values, 0, 1)).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[..., ::-1], np.uint8)


def overlay(image: ImageArray, values: NDArray[np.float32]) -> ImageArray:
    """Values as colors over an image, transparent where they are small."""
    alpha = 0.8 * np.clip(values / 0.3, 0, 1)[..., None]
    return np.ascontiguousarray((image * (1 - alpha) + colors_of(values) * alpha).astype(np.uint8))


def gray(image: ImageArray, light: float) -> ImageArray:
    """The image in darker gray, as a background for colors."""
    dark = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) * light).astype(np.uint8)
    return np.repeat(dark[..., None], 3, axis=2)


def draw_pafs(image: ImageArray, fields: openpaf.Fields, view: View, shown: Shown) -> ImageArray:
    """The longest vector of the limbs in each cell, as an arrow, and its length as color."""
    if not shown.limbs:  # a joint may have no limb
        return gray(image, 0.7)
    pafs, grid = fields.pafs[shown.limbs], fields.paf_grid  # (L, 2, h, w)
    lengths = np.hypot(pafs[:, 0], pafs[:, 1])
    length, best = lengths.max(axis=0), lengths.argmax(axis=0)
    canvas = overlay(gray(image, 0.7), view.field(length, grid))
    first, second = view.points(grid.to_px(np.array([(0, 0), (1, 0)])))
    cell_px = float(second[0] - first[0])
    step = int(np.ceil(ARROW_PX / cell_px))
    for row, column in np.argwhere(length > ARROW_MIN):
        if row % step == 0 and column % step == 0:
            middle = view.points(grid.to_px(np.array((column, row))))
            vector = pafs[best[row, column], :, row, column] / max(1, length[row, column])
            half = 0.45 * step * cell_px * vector
            start, end = sixteenths(middle - half), sixteenths(middle + half)
            cv2.arrowedLine(canvas, start, end, BLACK, 1, cv2.LINE_AA, 4, 0.35)
    return canvas


def sixteenths(xy: NDArray[Any]) -> list[int]:
    """A point in 1/16 px, for the functions of cv2 with ``shift=4``."""
    whole: list[int] = np.rint(16 * xy).astype(int).tolist()
    return whole


def draw_limbs(
    canvas: ImageArray, parse: Parse, view: View, shown: Shown, least: float
) -> list[Label]:
    xy, limbs, labels = view.points(parse.peaks.xy), parse.limbs, []
    ranks = parse.chosen.astype(int) + (parse.chosen & parse.limb_owners.any(axis=0))
    is_shown = np.isin(limbs.types, shown.limbs) & (limbs.scores >= least)
    order = np.lexsort((limbs.scores, ranks))  # better ones are drawn last
    for i in order[is_shown[order]]:
        color, width = ((REJECTED, 1), (PASSED, 1 + shown.is_choice), (JOINED, 3))[ranks[i]]
        a, b = xy[limbs.peaks[i]]
        cv2.line(canvas, sixteenths(a), sixteenths(b), color, width, cv2.LINE_AA, 4)
        length = float(np.hypot(*(b - a)))
        if shown.is_choice or length >= LABEL_PX:
            across = np.array((a[1] - b[1], b[0] - a[0])) / max(length, 1e-6)
            aside = across * (np.abs(across) @ (17, 9) + 1)  # half a label's width and height
            along = [a + t * (b - a) for t in (0.5, 0.35, 0.65, 0.2, 0.8)]
            places = [point + side for point in along for side in (aside, -aside)]
            labels.append((places, f"{limbs.scores[i]:.2f}", color))
    return labels[::-1]  # better ones choose the places of their labels first


def draw_peaks(
    canvas: ImageArray, parse: Parse, view: View, shown: Shown, least: float
) -> list[Label]:
    xy, scores, labels = view.points(parse.peaks.xy), parse.peaks.scores, []
    is_owned = np.asarray(parse.owners.any(axis=0))
    ends = {k for limb in shown.limbs for k in parse.fields.skeleton.limbs[limb]}
    limbs = parse.limbs
    is_drawn = np.isin(limbs.types, shown.limbs) & (limbs.scores >= least)
    is_end = np.isin(np.arange(len(xy)), limbs.peaks[is_drawn])  # every drawn line has both peaks
    is_shown = np.isin(parse.joints, [*ends, *shown.joints])
    is_shown &= is_owned | is_end | (scores >= least)
    for p in np.flatnonzero(is_shown)[np.argsort(scores[is_shown])]:
        color = PEAK if is_owned[p] else REJECTED
        for radius, fill in ((4.5, BLACK), (3.5, color)):
            cv2.circle(canvas, sixteenths(xy[p]), int(16 * radius), fill, -1, cv2.LINE_AA, 4)
        if shown.is_choice:
            places = [xy[p] + aside for aside in ((0, -13), (0, 13), (23, 0), (-23, 0))]
            labels.append((places, f"{scores[p]:.2f}", color))
    return labels[::-1]


def write_labels(canvas: ImageArray, labels: Sequence[Label]) -> ImageArray:
    """Draw each label at the first of its places that is free, if any."""
    drawn = Image.fromarray(canvas)
    draw, font = ImageDraw.Draw(drawn), ImageFont.load_default(14)
    height, width = canvas.shape[:2]
    is_taken = np.zeros((height, width), np.bool_)
    for places, text, color in labels:
        for x, y in places:
            x0, y0, x1, y1 = np.rint(draw.textbbox((x, y), text, font, "mm")).astype(int).tolist()
            inside = x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height
            if inside and not is_taken[y0:y1, x0:x1].any():
                is_taken[y0:y1, x0:x1] = True
                draw.text((x, y), text, color, font, "mm", stroke_width=2, stroke_fill=BLACK)
                break
    return np.array(drawn)


def titled(
    panel: ImageArray, title: str, words: Sequence[tuple[str, Color]], *, scale: bool = False
) -> ImageArray:
    """A panel with a title, a line of colored words, and the color scale if ``scale``."""
    header = 60
    height, width = panel.shape[0] + header, max(panel.shape[1], MIN_WIDTH_PX)
    drawn = Image.new("RGB", (width + 8, height + 8), (20, 22, 26))
    drawn.paste(Image.fromarray(panel), ((width - panel.shape[1]) // 2 + 4, header + 4))
    draw, small = ImageDraw.Draw(drawn), ImageFont.load_default(15)
    draw.text((10, 9), title, WHITE, ImageFont.load_default(19))
    x = 10.0
    for text, color in words:
        draw.text((x, 37), text, color, small)
        x += draw.textlength(text, small) + 18
    if scale:
        bar = colors_of(np.tile(np.linspace(0, 1, 120, dtype=np.float32), (12, 1)))
        drawn.paste(Image.fromarray(bar), (int(x) + 14, 41))
        draw.text((x, 37), "0", WHITE, small)
        draw.text((x + 140, 37), "1", WHITE, small)
    return np.array(drawn)


def draw(image: ImageArray, parse: Parse, view: View, shown: Shown, least: float) -> ImageArray:
    """The four panels."""
    base, people = view.image(image), parse.people.replace(xy=view.points(parse.people.xy))
    is_inside = (people.xy >= 0) & (people.xy < np.array(base.shape[1::-1]))
    joints, limbs = shown.words(parse.fields.skeleton)
    legend = [
        ("in a person", JOINED),
        ("accepted, but no person has both joints", PASSED),
        ("rejected", REJECTED),
        ("peak of a person", PEAK),
        ("of no person", REJECTED),
    ]
    highest = [("the highest of each cell", WHITE)]
    heatmap = parse.fields.heatmaps[shown.joints].max(axis=0)
    heatmaps = overlay(gray(base, 0.7), view.field(heatmap, parse.fields.heatmap_grid))
    pafs = draw_pafs(base, parse.fields, view, shown)
    candidates = gray(base, 0.5)
    labels = draw_limbs(candidates, parse, view, shown, least)
    labels += draw_peaks(candidates, parse, view, shown, least)
    candidates = write_labels(candidates, labels)
    poses = openpaf.draw_poses(base, people[np.any(np.all(is_inside, axis=2), axis=1)], scores=True)
    n_limbs = int(np.isin(parse.limbs.types, shown.limbs).sum())
    above = titled(heatmaps, f"Heatmaps: {joints}", highest, scale=True)
    beside = titled(pafs, f"Part affinity fields: {limbs}", highest, scale=True)
    below = titled(candidates, f"Candidates ({n_limbs}): {limbs}", legend)
    last = titled(poses, f"People: {len(people)}", [("number and score", WHITE)])
    return np.vstack([np.hstack([above, beside]), np.hstack([below, last])])


def as_json(parse: Parse, letterbox: openpaf.Letterbox) -> dict[str, Any]:
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


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see --help)")


def parser() -> Parser:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("photo", type=Path)
    add("--output", type=Path, default=Path("fields.png"), metavar="FILE", help="a PNG file")
    add(
        "--json",
        type=Path,
        metavar="FILE",
        help="all peaks and candidate limbs, in px of the image",
    )
    add("--model", metavar="NAME_OR_PATH", help="the shipped model if not given")
    add("--size", type=int, default=368, metavar="N", help="short side of the input in px (368)")
    add("--joint", metavar="NAME", help="its heatmap, and its limbs if no --limb is given (all)")
    add("--limb", metavar="A-B", help="its field, its candidates, its joints (all)")
    add("--min-score", type=float, default=0.1, metavar="S", help="draw nothing weaker (0.1)")
    add("--crop", type=int, nargs=4, metavar=("X0", "Y0", "X1", "Y1"), help="draw only these px")
    return parser


def run(arguments: argparse.Namespace) -> None:
    image = openpaf.read_image(arguments.photo)
    for file in (arguments.output, arguments.json):
        if file and file.exists() and file.samefile(arguments.photo):
            raise ValueError(f"{file}: that is the image")
    estimator = openpaf.PoseEstimator(arguments.model, size=arguments.size)
    shown = Shown.of(estimator.spec.skeleton, arguments.joint, arguments.limb)
    letterbox = openpaf.Letterbox.fit(image.shape[:2], estimator.size)
    view = View.of(letterbox, arguments.crop)
    parse = Parse.of(estimator.fields(image), estimator.config)
    drawn = Image.fromarray(draw(image, parse, view, shown, arguments.min_score))
    drawn.save(arguments.output, format="PNG")
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(parse, letterbox), indent=1) + "\n")
    n_people, n_limbs = len(parse.people), len(parse.limbs.types)
    print(f"people: {n_people}, candidate limbs: {n_limbs}, image: {arguments.output}")


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the panels; the exit status is 0, or 2 after an error in one line."""
    try:
        run(parser().parse_args(argv))
    except (openpaf.ImageError, openpaf.WeightsError, ValueError, OSError) as error:
        print("fields.py:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
