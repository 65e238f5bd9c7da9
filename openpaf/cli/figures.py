"""What ``openpaf evaluate`` says and writes of one run: figures, detections and the gallery."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli.common import counted, say, shown, waiting
from openpaf.cli.photos import subset_name

if TYPE_CHECKING:
    from openpaf.evaluation.label_files import Detection


@dataclass(frozen=True)
class Run:
    """The results of a model at one size, or of a file.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        ids: Images that are measured.
        results: The people who were found.
        settings: What they were found with.
        missing: File names of images that are not there.
        skipped: File names of images that cannot be read.
    """

    annotations: Any
    ids: list[int]
    results: list[Detection]
    settings: dict[str, Any]
    missing: list[str]
    skipped: list[str]


def finish(run: Run, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one run, print it, and write its detections and the gallery.

    Returns:
        What ``--json`` has of it: the figures, and ``settings``.
    """
    from openpaf.evaluation.report import as_text, measure
    from openpaf.io.json_files import write_json

    settings = {
        **run.settings,
        "annotations": str(arguments.annotations),
        "subset": subset_name(arguments),
        "missing_photos": run.missing,
        "skipped_photos": run.skipped,
        "score_threshold": arguments.threshold,
    }
    with waiting("computing the figures"):
        figures = measure(
            run.annotations,
            run.results,
            run.ids,
            min_score=arguments.threshold,
            pck_reference=arguments.pck_reference,
            pck_alpha=arguments.pck_alpha,
        )
    figures["skipped"] = len(run.skipped)
    left_out = f" ({len(run.skipped)} skipped)" if run.skipped else ""
    say(f"{_title(settings)}: {counted(figures['photos'], 'photo', 'photos')}{left_out}, "
        f"{counted(figures['people'], 'person', 'people')} with labeled joints")  # fmt: skip
    say(as_text(figures))
    ids = set(run.ids)
    if arguments.save_results:
        path = _sized(arguments.save_results, settings, len(arguments.size))
        write_json([person for person in run.results if person["image_id"] in ids], path)
    if arguments.gallery and settings.get("size", arguments.size[0]) == arguments.size[0]:
        _write_gallery(run, arguments, _title(settings))
    return {**figures, "settings": settings}


def _title(settings: dict[str, Any]) -> str:
    if settings["method"] == "results":
        return str(Path(settings["results"]).name)
    title = f"{settings['model']}, size {settings['size']}, {settings['engine']}"
    if settings["scales"] != [1.0]:
        title += ", scales " + " ".join(f"{scale:g}" for scale in settings["scales"])
    return title + (", flip" if settings["flip"] else "")


def _sized(path: Path, settings: dict[str, Any], n_sizes: int) -> Path:
    if n_sizes == 1:
        return path
    return path.with_name(f"{path.stem}-{settings['size']}{path.suffix}")


def _write_gallery(run: Run, arguments: argparse.Namespace, title: str) -> None:
    from openpaf.evaluation.gallery import gallery, worst_photos
    from openpaf.io.files import write_text

    score = arguments.threshold
    photos = worst_photos(
        run.annotations, run.results, run.ids, arguments.gallery_photos, min_score=score
    )
    html = gallery(
        run.annotations,
        arguments.images,
        photos,
        title=f"The worst of {len(run.ids)} photos: {title}",
        note=f"People from score {score:g} on; {run.settings['date'][:10]}.",
    )
    write_text(arguments.gallery, html)
    print(f"gallery: {shown(arguments.gallery)}", file=sys.stderr)
