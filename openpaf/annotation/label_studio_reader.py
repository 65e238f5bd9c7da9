"""Labels as Label Studio exports them: its JSON of tasks with annotations."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from openpaf.annotation.labels import LabeledImage, LabelSet, PersonLabel, box_around
from openpaf.annotation.reading import (
    ReadOptions,
    choose_category,
    image_hw_in,
    skeleton_by_name,
    tell_lost,
)
from openpaf.geometry import corners_to_centers
from openpaf.io.json_files import is_number, read_json
from openpaf.io.pose_entries import BUILT_IN
from openpaf.skeleton import Skeleton

logger = logging.getLogger(__name__)

Result = Mapping[str, Any]
_DOUBTFUL = "doubtful "


def doubtful(category: str) -> str:
    """The label of rectangles around doubtful people of a category."""
    return f"{_DOUBTFUL}{category}"


@dataclass
class _Reader:
    """What all tasks share, and what could not be taken from them."""

    skeleton: Skeleton
    category: str
    image_prefix: str
    lost: Counter[str] = field(default_factory=Counter)


def read_label_studio(path: str | os.PathLike[str], options: ReadOptions | None = None) -> LabelSet:
    """The labels of Label Studio's JSON export.

    Of each task the last annotation is taken that was not skipped, or else the prediction. People
    are the rectangles; a key point belongs to its parent, or, where it was added without one, to
    the smallest rectangle around it that lacks this joint. Where an image has no rectangle, its key
    points are one person's. Images that were left without labels need their folder, as the file
    does not say their sizes; tasks without an annotation or a prediction are left out.

    Args:
        path: The file.
        options: The skeleton, by the names of the labeling configuration, where it is not one of
            ours; the category, if rectangles have several; and what the addresses of images begin
            with: of others the last part is taken; and the folder of images.

    Raises:
        ValueError: If it is not such a file, or names a joint that the skeleton lacks; the message
            names the file and the task.
        OSError: If it cannot be read.

    Reference:
        labelstud.io/guide/task_format.
    """
    options = options or ReadOptions()
    tasks = read_json(path)
    name = os.fspath(path)
    if not isinstance(tasks, list):
        raise ValueError(f"{name}: not of Label Studio: expected a list of tasks")
    results = [_checked(name, number, task) for number, task in enumerate(tasks)]
    try:
        every = [result for task in results for result in task]
        category = _category(every, options.category)
        reader = _Reader(_skeleton(every, category, options), category, options.image_prefix)
    except ValueError as error:
        raise ValueError(f"{name}: not of Label Studio: {error}") from error
    images = []
    for number, (task, own) in enumerate(zip(tasks, results, strict=True)):
        try:
            if own or (_done(task) and options.image_dir is not None):
                images.append(_image(task, own, reader, options.image_dir))
            elif _done(task):
                reader.lost["images without any label, whose size is not known: --image-dir"] += 1
            else:
                reader.lost["tasks without any label"] += 1
        except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ValueError(f"{name}: {_place(number)}: {_told(error)}") from error
    tell_lost(name, reader.lost)
    return LabelSet(images=tuple(images), skeleton=reader.skeleton, model=None, category=category)


def _place(number: int) -> str:
    return f"not of Label Studio: task {number}"


def _told(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _checked(name: str, number: int, task: Any) -> Sequence[Result]:
    """The results of a task, each with its labels."""
    try:
        sources = _done(task) or task.get("predictions") or [{"result": []}]
        results: Sequence[Result] = sources[-1]["result"]
        if not isinstance(results, list):
            raise ValueError(f"expected a list of results, got {type(results).__name__}")
        for result in results:
            if result["type"] in ("rectanglelabels", "keypointlabels"):
                labels = result["value"][result["type"]]
                is_list = isinstance(labels, list) and len(labels) > 0
                if not is_list or not all(isinstance(label, str) for label in labels):
                    raise ValueError(f"expected a label of result {result['id']!r}, got {labels!r}")
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name}: {_place(number)}: {_told(error)}") from error
    return results


def _done(task: Mapping[str, Any]) -> list[Any]:
    """The annotations that were not skipped."""
    return [one for one in task.get("annotations") or () if not one.get("was_cancelled")]


def _category(results: Sequence[Result], asked: str | None) -> str:
    boxes = [result for result in results if result["type"] == "rectanglelabels"]
    labels = [label.removeprefix(_DOUBTFUL) for box in boxes for label in _labels(box)]
    return choose_category(list(dict.fromkeys(labels)) or [asked or "person"], asked)


def _labels(result: Result) -> list[str]:
    labels: list[str] = result["value"][result["type"]]
    return labels


def _skeleton(results: Sequence[Result], category: str, options: ReadOptions) -> Skeleton:
    """The given skeleton; one of ours that has all joints; or the joints as they come."""
    points = [result for result in results if result["type"] == "keypointlabels"]
    joints = list(dict.fromkeys(_labels(point)[0] for point in points))
    if options.skeleton is not None:
        return options.skeleton
    for skeleton in BUILT_IN:
        if set(joints) <= set(skeleton.joints):
            return skeleton
    logger.warning("joints as they come in the file; their order is that of a skeleton: --skeleton")
    return skeleton_by_name(joints, (), category)


def _image(
    task: Mapping[str, Any], results: Sequence[Result], reader: _Reader, image_dir: Path | None
) -> LabeledImage:
    if any(result.get("image_rotation") for result in results):
        raise ValueError("image_rotation: expected 0")
    address = task["data"]["image"]
    prefix = reader.image_prefix
    name = address.removeprefix(prefix) if address.startswith(prefix) else address.split("/")[-1]
    name = unquote(name)
    if results:
        image_hw = int(results[0]["original_height"]), int(results[0]["original_width"])
    else:
        image_hw = image_hw_in(image_dir or Path(), name)
    people = tuple(_people(results, image_hw, reader))
    return LabeledImage(file_name=name, image_hw=image_hw, people=people)


def _people(
    results: Sequence[Result], image_hw: tuple[int, int], reader: _Reader
) -> Iterator[PersonLabel]:
    skeleton = reader.skeleton
    every = {result["id"]: result for result in results if result["type"] == "rectanglelabels"}
    own = (reader.category, doubtful(reader.category))
    boxes = {key: box for key, box in every.items() if set(_labels(box)) & set(own)}
    points = [result for result in results if result["type"] == "keypointlabels"]
    reader.lost["rectangles of other labels"] += len(every) - len(boxes)
    reader.lost["results of other types"] += len(results) - len(every) - len(points)
    if points and not every:
        yield _person_without_box(points, image_hw, skeleton)
        return
    rectangles = {key: _rectangle(box, image_hw) for key, box in boxes.items()}
    keypoints = {key: np.zeros((skeleton.n_joints, 3)) for key in boxes}
    scores = {key: np.zeros(skeleton.n_joints) for key in boxes}
    for point in sorted(points, key=lambda point: point.get("parentID") not in boxes):
        x, y = _place_of(point, image_hw)
        joint = skeleton.index(_labels(point)[0])
        owner = point.get("parentID")
        if owner in every and owner not in boxes:
            continue
        if owner not in boxes:
            owner = _around(x, y, joint, rectangles, keypoints)
        if owner is None:
            reader.lost["key points outside of every rectangle"] += 1
        else:
            keypoints[owner][joint] = x, y, 2
            scores[owner][joint] = _score(point)
    for key, box in boxes.items():
        is_doubtful = doubtful(reader.category) in _labels(box) or not keypoints[key].any()
        yield _person(keypoints[key], scores[key], rectangles[key], _score(box), is_doubtful)


def _score(result: Result) -> float:
    """Of a model; 1 where people labeled."""
    score = result.get("score") or 1
    if not is_number(score) or score < 0:
        raise ValueError(f"score of {result['id']!r}: expected a number, 0 or more, got {score!r}")
    return float(score)


def _person_without_box(
    points: Sequence[Result], image_hw: tuple[int, int], skeleton: Skeleton
) -> PersonLabel:
    keypoints = np.zeros((skeleton.n_joints, 3))
    for point in points:
        joint = skeleton.index(_labels(point)[0])
        if keypoints[joint, 2]:
            raise ValueError(
                f"{skeleton.joints[joint]!r} comes twice in an image without rectangles; expected "
                "a rectangle around each person"
            )
        keypoints[joint] = *_place_of(point, image_hw), 2
    box = box_around(keypoints[keypoints[:, 2] > 0, :2], image_hw)
    return _person(keypoints, (keypoints[:, 2] > 0).astype(np.float64), box, 1.0, False)


def _person(
    keypoints: NDArray[np.float64],
    joint_scores: NDArray[np.float64],
    box: tuple[float, float, float, float],
    score: float,
    is_doubtful: bool,
) -> PersonLabel:
    return PersonLabel(
        keypoints=keypoints,
        joint_scores=joint_scores,
        box=box,
        score=score,
        is_doubtful=is_doubtful,
    )


def _rectangle(box: Result, image_hw: tuple[int, int]) -> tuple[float, float, float, float]:
    value = box["value"]
    x, y = _pixels(value["x"], value["y"], image_hw)
    width, height = _pixels(value["width"], value["height"], image_hw)
    if width < 0 or height < 0:
        raise ValueError(f"rectangle {box['id']!r}: expected a width and height of 0 or more")
    return round(x, 3), round(y, 3), round(width, 3), round(height, 3)


def _place_of(point: Result, image_hw: tuple[int, int]) -> tuple[float, float]:
    x, y = _pixels(point["value"]["x"], point["value"]["y"], image_hw)
    return round(corners_to_centers(x), 3), round(corners_to_centers(y), 3)


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


def _pixels(x: Any, y: Any, image_hw: tuple[int, int]) -> tuple[float, float]:
    """Percentages of the image as distances in px from its corner."""
    if not (is_number(x) and is_number(y)):
        raise ValueError(f"expected percentages of the image, got {x!r} and {y!r}")
    height, width = image_hw
    return x * width / 100, y * height / 100
