"""Long runs of ``openpaf predict``: tables in parts, processes, shards, and going on."""

from __future__ import annotations

import argparse
import contextlib
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from openpaf.cli.common import positive_integer, shown
from openpaf.cli.images import Finisher, ImageJob
from openpaf.cli.models import changed, estimator_options, tell_license
from openpaf.cli.outputs import IMAGE, RRD
from openpaf.cli.predict_inputs import Inputs

if TYPE_CHECKING:
    from openpaf.bulk.inputs import Shard
    from openpaf.bulk.parts import PartWriter

_N_READERS, _N_READERS_OF_ADDRESSES = 2, 8
_PART_SIZE = 1000


@dataclass(frozen=True)
class Model:
    """A model that is not loaded.

    Args:
        threshold: Leave out those whose score is below this, of images.
        load: Makes the estimator, or the detector.
        nouns: What is found, one and many.
    """

    threshold: float
    load: Callable[[], Any]
    nouns: tuple[str, str] = ("person", "people")


def add_long_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what makes a run of many images quicker, and safe."""
    group = parser.add_argument_group("many photos (docs/bulk.md)")
    add = group.add_argument
    add("--recursive", action="store_true", help="folders with their subfolders")
    add("--skip-existing", action="store_true",
        help="leave out what has all its files; of tables see --resume")  # fmt: skip
    add("--resume", action="store_true",
        help="go on with an earlier run: leave out what its tables, or files, have")  # fmt: skip
    add("--retry-errors", action="store_true",
        help="as --resume, and try those again whose rows have an error")  # fmt: skip
    add("--overwrite", action="store_true", help="delete the tables of an earlier run")
    add("--workers", type=positive_integer, default=1, metavar="N",
        help="processes, of one thread each unless --threads says more (default: 1)")  # fmt: skip
    add("--shard", type=_shard, default="0/1", metavar="I/N",
        help="only part I of N of the input, I from 0 on: for N machines")  # fmt: skip
    add("--part-size", type=positive_integer, default=_PART_SIZE, metavar="N",
        help="rows of a part of a table, the most that a kill loses (default: 1000)")  # fmt: skip
    add("--sha256", action="store_true", help="add the SHA-256 of each file to tables")


def _shard(text: str) -> Shard:
    from openpaf.bulk.inputs import Shard

    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if match is None or int(match[1]) >= int(match[2]):
        raise argparse.ArgumentTypeError(
            f"expected I/N with I from 0 to N - 1, such as 0/4, got {text!r}"
        )
    return Shard(int(match[1]), int(match[2]))


def check_long_run(arguments: argparse.Namespace) -> None:
    """Refuse what has no effect, and tables where they cannot be.

    Raises:
        ValueError: If so.
    """
    from openpaf.checks import import_extra
    from openpaf.io.extras import need_extra
    from openpaf.tables.files import TABLES

    if RRD in arguments.format:
        need_extra("rerun", f"--format {RRD}")
    tables = [name for name in arguments.format if name in TABLES]
    for name in tables:
        if TABLES[name].needs is not None:
            import_extra(TABLES[name].needs or "", "tables", f"--format {name}")
    needs_tables = {
        "--overwrite": arguments.overwrite,
        "--retry-errors": arguments.retry_errors,
        "--sha256": arguments.sha256,
        "--part-size": arguments.part_size != _PART_SIZE,
    }
    for flag, is_given in needs_tables.items():
        if is_given and not tables:
            raise ValueError(f"{flag}: only with --format {', '.join(TABLES)}")
    suffix = arguments.output.suffix.lower()
    if tables and suffix in {TABLES[name].suffix for name in tables}:
        raise ValueError(
            f"--output: expected a folder, as tables are written in parts, "
            f"got {shown(arguments.output)}"
        )
    check_going_on(arguments)
    arguments.skip_existing |= arguments.resume and not tables


def check_going_on(arguments: argparse.Namespace) -> None:
    """See that an earlier run is either gone on with or deleted.

    Raises:
        ValueError: If both are asked for.
    """
    arguments.resume |= arguments.retry_errors
    if arguments.resume and arguments.overwrite:
        flag = "--retry-errors" if arguments.retry_errors else "--resume"
        raise ValueError(f"{flag}, --overwrite: one of them")


def open_parts(
    arguments: argparse.Namespace, threshold: float, on_part: Callable[[int], None]
) -> PartWriter:
    """The tables of the photos.

    Raises:
        ValueError: If the folder has those of another run.
    """
    from openpaf.bulk.parts import PartWriter
    from openpaf.tables.files import TABLES
    from openpaf.weights.catalog import model_sha256, resolve

    source = resolve(arguments.model, arguments.weights)
    settings = {
        "model": source.spec.name,
        "weights": model_sha256(source),
        "engine": arguments.engine,
        "size": arguments.size,
        "scales": list(arguments.scales),
        "flip": arguments.flip,
        "threshold": threshold,
        **changed(arguments),
    }
    folder = arguments.output if arguments.output.is_dir() else arguments.output.parent
    return PartWriter(
        folder,
        [name for name in arguments.format if name in TABLES],
        source.spec.result or source.spec.skeleton,
        shard=arguments.shard,
        rows=arguments.part_size,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        retry_errors=arguments.retry_errors,
        settings=settings,
        on_part=on_part,
    )


def predict_images(
    arguments: argparse.Namespace, inputs: Inputs, job: ImageJob, model: Model
) -> Any:
    """Go through the photos.

    Returns:
        The estimator or detector; None if each process had its own.
    """
    from openpaf.bulk.process import PipelineConfig, process
    from openpaf.bulk.workers import WorkerJob, process_in_workers

    is_remote = any(s.startswith(("http", "@", "-")) for s in arguments.sources)
    config = PipelineConfig(
        batch_size=arguments.batch_size,
        n_readers=_N_READERS_OF_ADDRESSES if is_remote else _N_READERS,
        keeps_images=IMAGE in arguments.format,
        hashes=arguments.sha256,
        overlaps=inputs.n_images != 1,
    )
    job.nouns, estimator = model.nouns, None
    finisher = Finisher(
        threshold=model.threshold, boxes=arguments.boxes, has_rows=job.parts is not None
    )
    if arguments.workers == 1:
        estimator = model.load()
        if job.parts is not None:
            finisher = replace(finisher, model=estimator.spec.name, engine=estimator.engine)
        finished = process(inputs.images, estimator, finisher, config)
    else:
        name, options = _pinned_options(arguments, model)
        finisher = replace(finisher, model=name, engine=options["engine"])
        work = WorkerJob(
            load=functools.partial(_load, options), finish=finisher, config=config,
            threads=options["threads"],
        )  # fmt: skip
        finished = process_in_workers(inputs.images, work, arguments.workers)
    with contextlib.closing(finished):
        job.predict(finished, inputs.n_images, inputs.count)
    return estimator


def _pinned_options(arguments: argparse.Namespace, model: Model) -> tuple[str, dict[str, Any]]:
    """Name of the model, and options for all processes, with one engine, chosen here."""
    from openpaf.engines.load import choose_engine
    from openpaf.weights.catalog import resolve

    if model.nouns[0] != "person":
        raise ValueError("--workers: not for a Mask R-CNN of objects")
    options = estimator_options(arguments, model.threshold)
    options["threads"] = arguments.threads or 1
    source = resolve(arguments.model, arguments.weights)
    options["engine"] = choose_engine(
        source, arguments.engine, arguments.device, threads=options["threads"]
    )
    tell_license(arguments)
    return source.spec.name, options


def _load(options: dict[str, Any]) -> Any:
    from openpaf.estimator import PoseEstimator

    return PoseEstimator(**options)
