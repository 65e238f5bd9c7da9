"""``openpaf bulk``: photos by the million to a table, on Ray."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli.arguments import (
    add_batch_argument,
    add_estimator_arguments,
    add_quiet_argument,
    add_threshold_argument,
    add_verb,
)
from openpaf.cli.common import (
    counted,
    number_argument,
    path_argument,
    positive_integer,
    report,
    say,
    shown,
    source_argument,
    waiting,
)
from openpaf.cli.models import changed, estimator_options, tell_license
from openpaf.cli.outputs import check_folder
from openpaf.cli.predict_run import check_going_on

if TYPE_CHECKING:
    from openpaf.bulk.pose_batch import PoseBatch

_DESCRIPTION = """\
Finds the people of very many photos, on Ray: on all processors of this machine, or of a cluster
whose machines share the folders of photos and of the table. For one machine without Ray see
`openpaf predict --format parquet --workers N`.

The photos are listed first, into DIR/_lists; each list becomes a part of the table,
DIR/people-000000.parquet and so on, with a row for every photo, failures included. The columns are
in docs/bulk.md.
"""
_EPILOG = """\
examples:
  openpaf bulk photos/ --output table --recursive
  openpaf bulk shards/*.tar --output table --model fast --engine openvino-int8
  openpaf bulk @list.txt --output /shared/table --address auto --cache /shared/cache
  openpaf bulk photos/ --output table --resume          after a kill: what is not there yet

exit status: 0 done; 1 some photo could not be read; 2 bad use; 130 interrupted.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb to the parser of the command."""
    parser = add_verb(
        verbs,
        "bulk",
        run,
        help="photos by the million to a table, on Ray",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("sources", nargs="+", metavar="SOURCE", type=source_argument,
        help="file, folder, glob, tar file, address, @FILE with a list of these, or - for a list "
        "on standard input")  # fmt: skip
    add("--output", required=True, metavar="DIR", type=path_argument,
        help="a folder, made if missing")  # fmt: skip
    add("--recursive", action="store_true", help="folders with their subfolders")
    add("--resume", action="store_true", help="make the parts that are not there")
    add("--retry-errors", action="store_true",
        help="as --resume, and try those again whose rows have an error")  # fmt: skip
    add("--overwrite", action="store_true", help="delete the table of an earlier run")
    add("--address", metavar="A", help="of a Ray cluster, or auto (default: this machine)")
    add("--actors", type=positive_integer, metavar="N",
        help="processes (default: as many as there are processors for --threads each)")  # fmt: skip
    add("--gpus", type=number_argument, default=0.0, metavar="G",
        help="GPUs of a process, such as 1 or 0.5 (default: 0)")  # fmt: skip
    add("--cache", type=path_argument, metavar="DIR",
        help="a folder that all machines share, for the compiled parser and models")  # fmt: skip
    add("--part-size", type=positive_integer, default=1000, metavar="N",
        help="rows of a part (default: 1000)")  # fmt: skip
    add("--timeout", type=positive_integer, metavar="S",
        help="end a process that gives no result for S seconds; the image that hangs in it has a "
        "row with an error (default: 300)")  # fmt: skip
    add("--sha256", action="store_true", help="add the SHA-256 of each file")
    add_estimator_arguments(parser)
    add_batch_argument(parser)
    add_threshold_argument(parser)
    add_quiet_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do the verb."""
    from openpaf.bulk.parts import only_writer
    from openpaf.bulk.pose_batch import PoseBatch
    from openpaf.bulk.ray_run import PartTask, run_on_ray
    from openpaf.bulk.workers import TIMEOUT_S
    from openpaf.checks import import_extra

    level = logging.ERROR if arguments.quiet else logging.WARNING
    logging.basicConfig(level=level, format="openpaf: %(message)s")
    for module in ("ray", "pyarrow"):
        import_extra(module, "ray", "bulk")
    check_going_on(arguments)
    folder = Path(check_folder(arguments.output, (), ())).resolve()
    options = estimator_options(arguments, arguments.threshold)
    options |= {"threads": arguments.threads or 1, "threshold": options.pop("min_score")}
    with waiting("choosing the engine"):
        batch = PoseBatch(
            **options, batch_size=arguments.batch_size, sha256=arguments.sha256,
            cache=arguments.cache, timeout_s=arguments.timeout or TIMEOUT_S,
        )  # fmt: skip
    tell_license(arguments)
    with only_writer(folder):
        parts = _parts(arguments, folder, batch)
        progress = _Progress(arguments.quiet, len(parts))
        with progress.bar, waiting("starting Ray"):
            if parts:
                run_on_ray(
                    parts, PartTask(folder, batch, arguments.retry_errors), on_part=progress.add,
                    address=arguments.address, actors=arguments.actors, gpus=arguments.gpus,
                )  # fmt: skip
    if not arguments.quiet:
        say(f"{progress.summary()}, written to {shown(arguments.output)}")
    return 1 if progress.failed else 0


def _parts(arguments: argparse.Namespace, folder: Path, batch: PoseBatch) -> list[int]:
    """The numbers of the parts to make.

    Raises:
        ValueError: If the folder has those of another run, or there is no photo.
    """
    from openpaf.bulk.lists import LISTS, forget_tries, n_lists, part_path, write_lists
    from openpaf.bulk.parts import SETTINGS_FILE, check_settings
    from openpaf.bulk.ray_run import has_failures
    from openpaf.io.files import is_temporary
    from openpaf.weights.catalog import model_sha256, resolve

    number = n_lists(folder)
    is_there = number is not None or any(folder.glob("people-*"))
    if is_there and not (arguments.resume or arguments.overwrite):
        raise ValueError(
            f"--output: {shown(folder)} has a table of an earlier run; --resume goes on with it, "
            "--overwrite deletes it"
        )
    if is_there and number is None and not arguments.overwrite:
        raise ValueError(f"--output: the table in {shown(folder)} was not made by openpaf bulk")
    for path in folder.iterdir():
        if is_temporary(path) or (arguments.overwrite and path.match("people-*.parquet")):
            path.unlink()
    if number is None or arguments.overwrite:
        for path in (folder / LISTS).glob("*.json"):
            path.unlink()
        (folder / SETTINGS_FILE).unlink(missing_ok=True)
        number = write_lists(_listing(arguments), folder, arguments.part_size)
        if not number:
            raise ValueError("no photo to read: the sources have none")
    source = resolve(arguments.model, arguments.weights)
    settings = {
        "model": source.spec.name, "weights": model_sha256(source), "engine": batch.engine,
        "size": batch.size, "scales": list(batch.scales), "flip": batch.flip,
        "threshold": batch.threshold, "sources": arguments.sources, **changed(arguments),
    }  # fmt: skip
    check_settings(folder, batch.skeleton, settings)
    forget_tries(folder)
    paths = {n: part_path(folder, n) for n in range(number)}
    tries_again = arguments.retry_errors
    return [
        n for n, path in paths.items()
        if not path.exists() or (tries_again and has_failures(path))
    ]  # fmt: skip


def _listing(arguments: argparse.Namespace) -> Any:
    from openpaf.bulk.inputs import Listing

    return Listing(
        sources=tuple(arguments.sources),
        recursive=arguments.recursive,
        opens_tars=False,
        on_error=lambda message: report(f"skipped {message}"),
    )


class _Progress:
    """What the parts that are done have."""

    def __init__(self, quiet: bool, n_parts: int) -> None:
        from tqdm import tqdm

        hidden = True if quiet else None
        self.bar: Any = tqdm(
            total=n_parts, unit="part", file=sys.stderr, disable=hidden, leave=False
        )
        self.rows = self.people = self.failed = 0
        self._started = time.perf_counter()

    def add(self, part: Mapping[str, int]) -> None:
        self.rows += int(part["rows"])
        self.people += int(part["people"])
        self.failed += int(part["failed"])
        self.bar.update()
        self.bar.set_postfix_str(f"{self.rows / self._seconds:.1f}/s, {self.failed} failed")

    @property
    def _seconds(self) -> float:
        return time.perf_counter() - self._started

    def summary(self) -> str:
        return (
            f"{counted(self.rows, 'photo', 'photos')}, "
            f"{counted(self.people, 'person', 'people')}, {self.failed} failed, "
            f"{self._seconds:.1f} s"
        )
