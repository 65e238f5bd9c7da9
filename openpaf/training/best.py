"""The weights that a run leaves: those with the best AP on the validation images."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from openpaf import weights
from openpaf.io.files import write_whole
from openpaf.skeleton import Skeleton
from openpaf.training.config import TrainConfig
from openpaf.training.interrupts import HeldSignals
from openpaf.training.rcnn.object_validation import ObjectValidation
from openpaf.training.start import read_start
from openpaf.training.validation import PeopleValidation, Validation
from openpaf.weights import ModelSpec

_log = logging.getLogger(__name__)
# How far from the start to the weights of now those lie that are validated; the last are these.
_SHARES = (0.5, 1.0)  # Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022


class BestWeights:
    """The file of a run's best weights, and how good they are.

    The weights that the run starts with are validated too, so that what it leaves is never worse,
    and those after the last step. Without validation the file holds the last weights.

    Args:
        config: The run.
        signals: Held back while the file is written.
        labels: The joints that are validated.
    """

    def __init__(self, config: TrainConfig, signals: HeldSignals, labels: Skeleton) -> None:
        images, self.settings = config.data.validation, config.optimizer
        self.file = Path(config.output) / f"{config.name}.safetensors"
        size = self.settings.validation_size
        self.validation: Validation | None = None
        if images is not None and read_start(config.network).method == "objects":
            self.validation = ObjectValidation(config)
        elif images is not None:
            self.validation = PeopleValidation(images, size, labels, config.data.category)
        self.signals = signals
        self.ap, self.first_ap, self.step = -1.0, -1.0, 0  # the best, the start's; when best
        self.seconds = 0.0  # that the last validation took
        self.bytes: bytes | None = None  # of the file: the checkpoint is to hold all
        self.validated = -1  # the step of the last validation
        self.is_from_weights = config.network.weights is not None
        self.start: dict[str, Tensor] = {}  # the weights at step 0, of a run from given ones

    def is_due(self, step: int, *, is_last: bool = False) -> bool:
        """Whether the weights after so many steps are to be validated, and were not yet.

        Args:
            step: After so many steps.
            is_last: Whether the run stops there, of which weights that are validated are a part.
        """
        if step == self.validated or (step == 0 and self.validation is None):
            return False
        if is_last and self.validation is not None:
            return True
        return step % self.settings.validate_every == 0 or step == self.settings.steps

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
        if self.validation is None:
            with self.signals.held():
                self.validated = step
                weights.save(state, self.file, spec({}))
            return {}
        begun = time.monotonic()
        if self.is_from_weights and step == 0:
            self.start = {key: value.clone() for key, value in state.items()}
        for share in _SHARES if self.start and step else (1.0,):
            between = state if share == 1 else _between(self.start, state, share)
            figures = self.validation(between, spec({}))
            with self.signals.held():
                if figures["AP"] > self.ap:
                    self.ap, self.step = figures["AP"], step
                    way = {"share": share} if share != 1 else {}
                    weights.save(between, self.file, spec({**way, "validation": figures}))
                    self.bytes = self.file.read_bytes()
                if share == 1:
                    self.validated = step
                    self.first_ap = figures["AP"] if step == 0 else self.first_ap
            where = "" if share == 1 else f", {share:g} of the way from the start"
            _log.info("step %d%s: validation AP %.3f", step, where, figures["AP"])
        self.seconds = time.monotonic() - begun
        return figures

    def report(self) -> None:
        """Say which weights the file has."""
        if self.validation is None or min(self.validated, self.step) < 0:
            return
        if self.step == 0:
            text = "AP %.3f at the start, and no later weights are better: %s has the start's"
            _log.info(text, self.ap, self.file)
        else:
            text = "AP %.3f at the start, %.3f after step %d: %s has those weights"
            _log.info(text, self.first_ap, self.ap, self.step, self.file)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of this."""
        return {
            "best": self.ap, "best_file": self.bytes, "best_step": self.step,
            "first": self.first_ap, "validated": self.validated, "start": self.start,
        }  # fmt: skip

    def load(self, state: dict[str, Any], *, writes: bool) -> None:
        """Resume from a checkpoint, with the file as it was then; a process may write no files."""
        self.ap, self.validated = state["best"], state["validated"]
        self.step, self.first_ap = state.get("best_step", -1), state.get("first", -1.0)
        self.bytes, self.start = state["best_file"], state.get("start", {})
        if writes and self.bytes is not None:
            write_whole(self.file, self.bytes, sync=True)


def _between(start: dict[str, Tensor], state: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights a share of the way from the start; whole numbers of batch norms are those of now."""
    return {
        key: start[key].to(value.device).lerp(value, share) if value.is_floating_point() else value
        for key, value in state.items()
    }
