"""``openpaf evaluate``: how good a model, or another system's results, are on labeled photos."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli import evaluate_objects
from openpaf.cli.arguments import SIZE, add_scale_arguments, add_set_argument, add_verb
from openpaf.cli.common import (
    counted,
    one_line,
    path_argument,
    positive_integer,
    report,
    shown,
)
from openpaf.cli.figures import Run, finish
from openpaf.cli.models import load_estimator
from openpaf.cli.photos import (
    add_photo_arguments,
    add_run_arguments,
    check_writable,
    find_ids,
    read_labels,
    report_missing,
)

if TYPE_CHECKING:
    from openpaf.errors import ImageError
    from openpaf.evaluation.label_files import Annotations, Detection
    from openpaf.io.partial_results import PartialResults

_DESCRIPTION = """\
Measures a model on photos with COCO keypoint annotations, of any joints: AP, AP50, AP75, APM, APL,
AR, AR50, AR75, ARM, ARL exactly as pycocotools computes them; and precision and recall of people,
AP by people in the photo and by their size, PCK, and what kind of errors the joints have.

With --task bbox or segm, the boxes and masks of objects: AP, AP50, AP75, APS, APM, APL, AR1, AR10,
AR100, ARS, ARM, ARL.

An interrupted run goes on where it stopped when the same command is given again.
"""
_EPILOG = """\
examples:
  openpaf evaluate --annotations person_keypoints_val2017.json --images val2017
  openpaf evaluate --annotations a.json --images photos --size 256 368 512 --json figures.json
  openpaf evaluate --annotations a.json --images photos --scales 256 368 640 --flip
  openpaf evaluate --annotations a.json --results theirs.json
  openpaf evaluate --annotations instances_val2017.json --images val2017 \\
      --model maskrcnn-coco --task bbox segm
  openpaf evaluate --annotations a.json --images photos --gallery worst.html --save-results r.json

--json: the ten figures under their names, for the first size, with "settings" and the other figures
beside them; the list "runs" has the same for every size. With --task bbox or segm, the twelve are
in tables of that name. With several sizes, --save-results r.json
writes r-256.json, r-368.json ... The gallery is of the first size.

Photos that cannot be read are told, left out of the figures and counted ("skipped").
exit status: 0 done; 1 some photos were skipped; 2 bad use or bad files, nothing measured; 130
interrupted.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb to the parser of the command."""
    parser = add_verb(
        verbs,
        "evaluate",
        run,
        help="accuracy of a model on photos with COCO annotations",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add_photo_arguments(parser, images_required=False)
    parser.add_argument(
        "--task",
        nargs="+",
        metavar="T",
        default=["keypoints"],
        help="keypoints; or boxes and masks of a Mask R-CNN, bbox, segm or both, of all categories "
        "of the annotations (default: keypoints)",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--model", metavar="NAME_OR_PATH", help="a shipped model, or a file")
    what.add_argument(
        "--method",
        metavar="KIND",
        default="paf",
        help="paf, mask-rcnn or top-down: the shipped model of that kind (default: paf)",
    )
    what.add_argument(
        "--results",
        metavar="FILE",
        type=path_argument,
        help="measure these results instead of a model: COCO's, or a file or folder of OpenPose, "
        "AlphaPose, openpifpaf or mmpose",
    )
    add_run_arguments(parser)
    parser.set_defaults(size=None)  # 368 for keypoints, that of its training for a Mask R-CNN
    add_scale_arguments(parser)
    add_set_argument(parser)
    add = parser.add_argument
    add(
        "--workers",
        type=positive_integer,
        default=2,
        metavar="N",
        help="threads that read photos ahead of the network (default: 2)",
    )
    add(
        "--partial",
        metavar="FILE",
        type=path_argument,
        help="where the results of an unfinished run wait (default: in the cache folder)",
    )
    add("--fresh", action="store_true", help="do not go on where an interrupted run stopped")
    _add_output_arguments(parser)


def _add_output_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
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
        metavar="R",
        help="what PCK is relative to: box (its diagonal), torso or head (default: torso, and box "
        "where there is none)",
    )
    add("--pck-alpha", type=float, default=0.2, metavar="A", help="PCK's share (default: 0.2)")


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; what can be wrong with its use is found before the model is run."""
    if arguments.task != ["keypoints"]:
        return evaluate_objects.run(arguments)
    arguments.size = arguments.size or [SIZE]
    _check(arguments)
    logging.basicConfig(level=logging.WARNING, format="openpaf: %(message)s")
    from openpaf.evaluation.pck import reference_for
    from openpaf.evaluation.result_files import read_results
    from openpaf.evaluation.run import none_readable

    annotations = _labels(arguments)
    arguments.pck_reference = reference_for(annotations.skeleton, arguments.pck_reference)
    ids, missing = find_ids(arguments, annotations)
    report_missing(missing)
    partials: list[PartialResults] = []
    runs = []
    skipped: dict[int, ImageError] = {}
    try:
        if arguments.results:
            results = read_results(arguments.results, annotations)
            measured = Run(annotations, ids, results, _file_settings(arguments), missing, [])
            runs.append(finish(measured, arguments))
        else:
            _check_models(arguments)
            for size in arguments.size:
                results, settings = _detect(arguments, annotations, ids, size, partials, skipped)
                ids = [i for i in ids if i not in skipped]
                if not ids:
                    raise none_readable(list(skipped.values()))
                names = [annotations.imgs[i]["file_name"] for i in skipped]
                measured = Run(annotations, ids, results, settings, missing, names)
                runs.append(finish(measured, arguments))
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
    from openpaf.checks import check_choice, check_number
    from openpaf.evaluation.pck import REFERENCES

    if not arguments.images and (arguments.gallery or not arguments.results):
        raise ValueError("--images: needed to run a model or to draw a gallery")
    if arguments.pck_reference is not None:
        check_choice("--pck-reference", arguments.pck_reference, REFERENCES)
    check_number("--pck-alpha", arguments.pck_alpha, above=0)
    if len(set(arguments.size)) != len(arguments.size):
        raise ValueError("--size: one comes twice")
    if len(arguments.size) > 1 and max(arguments.scales) >= 32:
        raise ValueError("--scales: sizes in px go with one --size, multiples with several")
    check_writable(arguments.json, "--json")
    check_writable(arguments.save_results, "--save-results")
    check_writable(arguments.gallery, "--gallery")


def _labels(arguments: argparse.Namespace) -> Annotations:
    """The annotations, read for the model that is measured."""
    from openpaf.evaluation.settings import default_model

    if not arguments.results:
        arguments.model = arguments.model or default_model(arguments.method)
    return read_labels(arguments, arguments.model)


def _check_models(arguments: argparse.Namespace) -> None:
    """Find what is wrong with further sizes before the first is run for an hour."""
    for size in arguments.size[1:]:
        load_estimator(arguments, size=size)


def _detect(
    arguments: argparse.Namespace,
    annotations: Annotations,
    ids: list[int],
    size: int,
    partials: list[PartialResults],
    skipped: dict[int, ImageError],
) -> tuple[list[Detection], dict[str, Any]]:
    """Run the model at one size, from where an earlier run stopped; tell what cannot be read."""
    from openpaf.evaluation.run import detect_photos
    from openpaf.evaluation.settings import check_joints, describe
    from openpaf.io.files import sha256_of
    from openpaf.io.partial_results import PartialResults, default_partial_path

    estimator = load_estimator(arguments, size=size)
    check_joints(estimator.skeleton, annotations.measured, arguments.model)
    settings = describe(estimator, arguments.device)
    settings["annotations_sha256"] = sha256_of(arguments.annotations)
    settings["joints"] = list(annotations.skeleton.joints)
    settings["images"] = str(Path(arguments.images).resolve())
    path = arguments.partial or default_partial_path(settings)
    if arguments.fresh and not partials:
        path.unlink(missing_ok=True)
    partial = PartialResults(path, settings)
    partials.append(partial)
    known = sum(i in partial.done for i in ids)
    if known and not arguments.quiet:
        report(f"going on where an earlier run stopped: {known} of {len(ids)} photos are done")

    def skip(image_id: int, error: ImageError) -> None:
        skipped[image_id] = error
        report(f"skipped {one_line(error)}")

    results = detect_photos(
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
    return results, settings


def _file_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    from openpaf.evaluation.settings import results_sha256, surroundings
    from openpaf.io.files import sha256_of

    return {
        "method": "results",
        "results": str(arguments.results),
        "results_sha256": results_sha256(arguments.results),
        "annotations_sha256": sha256_of(arguments.annotations),
        **surroundings(),
    }
