"""``openpaf evaluate --task bbox segm``: how good the boxes and masks of a detector are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli.common import counted, one_line, report, say, waiting
from openpaf.cli.photos import check_writable, find_ids, report_missing, subset_name

if TYPE_CHECKING:
    from openpaf.errors import ImageError
    from openpaf.estimator.object_detector import ObjectDetector
    from openpaf.evaluation.label_files import Detection


def run(arguments: argparse.Namespace) -> int:
    """Measure boxes, masks or both; what is wrong is found before the model is run."""
    from openpaf.evaluation.object_files import read_object_annotations, read_object_results
    from openpaf.evaluation.settings import results_sha256
    from openpaf.io.json_files import write_json

    _check(arguments)
    with waiting("reading the annotations"):
        annotations = read_object_annotations(arguments.annotations, arguments.task)
    ids, missing = find_ids(arguments, annotations)
    report_missing(missing)
    skipped: dict[int, ImageError] = {}
    settings: dict[str, Any]
    if arguments.results:
        results = read_object_results(arguments.results, annotations, arguments.task)
        settings = {"method": "results", "results": str(arguments.results),
                    "results_sha256": results_sha256(arguments.results)}  # fmt: skip
    else:
        results, settings = _detect(arguments, annotations, ids, skipped)
    ids = [i for i in ids if i not in skipped]
    figures = _measure(arguments, annotations, results, ids, settings)
    if arguments.save_results:
        chosen = set(ids)
        write_json([one for one in results if one["image_id"] in chosen], arguments.save_results)
    if arguments.json:
        names = [annotations.imgs[i]["file_name"] for i in skipped]
        own = {"missing_photos": missing, "skipped_photos": names}
        write_json({**figures, "settings": {**settings, **own}}, arguments.json)
    return 1 if skipped else 0


def _check(arguments: argparse.Namespace) -> None:
    from openpaf.evaluation.objects import OBJECT_TASKS
    from openpaf.evaluation.settings import default_model

    unknown = [task for task in arguments.task if task not in OBJECT_TASKS]
    if unknown or len(set(arguments.task)) != len(arguments.task):
        given = " ".join(arguments.task)
        raise ValueError(f"--task: expected keypoints alone, or bbox, segm or both, got {given}")
    if len(arguments.size or ()) > 1:
        raise ValueError("--size: expected one size for boxes and masks")
    if arguments.gallery or arguments.flip or arguments.scales != [1.0] or arguments.set:
        raise ValueError("--gallery, --flip, --scales, --set: only for keypoints")
    if not arguments.results and not arguments.images:
        raise ValueError("--images: needed to run a model")
    if not arguments.results and not arguments.model:
        if arguments.method != "mask-rcnn":
            raise ValueError("--model: expected a Mask R-CNN for boxes or masks, as maskrcnn-coco")
        arguments.model = default_model("mask-rcnn")
    check_writable(arguments.json, "--json")
    check_writable(arguments.save_results, "--save-results")


def _detect(
    arguments: argparse.Namespace,
    annotations: Any,
    ids: list[int],
    skipped: dict[int, ImageError],
) -> tuple[list[Detection], dict[str, Any]]:
    """Run the model, from where an earlier run stopped; tell what cannot be read."""
    from openpaf.estimator.object_detector import ObjectDetector
    from openpaf.evaluation.objects import detect_objects, match_classes
    from openpaf.evaluation.run import none_readable
    from openpaf.io.partial_results import PartialResults, default_partial_path

    detector = ObjectDetector(
        arguments.model,
        engine=arguments.engine,
        device=arguments.device,
        threads=arguments.threads,
        size=arguments.size[0] if arguments.size else None,
    )
    if "segm" in arguments.task and not detector.has_masks:
        raise ValueError(f"--task: {arguments.model} finds no masks, expected bbox")
    categories = match_classes(detector.classes, annotations.dataset["categories"])
    settings = _settings(arguments, detector)
    path = arguments.partial or default_partial_path(settings)
    if arguments.fresh:
        path.unlink(missing_ok=True)

    def skip(image_id: int, error: ImageError) -> None:
        skipped[image_id] = error
        report(f"skipped {one_line(error)}")

    with PartialResults(path, settings) as partial:
        results = detect_objects(
            annotations, arguments.images, detector, ids,
            ids=categories, partial=partial, workers=arguments.workers,
            progress=not arguments.quiet, on_error=skip,
        )  # fmt: skip
        if len(skipped) == len(ids):
            raise none_readable(list(skipped.values()))
        partial.delete()
    return results, settings


def _settings(arguments: argparse.Namespace, detector: ObjectDetector) -> dict[str, Any]:
    from openpaf.evaluation.settings import surroundings
    from openpaf.io.files import sha256_of

    assert detector.source is not None  # a network in memory has no file
    return {
        "method": "mask-rcnn",
        "model": detector.source.file.stem,
        "model_sha256": sha256_of(detector.source.file),
        "device": arguments.device or "auto",
        "size": detector.size,
        "annotations_sha256": sha256_of(arguments.annotations),
        "images": str(Path(arguments.images).resolve()),
        **surroundings(),
    }


def _measure(
    arguments: argparse.Namespace,
    annotations: Any,
    results: list[Detection],
    ids: list[int],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """The figures of each task, printed."""
    from openpaf.evaluation.objects import OBJECT_METRICS, evaluate_objects

    chosen = set(ids)
    n_objects = sum(
        not entry.get("iscrowd") and entry["image_id"] in chosen
        for entry in annotations.dataset["annotations"]
    )
    settings |= {"annotations": str(arguments.annotations), "subset": subset_name(arguments)}
    title = f"{settings['model']}, size {settings['size']}" if "model" in settings else ""
    say(f"{title or Path(settings['results']).name}: {counted(len(ids), 'photo', 'photos')}, "
        f"{counted(n_objects, 'object', 'objects')}")  # fmt: skip
    say("      " + " ".join(f"{name:>6}" for name in OBJECT_METRICS))
    figures: dict[str, Any] = {"photos": len(ids), "objects": n_objects}
    for task in arguments.task:
        with waiting("computing the figures"):
            figures[task] = evaluate_objects(annotations, results, task, ids)
        values = " ".join(f"{_figure(figures[task][name]):>6}" for name in OBJECT_METRICS)
        say(f"{task:<6}{values}")
    for task in arguments.task:
        by_class = figures[task]["by_class"].items()
        text = ", ".join(f"{name} {_figure(ap)}" for name, ap in by_class if ap >= 0)
        say(f"AP of {task} by class: {text or 'none'}")
    return figures


def _figure(value: float) -> str:
    return "-" if value < 0 else f"{value:.3f}"
