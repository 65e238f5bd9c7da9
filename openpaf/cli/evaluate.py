"""``openpaf evaluate``: how good a model, or another system's results, are on labelled photos."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli.common import (
    counted,
    one_line,
    path_argument,
    positive_integer,
    report,
    say,
    shown,
)
from openpaf.cli.photos import (
    add_photo_arguments,
    add_run_arguments,
    check_writable,
    choose_ids,
    report_missing,
    subset_name,
)

if TYPE_CHECKING:
    from openpaf.errors import ImageError
    from openpaf.evaluation.coco import Row
    from openpaf.evaluation.run import PartialResults

_DESCRIPTION = """\
Measures a model on photos with COCO keypoint annotations: AP, AP50, AP75, APM, APL, AR, AR50, AR75,
ARM, ARL exactly as pycocotools computes them; and precision and recall of people, AP by people in
the photo and by their size, PCK, and what kind of errors the joints have.

An interrupted run goes on where it stopped when the same command is given again.
"""
_EPILOG = """\
examples:
  openpaf evaluate --annotations person_keypoints_val2017.json --images val2017
  openpaf evaluate --annotations a.json --images photos --size 256 368 512 --json figures.json
  openpaf evaluate --annotations a.json --images photos --scales 0.5 1 1.5 --flip
  openpaf evaluate --annotations a.json --results theirs.json
  openpaf evaluate --annotations a.json --images photos --gallery worst.html --save-results r.json

--json: the ten figures under their names, for the first size, with "settings" and the other figures
beside them; the list "runs" has the same for every size. With several sizes, --save-results r.json
writes r-256.json, r-368.json ... The gallery is of the first size.

Photos that cannot be read are told, left out of the figures and counted ("skipped").
exit status: 0 done; 1 some photos were skipped; 2 bad use or bad files, nothing measured; 130
interrupted.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb to the parser of the command."""
    parser = verbs.add_parser(
        "evaluate",
        help="measure a model on photos with COCO annotations",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add_photo_arguments(parser, images_required=False)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", metavar="NAME_OR_PATH", help="a shipped model, or a file")
    what.add_argument(
        "--method",
        metavar="KIND",
        default="paf",
        help="paf or mask-rcnn: the shipped model of that kind (default: paf)",
    )
    what.add_argument(
        "--results",
        metavar="FILE",
        type=path_argument,
        help="measure these results instead of a model: COCO's, or a file or folder of OpenPose, "
        "AlphaPose, openpifpaf or mmpose",
    )
    add_run_arguments(parser, runtime="torch")  # whose figures are the same everywhere
    add = parser.add_argument
    add(
        "--scales",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="S",
        help="average the fields of these multiples of the size, e.g. 0.5 1 1.5 (default: 1)",
    )
    add("--flip", action="store_true", help="average in the fields of the mirrored photo")
    add(
        "--workers",
        type=positive_integer,
        default=2,
        metavar="N",
        help="threads that read photos ahead of the network (default: 2)",
    )
    add("--json", metavar="FILE", type=path_argument, help="write figures and settings")
    add(
        "--save-results",
        metavar="FILE",
        type=path_argument,
        help="write the detections in COCO's submission format",
    )
    add("--gallery", metavar="FILE", type=path_argument, help="write the worst photos as HTML")
    add(
        "--gallery-photos",
        type=positive_integer,
        default=20,
        metavar="N",
        help="how many of them (default: 20)",
    )
    add(
        "--pck-reference",
        default="torso",
        metavar="R",
        help="what PCK is relative to: box (its diagonal), torso or head (default: torso)",
    )
    add("--pck-alpha", type=float, default=0.2, metavar="A", help="PCK's share (default: 0.2)")
    add(
        "--partial",
        metavar="FILE",
        type=path_argument,
        help="where the results of an unfinished run wait (default: in the cache folder)",
    )
    add("--fresh", action="store_true", help="do not go on where an interrupted run stopped")


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; what can be wrong with its use is found before the model is run."""
    _check(arguments)
    logging.basicConfig(level=logging.WARNING, format="openpaf: %(message)s")
    from openpaf.evaluation.annotations import find_photos, read_annotations, read_results
    from openpaf.evaluation.run import none_readable

    annotations = read_annotations(arguments.annotations)
    wanted = choose_ids(arguments, annotations)
    if arguments.results and not arguments.gallery:
        ids = sorted(annotations.imgs) if wanted is None else wanted
        missing: list[str] = []
        unknown = [i for i in ids if i not in annotations.imgs]
        if unknown:
            raise ValueError(f"--image-ids: {unknown[0]} is not in {shown(arguments.annotations)}")
    else:
        ids, missing = find_photos(
            annotations, arguments.images, wanted, allow_missing=arguments.allow_missing
        )
    report_missing(missing)
    partials: list[PartialResults] = []
    runs = []
    skipped: dict[int, ImageError] = {}
    try:
        if arguments.results:
            rows = read_results(arguments.results, annotations)
            settings = _file_settings(arguments)
            runs.append(_finish(arguments, annotations, ids, missing, rows, settings, []))
        else:
            _check_models(arguments)
            for size in arguments.size:
                rows, settings = _detect(arguments, annotations, ids, size, partials, skipped)
                ids = [i for i in ids if i not in skipped]
                if not ids:
                    raise none_readable(list(skipped.values()))
                names = [annotations.imgs[i]["file_name"] for i in skipped]
                runs.append(_finish(arguments, annotations, ids, missing, rows, settings, names))
    except KeyboardInterrupt:
        if partials and not arguments.quiet:
            report(
                f"{counted(len(partials[-1].done), 'photo', 'photos')} done; the same command "
                f"goes on from there ({shown(partials[-1].path)})"
            )
        raise
    finally:
        for partial in partials:
            partial.close()
    if arguments.json:
        from openpaf.io.json_files import write_json

        write_json({**runs[0], "runs": runs}, arguments.json)
    for partial in partials:
        partial.delete()
    return 1 if skipped else 0


def _check(arguments: argparse.Namespace) -> None:
    from openpaf.evaluation.pck import REFERENCES

    if not arguments.images and (arguments.gallery or not arguments.results):
        raise ValueError("--images: needed to run a model or to draw a gallery")
    if arguments.pck_reference not in REFERENCES:
        raise ValueError(
            f"--pck-reference: expected one of {', '.join(REFERENCES)}, "
            f"got {arguments.pck_reference!r}"
        )
    if not 0 < arguments.pck_alpha < float("inf"):
        raise ValueError(f"--pck-alpha: expected a positive number, got {arguments.pck_alpha}")
    if len(set(arguments.size)) != len(arguments.size):
        raise ValueError("--size: one comes twice")
    check_writable(arguments.json, "--json")
    check_writable(arguments.save_results, "--save-results")
    check_writable(arguments.gallery, "--gallery")


def _check_models(arguments: argparse.Namespace) -> None:
    """Find what is wrong with any size before the first is run for an hour."""
    from openpaf.engines.auto import chosen_runtime
    from openpaf.evaluation.settings import check_joints, default_model

    arguments.model = arguments.model or default_model(arguments.method)
    arguments.runtime = chosen_runtime(arguments.model, arguments.runtime, arguments.device)
    for size in arguments.size:
        check_joints(_estimator(arguments, size), arguments.model)


def _estimator(arguments: argparse.Namespace, size: int) -> Any:
    from openpaf.estimator import PoseEstimator

    return PoseEstimator(
        arguments.model,
        runtime=arguments.runtime,
        device=arguments.device,
        size=size,
        scales=arguments.scales,
        flip=arguments.flip,
    )


def _detect(
    arguments: argparse.Namespace,
    annotations: Any,
    ids: list[int],
    size: int,
    partials: list[PartialResults],
    skipped: dict[int, ImageError],
) -> tuple[list[Row], dict[str, Any]]:
    """Run the model at one size, from where an earlier run stopped; tell what cannot be read."""
    from openpaf.evaluation.run import PartialResults, default_partial_path, detect_photos
    from openpaf.evaluation.settings import describe, file_sha256, key_part

    estimator = _estimator(arguments, size)
    settings = describe(estimator, arguments.model, arguments.runtime, arguments.device)
    settings["annotations_sha256"] = file_sha256(arguments.annotations)
    settings["images"] = str(Path(arguments.images).resolve())
    key = key_part(settings)
    path = arguments.partial or default_partial_path(key)
    if arguments.fresh and not partials:
        path.unlink(missing_ok=True)
    partial = PartialResults(path, key)
    partials.append(partial)
    known = sum(i in partial.done for i in ids)
    if known and not arguments.quiet:
        report(f"going on where an earlier run stopped: {known} of {len(ids)} photos are done")

    def skip(image_id: int, error: ImageError) -> None:
        skipped[image_id] = error
        report(f"skipped {one_line(error)}")

    rows = detect_photos(
        annotations,
        arguments.images,
        estimator,
        ids,
        partial=partial,
        workers=arguments.workers,
        progress=not arguments.quiet,
        description=f"{settings['model']}, size {size}",
        on_error=skip,
    )
    return rows, settings


def _file_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    from openpaf.evaluation.settings import file_sha256, results_sha256, surroundings

    return {
        "method": "results",
        "results": str(arguments.results),
        "results_sha256": results_sha256(arguments.results),
        "annotations_sha256": file_sha256(arguments.annotations),
        **surroundings(),
    }


def _finish(
    arguments: argparse.Namespace,
    annotations: Any,
    ids: list[int],
    missing: list[str],
    rows: list[Row],
    settings: dict[str, Any],
    skipped: list[str],
) -> dict[str, Any]:
    """Measure one run, print it, and write its detections and the gallery."""
    from openpaf.evaluation.report import as_text, measure
    from openpaf.io.json_files import write_json

    settings = {
        **settings,
        "annotations": str(arguments.annotations),
        "subset": subset_name(arguments),
        "missing_photos": missing,
        "skipped_photos": skipped,
        "score_threshold": arguments.score_threshold,
    }
    figures = measure(
        annotations,
        rows,
        ids,
        min_score=arguments.score_threshold,
        pck_reference=arguments.pck_reference,
        pck_alpha=arguments.pck_alpha,
    )
    figures["skipped"] = len(skipped)
    left_out = f" ({len(skipped)} skipped)" if skipped else ""
    say(f"{_title(settings)}: {counted(figures['photos'], 'photo', 'photos')}{left_out}, "
        f"{counted(figures['people'], 'person', 'people')} with labelled joints")  # fmt: skip
    say(as_text(figures))
    chosen = set(ids)
    if arguments.save_results:
        path = _sized(arguments.save_results, settings, len(arguments.size))
        write_json([row for row in rows if row["image_id"] in chosen], path)
    if arguments.gallery and settings.get("size", arguments.size[0]) == arguments.size[0]:
        _write_gallery(arguments, annotations, ids, rows, settings)
    return {**figures, "settings": settings}


def _title(settings: dict[str, Any]) -> str:
    if settings["method"] == "results":
        return str(Path(settings["results"]).name)
    title = f"{settings['model']}, size {settings['size']}"
    if settings["scales"] != [1.0]:
        title += ", scales " + " ".join(f"{scale:g}" for scale in settings["scales"])
    return title + (", flip" if settings["flip"] else "")


def _sized(path: Path, settings: dict[str, Any], n_sizes: int) -> Path:
    if n_sizes == 1:
        return path
    return path.with_name(f"{path.stem}-{settings['size']}{path.suffix}")


def _write_gallery(
    arguments: argparse.Namespace,
    annotations: Any,
    ids: list[int],
    rows: list[Row],
    settings: dict[str, Any],
) -> None:
    from openpaf.evaluation.gallery import gallery, worst_photos
    from openpaf.evaluation.page import write_page

    score = arguments.score_threshold
    photos = worst_photos(annotations, rows, ids, arguments.gallery_photos, min_score=score)
    title = _title(settings)
    html = gallery(
        annotations,
        arguments.images,
        photos,
        title=f"The worst of {len(ids)} photos: {title}",
        note=f"People from score {score:g} on; {settings['date'][:10]}.",
    )
    write_page(html, arguments.gallery)
    print(f"gallery: {shown(arguments.gallery)}", file=sys.stderr)
