"""Train what a file of this folder describes: as `openpaf train`, with its table `[recipe]`.

python models/recipes/train.py models/recipes/fast-coco17.toml
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from packing import pack
from recipe_task import RecipeConfig, RecipeTask
from run_files import run_script

from openpaf.cli.memory import keep_freed_memory
from openpaf.training.config_files import read_config_as
from openpaf.training.loop import train


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", help="a TOML file")
    parser.add_argument("--max-minutes", type=float, help="stop after this time, to resume later")
    parser.add_argument("--pack", metavar="DIR", help="only copy the run into a folder")
    options = parser.parse_args(arguments)
    # Of the processes that torchrun starts, the first one speaks for all.
    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s")
    config = read_config_as(RecipeConfig, options.run)
    if options.pack:
        pack(config, options.pack)
        return
    keep_freed_memory()
    train_recipe(config, options.max_minutes)


def train_recipe(config: RecipeConfig, max_minutes: float | None = None) -> Path:
    """As :func:`openpaf.training.loop.train`, with what the recipe adds."""
    return train(config, max_minutes=max_minutes, task=partial(RecipeTask, config))


if __name__ == "__main__":
    run_script(main)
