"""The table and the plot of benchmarks/groupings.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from grouping_methods import Compared

_COUNTS = (1, 9, 30, 50)


def table(
    methods: Mapping[str, Compared],
    rates: Mapping[str, float],
    learned: Mapping[str, Sequence[Mapping[str, float]]],
    sizes: Mapping[str, int],
    truth: Mapping[str, Mapping[str, float]],
    times: Mapping[str, Sequence[float]],
) -> str:
    """All figures as Markdown, a column a method; times relative to those of the first."""
    base = times[next(iter(methods))]
    n_parameters = [f"{sizes[kind]:,}" if kind in sizes else "" for kind in methods]
    lines = [
        "| | " + " | ".join(one.title for one in methods.values()) + " |",
        "|---" * (len(methods) + 1) + "|",
        _line("parameters of body and heads", n_parameters),
        _line("learning rate", [f"{rates[k]:g}" if k in rates else "" for k in methods]),
        _line("seeds", [str(len(learned[k])) for k in methods]),
    ]
    names = next((list(runs[0]) for runs in learned.values() if runs), [])
    for name in names:
        cells = [_spread([run[name] for run in learned[k]]) for k in methods]
        lines.append(_line(name, cells))
    for name in truth[next(iter(methods))]:
        lines.append(_line(f"all arrays true: {name}", [f"{truth[k][name]:.3f}" for k in methods]))
    for i, n in enumerate(_COUNTS):
        cells = [f"{times[k][i] / base[i]:.2f}x" for k in methods]
        cells[0] += f" ({base[i]:.2f} ms)"
        lines.append(_line(f"time to group, {n} {'person' if n == 1 else 'people'}", cells))
    return "\n".join(lines)


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _spread(values: Sequence[float]) -> str:
    """The mean, and the deviation over seeds; a figure of no photo is left out."""
    if not values or min(values) < 0:
        return ""
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


def plot(
    file: Path,
    methods: Mapping[str, Compared],
    learned: Mapping[str, Sequence[Mapping[str, float]]],
    crowds: Sequence[str],
    times: Mapping[str, Sequence[float]],
    photos: str,
    truth: Mapping[str, Mapping[str, float]],
) -> None:
    """AP by the number of people, of true arrays where nothing is learned; and time to group."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    base = times[next(iter(methods))]
    places, width = np.arange(len(crowds)), 0.8 / len(methods)
    for i, (kind, compared) in enumerate(methods.items()):
        runs = learned[kind]
        values = [
            np.mean([run[f"{photos}: {name}"] for run in runs]) if runs else truth[kind][name]
            for name in crowds
        ]
        left.bar(places + i * width, values, width, label=compared.title)
        right.plot(_COUNTS, np.divide(times[kind], base), marker="o", label=compared.title)
    left.set_xticks(places + 1.5 * width, crowds)
    what = "Learned" if any(learned.values()) else "True arrays"
    left.set(ylabel="AP", title=f"{what}, by people in the photo")
    right.set(yscale="log", xlabel="people", ylabel="relative to the first", title="Time to group")
    right.grid(alpha=0.3, which="both")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(file, dpi=110)
    print(f"\nplot: {file.name}")
