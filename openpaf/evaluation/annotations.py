"""Annotation files of COCO's keypoints: read, and checked before anything is run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from openpaf.evaluation.entry_checks import Entries, first_of
from openpaf.evaluation.label_files import Annotation, Annotations
from openpaf.evaluation.labels import PersonLayout, person_layout
from openpaf.evaluation.skeletons import skeleton_of
from openpaf.io.json_files import read_json
from openpaf.io.paths import inside_folder
from openpaf.skeleton import Skeleton
from openpaf.skeleton.names import plain_name

logger = logging.getLogger(__name__)


def read_annotations(
    path: str | Path, *, category: str | None = None, skeleton: Skeleton | None = None
) -> Annotations:
    """A file of COCO keypoint annotations, checked.

    Args:
        path: Images, categories and annotations, as ``person_keypoints_val2017.json`` has them.
            Ids may be any whole numbers.
        category: Name of the category that is measured, where it is not clear.
        skeleton: That of the model that is measured: what it does not have of the file's joints
            does not count, and its OKS sigmas are used. If None, that of the category, as
            :func:`openpaf.evaluation.skeletons.skeleton_of` gives it.

    Returns:
        The people of the file, with its joints in its order; annotations of other categories are
        left out.

    Raises:
        ValueError: If the file is not JSON, or keys are missing, ids come twice, the category is
            not clear or has other joints, a person has another number of values or one that is no
            finite number, or an annotation belongs to an image or a category that the file does
            not list.
        OSError: If the file cannot be read.
    """
    data = _checked_file(path)
    if skeleton is None and any(one.get("keypoints") for one in data["categories"]):
        skeleton = skeleton_of(data, path, category=category)
    try:
        layout = person_layout(data, skeleton or Skeleton.COCO17, category=category, strict=True)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    people = [person for person in data["annotations"] if person["category_id"] == layout.category]
    Entries(path, "annotations", people).check_people(layout.n_joints)
    warn_of_areas(path, people)
    joints = next(
        (one.get("keypoints") for one in data["categories"] if one["id"] == layout.category), None
    )
    measured = skeleton_of_file(joints, layout.skeleton)
    people = _comparable(people, layout, measured, path)
    return Annotations(
        dataset={**data, "annotations": people}, skeleton=measured, category=layout.category
    )


def _checked_file(path: str | Path) -> dict[str, Any]:
    """The contents of a file, its images and categories checked."""
    data = read_json(path)
    if isinstance(data, list):
        raise ValueError(
            f"{path}: expected COCO annotations, got a list; for a list of results use --results"
        )
    if not isinstance(data, dict):
        raise ValueError(f"{path}: expected COCO annotations, got {type(data).__name__}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(data.get(key), list):
            raise ValueError(f"{path}: expected a list {key!r} in COCO annotations; it is missing")
    lists = {
        kind: Entries(path, kind, data[kind]) for kind in ("images", "annotations", "categories")
    }
    lists["images"].check_keys(("id", "file_name"))
    lists["annotations"].check_keys(("id", "image_id", "category_id"))
    lists["categories"].check_keys(("id", "name"))
    lists["images"].refuse(
        "file_name: expected text",
        lambda image: not isinstance(image["file_name"], str) or not image["file_name"],
    )
    for entries in lists.values():
        entries.check_unique()
    lists["annotations"].check_categories(data["categories"])
    lists["annotations"].check_images({image["id"] for image in data["images"]})
    return data


def skeleton_of_file(joints: Sequence[str] | None, skeleton: Skeleton) -> Skeleton:
    """A skeleton with the joints of a file, in its order.

    Args:
        joints: The file's names; the skeleton's if None.
        skeleton: Gives spelling, limbs, sides and OKS sigmas of the joints that it has.
    """
    if not joints:
        return skeleton
    names = {plain_name(name): name for name in skeleton.joints}
    known = [names[plain_name(name)] for name in joints if plain_name(name) in names]
    if len(known) == len(joints):
        return skeleton.select(known)
    spelled = [names.get(plain_name(name), name) for name in joints]
    own = Skeleton.from_coco_category({"name": skeleton.name, "keypoints": spelled})
    sigmas = dict(zip(skeleton.joints, skeleton.oks_sigmas, strict=True))
    return replace(
        own,
        limbs=tuple(
            (spelled.index(skeleton.joints[a]), spelled.index(skeleton.joints[b]))
            for a, b in skeleton.limbs
            if skeleton.joints[a] in spelled and skeleton.joints[b] in spelled
        ),
        oks_sigmas=tuple(sigmas.get(name, own.oks_sigmas[k]) for k, name in enumerate(spelled)),
    )


def _comparable(
    people: list[Annotation], layout: PersonLayout, measured: Skeleton, path: str | Path
) -> list[Annotation]:
    """The labels without the joints that the skeleton does not have; those are not compared."""
    others = [k for k, name in enumerate(measured.joints) if name not in layout.skeleton.joints]
    if layout.unlabeled:
        names = ", ".join(layout.skeleton.joints[k] for k in layout.unlabeled)
        logger.warning("%s: its labels have no %s; not measured", path, names)
    if not others:
        return people
    names = ", ".join(measured.joints[k] for k in others)
    logger.warning(
        "%s: %s: not among the joints of %r; not measured", path, names, layout.skeleton.name
    )
    reduced = []
    for person in people:
        values = list(person["keypoints"])
        for k in others:
            values[3 * k : 3 * k + 3] = 0, 0, 0
        n_labeled = sum(v > 0 for v in values[2::3])
        reduced.append({**person, "keypoints": values, "num_keypoints": n_labeled})
    return reduced


def find_photos(
    annotations: Annotations,
    images: str | Path,
    image_ids: Sequence[int] | None = None,
    *,
    allow_missing: bool = False,
) -> tuple[list[int], list[str]]:
    """Which images of an annotation file there are.

    Args:
        annotations: As :func:`read_annotations` gives them.
        images: Folder of the images.
        image_ids: Which images; all of them if None.
        allow_missing: Whether to go on without those that are missing.

    Returns:
        Ids of the images that there are, sorted, and file names of those that are missing.

    Raises:
        ValueError: If the folder is none, an id is not in the file, no image is left, or
            images are missing and that is not allowed.
    """
    folder = Path(images)
    if not folder.is_dir():
        raise ValueError(f"images: {folder} is not a folder")
    chosen = sorted(annotations.imgs) if image_ids is None else sorted(set(image_ids))
    unknown = [i for i in chosen if i not in annotations.imgs]
    if unknown:
        raise ValueError(
            f"image ids: {len(unknown)} of {len(chosen)} are not in the annotations: "
            f"{first_of(unknown)}"
        )
    present, missing = [], []
    for image_id in chosen:
        name = annotations.imgs[image_id]["file_name"]
        if inside_folder(folder, name).is_file():
            present.append(image_id)
        else:
            missing.append(name)
    if missing and not allow_missing:
        raise ValueError(
            f"{folder}: {len(missing)} of {len(chosen)} photos are missing: {first_of(missing)}; "
            "--allow-missing measures the others"
        )
    if not present:
        raise ValueError(f"{folder}: none of {len(chosen)} photos is there: {first_of(missing)}")
    return present, missing


def warn_of_areas(path: str | Path, people: list[Annotation]) -> None:
    """Say where areas cannot be right: with none, no person can be found, however well.

    The area is what COCO measures distances by. A person's is a good part of the box around the
    joints; a hundredth of it is a share of the image, or a number in other units.
    """
    labeled = [p for p in people if p["num_keypoints"] > 0 and not p["iscrowd"]]
    wrong = [p for p in labeled if p["area"] == 0 or p["area"] < 0.01 * _joint_box(p)]
    if wrong:
        logger.warning(
            "%s: area: 0, or not in px^2, in %d of %d people with labeled joints, the first with "
            "id %s; to AP, which needs it, they are missed however well they are found",
            path, len(wrong), len(labeled), wrong[0]["id"],
        )  # fmt: skip


def _joint_box(person: Annotation) -> float:
    """Area in px^2 of the box around a person's labeled joints."""
    values = person["keypoints"]
    joints = [k for k in range(len(values) // 3) if values[3 * k + 2] > 0]
    sides = [[values[3 * k + axis] for k in joints] for axis in (0, 1)]
    return float((max(sides[0]) - min(sides[0])) * (max(sides[1]) - min(sides[1])))
