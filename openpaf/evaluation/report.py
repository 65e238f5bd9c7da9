"""Every figure of a set of detections, and the same as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openpaf.evaluation.breakdown import KINDS, error_breakdown
from openpaf.evaluation.coco import METRICS, ap_by_area, evaluate
from openpaf.evaluation.label_files import Annotations, Detection
from openpaf.evaluation.matching import precision_at
from openpaf.evaluation.pck import pck

#: Photos by how many people are labeled in them, with or without joints; the last has no end.
CROWDING = (("1", 1, 1), ("2 to 4", 2, 4), ("5 to 9", 5, 9), ("10 or more", 10, 10**9))
#: People by size in px, the square root of their area; COCO's medium and large begin at 32 and 96.
SIZES_PX = ((0, 32), (32, 64), (64, 96), (96, 192), (192, 100_000))


def measure(
    annotations: Annotations,
    detections: Sequence[Detection],
    image_ids: Sequence[int],
    *,
    min_score: float = 0.65,
    pck_reference: str | None = None,
    pck_alpha: float = 0.2,
) -> dict[str, Any]:
    """All figures of some detections, fit for JSON.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        detections: In COCO's submission format.
        image_ids: Which photos.
        min_score: For precision and recall, people of a lower score do not count.
        pck_reference: As ``reference`` for :func:`openpaf.evaluation.pck.pck`.
        pck_alpha: As ``alpha`` for :func:`openpaf.evaluation.pck.pck`.

    Returns:
        The ten figures under COCO's names, and ``photos``, ``people``, ``detections``,
        ``persons`` (precision and recall at OKS 0.5), ``by_people``, ``by_size``, ``pck`` and
        ``errors``.
    """
    chosen = set(image_ids)
    precision, recall = precision_at(annotations, detections, image_ids, min_score=min_score)
    return {
        **evaluate(annotations, detections, image_ids),
        "photos": len(chosen),
        "people": sum(
            person["num_keypoints"] > 0 and not person["iscrowd"]
            for image_id in chosen
            for person in annotations.imgToAnns.get(image_id, ())
        ),
        "detections": sum(person["image_id"] in chosen for person in detections),
        "persons": {"oks": 0.5, "min_score": min_score, "precision": precision, "recall": recall},
        "by_people": ap_by_crowding(annotations, detections, image_ids),
        "by_size": [
            {"from_px": low, "to_px": high, "people": n_people, "AP": ap}
            for (low, high), (ap, n_people) in zip(
                SIZES_PX, ap_by_area(annotations, detections, image_ids, SIZES_PX), strict=True
            )
        ],
        "pck": pck(annotations, detections, image_ids, reference=pck_reference, alpha=pck_alpha),
        "errors": error_breakdown(annotations, detections, image_ids),
    }


def ap_by_crowding(
    annotations: Annotations, detections: Sequence[Detection], image_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """AP over photos of few and of many people, who are counted as labeled, crowds apart."""
    n_people = {
        i: sum(not person["iscrowd"] for person in annotations.imgToAnns.get(i, ()))
        for i in image_ids
    }
    bands = []
    for name, least, most in CROWDING:
        ids = [i for i in image_ids if least <= n_people[i] <= most]
        figures = evaluate(annotations, detections, ids)
        bands.append({"people": name, "photos": len(ids), **{m: figures[m] for m in METRICS}})
    return bands


def as_text(figures: dict[str, Any]) -> str:
    """The figures of :func:`measure` in a few lines."""
    persons, errors, joints = figures["persons"], figures["errors"], figures["pck"]
    shares = errors["share"]
    crowding = "   ".join(
        f"{band['people']}: {_figure(band['AP'])} ({_counted(band['photos'])})"
        for band in figures["by_people"]
        if band["photos"]
    )
    sizes = "   ".join(
        f"{_band(band)}: {_figure(band['AP'])} ({band['people']})"
        for band in figures["by_size"]
        if band["people"]
    )
    lines = [
        " ".join(f"{name:>5}" for name in METRICS),
        " ".join(f"{_figure(figures[name]):>5}" for name in METRICS),
        f"people at OKS {persons['oks']} and score {persons['min_score']}: precision "
        f"{_figure(persons['precision'])}, recall {_figure(persons['recall'])}",
        f"AP by people in the photo   {crowding or 'none'}",
        f"AP by size of the person    {sizes or 'none'}",
        f"PCK at {joints['alpha']} of the {joints['reference']}: {_figure(joints['PCK'])}, of "
        f"people found {_figure(joints['PCK_found'])}",
        f"joints of {errors['found']} people found: "
        + ", ".join(f"{kind} {100 * shares[kind]:.1f} %" for kind in KINDS)
        + f"; {errors['missed']} people missed, {errors['false']} false",
    ]
    return "\n".join(lines)


def _counted(n_photos: int) -> str:
    return f"{n_photos} photo{'s' * (n_photos > 1)}"


def _figure(value: float) -> str:
    return "-" if value < 0 else f"{value:.3f}"


def _band(band: dict[str, Any]) -> str:
    if band["to_px"] >= SIZES_PX[-1][1]:
        return f"from {band['from_px']} px"
    return f"{band['from_px']} to {band['to_px']} px"
