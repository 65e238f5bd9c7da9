"""AP on images of another kind, before and after ``openpaf train --from`` on some of that kind.

    python benchmarks/domain_shift.py coco/person_keypoints.json coco/images --minutes 20
    python benchmarks/domain_shift.py a/labels.json a/images b/labels.json b/images --shift none

makes all images of labeled sets such as the model has not seen: of the night (dark, gray, noisy),
negatives, or upside down; or leaves them as they are. Those at even places are learned, by the
command as it is, which holds out every fifth of them to choose the weights by; AP is that of the
images at odd places.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from openpaf import read_image

Image = NDArray[np.uint8]
_LIGHT, _NOISE = 0.12, 6.0  # of the night: what is left of the light, and noise in gray levels


def night(pixels: Image, rng: np.random.Generator) -> Image:
    """Dark, without color, and noisy."""
    gray = pixels.mean(axis=2, keepdims=True) * _LIGHT
    gray = gray + rng.normal(0, _NOISE, gray.shape)
    return np.repeat(gray.clip(0, 255).astype(np.uint8), 3, axis=2)


def negative(pixels: Image, rng: np.random.Generator) -> Image:
    """Every color is its complement."""
    return 255 - pixels


def upside_down(pixels: Image, rng: np.random.Generator) -> Image:
    """Turned by 180 degrees, as are the labels."""
    return np.ascontiguousarray(pixels[::-1, ::-1])


def none(pixels: Image, rng: np.random.Generator) -> Image:
    """As it is."""
    return pixels


SHIFTS: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    "night": night,
    "negative": negative,
    "upside_down": upside_down,
    "none": none,
}


def main() -> None:
    """Print AP of the model before and after."""
    parser = argparse.ArgumentParser(description="Fine-tune on images of another kind.")
    parser.add_argument(
        "sets", type=Path, nargs="+", metavar="ANNOTATIONS FOLDER",
        help="a file in COCO-keypoints format and the folder of its images, one set or more",
    )  # fmt: skip
    parser.add_argument("--shift", choices=SHIFTS, default="night")
    parser.add_argument("--model", default="default")
    parser.add_argument("--minutes", type=float, default=20, help="of training")
    parser.add_argument("--size", type=int, default=256, help="short side in px at measuring")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, help="for images and the run (default: a new one)")
    arguments = parser.parse_args()
    output = arguments.output or Path(tempfile.mkdtemp())
    learned, others = write_halves(arguments, output)
    _openpaf(
        arguments.threads, "train", "--from", arguments.model, "--data", learned, "--images",
        output / "images", "--output", output / "run", "--max-minutes", arguments.minutes,
    )  # fmt: skip
    print(f"| {arguments.shift} | AP | large | medium | AP50 |\n|---|---|---|---|---|")
    for name, model in (("before", arguments.model), ("after", output / "run/model.safetensors")):
        file = output / f"{name}.json"
        _openpaf(
            arguments.threads, "evaluate", "--annotations", others, "--images", output / "images",
            "--model", model, "--size", arguments.size, "--engine", "torch", "--fresh", "--quiet",
            "--json", file,
        )  # fmt: skip
        aps = [f"{json.loads(file.read_text())[key]:.3f}" for key in ("AP", "APL", "APM", "AP50")]
        print(f"| {name} | {' | '.join(aps)} |", flush=True)


def write_halves(arguments: argparse.Namespace, output: Path) -> tuple[Path, Path]:
    """Write all images, shifted, and the labels of each half."""
    (output / "images").mkdir(parents=True, exist_ok=True)
    shift = SHIFTS[arguments.shift]
    halves: tuple[list[Any], list[Any]] = ([], [])
    labels: tuple[list[Any], list[Any]] = ([], [])
    for n, (image, file, people) in enumerate(_images(arguments.sets)):
        pixels = shift(read_image(file), np.random.default_rng(n))
        name = f"{n:05}.png"
        cv2.imwrite(str(output / "images" / name), pixels[:, :, ::-1])
        halves[n % 2].append({**image, "id": n, "file_name": name})
        for one in people:
            if arguments.shift == "upside_down":
                _turn(one, *pixels.shape[:2])
            labels[n % 2].append({**one, "image_id": n, "id": len(labels[n % 2]) + 1})
    files = output / "learned.json", output / "others.json"
    categories = json.loads(arguments.sets[0].read_text())["categories"]
    for file, images, people in zip(files, halves, labels, strict=True):
        data = {"images": images, "annotations": people, "categories": categories}
        file.write_text(json.dumps(data))
    return files


def _images(sets: list[Path]) -> Iterator[tuple[dict[str, Any], Path, list[dict[str, Any]]]]:
    """Entry, file and labels of each image, set after set, in the order of the ids."""
    for labels, folder in zip(sets[::2], sets[1::2], strict=True):
        data = json.loads(labels.read_text())
        by_image: dict[Any, list[dict[str, Any]]] = {}
        for one in data["annotations"]:
            by_image.setdefault(one["image_id"], []).append(one)
        for image in sorted(data["images"], key=lambda image: image["id"]):
            yield image, folder / image["file_name"], by_image.get(image["id"], [])


def _turn(one: dict[str, Any], height: int, width: int) -> None:
    """Turn a label by 180 degrees."""
    x, y, *size = one["bbox"]
    one["bbox"] = [width - x - size[0], height - y - size[1], *size]
    one.pop("segmentation", None)
    joints = np.array(one["keypoints"], np.float64).reshape(-1, 3)
    labeled = joints[:, 2] > 0
    joints[labeled, :2] = [width - 1, height - 1] - joints[labeled, :2]
    one["keypoints"] = joints.ravel().tolist()


def _openpaf(threads: int, *arguments: object) -> None:
    command = [sys.executable, "-m", "openpaf", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
