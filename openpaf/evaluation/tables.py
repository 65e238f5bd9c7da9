"""A comparison as Markdown, as a plot, and as one web page."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from openpaf.evaluation.page import image_file, page, table
from openpaf.evaluation.report import CROWDING
from openpaf.evaluation.steps import STEPS
from openpaf.io.extras import install_hint

logger = logging.getLogger(__name__)

Table = tuple[str, list[str], list[list[str]]]


def tables(methods: list[dict[str, Any]]) -> list[Table]:
    """The tables of a comparison: a title, a header and lines each.

    Args:
        methods: The methods, from :func:`openpaf.evaluation.compare.with_ratios`.
    """
    made = [_accuracy(methods), _crowding(methods), _errors(methods)]
    if any(method["ms"] for method in methods):
        made.append(_times(methods))
    if any(method["time_by_people"] for method in methods):
        made.append(_people(methods))
    return made


def _accuracy(methods: list[dict[str, Any]]) -> Table:
    names = ["AP", "AP50", "AP75", "APM", "APL", "AR"]
    lines = [
        [method["name"], *(_figure(method[name]) for name in names),
         _figure(method["persons"]["precision"]), _figure(method["persons"]["recall"]),
         _figure(method["pck"]["PCK"])]
        for method in methods
    ]  # fmt: skip
    score = methods[0]["persons"]["min_score"]
    header = ["method", *names, "precision", "recall", "PCK"]
    return f"Accuracy (precision and recall at OKS 0.5, score {score:g})", header, lines


def _crowding(methods: list[dict[str, Any]]) -> Table:
    photos = [band["photos"] for band in methods[0]["by_people"]]
    header = ["method", *(
        f"{name} ({n} photo{'s' * (n != 1)})"
        for (name, _, _), n in zip(CROWDING, photos, strict=True)
    )]  # fmt: skip
    lines = [
        [method["name"], *(_figure(band["AP"]) for band in method["by_people"])]
        for method in methods
    ]
    return "AP by people in the photo", header, lines


def _errors(methods: list[dict[str, Any]]) -> Table:
    kinds = list(methods[0]["errors"]["share"])
    lines = [
        [method["name"], *(f"{100 * method['errors']['share'][kind]:.1f} %" for kind in kinds),
         str(method["errors"]["missed"]), str(method["errors"]["false"])]
        for method in methods
    ]  # fmt: skip
    header = ["method", *kinds, "people missed", "false"]
    return "Joints of found people (Ronchi and Perona 2017)", header, lines


def _times(methods: list[dict[str, Any]]) -> Table:
    lines = []
    for method in methods:
        ms, ratio = method["ms"], method["ratio"]
        lines.append(
            [
                method["name"],
                *(_ms(ms.get(step)) for step in STEPS),
                _ms(ms.get("total")),
                _times_first(ratio.get("ms", {}).get("total")),
                "-" if method["peak_mb"] is None else f"{method['peak_mb']:.0f}",
                _times_first(ratio.get("peak_mb")),
            ]
        )
    header = ["method", *STEPS, "total ms", "ratio", "peak memory MB", "ratio"]
    return "Milliseconds a photo by step (median), and memory", header, lines


def _people(methods: list[dict[str, Any]]) -> Table:
    timed = [method for method in methods if method["time_by_people"]]
    header = ["people"] + [
        text for method in timed for text in (f"{method['name']}: ms", "ratio", "found")
    ]
    lines = []
    for i, scene in enumerate(timed[0]["time_by_people"]):
        line = [str(scene["people"])]
        for method in timed:
            own = method["time_by_people"][i]
            line += [_ms(own["ms"]["total"]), _times_first(own.get("ratio")), str(own["found"])]
        lines.append(line)
    return "Time against people, on composed scenes", header, lines


def as_markdown(title: str, note: str, made: list[Table], plot: str | None) -> str:
    """The tables as Markdown, with the plot between them if there is one."""
    parts = [f"# {title}", note]
    for name, header, lines in made:
        cells = [header, ["---"] * len(header), *lines]
        text = "\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in cells)
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
        parts.append(image_file(plot, "Time against people"))
    if scene:
        parts += ["<h2>One of the scenes</h2>", image_file(scene, scene.stem.replace("-", ": "))]
    return page(title, "\n".join(parts))


def draw_plot(methods: list[dict[str, Any]], path: Path) -> bool:
    """Draw time against people as a PNG.

    Args:
        methods: The methods.
        path: The file.

    Returns:
        Whether it was drawn: not without scenes, nor without matplotlib, which is logged.

    Reference:
        Cao et al., TPAMI 2021, the figure of runtime against people.
    """
    timed = [method for method in methods if method["time_by_people"]]
    if not timed:
        return False
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.warning("no plot: matplotlib is missing; %s", install_hint("compare"))
        return False
    steps = [method for method in timed if "people" in method["ms"]]
    figure = Figure(figsize=(11 if steps else 6, 4.4), dpi=120, layout="constrained")
    panels = figure.subplots(1, 2 if steps else 1, squeeze=False)[0]
    for method in timed:
        scenes = method["time_by_people"]
        x = [scene["people"] for scene in scenes]
        panels[0].plot(x, [s["ms"]["total"] for s in scenes], marker="o", label=method["name"])
        if method in steps:
            after = [s["ms"]["total"] - s["ms"]["network"] for s in scenes]
            panels[1].plot(x, after, marker="o", label=method["name"])
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
