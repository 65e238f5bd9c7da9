"""Crops that are made once, with what the teacher says of them, and learned from many times.

Without a GPU, a teacher costs as much as a small student: with its fields on the disk, the student
learns from about twice as many crops in the same time. They must not be too few: of 12,752 crops,
learned from two to three times, a network of three million parameters had a fifth less error than
of new ones.
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


class CachedCrops:
    """So many crops in a folder, in another order every time they are gone through.

    Args:
        folder: Where they lie, a NumPy file for each part of a batch; about 0.8 MB a crop of
            256 px.
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
                "distillation.cached_crops: expected at least the "
                f"{maker.batch_size} of a batch, got {n_crops}"
            )

    def make(self, teach: Callable[[Batch], Batch]) -> None:
        """Make the crops that are not there yet; those of an interrupted call are made anew.

        Args:
            teach: Gives a batch what the teacher says of it.

        Raises:
            OSError: If they cannot be written, e.g. on a full disk.
        """
        mark, device = self.folder / "made.txt", self.processes.device
        if self.processes.agree(mark.exists() and mark.read_text() == self.of_run):
            return
        rows = self.processes.rows(self.maker.batch_size)
        if self.processes.writes:
            self._reserve(_parts(teach(self.maker.batch(0, rows).to(device))))
        self.processes.agree(None)  # the others wait for the files
        files = self._files("r+")
        batches = self.maker.stream(0, self.n_batches, rows=rows)
        shown = tqdm(
            batches, "crops", self.n_batches, unit="batch", disable=not self.processes.writes
        )
        for number, batch in enumerate(shown):
            first = number * self.maker.batch_size
            for name, part in _parts(teach(batch.to(device))).items():
                files[name][first + rows.start : first + rows.stop] = part
        for file in files.values():
            file.flush()
        self.processes.mean(torch.zeros(1, device=device))  # all wait for the last
        if self.processes.writes:
            mark.write_text(self.of_run)

    def _reserve(self, parts: dict[str, NDArray[np.generic]]) -> None:
        """Files for all crops, in place of what an earlier call has left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "made.txt").unlink(missing_ok=True)
        for old in self.folder.glob("*.npy"):
            old.unlink()
        n_crops = self.n_batches * self.maker.batch_size
        for name, part in parts.items():
            path, shape = self.folder / f"{name}.npy", (n_crops, *part.shape[1:])
            np.lib.format.open_memmap(path, "w+", part.dtype, shape).flush()
            if hasattr(os, "posix_fallocate"):  # a full disk would kill the process that writes
                with path.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, path.stat().st_size)

    def stream(
        self, start: int, stop: int, workers: int = 1, *, rows: range | None = None
    ) -> Generator[Batch]:
        """The batches of steps ``start`` to ``stop``, or some of their crops."""
        files, rows = self._files("r"), rows or range(self.maker.batch_size)
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
        paths = {entry.name: self.folder / f"{entry.name}.npy" for entry in fields(Batch)}
        return {
            name: np.lib.format.open_memmap(path, mode)
            for name, path in paths.items()
            if path.exists()
        }


def _parts(batch: Batch) -> dict[str, NDArray[np.generic]]:
    """The parts of a batch as they are kept."""
    parts = {}
    for entry in fields(Batch):
        value = getattr(batch, entry.name)
        if value is not None:
            rounded = value.round() if entry.name == "images" else value
            parts[entry.name] = rounded.cpu().numpy().astype(_TYPES.get(entry.name, np.float16))
    return parts
