"""Crops that are made once, with what the teacher says of them, and learned from many times.

Where no GPU is at hand, a teacher costs as much as a small student: with its fields on the disk,
the student learns from about twice as many crops in the same time. They must not be too few: of
12,752 crops, learned from two to three times, a network of three million parameters had a fifth
less error than of new ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from openpaf.training.data.batches import Batch, BatchMaker, prepared_ahead
from openpaf.training.distributed import Processes

_TYPES = {"images": np.uint8, "fully_annotated": np.bool_}  # of the others, half precision will do


class ReusedCrops:
    """So many crops in a folder, in another order every time they are gone through.

    Args:
        folder: Where they lie, a NumPy file for each part of a batch; about 0.8 MB a crop of
            256 px.
        maker: Makes the crops.
        n_crops: How many; at least a batch.
        learned: Gives a batch the teacher's fields, and its features if hints are wanted.
        processes: Each makes its part of the crops, and takes its part of every batch.
        of_run: What the crops depend on; those of another run are made anew.

    Raises:
        ValueError: If there are fewer crops than a batch has.
    """

    def __init__(
        self,
        folder: Path,
        maker: BatchMaker,
        n_crops: int,
        learned: Callable[[Batch], Batch],
        processes: Processes,
        of_run: str,
    ) -> None:
        self.folder, self.maker, self.learned = folder, maker, learned
        self.processes, self.of_run = processes, of_run
        self.n_batches = n_crops // maker.batch_size
        if self.n_batches < 1:
            raise ValueError(
                f"reused_crops: expected at least the {maker.batch_size} of a batch, got {n_crops}"
            )

    def make(self, rows: range) -> None:
        """Make the crops that are not there yet; those of an interrupted call are made anew.

        Args:
            rows: Which crops of every batch this process makes.

        Raises:
            OSError: If they cannot be written, e.g. on a full disk.
        """
        made = self.folder / "made.txt"
        if self.processes.agree(made.exists() and made.read_text() == self.of_run):
            return
        first = self.learned(self.maker.batch(0, rows).to(self.processes.device))
        if self.processes.writes:
            self.folder.mkdir(parents=True, exist_ok=True)
            made.unlink(missing_ok=True)
            for old in self.folder.glob("*.npy"):  # half made, or of a run with other parts
                old.unlink()
            n = self.n_batches * self.maker.batch_size
            for name, part in _parts(first).items():
                file = self.folder / f"{name}.npy"
                np.lib.format.open_memmap(file, "w+", part.dtype, (n, *part.shape[1:])).flush()
                _reserve(file)
        self.processes.agree(0.0)  # the others wait for the files
        self._fill(rows)
        self.processes.mean(torch.zeros(1, device=self.processes.device))  # and all for the last
        if self.processes.writes:
            made.write_text(self.of_run)

    def _fill(self, rows: range) -> None:
        files = self._files("r+")
        batches = self.maker.stream(0, self.n_batches, rows=rows)
        shown = tqdm(
            batches, "crops", self.n_batches, unit="batch", disable=not self.processes.writes
        )
        for number, batch in enumerate(shown):
            first = number * self.maker.batch_size
            for name, part in _parts(self.learned(batch.to(self.processes.device))).items():
                files[name][first + rows.start : first + rows.stop] = part
        for file in files.values():
            file.flush()

    def stream(
        self, start: int, stop: int, workers: int = 1, *, rows: range | None = None
    ) -> Generator[Batch]:
        """The batches of steps ``start`` to ``stop``, or some of their crops."""
        files = self._files("r")
        rows = rows or range(self.maker.batch_size)
        yield from prepared_ahead(lambda step: self._read(files, step, rows), start, stop, workers)

    def _read(self, files: dict[str, np.memmap], step: int, rows: range) -> Batch:
        size, n = self.maker.batch_size, self.n_batches * self.maker.batch_size
        turn, at = divmod(step, self.n_batches)
        order = np.random.default_rng((self.maker.seed, turn)).permutation(n)
        chosen = order[at * size : (at + 1) * size][rows.start : rows.stop]
        parts = {}
        for name, file in files.items():
            values = torch.from_numpy(np.ascontiguousarray(file[chosen]))
            parts[name] = values if values.dtype == torch.bool else values.float()
        return Batch(**parts)

    def _files(self, mode: str) -> dict[str, np.memmap]:
        names = [entry.name for entry in fields(Batch)]
        paths = {name: self.folder / f"{name}.npy" for name in names}
        return {
            name: np.lib.format.open_memmap(path, mode)
            for name, path in paths.items()
            if path.exists()
        }


def _reserve(path: Path) -> None:
    """Take the disk that a file needs now: a full one would kill the process that writes later."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _parts(batch: Batch) -> dict[str, NDArray[np.generic]]:
    """The parts of a batch as they are kept."""
    parts = {}
    for entry in fields(Batch):
        value = getattr(batch, entry.name)
        if value is not None:
            kept = value.round() if entry.name == "images" else value
            parts[entry.name] = kept.cpu().numpy().astype(_TYPES.get(entry.name, np.float16))
    return parts
