"""An image's heatmaps, PAFs, candidate limbs and people as four panels of one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from openpaf.demos.parse import ImageArray, Parse, Shown, View
from openpaf.fields import Fields
from openpaf.visualization.draw import draw_poses

Color = tuple[int, int, int]
Label = tuple[list[Any], str, Color]  # places to try, in px of the panel; text; color

MIN_WIDTH_PX = 720  # room for the text over a panel
ARROW_MIN = 0.25  # a field as long as this gets an arrow,
ARROW_PX = 11  # no nearer to the next than this
LABEL_PX = 45  # without a choice, only limbs as long as this have their score written
BLACK, WHITE, PEAK = (0, 0, 0), (255, 255, 255), (255, 235, 80)
REJECTED, PASSED, JOINED = (165, 175, 195), (255, 130, 60), (70, 255, 110)


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


def draw_pafs(image: ImageArray, fields: Fields, view: View, shown: Shown) -> ImageArray:
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
    poses = draw_poses(base, people[np.any(np.all(is_inside, axis=2), axis=1)], scores=True)
    n_limbs = int(np.isin(parse.limbs.types, shown.limbs).sum())
    above = titled(heatmaps, f"Heatmaps: {joints}", highest, scale=True)
    beside = titled(pafs, f"Part affinity fields: {limbs}", highest, scale=True)
    below = titled(candidates, f"Candidates ({n_limbs}): {limbs}", legend)
    last = titled(poses, f"People: {len(people)}", [("number and score", WHITE)])
    return np.vstack([np.hstack([above, beside]), np.hstack([below, last])])
