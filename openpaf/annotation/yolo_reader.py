"""Labels of a YOLO pose set in ultralytics' layout: ``data.yaml``, ``images/`` and ``labels/``."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openpaf.annotation.labels import LabeledImage, LabelSet, PersonLabel
from openpaf.annotation.reading import ReadOptions, choose_category, image_hw_in, skeleton_by_name
from openpaf.annotation.yolo_files import yolo_files
from openpaf.errors import shown
from openpaf.io.extras import import_extra
from openpaf.skeleton import Skeleton

logger = logging.getLogger(__name__)

_ROUNDING = 1e-4  # beyond 0 and 1, as ultralytics' own files have it


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """What ``data.yaml`` says of every line."""

    names: Mapping[int, str]
    category: int
    n_joints: int
    n_values: int  # of a joint: 2 or 3
    skeleton: Skeleton


def read_yolo(path: str | os.PathLike[str], options: ReadOptions | None = None) -> LabelSet:
    """The labels of a YOLO pose set.

    Args:
        path: The set's folder, or the YAML file in it.
        options: The split; the class, if there are several; the joints, which only newer sets
            name; and the folder of the images, if it is not the set's.

    Raises:
        ValueError: If it is no such set, an image is missing, or a line of a label file is wrong;
            the message names file and line, what was expected and what came.
        OSError: If a file cannot be read.

    Reference:
        docs.ultralytics.com/datasets/pose.
    """
    options = options or ReadOptions()
    path = _yaml_in(Path(path))
    data = _yaml(path)
    try:
        layout = _layout(data, options)
        files = yolo_files(path.parent, data, options)
    except ValueError as error:
        raise ValueError(f"{shown(path)}: {error}") from error
    others = 0
    images = []
    for name, folder, label in files:
        image_hw = image_hw_in(folder, name)
        lines = [] if label is None else list(_lines(label, layout))
        own = [values for class_, values in lines if class_ == layout.category]
        others += len(lines) - len(own)
        people = tuple(_person(values, image_hw, layout) for values in own)
        images.append(LabeledImage(file_name=name, image_hw=image_hw, people=people))
    if others:
        logger.warning("%s: left out: labels of other classes (%d)", shown(path), others)
    return LabelSet(
        images=tuple(images),
        skeleton=layout.skeleton,
        model=None,
        category=layout.names[layout.category],
    )


def _yaml_in(path: Path) -> Path:
    if not path.is_dir():
        return path
    files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
    if len(files) != 1:
        names = ", ".join(shown(file.name) for file in files) or "none"
        raise ValueError(
            f"{shown(path)}: expected one YAML file that describes the set, got {names}"
        )
    return files[0]


def _yaml(path: Path) -> Mapping[str, Any]:
    yaml = import_extra("yaml", "convert", "format yolo")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{shown(path)}: not YAML: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{shown(path)}: expected kpt_shape and names, got {type(data).__name__}")
    return data


def _layout(data: Mapping[str, Any], options: ReadOptions) -> _Layout:
    shape = data.get("kpt_shape")
    if not (
        isinstance(shape, list)
        and len(shape) == 2
        and all(type(n) is int for n in shape)
        and 0 < shape[0] < 10**4
        and shape[1] in (2, 3)
    ):
        raise ValueError(f"kpt_shape: expected [number of joints, 2 or 3], got {shape!r}")
    names = data.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names or not all(type(n) is int for n in names):
        raise ValueError(f"names: expected a name for each class, got {names!r}")
    names = {number: str(name) for number, name in names.items()}
    name = choose_category(list(names.values()), options.category)
    category = next(number for number in names if names[number] == name)
    skeleton = _skeleton(data, name, category, shape[0], options.skeleton)
    return _Layout(
        names=names, category=category, n_joints=shape[0], n_values=shape[1], skeleton=skeleton
    )


def _skeleton(
    data: Mapping[str, Any], name: str, category: int, n_joints: int, given: Skeleton | None
) -> Skeleton:
    flips = data.get("flip_idx")
    if flips is not None and (
        not isinstance(flips, list)
        or sorted(map(repr, flips)) != sorted(map(repr, range(n_joints)))
        or any(flips[flips[k]] != k for k in range(n_joints))
    ):
        raise ValueError(f"flip_idx: expected {n_joints} joints that swap in pairs, got {flips!r}")
    listed = data.get("kpt_names")
    joints = listed.get(category) if isinstance(listed, dict) else listed
    if joints is None:
        if given is not None:
            joints = list(given.joints)
        elif n_joints == 17 and flips in (None, list(Skeleton.COCO17.flip_permutation)):
            joints = list(Skeleton.COCO17.joints)
        else:
            joints = [f"joint_{k}" for k in range(n_joints)]
            logger.warning("the set does not name its joints; a skeleton file does: --skeleton")
    if not isinstance(joints, list) or len(joints) != n_joints:
        count = len(joints) if isinstance(joints, list) else joints
        raise ValueError(
            f"joints: expected the names of {n_joints}, as kpt_shape says; got {count}"
        )
    skeleton = skeleton_by_name([str(joint) for joint in joints], (), name)
    if flips is None or tuple(flips) == skeleton.flip_permutation:
        return skeleton
    pairs = tuple((k, other) for k, other in enumerate(flips) if k < other)
    return dataclasses.replace(skeleton, flip_pairs=pairs)


def _lines(path: Path, layout: _Layout) -> Iterator[tuple[int, Sequence[float]]]:
    """Class and numbers of each line of a label file."""
    expected = 5 + layout.n_joints * layout.n_values
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{shown(path)}: expected text, got other bytes") from error
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            values = [float(word) for word in words]
            if len(values) != expected:
                raise ValueError(
                    f"expected {expected} numbers, a class, a box and {layout.n_joints} joints of "
                    f"{layout.n_values}; got {len(values)}"
                )
            _check(values, layout)
        except ValueError as error:
            raise ValueError(f"{shown(path)}: line {number}: {error}") from error
        yield int(values[0]), values[1:]


def _check(values: Sequence[float], layout: _Layout) -> None:
    if values[0] not in layout.names:
        known = ", ".join(map(str, layout.names))
        raise ValueError(f"expected a class of {known}, got {values[0]:g}")
    places = [*values[1:5]]
    for k in range(layout.n_joints):
        joint = values[5 + k * layout.n_values :][: layout.n_values]
        if layout.n_values == 3 and joint[2] not in (0, 1, 2):
            raise ValueError(f"joint {k}: expected v of 0, 1 or 2, got {joint[2]:g}")
        if layout.n_values == 2 or joint[2] > 0:
            places += joint[:2]
    wrong = [x for x in places if not -_ROUNDING <= x <= 1 + _ROUNDING or math.isnan(x)]
    if wrong:
        raise ValueError(f"expected shares of the image, from 0 to 1; got {wrong[0]:g}")


def _person(values: Sequence[float], image_hw: tuple[int, int], layout: _Layout) -> PersonLabel:
    size = np.array(image_hw[::-1], np.float64)
    center, extent = np.array(values[:2]) * size, np.array(values[2:4]) * size
    joints = np.array(values[4:]).reshape(layout.n_joints, layout.n_values)
    keypoints = np.zeros((layout.n_joints, 3))
    keypoints[:, :2] = np.round(joints[:, :2] * size, 3)
    # Without v, ultralytics writes 0 0 where a joint is not labeled.
    keypoints[:, 2] = joints[:, 2] if layout.n_values == 3 else 2 * joints.any(axis=1)
    keypoints[keypoints[:, 2] == 0] = 0
    x, y = (np.round(center - extent / 2, 3) + 0.0).tolist()  # no -0
    width, height = np.round(extent, 3).tolist()
    return PersonLabel(
        keypoints=keypoints,
        joint_scores=(keypoints[:, 2] > 0).astype(np.float64),
        box=(x, y, width, height),
        score=1.0,
        is_doubtful=False,
    )
