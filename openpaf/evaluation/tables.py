"""A comparison as Markdown, as a plot, and as one web page."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from openpaf.evaluation.page import page, picture_file, table
from openpaf.evaluation.report import CROWDING
from openpaf.evaluation.steps import STEPS

logger = logging.getLogger(__name__)

Table = tuple[str, list[str], list[list[str]]]


def tables(rows: list[dict[str, Any]]) -> list[Table]:
    """The tables of a comparison: a title, a header and rows each.

    Args:
        rows: The methods, from :func:`openpaf.evaluation.compare.with_ratios`.
    """
    made = [_accuracy(rows), _crowding(rows), _errors(rows)]
    if any(row["ms"] for row in rows):
        made.append(_times(rows))
    if any(row["time_by_people"] for row in rows):
        made.append(_people(rows))
    return made


def _accuracy(rows: list[dict[str, Any]]) -> Table:
    names = ["AP", "AP50", "AP75", "APM", "APL", "AR"]
    lines = [
        [row["name"], *(_figure(row[name]) for name in names),
         _figure(row["persons"]["precision"]), _figure(row["persons"]["recall"]),
         _figure(row["pck"]["PCK"])]
        for row in rows
    ]  # fmt: skip
    score = rows[0]["persons"]["min_score"]
    header = ["method", *names, "precision", "recall", "PCK"]
    return f"Accuracy (precision and recall at OKS 0.5, score {score:g})", header, lines


def _crowding(rows: list[dict[str, Any]]) -> Table:
    photos = [band["photos"] for band in rows[0]["by_people"]]
    header = ["method", *(
        f"{name} ({n} photo{'s' * (n != 1)})"
        for (name, _, _), n in zip(CROWDING, photos, strict=True)
    )]  # fmt: skip
    lines = [[row["name"], *(_figure(band["AP"]) for band in row["by_people"])] for row in rows]
    return "AP by people in the photo", header, lines


def _errors(rows: list[dict[str, Any]]) -> Table:
    kinds = list(rows[0]["errors"]["share"])
    lines = [
        [row["name"], *(f"{100 * row['errors']['share'][kind]:.1f} %" for kind in kinds),
         str(row["errors"]["missed"]), str(row["errors"]["false"])]
        for row in rows
    ]  # fmt: skip
    header = ["method", *kinds, "people missed", "false"]
    return "Joints of found people (Ronchi and Perona 2017)", header, lines


def _times(rows: list[dict[str, Any]]) -> Table:
    lines = []
    for row in rows:
        ms, ratio = row["ms"], row["ratio"]
        lines.append(
            [
                row["name"],
                *(_ms(ms.get(step)) for step in STEPS),
                _ms(ms.get("total")),
                _times_first(ratio.get("ms", {}).get("total")),
                "-" if row["peak_mb"] is None else f"{row['peak_mb']:.0f}",
                _times_first(ratio.get("peak_mb")),
            ]
        )
    header = ["method", *STEPS, "total ms", "ratio", "peak memory MB", "ratio"]
    return "Milliseconds a photo by step (median), and memory", header, lines


def _people(rows: list[dict[str, Any]]) -> Table:
    timed = [row for row in rows if row["time_by_people"]]
    header = ["people"] + [
        text for row in timed for text in (f"{row['name']}: ms", "ratio", "found")
    ]
    lines = []
    for i, scene in enumerate(timed[0]["time_by_people"]):
        line = [str(scene["people"])]
        for row in timed:
            own = row["time_by_people"][i]
            line += [_ms(own["ms"]["total"]), _times_first(own.get("ratio")), str(own["found"])]
        lines.append(line)
    return "Time against people, on composed scenes", header, lines


def as_markdown(title: str, note: str, made: list[Table], plot: str | None) -> str:
    """The tables as Markdown, with the plot between them if there is one."""
    parts = [f"# {title}", note]
    for name, header, lines in made:
        rows = [header, ["---"] * len(header), *lines]
        text = "\n".join("| " + " | ".join(_escaped(c) for c in row) + " |" for row in rows)
        parts += [f"## {name}", text]
    if plot:
        parts.append(f"![Time against people]({plot})")
    return "\n\n".join(parts) + "\n"


def as_page(title: str, note: str, made: list[Table], plot: Path | None, scene: Path | None) -> str:
    """The tables, the plot and one of the scenes as a web page in one file."""
    from html import escape

    parts = [f"<p>{escape(note)}</p>"]
    for name, header, lines in made:
        parts += [f"<h2>{escape(name)}</h2>", table(header, lines)]
    if plot:
        parts.append(picture_file(plot, "Time against people"))
    if scene:
        parts += ["<h2>One of the scenes</h2>", picture_file(scene, scene.stem.replace("-", ": "))]
    return page(title, "\n".join(parts))


def draw_plot(rows: list[dict[str, Any]], path: Path) -> bool:
    """Draw time against people as a PNG.

    Args:
        rows: The methods.
        path: The file.

    Returns:
        Whether it was drawn: not without scenes, nor without matplotlib, which is said.

    Reference:
        Cao et al., TPAMI 2021, the figure of runtime against people.
    """
    timed = [row for row in rows if row["time_by_people"]]
    if not timed:
        return False
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.warning("no plot: matplotlib is missing; pip install 'openpaf[compare]'")
        return False
    steps = [row for row in timed if "people" in row["ms"]]
    figure = Figure(figsize=(11 if steps else 6, 4.4), dpi=120, layout="constrained")
    panels = figure.subplots(1, 2 if steps else 1, squeeze=False)[0]
    for row in timed:
        scenes = row["time_by_people"]
        x = [scene["people"] for scene in scenes]
        panels[0].plot(x, [s["ms"]["total"] for s in scenes], marker="o", label=row["name"])
        if row in steps:
            after = [s["ms"]["total"] - s["ms"]["network"] for s in scenes]
            panels[1].plot(x, after, marker="o", label=row["name"])
    panels[0].set_title("From the photo to its people")
    if steps:
        panels[1].set_title("After the network (bottom-up)")
    for panel in panels:
        panel.set_xlabel("people in the scene")
        panel.set_ylabel("ms")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        panel.legend()
    figure.savefig(path)
    return True


def _figure(value: float) -> str:
    return "-" if value < 0 else f"{value:.3f}"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _times_first(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
