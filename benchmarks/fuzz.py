"""Hostile inputs by class, and a table of what came of them.

    python benchmarks/fuzz.py                                1,000 of each class
    python benchmarks/fuzz.py --classes images,weights --number 5000 --keep failing
    python benchmarks/fuzz.py --minutes 60 --seed 7
    python benchmarks/fuzz.py --only weights:123 --seed 7    one input again, and what came of it

Inputs are tried in processes of their own, with limits of memory and time: a crash or a hang is
counted, and the next input goes to a new process. An input must be refused by one clear line that
names the file or the argument, or its answer must be right; where there is an oracle (the plain
NumPy parser of the tests, Pillow, PyAV, pycocotools), the answer is compared with that. The table
is Markdown. Exits with 1 if any input did otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from fuzzing import CLASSES, OWN_FAULTS
from fuzzing.case import FAILURES
from fuzzing.pool import Limits, Tried, try_all
from fuzzing.report import conditions, failures, table
from tqdm import tqdm


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--classes", default=",".join(CLASSES), metavar="LIST", help="with commas (default: all)")
    how_many = parser.add_mutually_exclusive_group()
    how_many.add_argument("--number", type=int, default=1000, help="inputs of each class (1000)")
    how_many.add_argument("--minutes", type=float, help="as many as fit into this time")
    how_many.add_argument("--only", metavar="CLASS:INDEX", help="one input, and what came of it")
    add("--seed", type=int, default=0)
    add("--workers", type=int, default=os.cpu_count(), help="processes (one a core)")
    add("--keep", type=Path, metavar="DIR", help="where inputs that fail are written")
    add("--memory-mb", type=int, default=Limits().memory_mb, help="an input may take so much")
    add("--seconds", type=float, default=Limits().seconds, help="an input may take so long")
    add("--show", type=int, default=40, metavar="N", help="kinds of failures to print (40)")
    arguments = parser.parse_args()
    arguments.classes = arguments.classes.split(",")
    if arguments.only:
        arguments.classes = [arguments.only.partition(":")[0]]
    unknown = [name for name in arguments.classes if name not in CLASSES | OWN_FAULTS]
    if unknown:
        parser.error(f"--classes: expected some of {', '.join(CLASSES)}, got {unknown[0]!r}")
    if arguments.only and not arguments.only.partition(":")[2].isdecimal():
        parser.error(f"--only: expected CLASS:INDEX, got {arguments.only!r}")
    return arguments


def inputs(arguments: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Class and index of each input, one of each class in turn."""
    if arguments.only:
        yield arguments.classes[0], int(arguments.only.partition(":")[2])
        return
    end = None if arguments.minutes is None else time.monotonic() + 60 * arguments.minutes
    for index in itertools.count() if end is not None else range(arguments.number):
        for name in arguments.classes:
            if end is not None and time.monotonic() > end:
                return
            yield name, index


def main() -> int:
    arguments = _arguments()
    started = time.monotonic()
    total = None if arguments.minutes else len(arguments.classes) * arguments.number
    tried: list[Tried] = []
    with tempfile.TemporaryDirectory(prefix="openpaf-fuzz-") as scratch:
        results = try_all(
            inputs(arguments),
            seed=arguments.seed,
            scratch=Path(scratch),
            n_workers=1 if arguments.only else max(arguments.workers, 1),
            limits=Limits(arguments.memory_mb, arguments.seconds),
            keep=arguments.keep,
        )
        hidden = True if arguments.only else None
        try:
            for one in tqdm(results, total=total, unit="input", disable=hidden):
                tried.append(one)
        except KeyboardInterrupt:
            print("interrupted: what was tried so far", file=sys.stderr)
        finally:
            results.close()
    if arguments.only:
        for one in tried:
            print(f"{one.kind}: {one.outcome}: {one.said}")
    else:
        command = f"python benchmarks/fuzz.py {' '.join(sys.argv[1:])}".strip()
        print(conditions(command, arguments.seed, time.monotonic() - started), end="\n\n")
        print(table(tried, arguments.classes))
    for line in failures(tried, arguments.seed, arguments.show):
        print(line, file=sys.stderr)
    return int(any(one.outcome in FAILURES for one in tried))


if __name__ == "__main__":
    sys.exit(main())
