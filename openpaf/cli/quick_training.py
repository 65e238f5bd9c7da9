"""The configuration of ``openpaf train`` without a file: everything but the data has defaults."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openpaf.errors import WeightsError
from openpaf.weights import is_name, resolve

#: Of a run from a model of the same joints, of which little must be lost; from one of others, whose
#: trunk knows what images are, and whose heads are new; and from nothing.
FINE_TUNING = {"steps": 2000, "batch_size": 8, "learning_rate": 3e-5, "average": 0.99}
NEW_HEADS = {**FINE_TUNING, "learning_rate": 1e-3, "trunk_rate": 0.1}
FRESH = {**FINE_TUNING, "steps": 10_000, "learning_rate": 1e-3}
_NO_TRUNK = {"learning_rate": 3e-4, "trunk_rate": 1.0}  # all at a rate between
_VALIDATE_EVERY = 200  # steps
_HELD_OUT, _MOST_HELD_OUT = 5, 100  # every fifth image, but about a hundred at most
_NEEDED = ("data", "images", "output")
_OTHERS = ("start", "val", "val_images", "category", "skeleton", "network", "trunk")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that stand in for a file."""
    group = parser.add_argument_group("without a configuration file")
    group.add_argument("--data", metavar="JSON", help="labels in COCO-keypoints format")
    group.add_argument("--images", metavar="DIR", help="the folder of their images")
    group.add_argument("--output", metavar="DIR", help="gets checkpoints, log and weights")
    group.add_argument(
        "--from",
        dest="start",
        metavar="MODEL",
        help="a model to start from, by name or file, e.g. default; without it a new network",
    )
    group.add_argument(
        "--val", metavar="JSON", help="labels for validation; a fifth of --data if not given"
    )
    group.add_argument("--val-images", metavar="DIR", help="their images (default: --images)")
    group.add_argument("--category", metavar="NAME", help="which one, if labels have several")
    group.add_argument("--skeleton", metavar="FILE", help="joints and limbs, if not the category's")
    group.add_argument("--network", metavar="NAME", help="of a new network (default: lightweight)")
    group.add_argument("--trunk", metavar="FILE", help="a classifier that its trunk starts from")


def is_given(arguments: argparse.Namespace) -> bool:
    """Whether the flags are used in place of a file.

    Raises:
        ValueError: If both are given, or some flags lack.
    """
    flags = {key: getattr(arguments, key) for key in (*_NEEDED, *_OTHERS)}
    given = [f"--{'from' if key == 'start' else key.replace('_', '-')}"
             for key, value in flags.items() if value is not None]  # fmt: skip
    if arguments.config is not None:
        if given:
            raise ValueError(f"{given[0]}: expected either flags or {arguments.config}, got both")
        return False
    lacking = [f"--{key}" for key in _NEEDED if flags[key] is None]
    if lacking:
        choices = "CONFIG.toml, or --data, --images and --output"
        raise ValueError(f"expected {choices}; {', '.join(lacking)} not given")
    return True


def configuration(arguments: argparse.Namespace) -> dict[str, Any]:
    """The configuration, as a TOML file has it, with absolute paths.

    Raises:
        DatasetError: If the labels cannot be read.
        ValueError: If there is nothing to hold out, or flags do not go together.
    """
    photos: dict[str, Any] = {
        "annotations": _absolute(arguments.data),
        "images": _absolute(arguments.images),
    }
    if arguments.val is None:
        if arguments.val_images is not None:
            raise ValueError("--val-images: expected --val too")
        photos["holdout"] = held_out(Path(arguments.data))
        validation = photos
    else:
        images = arguments.val_images or arguments.images
        validation = {"annotations": _absolute(arguments.val), "images": _absolute(images)}
    start, trunk, skeleton = arguments.start, arguments.trunk, arguments.skeleton
    own = {"category": arguments.category, "skeleton": skeleton and _absolute(skeleton)}
    data = {key: value for key, value in own.items() if value is not None}
    network = {
        "name": arguments.network,
        "weights": start if start is None or is_name(start) else _absolute(start),
        "trunk": trunk and _absolute(trunk),
    }
    return {
        "output": _absolute(arguments.output),
        "data": {"sets": [photos], "validation": validation, **data},
        "network": {key: value for key, value in network.items() if value is not None},
        "optimizer": {**_rates(arguments), "validate_every": _VALIDATE_EVERY},
    }


def held_out(labels: Path) -> list[int]:
    """Which images are for validation: ``[r, n]``, every n-th, of which some are labeled.

    Raises:
        DatasetError: If the file cannot be read.
        ValueError: If fewer than two images have labels.
    """
    from openpaf.training.data.dataset import entries_of, read_set

    data = read_set(labels)
    with entries_of(labels):
        # COCO's v of a joint is every third number; objects that are found by boxes have no joints.
        people = (one for one in data["annotations"] if any(one.get("keypoints", [1, 1, 1])[2::3]))
        with_people = {one["image_id"] for one in people if not one.get("iscrowd")}
        places = [i for i, image in enumerate(data["images"]) if image["id"] in with_people]
    for every, remainder in _splits(len(data["images"])):
        n = sum(place % every == remainder for place in places)
        if 0 < n < len(places):
            return [remainder, every]
    raise ValueError(
        f"{labels}: expected labeled joints in two images or more, to keep some for validation, "
        f"found them in {len(places)}; --val names other labels"
    )


def _splits(n_images: int) -> Iterator[tuple[int, int]]:
    """Numbers of which every so manieth image is taken, the best first, with remainders."""
    best = max(_HELD_OUT, n_images // _MOST_HELD_OUT)
    for every in (best, *range(_HELD_OUT - 1, 1, -1), *range(_HELD_OUT + 1, n_images + 1)):
        for remainder in range(every):
            yield every, remainder


def _rates(arguments: argparse.Namespace) -> dict[str, Any]:
    """How fast is learned, which follows from what the run starts from.

    Raises:
        WeightsError: If there is no such model, or it cannot be trained.
    """
    from openpaf.evaluation.skeletons import skeleton_or_coco
    from openpaf.training.data.dataset import read_set
    from openpaf.training.groupings.table import GROUPINGS
    from openpaf.training.rcnn.object_sets import classes_of
    from openpaf.weights.outline import outline

    if arguments.start is None:
        return FRESH
    spec = resolve(arguments.start).spec
    if spec.method == "objects":
        return FINE_TUNING if spec.classes == classes_of(Path(arguments.data)) else NEW_HEADS
    if spec.method == "mask_rcnn":
        return FINE_TUNING
    # Those of one person are validated as a part of a pair.
    groupings = [name for name, grouping in GROUPINGS.items() if not grouping.takes_crops]
    if spec.method not in ("part_affinity", *groupings):
        raise WeightsError(
            f"{arguments.start}: a model that cannot be trained further ({spec.method})"
        )
    path = Path(arguments.data)
    data, category, file = read_set(path), arguments.category, arguments.skeleton
    labels = skeleton_or_coco(data, path, category=category, file=file)
    if set(labels.joints) <= set(spec.skeleton.joints):
        return FINE_TUNING
    has_trunk = hasattr(outline(spec, Path(arguments.start)), "trunk")
    return NEW_HEADS if has_trunk else {**NEW_HEADS, **_NO_TRUNK}


def _absolute(path: str) -> str:
    return str(Path(path).absolute())
