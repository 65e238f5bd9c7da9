"""Made-up people and annotation files for the tests of evaluation."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from openpaf import Skeleton

CATEGORY = {"id": 1, "name": "person", "keypoints": list(Skeleton.COCO17.joints)}


def person(
    image_id: int, row_id: int, rng: np.random.Generator, *, labelled: int = 17, crowd: bool = False
) -> dict[str, Any]:
    """A labelled person somewhere in a picture of 400 x 400 px."""
    corner, size = rng.uniform(10, 250, 2), rng.uniform(40, 140)
    keypoints = np.zeros((17, 3))
    chosen = rng.permutation(17)[:labelled]
    keypoints[chosen, :2] = corner + rng.uniform(0, size, (labelled, 2))
    keypoints[chosen, 2] = rng.integers(1, 3, labelled)
    return {
        "id": row_id,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": int(crowd),
        "area": float(0.5 * size**2),
        "bbox": [*map(float, corner), float(size), float(size)],
        "num_keypoints": labelled,
        "keypoints": keypoints.round(2).ravel().tolist(),
    }


def scene(n_images: int = 5, n_people: int = 3, seed: int = 0) -> dict[str, Any]:
    """Annotations of some pictures of some people."""
    rng = np.random.default_rng(seed)
    images = [
        {"id": i, "file_name": f"{i:03}.jpg", "width": 400, "height": 400}
        for i in range(1, n_images + 1)
    ]
    people = [
        person(image["id"], n_people * (image["id"] - 1) + n + 1, rng)
        for image in images
        for n in range(n_people)
    ]
    return {"images": images, "annotations": people, "categories": [copy.deepcopy(CATEGORY)]}


def shaken(rows: list[dict[str, Any]], deviation: float, seed: int = 1) -> list[dict[str, Any]]:
    """Results: labelled people whose joints are off by so many times their size."""
    rng = np.random.default_rng(seed)
    results = []
    for row in rows:
        keypoints = np.array(row["keypoints"], np.float64).reshape(17, 3)
        keypoints[:, :2] += rng.normal(0, deviation * np.sqrt(row["area"]), (17, 2))
        results.append(
            {
                "image_id": row["image_id"],
                "category_id": 1,
                "keypoints": keypoints.round(3).ravel().tolist(),
                "score": round(float(rng.random()), 4),
            }
        )
    return results


def written(data: Any, path: Path) -> Path:
    """Data in a JSON file."""
    path.write_text(json.dumps(data))
    return path


def by_pycocotools(annotations: Path, results: Path, ids: list[int] | None = None) -> list[float]:
    """pycocotools alone, from file to figures, as its own demo does it."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), "keypoints")
        if ids is not None:
            evaluation.params.imgIds = ids
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]
