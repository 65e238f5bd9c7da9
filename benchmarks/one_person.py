"""Heatmaps, or disks and offsets (G-RMI), of one person: new heads on the frozen trunk of TinyPose.

    python benchmarks/one_person.py --folder FOLDER --data DATA

Two heads learn from the same features of the same crops of labelled people, with the same optimizer
and as many steps: Gaussians, whose highest cell is refined as ``topdown`` does, and G-RMI's disks
and offsets, whose cells vote. Beside them stands TinyPose's own head, which learned all of COCO.
All see the boxes of the same detector on the completely labelled photos of ``coco_val_dev``. Then
both ways are given the true arrays of the labelled people, in their labelled boxes.

Features and weights stay in the folder.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from groupings import ROOT, labelled_people, training_sets
from one_person_heads import (
    KINDS,
    SIGMA_CELLS,
    Heads,
    Kind,
    in_crop,
    learned_people,
    person_features,
    train,
)
from torch import Tensor, nn

from openpaf import read_image, weights
from openpaf.engines.base import Engine
from openpaf.engines.torch_engine import run_network
from openpaf.estimator.crops import affine_of
from openpaf.estimator.methods import Options
from openpaf.estimator.top_down import PeopleInBoxes, TopDown
from openpaf.evaluation.coco import as_results, evaluate
from openpaf.evaluation.label_files import load_annotations
from openpaf.io.paths import inside_folder
from openpaf.networks.lite_hrnet import LiteHRNet
from openpaf.weights.model_files import load_network
from openpaf.weights.spec import ModelSource

METRICS = ("AP", "AP50", "AP75", "APM", "APL")


class Network(nn.Module):
    """The trunk and heads as one network of the library."""

    def __init__(self, trunk: nn.Module, heads: Heads) -> None:
        super().__init__()
        self.trunk, self.heads = trunk, heads

    def forward(self, images: Tensor) -> list[tuple[Tensor, ...]]:
        arrays = self.heads(self.trunk(images)[-1][0])
        if "offsets" in self.heads.channels:
            arrays[0] = arrays[0].sigmoid()
        return [tuple(arrays)]


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    source = weights.resolve("topdown")
    pose = source.parts[-1]
    trunk = load_network(pose).eval()
    assert isinstance(trunk, LiteHRNet)
    trunk.heatmaps = nn.Identity()  # type: ignore[assignment]
    learned = learned_people(training_sets(arguments), arguments.crops, source.spec, pose.spec)
    features = person_features(arguments.folder / "people", learned, trunk, pose.spec)
    options = Options(engine="torch", threads=1)
    methods = {"TinyPose's own": TopDown.load(source, options)}
    for name, kind in KINDS.items():
        heads = train(arguments, name, learned, features, pose.spec)
        methods[kind.title] = _pair(methods["TinyPose's own"], Network(trunk, heads), kind, source)
    print(
        f"\n{date.today()}, {platform.machine()}, torch {torch.__version__}, 1 thread, "
        f"{len(learned)} crops, {arguments.steps} steps of {arguments.batch}\n"
    )
    print("| | " + " | ".join(METRICS) + " |\n|---" + "|---" * len(METRICS) + "|")
    for title, figures in measure(methods, arguments.data / "coco_val_dev", arguments.photos):
        _print(title, figures)
    for kind in KINDS.values():
        figures = true_figures(methods[kind.title], kind, arguments)
        _print(f"{kind.title}, true arrays in true boxes", figures)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="of features and weights")
    add("--data", type=Path, default=ROOT.parent / "shared" / "data")
    add("--sets", nargs="*", default=["coco_train_extra", "people/sports22"],
        help="folders of --data to learn from, beside the half of coco_train")  # fmt: skip
    add("--crops", type=int, default=1200)
    add("--steps", type=int, default=400)
    add("--batch", type=int, default=8)
    add("--rate", type=float, default=3e-3)
    add("--photos", type=int, help="measure so many; all without it")
    return parser.parse_args()


def _print(title: str, figures: dict[str, float]) -> None:
    cells = [f"{figures[name]:.3f}" for name in METRICS]
    print(f"| {title} | " + " | ".join(cells) + " |", flush=True)


# --- What is measured


def _pair(own: TopDown, network: Network, kind: Kind, source: ModelSource) -> TopDown:
    """The pair with another network of one person."""
    stride = own.pose_spec.heatmap_grid.stride
    spec = replace(own.pose_spec, outputs=tuple(kind.channels), sigma_px=SIGMA_CELLS * stride)
    engine = Engine("torch", run_network(network.eval(), spec, torch.device("cpu"), threads=1))
    return TopDown(own.detectors, engine, spec, source.spec, own.options)


def measure(
    methods: dict[str, TopDown], data: Path, n_photos: int | None
) -> list[tuple[str, dict[str, float]]]:
    """Figures of each on completely labelled photos, all in the boxes that the first one finds."""
    annotations = load_annotations(data / "person_keypoints.json")
    entries = [one for one in annotations.dataset["images"] if one.get("ann_complete", True)]
    entries = entries[:n_photos]
    people: dict[str, list[Any]] = {title: [] for title in methods}
    first = next(iter(methods.values()))
    for entry in entries:
        image = read_image(inside_folder(data / "images", entry["file_name"]))
        detected = first.infer([image])[0]
        for title, method in methods.items():
            inferred = detected
            if method is not first:
                (inferred,) = method.infer_in_boxes([image], [detected.boxes])
                inferred = replace(inferred, box_scores=detected.box_scores)
            poses = method.postprocess(inferred, (image.shape[0], image.shape[1]))
            people[title] += as_results(poses, entry["id"], annotations)
    ids = [entry["id"] for entry in entries]
    return [(title, evaluate(annotations, found, ids)) for title, found in people.items()]


def true_figures(method: TopDown, kind: Kind, arguments: argparse.Namespace) -> dict[str, float]:
    """Figures of a kind of head that is given the true arrays of labelled people in their boxes."""
    annotations = load_annotations(arguments.data / "official_538_val2017_annotations.json")
    results, ids = [], sorted(annotations.imgs)[: arguments.photos]
    for image_id in ids:
        labels = labelled_people(annotations, image_id)
        if not labels:
            continue
        entry = annotations.imgs[image_id]
        inferred = _true_arrays(method, kind, labels, (entry["height"], entry["width"]))
        poses = method.postprocess(inferred, inferred.image_hw)
        results += as_results(poses, image_id, annotations)
    return evaluate(annotations, results, ids)


def _true_arrays(
    method: TopDown, kind: Kind, labels: list[Any], image_hw: tuple[int, int]
) -> PeopleInBoxes:
    sides = np.array([one["bbox"] for one in labels], np.float32)
    boxes = np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], axis=1)
    affines = np.array([affine_of(box, method.crop_hw, method.padding) for box in boxes])
    keypoints = np.array([one["keypoints"] for one in labels], np.float32)
    arrays = [
        kind.targets(in_crop(person.reshape(-1, 3), affine), method.pose_spec)
        for person, affine in zip(keypoints, affines, strict=True)
    ]
    heatmaps = np.stack([one["heatmaps"] for one in arrays])
    offsets = np.zeros((len(arrays), 0, *heatmaps.shape[2:]), np.float32)
    if "offsets" in kind.channels:
        offsets = np.nan_to_num(np.stack([one["offsets"] for one in arrays]))
    return PeopleInBoxes(
        boxes=boxes,
        box_scores=np.ones(len(boxes), np.float32),
        affines=affines,
        heatmaps=heatmaps,
        offsets=offsets,
        image_hw=image_hw,
    )


if __name__ == "__main__":
    main()
