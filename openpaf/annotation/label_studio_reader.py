"""Corrected labels as Label Studio exports them: its JSON of tasks with annotations."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from openpaf.annotation.label_studio import DOUBTFUL, LOCAL_FILES
from openpaf.annotation.labels import LabeledImage, LabelSet, PersonLabel
from openpaf.io.json_files import read_json
from openpaf.skeleton import Skeleton

Result = Mapping[str, Any]


def read_label_studio(
    path: str | os.PathLike[str],
    *,
    skeleton: Skeleton = Skeleton.COCO17,
    image_prefix: str = LOCAL_FILES,
) -> LabelSet:
    """The labels of Label Studio's JSON export.

    Of each task the last annotation is taken that was not skipped, or else the prediction. People
    are the rectangles; a key point belongs to its parent, or, where it was added without one, to
    the smallest rectangle around it that lacks this joint. Tasks without any result are left out,
    as the size of their image is not known.

    Args:
        path: The file.
        skeleton: The joints, by the names of the labeling configuration.
        image_prefix: What the addresses of images begin with; of others the last part is taken.

    Raises:
        ValueError: If it is not such a file, or names a joint that the skeleton lacks; the message
            names the file.
        OSError: If it cannot be read.

    Reference:
        labelstud.io/guide/task_format.
    """
    tasks = read_json(path)
    try:
        if not isinstance(tasks, list):
            raise ValueError("expected a list of tasks")
        images = [_image(task, skeleton, image_prefix) for task in tasks]
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{os.fspath(path)}: not of Label Studio: {what}") from error
    return LabelSet(
        images=tuple(image for image in images if image is not None),
        skeleton=skeleton,
        model="Label Studio",
    )


def _image(task: Mapping[str, Any], skeleton: Skeleton, prefix: str) -> LabeledImage | None:
    results = _results(task)
    if not results:
        return None
    image_hw = int(results[0]["original_height"]), int(results[0]["original_width"])
    address = task["data"]["image"]
    name = address.removeprefix(prefix) if address.startswith(prefix) else address.split("/")[-1]
    people = tuple(_people(results, image_hw, skeleton))
    return LabeledImage(file_name=unquote(name), image_hw=image_hw, people=people)


def _results(task: Mapping[str, Any]) -> Sequence[Result]:
    done = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
    sources = done or task.get("predictions") or [{"result": []}]
    results: Sequence[Result] = sources[-1]["result"]
    return results


def _people(
    results: Sequence[Result], image_hw: tuple[int, int], skeleton: Skeleton
) -> Iterator[PersonLabel]:
    boxes = {result["id"]: result for result in results if result["type"] == "rectanglelabels"}
    rectangles = {key: _rectangle(box, image_hw) for key, box in boxes.items()}
    keypoints = {key: np.zeros((skeleton.n_joints, 3)) for key in boxes}
    points = [result for result in results if result["type"] == "keypointlabels"]
    for point in sorted(points, key=lambda point: point.get("parentID") not in boxes):
        x, y = _pixels(point["value"]["x"], point["value"]["y"], image_hw)
        joint = skeleton.index(point["value"]["keypointlabels"][0])
        owner = point.get("parentID")
        if owner not in boxes:
            owner = _around(x, y, joint, rectangles, keypoints)
        if owner is not None:
            keypoints[owner][joint] = x, y, 2
    for key, box in boxes.items():
        labels = box["value"]["rectanglelabels"]
        yield PersonLabel(
            keypoints=keypoints[key],
            joint_scores=(keypoints[key][:, 2] > 0).astype(np.float64),
            box=rectangles[key],
            score=float(box.get("score") or 1),
            is_doubtful=DOUBTFUL in labels or not keypoints[key].any(),
        )


def _rectangle(box: Result, image_hw: tuple[int, int]) -> tuple[float, float, float, float]:
    value = box["value"]
    x, y = _pixels(value["x"], value["y"], image_hw)
    width, height = _pixels(value["width"], value["height"], image_hw)
    return x, y, width, height


def _around(
    x: float,
    y: float,
    joint: int,
    rectangles: Mapping[str, tuple[float, float, float, float]],
    keypoints: Mapping[str, NDArray[np.float64]],
) -> str | None:
    """The smallest rectangle around a point whose person lacks the joint."""
    around = [
        (width * height, key)
        for key, (left, top, width, height) in rectangles.items()
        if left <= x <= left + width and top <= y <= top + height and not keypoints[key][joint, 2]
    ]
    return min(around)[1] if around else None


def _pixels(x: float, y: float, image_hw: tuple[int, int]) -> tuple[float, float]:
    height, width = image_hw
    return round(x * width / 100, 3), round(y * height / 100, 3)
