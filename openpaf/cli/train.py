"""``openpaf train``: train a network from a configuration file, or from flags."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli import quick_training
from openpaf.cli.arguments import add_verb

if TYPE_CHECKING:
    from openpaf.training.config import TrainConfig

_EPILOG = """\
examples:
  openpaf train --from default --data my.json --images photos/ --output run --max-minutes 30
  openpaf train my-run.toml
  openpaf train my-run.toml --show-targets targets   # draw what it will learn
  openpaf train my-run.toml --max-minutes 60     # stop after an hour; the same call resumes
  openpaf train --keys                           # all keys of a configuration
  torchrun --nproc-per-node 2 -m openpaf train my-run.toml   # two processes, or two GPUs

Without a file every fifth image is held out for validation. A network for the joints of the labels
is trained: of --from everything is taken if its model knows these joints, otherwise the layers
before its first heads.
AP is told before, and whenever it is measured; the weights with the best AP are kept, so that
nothing is lost if training does not help. --output gets run.toml too, to change more.

The output folder gets checkpoint.pt (everything needed to resume), log.jsonl,
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
    parser = add_verb(
        verbs,
        "train",
        run,
        help="train a network, also for joints of your own",
        description="Trains a network from a TOML file, or from flags; resumes where an earlier "
        "run stopped.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "config", nargs="?", metavar="CONFIG.toml", help="what to train, on what, and how"
    )
    quick_training.add_arguments(parser)
    parser.add_argument(
        "--keys", action="store_true", help="only print all keys of a configuration, as Markdown"
    )
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


def run(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    if arguments.keys:
        from openpaf.cli.training_keys import keys_page

        print(keys_page(), end="")
        return 0
    from openpaf.cli.memory import keep_freed_memory

    # Of the processes that torchrun starts, the first one speaks for all.
    first = os.environ.get("RANK", "0") == "0"
    level = logging.INFO if first else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s")
    if arguments.max_minutes is not None and not arguments.max_minutes >= 0:
        raise ValueError(f"--max-minutes: expected 0 or more, got {arguments.max_minutes}")
    keep_freed_memory()
    config = _config(arguments, writes=first)
    if arguments.show_targets is not None:
        from openpaf.training.data.show import show_targets
        from openpaf.training.start import read_start

        if read_start(config.network).method in ("mask_rcnn", "objects"):
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


def _config(arguments: argparse.Namespace, *, writes: bool) -> TrainConfig:
    """The configuration, of its file or of the flags, which are written to a file."""
    from openpaf.io.toml_files import toml_rows
    from openpaf.training.config import TrainConfig
    from openpaf.training.config_files import read_config
    from openpaf.training.tables import as_table

    if not quick_training.is_given(arguments):
        return read_config(arguments.config)
    values = quick_training.configuration(arguments)
    config = as_table(TrainConfig, values)
    file = Path(config.output) / "run.toml"
    if writes and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(toml_rows(values)), encoding="utf-8")
    return config


def _print_result(weights: Path) -> None:
    """Where the weights are, if there are any yet."""
    there = weights.exists()
    print(f"weights: {weights}" if there else "stopped before there are weights; run it again")
