"""The weights that a run leaves: those with the best AP on the validation photos."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from openpaf import weights
from openpaf.io.files import write_whole
from openpaf.training.interrupts import HeldSignals
from openpaf.training.validation import Validation
from openpaf.weights import ModelSpec

_log = logging.getLogger(__name__)


class BestWeights:
    """The file of a run's best weights, and how good they are.

    The weights that the run starts with are validated too, so that what it leaves is never worse.
    Without validation the file holds the last weights.

    Args:
        file: Where they are written.
        validation: What measures them, if anything.
        every: Steps between validations.
        steps: Of the run; after the last one there is a validation too.
        signals: Held back while the file is written.
    """

    def __init__(
        self,
        file: Path,
        validation: Validation | None,
        *,
        every: int,
        steps: int,
        signals: HeldSignals,
    ) -> None:
        self.file, self.validation, self.every, self.steps = file, validation, every, steps
        self.signals = signals
        self.ap = -1.0
        self.bytes: bytes | None = None  # of the file: the checkpoint is to hold all
        self.validated = -1  # the step of the last validation

    def is_due(self, step: int) -> bool:
        """Whether the weights after so many steps are to be validated, and were not yet."""
        if step == self.validated or (step == 0 and self.validation is None):
            return False
        return step % self.every == 0 or step == self.steps

    def consider(
        self, step: int, state: dict[str, Tensor], spec: Callable[[dict[str, Any]], ModelSpec]
    ) -> dict[str, float]:
        """Write weights if they are the best so far.

        Args:
            step: After so many steps.
            state: The weights.
            spec: What they are described as, given figures that are written into the file.

        Returns:
            Their COCO figures; none without validation.
        """
        figures = {} if self.validation is None else self.validation(state, spec({}))
        with self.signals.held():
            self.validated = step
            if not figures:
                weights.save(state, self.file, spec({}))
                return figures
            if figures["AP"] > self.ap:
                self.ap = figures["AP"]
                weights.save(state, self.file, spec({"validation": figures}))
                self.bytes = self.file.read_bytes()
        _log.info("step %d: validation AP %.3f", step, figures["AP"])
        return figures

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of this."""
        return {"best": self.ap, "best_file": self.bytes, "validated": self.validated}

    def load(self, state: dict[str, Any], *, writes: bool) -> None:
        """Resume from a checkpoint, with the file as it was then; a process may write no files."""
        self.ap, self.bytes, self.validated = (
            state[key] for key in ("best", "best_file", "validated")
        )
        if not writes or self.bytes is None:
            return
        if not self.file.exists() or self.file.read_bytes() != self.bytes:
            write_whole(self.file, self.bytes, sync=True)
