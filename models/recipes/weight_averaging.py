"""Weights between two checkpoints of one network, e.g. the start of a run and its end.

    python weight_averaging.py START END --share 0.5 --output MIXED

Fine-tuned weights and those that they started from often lie in one basin, and a point between
them keeps the robustness of the one and the gains of the other.

Reference:
    Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from run_files import run_script

from openpaf import weights
from openpaf.errors import WeightsError


def average(start: str | Path, end: str | Path, share: float, output: str | Path) -> None:
    """Write ``(1 - share) * start + share * end``.

    Args:
        start: A safetensors file of this library.
        end: Another, of the same network; its description stays.
        share: 0 to 1.
        output: The file to write.

    Raises:
        ValueError: If the share is not between 0 and 1.
        WeightsError: If the files are of different networks.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share: expected 0 to 1, got {share!r}")
    first, _ = weights.load_model(start)
    last, spec = weights.load_model(end)
    one, two = first.state_dict(), last.state_dict()
    if {k: v.shape for k, v in one.items()} != {k: v.shape for k, v in two.items()}:
        raise WeightsError(f"{start} and {end}: not weights of one network")
    mixed = {key: (1 - share) * one[key] + share * two[key] for key in one}
    weights.save(mixed, output, spec)


def main(argv: Sequence[str] | None = None) -> None:
    """The command of this file."""
    parser = argparse.ArgumentParser(description="Weights between two checkpoints.")
    parser.add_argument("start")
    parser.add_argument("end")
    parser.add_argument("--share", type=float, default=0.5, help="of END, 0 to 1 (default: 0.5)")
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args(argv)
    average(arguments.start, arguments.end, arguments.share, arguments.output)


if __name__ == "__main__":
    run_script(main)
