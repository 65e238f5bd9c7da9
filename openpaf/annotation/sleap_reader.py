"""Labels of SLEAP, read by its own library sleap-io, and the frames that they belong to."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from openpaf.annotation.labels import LabeledImage, LabelSet, PersonLabel
from openpaf.annotation.reading import (
    ReadOptions,
    choose_category,
    image_hw_in,
    placed,
    skeleton_by_name,
    tell_lost,
)
from openpaf.errors import shown
from openpaf.io.extras import import_extra
from openpaf.skeleton import Skeleton


def read_sleap(path: str | os.PathLike[str], options: ReadOptions | None = None) -> LabelSet:
    """The labels of a ``.slp`` or ``.pkg.slp`` file.

    Of each frame the instances that people labeled are taken, not predictions. Nodes that are
    marked as invisible are unlabeled, as they are for SLEAP's training. Images of a list have their
    own names; frames of a video, and images inside of the file, are ``VIDEO/000012.png``, which
    :func:`openpaf.annotation.sleap_frames.extract_frames` writes.

    Args:
        path: The file.
        options: The skeleton's name, if there are several; and the folder of the images, if the
            file does not say their sizes.

    Raises:
        ValueError: If it is no such file; the message names it.
        OSError: If it cannot be read.

    Reference:
        io.sleap.ai; its coordinates have pixel centers at whole numbers, as ours.
    """
    options = options or ReadOptions()
    data = load_sleap(path)
    try:
        skeletons = {_name(one, k): one for k, one in enumerate(data.skeletons)}
        is_one = len(skeletons) == 1
        chosen = choose_category(list(skeletons), None if is_one else options.category)
        category = (options.category if is_one else None) or chosen
        own = skeletons[chosen]
        skeleton = _with_flips(skeleton_by_name(own.node_names, own.edge_inds, category), own)
        images = tuple(_images(data, own, path, options))
    except ValueError as error:
        raise ValueError(f"{shown(path)}: {error}") from error
    return LabelSet(images=images, skeleton=skeleton, model=None, category=category)


def load_sleap(path: str | os.PathLike[str], *, open_videos: bool = False) -> Any:
    """What sleap-io makes of a file.

    Args:
        path: The file.
        open_videos: Whether images are wanted, too.

    Raises:
        ValueError: If it is no such file, or sleap-io is not installed.
        OSError: If it cannot be read.
    """
    with open(path, "rb"):  # sleap-io would take the name for an address
        sleap_io = import_extra("sleap_io", "sleap", "format sleap")
    try:
        return sleap_io.load_slp(os.path.abspath(path), open_videos=open_videos)
    except Exception as error:  # of a damaged file, any
        raise ValueError(f"{shown(path)}: not of SLEAP: {error}") from error


def frame_names(data: Any, image_dir: Path | None = None) -> Iterator[tuple[Any, str, bool]]:
    """The labeled frames of a file, each with the name of its image, and whether that is a file.

    Args:
        data: What sleap-io has loaded.
        image_dir: The folder that names of files are relative to; otherwise their common folder.

    Raises:
        ValueError: If files have no common folder, or are not in ``image_dir``.
    """
    lists = [video.filename for video in data.videos if isinstance(video.filename, list)]
    files = [str(name).replace("\\", "/") for names in lists for name in names]
    root = str(image_dir.resolve().as_posix()) if image_dir else _common(files)
    videos: dict[int, str] = {}
    for frame in data.labeled_frames:
        video = frame.video
        if isinstance(video.filename, list):
            name = str(video.filename[frame.frame_idx]).replace("\\", "/")
            yield frame, _relative(name, root, image_dir), True
            continue
        if id(video) not in videos:
            videos[id(video)] = _free(_stem(video, len(videos)), videos.values())
        yield frame, f"{videos[id(video)]}/{frame.frame_idx:06d}.png", False


def _common(files: Sequence[str]) -> str:
    try:
        return os.path.commonpath([os.path.dirname(name) for name in files]) if files else ""
    except ValueError as error:
        raise ValueError("the images have no common folder") from error


def _relative(name: str, root: str, image_dir: Path | None) -> str:
    """A name relative to a folder; of another machine, its longest end that is in the folder."""
    path = PurePosixPath(name)
    if path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    parts = path.parts
    for k in range(len(parts)):
        if image_dir is not None and (image_dir / Path(*parts[k:])).is_file():
            return PurePosixPath(*parts[k:]).as_posix()
    raise ValueError(f"{shown(name)} is not in {shown(root)}")


def _stem(video: Any, number: int) -> str:
    """What to call the folder of a video's frames."""
    source = video.source_video if video.source_video is not None else video
    name = source.filename[0] if isinstance(source.filename, list) else source.filename
    path = PurePosixPath(str(name).replace("\\", "/"))
    parent = path.parent.name if isinstance(source.filename, list) else path.name.split(".")[0]
    return parent or f"video{number}"


def _free(name: str, others: Iterable[str]) -> str:
    taken, number, free = set(others), 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _name(skeleton: Any, number: int) -> str:
    """The skeleton's name; SLEAP calls those without one ``Skeleton-0``."""
    name = str(skeleton.name or "")
    if name and not name.startswith("Skeleton-"):
        return name
    return "animal" if number == 0 else name or f"animal{number}"


def _with_flips(skeleton: Skeleton, own: Any) -> Skeleton:
    """The skeleton with the symmetries of the file, where it has any."""
    pairs = tuple(sorted(set(own.symmetry_inds)))
    if not pairs or {frozenset(pair) for pair in pairs} == set(map(frozenset, skeleton.flip_pairs)):
        return skeleton
    return dataclasses.replace(skeleton, flip_pairs=pairs)


def _images(
    data: Any, own: Any, path: str | os.PathLike[str], options: ReadOptions
) -> Iterator[LabeledImage]:
    lost: Counter[str] = Counter()
    for frame, name, _ in frame_names(data, options.image_dir):
        instances = [one for one in frame.user_instances if one.skeleton is own]
        lost["instances of other skeletons"] += len(frame.user_instances) - len(instances)
        lost["predictions"] += len(frame.predicted_instances)
        if not instances and not frame.is_negative:
            lost["frames without labels"] += 1
            continue
        image_hw = _image_hw(frame.video, name, options)
        people = [_animal(one, image_hw, lost) for one in instances]
        own_people = tuple(person for person in people if person is not None)
        yield LabeledImage(file_name=name, image_hw=image_hw, people=own_people)
    tell_lost(path, lost)


def _image_hw(video: Any, name: str, options: ReadOptions) -> tuple[int, int]:
    if options.image_dir is not None:
        return image_hw_in(options.image_dir, name)
    shape = video.shape
    if shape is None or not all(type(side) is int and side > 0 for side in shape[1:3]):
        raise ValueError(f"image {name!r}: its size is not in the file: --image-dir")
    return shape[1], shape[2]


def _animal(instance: Any, image_hw: tuple[int, int], lost: Counter[str]) -> PersonLabel | None:
    xy = np.asarray(instance.points["xy"], np.float64)
    is_placed = np.isfinite(xy).all(axis=1)
    is_labeled = is_placed & np.asarray(instance.points["visible"], bool)
    lost["places of nodes that are marked as invisible"] += int((is_placed & ~is_labeled).sum())
    if not is_labeled.any():
        lost["instances without any visible node"] += 1
        return None
    return placed(np.round(xy, 3), is_labeled, image_hw)
