"""Crops that are made once, with what the teacher says of them, and learned from many times.

Without a GPU, a teacher costs as much as a small student: with its fields on the disk, the student
learns from about twice as many crops in the same time. They must not be too few: of 12,752 crops,
learned from two to three times, a network of three million parameters had a fifth less error than
of new ones.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch
from feature_hints import HintedBatch
from tqdm import tqdm

from openpaf.training.data.batches import Batch, BatchMaker, prepared_ahead
from openpaf.training.distributed import Processes
from openpaf.training.part_affinity import Transform

_TYPES = {"images": np.uint8, "fully_annotated": np.bool_}  # of the others, half precision will do


class CachedCrops:
    """So many crops in a folder, in another order every time they are gone through.

    Args:
        folder: Where they lie, a NumPy file each; about 0.8 MB a crop of 256 px.
        maker: Makes the crops.
        n_crops: How many; at least a batch.
        processes: Each makes its part of the crops, and takes its part of every batch.
        of_run: What the crops depend on, but for the size of a batch; those of another run are
            made anew.

    Raises:
        ValueError: If there are fewer crops than a batch has.
    """

    def __init__(
        self, folder: Path, maker: BatchMaker, n_crops: int, processes: Processes, of_run: str
    ) -> None:
        self.folder, self.maker, self.processes = folder, maker, processes
        self.of_run = f"{maker.batch_size} {of_run}"
        self.n_batches = n_crops // maker.batch_size
        if self.n_batches < 1:
            raise ValueError(
                "recipe.cached_crops: expected at least the "
                f"{maker.batch_size} of a batch, got {n_crops}"
            )

    def make(self, teach: Transform) -> None:
        """Make the crops that are not there yet; those of an interrupted call are made anew.

        Args:
            teach: Gives a batch what the teacher says of it.

        Raises:
            OSError: If they cannot be written, e.g. on a full disk.
        """
        mark, processes = self.folder / "made.txt", self.processes
        if processes.agree(mark.exists() and mark.read_text() == self.of_run):
            return
        if processes.writes:
            self.folder.mkdir(parents=True, exist_ok=True)
            mark.unlink(missing_ok=True)
            for old in self.folder.glob("*.npz"):
                old.unlink()
        processes.agree(None)  # the others wait for the folder
        rows = processes.rows(self.maker.batch_size)
        batches = self.maker.stream(0, self.n_batches, rows=rows)
        shown = tqdm(batches, "crops", self.n_batches, unit="batch", disable=not processes.writes)
        for number, batch in enumerate(shown):
            parts = _arrays(teach(batch.to(processes.device), number))
            for i, row in enumerate(rows):
                crop = {name: values[i] for name, values in parts.items()}
                np.savez(self._file(number * self.maker.batch_size + row), **crop)
        processes.mean(torch.zeros(1, device=processes.device))  # all wait for the last
        if processes.writes:
            mark.write_text(self.of_run)

    def stream(
        self, start: int, stop: int, workers: int = 1, *, rows: range | None = None
    ) -> Generator[Batch]:
        """The batches of steps ``start`` to ``stop``, or some of their crops."""
        rows = rows or range(self.maker.batch_size)
        yield from prepared_ahead(lambda step: self._read(step, rows), start, stop, workers)

    def _read(self, step: int, rows: range) -> Batch:
        size, n = self.maker.batch_size, self.n_batches * self.maker.batch_size
        turn, at = divmod(step, self.n_batches)
        order = np.random.default_rng((self.maker.seed, turn)).permutation(n)
        chosen = order[at * size : (at + 1) * size][rows.start : rows.stop]
        crops = [dict(np.load(self._file(int(number)))) for number in chosen]
        parts = {name: torch.from_numpy(np.stack([c[name] for c in crops])) for name in crops[0]}
        parts = {k: v if v.dtype == torch.bool else v.float() for k, v in parts.items()}
        return HintedBatch(**parts) if "features" in parts else Batch(**parts)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.npz"


def _arrays(batch: Batch) -> dict[str, np.ndarray]:
    """The parts of a batch as they are kept."""
    parts = {**vars(batch), "images": batch.images.round()}
    return {k: v.cpu().numpy().astype(_TYPES.get(k, np.float16)) for k, v in parts.items()}
