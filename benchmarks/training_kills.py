"""Training of every family is killed at random moments, and resumes bit-exactly.

    python benchmarks/training_kills.py --kills 5
    python benchmarks/training_kills.py --networks body25 lightweight_tags --seed 1

trains each network as small as it can be, once whole, and once with SIGKILLs at random moments of
the time that the whole run took; prints Markdown. Checkpoint and weights must then be the same.
Exits with 1 if any are not. Needs ``fork``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from by_heart import NETWORKS as FIELDS
from by_heart import SIZE, draw_images

from openpaf.training.checkpoints import load_checkpoint
from openpaf.training.config import TrainConfig
from openpaf.training.loop import train
from openpaf.training.tables import as_table

_NARROW = {"width": 8, "hidden_width": 8, "trunk_widths": [8] * 12}
_DETECTOR = {
    "fpn_channels": 8, "box_channels": 8, "min_size": SIZE, "max_size": SIZE,
    "rpn_pre_nms_top_n_train": 20, "rpn_post_nms_top_n_train": 10, "rpn_pre_nms_top_n_test": 20,
    "rpn_post_nms_top_n_test": 10, "box_batch_size_per_image": 16,
}  # fmt: skip
NETWORKS: dict[str, dict[str, Any]] = {
    **{name: learner.options for name, learner in FIELDS.items()},
    "lightweight_tags": _NARROW,
    "lightweight_center_net": _NARROW,
    "lightweight_person_lab": _NARROW,
    "lightweight_offsets": _NARROW,
    "keypointrcnn_mobilenet_v2_fpn": {**_DETECTOR, "keypoint_channels": [8]},
    "maskrcnn_mobilenet_v2_fpn": {**_DETECTOR, "mask_channels": [8]},
    "fasterrcnn_mobilenet_v2_fpn": _DETECTOR,
}


def main() -> None:
    """Kill every network that is asked for."""
    parser = argparse.ArgumentParser(description="Kill training at random moments.")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--kills", type=int, default=3, help="of each run")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chance = random.Random(arguments.seed)
    print("| network | killed after s | bit-exact |\n|---|---|---|")
    n_wrong = 0
    for name in arguments.networks:
        with tempfile.TemporaryDirectory() as folder:
            _draw(Path(folder))
            moments = _run_and_kill(name, Path(folder), arguments, chance)
            same = _is_same(Path(folder))
        n_wrong += not same
        times = ", ".join(f"{moment:.2f}" for moment in moments)
        print(f"| {name} | {times} | {'yes' if same else 'NO'} |", flush=True)
    sys.exit(int(n_wrong > 0))


def _draw(folder: Path) -> None:
    """The images of ``by_heart.py``; their people have masks too."""
    draw_images(folder)
    data = json.loads((folder / "people.json").read_text())
    data["categories"] = [{"id": 1, "name": "person"}]
    for one in data["annotations"]:
        x, y, width, height = one["bbox"]
        one["segmentation"] = [[x, y, x + width, y, x + width, y + height]]
    (folder / "people.json").write_text(json.dumps(data))


def _run_and_kill(
    name: str, folder: Path, arguments: argparse.Namespace, chance: random.Random
) -> list[float]:
    """Make a whole run and one that is killed; when it was killed, in s after its start."""
    begun = time.monotonic()
    _wait(_child(name, folder / "whole", arguments.steps))
    seconds = time.monotonic() - begun
    moments = []
    for _ in range(arguments.kills):
        number = _child(name, folder / "killed", arguments.steps)
        moments.append(chance.uniform(0, seconds))
        time.sleep(moments[-1])
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
    _wait(_child(name, folder / "killed", arguments.steps))
    return moments


def _child(name: str, output: Path, steps: int) -> int:
    """Train in a process of its own."""
    number = os.fork()
    if number:
        return number
    photos = {"annotations": str(output.parent / "people.json"), "images": str(output.parent)}
    validation = {} if name == "lightweight_offsets" else {"validation": photos}
    config = {
        "output": str(output),
        "data": {"sets": [photos], "workers": 1, **validation},
        "network": {"name": name, "options": NETWORKS[name]},
        "optimizer": {
            "steps": steps, "batch_size": 2, "warmup": 2, "precision": "float32",
            "checkpoint_every": 1, "validate_every": max(steps // 2, 1), "validation_size": SIZE,
        },
        "augment": {"crop_px": SIZE, "person_px": [60, 100]},
    }  # fmt: skip
    status = 1
    try:
        train(as_table(TrainConfig, config))
        status = 0
    except BaseException as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def _wait(number: int) -> None:
    if os.waitpid(number, 0)[1]:
        sys.exit("a run that was not killed failed")


def _is_same(folder: Path) -> bool:
    """Whether both runs have the same checkpoint and the same weights, to the bit."""
    whole, killed = folder / "whole", folder / "killed"
    one, two = (load_checkpoint(output / "checkpoint.pt") for output in (whole, killed))
    tensors = all(
        torch.equal(value, two[part][key])
        for part in ("network", "average")
        for key, value in one[part].items()
    )
    numbers = all(one[key] == two[key] for key in ("step", "best", "best_file", "validated"))
    files = (output / "model.safetensors" for output in (whole, killed))
    return tensors and numbers and len({file.read_bytes() for file in files}) == 1


if __name__ == "__main__":
    main()
