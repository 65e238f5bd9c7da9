"""Labels as a file of SLEAP, ``.slp``, written by its own library sleap-io."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from openpaf.annotation.label_formats import LabelFormat
from openpaf.annotation.labels import LabelSet, PersonLabel
from openpaf.annotation.sleap_reader import read_sleap
from openpaf.io.extras import import_extra


def save_sleap(labels: LabelSet, path: Path) -> None:
    """Write a file whose videos are lists of images, a list for each size of image.

    People are instances that a person has labeled. An image without any is marked as negative.

    Args:
        labels: The labels. Ignored people, and those without labeled joints, are left out.
        path: The file; replaced if it exists.

    Raises:
        ValueError: If sleap-io is not installed.
        OSError: If the file cannot be written.

    Reference:
        io.sleap.ai; its coordinates have pixel centers at whole numbers, as ours.
    """
    sleap_io = import_extra("sleap_io", "sleap", "format sleap")
    skeleton = _skeleton(sleap_io, labels)
    by_size: dict[tuple[int, int], list[str]] = {}
    for image in labels.images:
        by_size.setdefault(image.image_hw, []).append(image.file_name)
    videos = {hw: _video(sleap_io, names, hw) for hw, names in by_size.items()}
    frames, n_frames = [], dict.fromkeys(by_size, 0)
    for image in labels.images:
        instances = [
            sleap_io.Instance.from_numpy(_points(one), skeleton=skeleton)
            for one in image.sure_people
        ]
        frames.append(
            sleap_io.LabeledFrame(
                video=videos[image.image_hw],
                frame_idx=n_frames[image.image_hw],
                instances=instances,
                is_negative=not instances,
            )
        )
        n_frames[image.image_hw] += 1
    data = sleap_io.Labels(frames, videos=list(videos.values()), skeletons=[skeleton])
    sleap_io.save_slp(data, str(path), verbose=False)


def _skeleton(sleap_io: Any, labels: LabelSet) -> Any:
    joints = labels.skeleton.joints
    return sleap_io.Skeleton(
        nodes=list(joints),
        edges=[(joints[a], joints[b]) for a, b in labels.limbs],
        symmetries=[(joints[a], joints[b]) for a, b in labels.skeleton.flip_pairs],
        name=labels.category,
    )


def _video(sleap_io: Any, names: list[str], image_hw: tuple[int, int]) -> Any:
    """A list of images, which need not be there: what sleap-io would have read of them is given."""
    height, width = image_hw
    known = {
        "type": "ImageVideo",
        "shape": (len(names), height, width, 3),
        "filename": names[0],
        "filenames": names,
        "height_": height,
        "width_": width,
        "channels_": 3,
        "grayscale": False,
    }
    return sleap_io.Video(filename=names, backend_metadata=known, open_backend=False)


def _points(person: PersonLabel) -> np.ndarray:
    """(K, 2) in px, NaN where a joint is not labeled."""
    is_labeled = person.keypoints[:, 2:] > 0
    return np.where(is_labeled, person.keypoints[:, :2], np.nan)


SLEAP = LabelFormat(
    description="SLEAP, .slp or .pkg.slp",
    save=save_sleap,
    read=read_sleap,
    reads=(".slp",),
    lacks=(
        "ids",
        "hidden joints",
        "ignore regions",
        "people without joints",
        "boxes",
        "masks",
        "areas",
        "scores",
        "joint scores",
        "sigmas",
    ),
)
