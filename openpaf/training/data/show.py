"""Training crops with their targets drawn over them: what a run is about to learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from openpaf.decoding import decode
from openpaf.fields import Fields
from openpaf.geometry import Grid
from openpaf.training.config import TrainConfig
from openpaf.training.data.batches import Batch, BatchMaker
from openpaf.training.distillation import load_teacher
from openpaf.training.part_affinity import make_batches
from openpaf.visualization.draw import draw_poses


def show_targets(config: TrainConfig, folder: str | Path, n_crops: int = 24) -> int:
    """Draw the first crops of a run, each as one image of three panels.

    On the left the people that the parser finds in the targets; if the label is right and every
    half pixel in its place, they sit on the photo. In the middle the highest heatmap of each cell,
    on the right the longest PAF, both with the teacher's fields where the run has a teacher. Ignore
    regions are red.

    Args:
        config: The run.
        folder: Made if it is not there; gets ``0000.png`` and so on.
        n_crops: How many.

    Returns:
        How many were drawn.

    Raises:
        DatasetError: If a set is missing or without people, or too many photos are unreadable.
        OSError: If the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    maker, cpu = make_batches(config), torch.device("cpu")
    grids = maker.heatmap_grid, maker.paf_grid
    teacher = load_teacher(config.distillation, maker.skeleton, grids, cpu)
    for number in tqdm(range(n_crops), unit="crop", disable=None):
        step, i = divmod(number, maker.batch_size)
        if i == 0:
            batch = maker.batch(step)
            batch = teacher.fill(batch) if teacher else batch
        Image.fromarray(_panels(batch, i, maker)).save(folder / f"{number:04}.png")
    return n_crops


def _panels(batch: Batch, i: int, maker: BatchMaker) -> NDArray[np.uint8]:
    """(S, 3 S, 3) RGB: people, heatmaps, PAFs."""
    image = batch.images[i].permute(1, 2, 0).numpy().astype(np.uint8)
    fields = Fields(
        heatmaps=batch.heatmaps[i].numpy(),
        pafs=batch.pafs[i].numpy(),
        heatmap_grid=maker.heatmap_grid,
        paf_grid=maker.paf_grid,
        skeleton=maker.skeleton,
    )
    people = draw_poses(image, decode(fields).to(maker.labels))
    gray = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2) * 0.7
    weights = batch.heatmap_weights[i]
    taught = weights[weights.amax(dim=(1, 2)) > 0]  # but for joints that the set lacks
    ignored = (taught if len(taught) else weights).amin(dim=0).numpy() == 0
    heatmaps = _overlay(gray, fields.heatmaps[:-1].max(axis=0), ignored, maker.heatmap_grid)
    ignored = batch.paf_weights[i].amax(dim=0).numpy() == 0
    lengths = np.hypot(fields.pafs[:, 0], fields.pafs[:, 1]).max(axis=0)
    pafs = _overlay(gray, lengths, ignored, maker.paf_grid)
    return np.concatenate([people, heatmaps, pafs], axis=1)


def _overlay(
    gray: NDArray[np.float64], values: NDArray[np.float32], ignored: NDArray[np.bool_], grid: Grid
) -> NDArray[np.uint8]:
    """A field, 0 to 1, in yellow over an image; the ignored cells in red."""
    import cv2

    cells = np.array([(0, 0), (1, 0), (0, 1)], np.float32)
    affine = cv2.getAffineTransform(cells, np.asarray(grid.to_px(cells), np.float32))
    out = gray
    for plane, color in ((ignored.astype(np.float32), (255, 60, 60)), (values, (255, 230, 40))):
        large = cv2.warpAffine(
            np.clip(plane, 0, 1), affine, gray.shape[1::-1], borderMode=cv2.BORDER_REPLICATE
        )
        share = 0.7 * np.asarray(large)[..., None]
        out = out * (1 - share) + share * np.array(color)
    return out.astype(np.uint8)
