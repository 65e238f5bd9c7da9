"""What the groupings make of the true arrays of true people, and in which time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from grouping_methods import COMPARED, SKELETON, Compared
from parser import shortest_ms
from scenes import coco_scenes, random_people

from openpaf.evaluation.coco import as_results, evaluate
from openpaf.evaluation.label_files import load_annotations

CROWDS = {"1 person": (1, 1), "2 to 4": (2, 4), "5 and more": (5, 999)}
_COUNTS = (1, 9, 30, 50)
_SCENE_HW = (368, 656)

Figures = dict[str, float]


def true_figures(annotations: Path, n_scenes: int | None) -> dict[str, Figures]:
    """AP of each grouping that is given the true arrays of true people."""
    truth = load_annotations(annotations)
    scenes = coco_scenes(annotations, SKELETON)[:n_scenes]
    sizes = {scene.image_id: len(scene.poses) for scene in scenes}
    figures = {}
    for kind, compared in COMPARED.items():
        people = []
        for scene in scenes:
            poses = compared.people(compared.truth(scene.poses, scene.size_hw))
            people += as_results(scene.letterbox.undo(poses), scene.image_id, truth)
        figures[kind] = {"AP": evaluate(truth, people, list(sizes))["AP"]}
        for name, (low, high) in CROWDS.items():
            some = [i for i, n in sizes.items() if low <= n <= high]
            figures[kind][name] = evaluate(truth, people, some)["AP"] if some else -1.0
    return figures


def decode_ms(compared: Compared) -> list[float]:
    """Time from the true arrays of 1, 9, 30 and 50 people to people, on 46 x 82 cells."""
    times = []
    for n_people in _COUNTS:
        poses = random_people(n_people, _SCENE_HW, np.random.default_rng(n_people))
        arrays = compared.truth(poses, _SCENE_HW)
        times.append(shortest_ms(lambda given=arrays: compared.people(given), n_rounds=20))
    return times
