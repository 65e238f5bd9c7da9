"""Figures of a run: JSON lines, TensorBoard, and a progress bar."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from openpaf.io.extras import install_hint
from openpaf.io.files import write_whole

_log = logging.getLogger(__name__)
_Batch = TypeVar("_Batch")


class Journal:
    """``log.jsonl``, the figures of a step a line, and the same for TensorBoard if it is installed.

    A run that was killed repeats the steps after its checkpoint; their lines, and one that was only
    half written, are taken out of the file first, so that each step is there once.

    Args:
        folder: The run's; gets ``log.jsonl`` and ``tensorboard/``.
        step: Where the run resumes.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.file = folder / "log.jsonl"
        self._forget_after(step)
        self._board = _open_board(folder / "tensorboard", step)

    def write(self, step: int, **figures: float) -> None:
        """Add a line."""
        line = {"step": step, **{k: float(f"{v:.6g}") for k, v in figures.items()}}
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._board is not None:
            for key, value in figures.items():
                self._board.add_scalar(key, value, step)
            self._board.flush()

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def _forget_after(self, step: int) -> None:
        if not self.file.exists():
            return
        text = self.file.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines() if 0 <= _step_of(line) <= step]
        complete = "".join(line + "\n" for line in lines)
        if complete != text:
            write_whole(self.file, complete.encode())


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return -1


def _open_board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        hint = install_hint("tensorboard")
        _log.info("no TensorBoard: %s; log.jsonl has the figures", hint)
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


class Progress:
    """A bar with the time left, images per second, and the share of the time spent on waiting.

    Args:
        step: Where the run resumes.
        steps: Where it ends.
        batch_size: Images a step.
        shown: Whether there is a bar at all; it shows on terminals only.
        deadline: When the run stops, by :func:`time.monotonic`.
    """

    def __init__(
        self,
        step: int,
        steps: int,
        batch_size: int,
        *,
        shown: bool,
        deadline: float = math.inf,
    ) -> None:
        self.batch_size, self._deadline = batch_size, deadline
        disable = None if shown else True
        self._bar = tqdm(total=steps, initial=step, unit="step", disable=disable)
        self.restart()

    def restart(self) -> None:
        """Begin to count anew: what was done since, e.g. a validation, is not the training's."""
        self._since, self._waited, self._steps = time.monotonic(), 0.0, 0

    def timed(self, batches: Iterable[_Batch]) -> Iterator[_Batch]:
        """The batches, the time until each comes counted as waiting."""
        asked = time.monotonic()
        for batch in batches:
            self._waited += time.monotonic() - asked
            yield batch
            asked = time.monotonic()

    def step(self) -> None:
        """Count a step."""
        self._steps += 1
        self._bar.update()

    def figures(self) -> dict[str, float]:
        """``images_per_s`` and ``waiting`` (0 to 1) since the last call; shown in the bar too."""
        spent = max(time.monotonic() - self._since, 1e-9)
        rate, waiting = self._steps * self.batch_size / spent, self._waited / spent
        left = max(0.0, (self._deadline - time.monotonic()) / 60)
        time_left = f"{left:.0f} min left, " if math.isfinite(left) else ""
        self._bar.set_postfix_str(f"{time_left}{rate:.1f} images/s, {waiting:.0%} waiting for data")
        self.restart()
        return {"images_per_s": rate, "waiting": waiting}

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
