"""``openpaf compare``: models and result files side by side, on the same photos."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli.arguments import add_scale_arguments, add_set_argument, add_verb
from openpaf.cli.common import (
    counted,
    one_line,
    path_argument,
    positive_integer,
    report,
    say,
    shown,
    waiting,
)
from openpaf.cli.models import changed
from openpaf.cli.photos import (
    add_photo_arguments,
    add_run_arguments,
    choose_ids,
    read_labels,
    report_missing,
    subset_name,
)

if TYPE_CHECKING:
    from openpaf.evaluation.compare import Method

_DESCRIPTION = """\
Measures models and result files on the same photos: accuracy, AP by people in the photo, kinds of
errors, milliseconds by step, peak memory, and time against people (1 to 50) on scenes composed of
people cut from the photos, where people from --threshold on are looked for. Into the output folder:
  index.html        everything on one page
  compare.md        the tables        compare.png    time against people (needs matplotlib)
  compare.json      every figure      results-*.json detections in COCO's submission format
  scenes/           the composed scenes

Each model runs in a process of its own, one after the other. Ratios are relative to the first one.
An interrupted comparison goes on where it stopped when the same command is given again.
"""
_EPILOG = """\
examples:
  openpaf compare --annotations a.json --images photos --output out
  openpaf compare --annotations a.json --images photos --output out --size 256 368
  openpaf compare --annotations a.json --images photos --output out --scales 256 368 640
  openpaf compare --annotations a.json --images photos --output out \\
      --model lightweight-coco17 --model mine.safetensors --results theirs=theirs.json
  openpaf compare --annotations a.json --images photos --output out --method paf --method mask-rcnn

Without --model, --method and --results: one shipped model of each kind that ships. With --scales, a
model is measured at --size and beside it with the people of these sizes merged. Each model must
have the thresholds of --set.
exit status: 0 done; 1 some photos could not be read and were skipped; 2 bad use or bad files; 130
interrupted.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb to the parser of the command."""
    parser = add_verb(
        verbs,
        "compare",
        run,
        help="models and result files side by side",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_photo_arguments(parser, images_required=True)
    add = parser.add_argument
    add("--output", required=True, metavar="DIR", type=path_argument, help="made if missing")
    add(
        "--model",
        action="append",
        default=[],
        metavar="NAME_OR_PATH",
        help="a shipped model or a file; may be given several times",
    )
    add(
        "--method",
        action="append",
        default=[],
        metavar="KIND",
        help="paf, mask-rcnn or top-down: the shipped model of that kind; may be given again",
    )
    add(
        "--results",
        action="append",
        default=[],
        metavar="NAME=FILE",
        type=_named_file,
        help="another system's COCO results; may be given several times",
    )
    add_run_arguments(parser)
    add_scale_arguments(parser)
    add_set_argument(parser)
    add(
        "--people",
        type=positive_integer,
        nargs="*",
        metavar="N",
        help="numbers of people of the scenes; none without a number "
        "(default: 1 2 5 10 20 30 40 50)",
    )
    add(
        "--repeats",
        type=positive_integer,
        default=5,
        metavar="N",
        help="runs of each scene, of which the median counts (default: 5)",
    )


def _named_file(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not name or not path:
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, got {text!r}")
    return name, Path(path)


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; what can be wrong with its use is found before a model is run."""
    from openpaf.cli.outputs import check_folder
    from openpaf.evaluation.annotations import find_photos
    from openpaf.evaluation.compare import (
        PEOPLE,
        Photos,
        make_scenes,
        measure_method,
        methods_of,
        with_ratios,
    )
    from openpaf.evaluation.result_files import read_results
    from openpaf.evaluation.run import check_photos
    from openpaf.io.extras import EXTRAS, install_hint, installed

    logging.basicConfig(level=logging.WARNING, format="openpaf: %(message)s")
    methods = methods_of(
        _models(arguments),
        arguments.size,
        arguments.results,
        scales=arguments.scales,
        flip=arguments.flip,
    )
    methods = [_with_thresholds(method, arguments.set) for method in methods]
    annotations = read_labels(arguments, next((m.model for m in methods if m.model), None))
    for method in methods:
        if method.results is not None:
            read_results(method.results, annotations)
    chosen = choose_ids(arguments, annotations)
    ids, missing = find_photos(
        annotations, arguments.images, chosen, allow_missing=arguments.allow_missing
    )
    report_missing(missing)
    ids, unreadable = check_photos(annotations, arguments.images, ids)
    for error in unreadable:
        report(f"skipped {one_line(error)}")
    folder = check_folder(arguments.output, [], [])
    work = folder / ".unfinished"
    work.mkdir(exist_ok=True)
    photos = Photos(
        annotations=annotations, path=arguments.annotations, images=arguments.images, ids=ids
    )
    scenes = []
    if any(method.model for method in methods):
        counts = PEOPLE if arguments.people is None else sorted(set(arguments.people))
        with waiting("composing scenes"):
            scenes = make_scenes(photos, folder / "scenes", counts)
    names = ("engine", "device", "threads", "repeats", "quiet")
    options = {name: getattr(arguments, name) for name in names}
    options["min_score"] = options["shown_score"] = arguments.threshold
    if not installed(*EXTRAS["compare"]):
        report(f"there will be no plot: matplotlib is missing; {install_hint('compare')}")
    measured = []
    for method in methods:
        with waiting(f"measuring {method.name}"):
            measured.append(measure_method(method, photos, scenes, work, **options))
        say(f"{method.name}: AP {measured[-1]['AP']:.3f}")
    _write(arguments, folder, with_ratios(measured), ids, missing, len(unreadable), scenes)
    shutil.rmtree(work)
    return 1 if unreadable else 0


def _with_thresholds(method: Method, settings: Sequence[tuple[str, str]]) -> Method:
    """A method whose model has the thresholds of ``--set``.

    Raises:
        ValueError: If they do not fit the model.
    """
    from openpaf.cli.thresholds import thresholds_of
    from openpaf.weights.catalog import resolve

    if not settings or method.model is None:
        return method
    thresholds = thresholds_of(resolve(method.model).spec, settings)
    return dataclasses.replace(method, thresholds=thresholds)


def _models(arguments: argparse.Namespace) -> list[str]:
    """The models that were asked for, or one shipped model of each kind."""
    from openpaf import weights
    from openpaf.errors import WeightsError
    from openpaf.evaluation.settings import METHODS, default_model

    models = [*arguments.model, *map(default_model, arguments.method)]
    if not models and not arguments.results:
        for method in METHODS:
            try:
                models.append(default_model(method))
            except WeightsError as error:
                report(f"without {method}: {error}")
    for model in models:
        weights.resolve(model)
    return list(dict.fromkeys(models))


def _write(
    arguments: argparse.Namespace,
    folder: Path,
    methods: list[dict[str, Any]],
    ids: list[int],
    missing: list[str],
    skipped: int,
    scenes: list[tuple[int, str]],
) -> None:
    from openpaf.evaluation.settings import surroundings
    from openpaf.evaluation.tables import as_markdown, as_page, draw_plot, tables
    from openpaf.io.files import sha256_of, write_text
    from openpaf.io.json_files import write_json

    settings = {
        "annotations": str(arguments.annotations),
        "annotations_sha256": sha256_of(arguments.annotations),
        "images": str(arguments.images),
        "subset": subset_name(arguments),
        "photos": len(ids),
        "missing_photos": missing,
        "skipped": skipped,
        "repeats": arguments.repeats,
        **changed(arguments),
        **surroundings(),
    }
    chosen = set(ids)
    for method in methods:
        results = [person for person in method.pop("results") if person["image_id"] in chosen]
        write_json(results, folder / f"results-{_file_name(method['name'])}.json")
    made = tables(methods)
    title = (
        f"{counted(len(methods), 'method', 'methods')} on {counted(len(ids), 'photo', 'photos')}"
    )
    note = (
        f"{settings['date'][:10]}, {settings['machine']}, Python "
        f"{settings['versions']['python']}, torch {settings['versions']['torch']}, engine "
        f"{arguments.engine}; {Path(arguments.annotations).name}, photos: {settings['subset']}"
        f"{f', {skipped} that cannot be read skipped' if skipped else ''}. "
        "Times of a machine that is shared say little; ratios are of the same run."
    )
    plot = folder / "compare.png"
    drawn = draw_plot(methods, plot)
    write_json({"methods": methods, "settings": settings}, folder / "compare.json")
    markdown = as_markdown(title, note, made, plot.name if drawn else None)
    write_text(folder / "compare.md", markdown)
    scene = Path(scenes[len(scenes) // 2][1]) if scenes else None
    write_text(folder / "index.html", as_page(title, note, made, plot if drawn else None, scene))
    say(markdown)
    say(f"written to {shown(folder)}: index.html, compare.md, compare.json")


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
