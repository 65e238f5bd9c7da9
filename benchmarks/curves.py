"""The curves of a training run as a picture: losses, and AP on the held-out photos.

    python benchmarks/curves.py runs/lightweight-coco17/log.jsonl --output curves.png

Losses are of single batches, so a running mean is drawn over them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("log", type=Path, help="log.jsonl of the run")
    parser.add_argument("--output", type=Path, default=Path("curves.png"))
    parser.add_argument("--smooth", type=int, default=9, help="rows of the running mean")
    arguments = parser.parse_args()
    rows = [json.loads(line) for line in arguments.log.read_text(encoding="utf-8").splitlines()]
    trained = [row for row in rows if "loss" in row]
    validated = [row for row in rows if "val_AP" in row]
    if not trained:
        parser.error(f"{arguments.log}: no row with a loss")
    draw(trained, validated, arguments.smooth, arguments.output)
    print(f"{len(trained)} rows of losses, {len(validated)} validations: {arguments.output}")


def draw(
    trained: list[dict[str, float]], validated: list[dict[str, float]], smooth: int, output: Path
) -> None:
    n = 2 if validated else 1
    figure, axes = plt.subplots(1, n, figsize=(5 * n, 3.6), squeeze=False, layout="constrained")
    losses, accuracy = axes[0, 0], axes[0, -1]
    steps = np.array([row["step"] for row in trained])
    for name in sorted(key for key in trained[0] if _is_loss(key)):
        values = np.array([row.get(name, np.nan) for row in trained])
        (line,) = losses.plot(steps, values, lw=0.5, alpha=0.35)
        width = min(smooth, len(values))
        mean = np.convolve(values, np.ones(width) / width, mode="valid")
        start = (width - 1) // 2
        losses.plot(steps[start : start + len(mean)], mean, color=line.get_color(), label=name)
    losses.set(xlabel="step", ylabel="loss", ylim=(0, None))
    losses.legend(fontsize=7)
    if validated:
        for name in ("val_AP", "val_AP50", "val_AP75"):
            accuracy.plot([row["step"] for row in validated], [row[name] for row in validated],
                          marker="o", label=name.removeprefix("val_"))  # fmt: skip
        accuracy.set(xlabel="step", ylabel="held-out photos", ylim=(0, None))
        accuracy.legend(fontsize=7)
    figure.savefig(output, dpi=110)


def _is_loss(name: str) -> bool:
    return name == "hints" or name.startswith(("heatmaps_", "pafs_", "loss_"))


if __name__ == "__main__":
    main()
