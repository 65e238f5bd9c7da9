"""``openpaf train``: train a network from a configuration file."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import Any

_EPILOG = """\
examples:
  openpaf train models/recipes/lightweight-coco17.toml
  openpaf train my-run.toml --show-targets targets   # look at what it will learn
  openpaf train my-run.toml --max-minutes 60     # stop after an hour; the same call resumes
  torchrun --nproc-per-node 2 -m openpaf train my-run.toml   # two processes, or two GPUs

The output folder of the configuration gets checkpoint.pt (everything needed to resume), log.jsonl,
figures for TensorBoard where that is installed, and the weights as NAME.safetensors, which
`openpaf predict --model` takes. docs/training.md describes the configuration.

Ctrl-C and SIGTERM (docker stop, Slurm) write a checkpoint first; the same call resumes bit-exactly.
A run that resumes may have other `optimizer.steps` (the learning rate follows the new length from
there on), another `optimizer.batch_size`, and other values of what does not change what is learned:
output, data.workers, and of [optimizer] checkpoint_every, validate_every and precision. Anything
else is another run, and is refused.

exit status: 0 done, or stopped after --max-minutes; 2 bad use or bad files; 130 interrupted by
Ctrl-C; 143 by SIGTERM.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb."""
    parser = verbs.add_parser(
        "train",
        help="train a network",
        description="Trains a network from a TOML file; resumes where an earlier run stopped.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("config", metavar="CONFIG.toml", help="what to train, on what, and how")
    parser.add_argument(
        "--max-minutes", type=float, metavar="M", help="stop after this time, with a checkpoint"
    )
    parser.add_argument(
        "--show-targets",
        metavar="DIR",
        help="only draw training crops with their targets into this folder, and stop",
    )
    parser.add_argument(
        "--samples", type=int, default=24, metavar="N", help="how many of them (default: 24)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    from openpaf.training.config_files import read_config
    from openpaf.training.memory import keep_freed_memory

    # Of the processes that torchrun starts, the first one speaks for all.
    first = os.environ.get("RANK", "0") == "0"
    level = logging.INFO if first else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s")
    if arguments.max_minutes is not None and not arguments.max_minutes >= 0:
        raise ValueError(f"--max-minutes: expected 0 or more, got {arguments.max_minutes}")
    keep_freed_memory()
    config = read_config(arguments.config)
    if arguments.show_targets is not None:
        from openpaf.training.data.show import show_targets

        if config.method == "mask-rcnn":
            raise ValueError("--show-targets: not for detectors; expected a file of another method")
        if arguments.samples < 1:
            raise ValueError(f"--samples: expected at least 1, got {arguments.samples}")
        n_crops = show_targets(config, arguments.show_targets, arguments.samples)
        print(f"{n_crops} crops with their targets written to {arguments.show_targets}")
        return 0
    from openpaf.training.loop import train

    weights = train(config, max_minutes=arguments.max_minutes)
    if first:
        _print_result(weights)
    return 0


def _print_result(weights: Path) -> None:
    """Where the weights are, if there are any yet."""
    there = weights.exists()
    print(f"weights: {weights}" if there else "stopped before there are weights; run it again")
