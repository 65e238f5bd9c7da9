"""Files of poses, written in the formats of one table; those of other programs are read too.

What a file keeps: coordinates to 0.001 px, scores to 6 digits, ids, which joints are missing, their
names, and the order of the people. What it does not: in COCO's list an image without people leaves
no trace; in either format, joints that are left out on demand (see ``skeleton`` of
:func:`write_poses`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from openpaf.io.coco import COCO
from openpaf.io.files import write_text
from openpaf.io.json_files import read_json_or_lines
from openpaf.io.openpose import OPENPOSE
from openpaf.io.pose_entries import poses_by_image, poses_of
from openpaf.io.pose_formats import PoseFormat
from openpaf.io.pose_layouts import LAYOUTS, ImageEntries, ImageEntry, ImageId, entries_in
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton

#: The formats that are written, by the names that ``openpaf predict --format`` takes. A new one is
#: a file beside ``coco.py`` and an entry here.
FORMATS: dict[str, PoseFormat] = {"coco": COCO, "openpose": OPENPOSE}


def write_poses(
    poses: Poses | Mapping[ImageId, Poses],
    path: str | os.PathLike[str],
    format: str = "coco",
    *,
    image_id: ImageId = 0,
    skeleton: Skeleton | None = None,
) -> None:
    """Write people to a file, whole or not at all.

    Args:
        poses: The people of one image; for COCO also a dictionary from image ids to the people
            of each, which goes into one file.
        path: The file; its folder must exist. An existing file is replaced.
        format: One of :data:`FORMATS`: ``"coco"``, the list of results that COCO's evaluation
            takes; or ``"openpose"``, one image's ``people`` with ``pose_keypoints_2d``.
        image_id: COCO's id of the image, where ``poses`` is not a dictionary.
        skeleton: The joints to write. Where not given: for COCO, COCO's 17 if the poses have them
            all by name, otherwise their own; for OpenPose, their own if that is one of its
            layouts (BODY_25, COCO 18, MPI 15), otherwise BODY_25, if that has all of theirs.

    Raises:
        ValueError: If the format is unknown, a dictionary is given for OpenPose, OpenPose's
            layouts lack a joint of the poses and no skeleton is given, or a skeleton is given
            that has none of their joints.
        OSError: If the path is a folder, its folder is missing, or it cannot be written; the
            message names the path.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> import openpaf
        >>> keypoints = np.full((2, 17, 3), 0.5)  # x, y and score of each joint
        >>> poses = openpaf.Poses.from_keypoints(keypoints, openpaf.Skeleton.COCO17)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     openpaf.write_poses(poses, f"{folder}/people.json", format="coco")
        ...     openpaf.read_poses(f"{folder}/people.json") == poses
        True
    """
    if format not in FORMATS:
        raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {format!r}")
    kind = FORMATS[format]
    images = {image_id: poses} if isinstance(poses, Poses) else poses
    if not isinstance(images, Mapping):
        raise ValueError(
            "poses: expected Poses, or a dictionary from image ids to Poses, "
            f"got {type(poses).__name__}"
        )
    if not isinstance(poses, Poses) and not kind.holds_many:
        raise ValueError(
            f"poses: a file of format {format!r} holds one image; expected Poses, "
            f"got {type(poses).__name__}"
        )
    write_text(path, kind.text(images, skeleton))


def read_poses(
    path: str | os.PathLike[str],
    format: str | None = None,
    *,
    skeleton: Skeleton | None = None,
    image_id: ImageId | None = None,
) -> Poses:
    """The people of one image from a file.

    Args:
        path: A file of ours, ``.json`` or a video's ``.jsonl``; or of OpenPose, AlphaPose,
            openpifpaf or mmpose; or of COCO results of any program.
        format: One of :data:`openpaf.io.pose_layouts.LAYOUTS`, or of :data:`FORMATS` that are read;
            told from the contents or the name where not given.
        skeleton: The joints of the file. Needed only where the file does not say which they are
            and their number does not tell.
        image_id: Which image, where a file has several: COCO's id, a file's name, or the number
            of a frame.

    Returns:
        The people, with the joints of the file. A person without a score of its own gets the mean
        of its joints'. COCO's empty list gives no people.

    Raises:
        ValueError: If the file is not JSON or of another format, an entry has the wrong number of
            joints or values, the skeleton cannot be told or is another one than ``skeleton``, or
            the file has several images and ``image_id`` is not given or not among them; the
            message names the file.
        OSError: If the file cannot be read.

    Example:
        >>> import tempfile
        >>> import openpaf
        >>> empty = openpaf.Poses.empty(openpaf.Skeleton.BODY25)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     openpaf.write_poses(empty, f"{folder}/people.json", format="openpose")
        ...     len(openpaf.read_poses(f"{folder}/people.json", skeleton=empty.skeleton))
        0
    """
    images = _read(path, format)
    with _naming(path):
        if image_id is None and len(images) > 1:
            raise ValueError(
                f"image_id: has {len(images)} images; name one, or use read_poses_by_image"
            )
        if image_id is None or list(images) == [None]:
            empty = ImageEntry(people=[], skeleton=skeleton)
            return poses_of(next(iter(images.values()), empty), skeleton)
        if image_id not in images:
            some = ", ".join(repr(key) for key in list(images)[:5])
            raise ValueError(f"image_id: no people of {image_id!r}; has {some or 'none'}")
        return poses_of(images[image_id], skeleton)


def read_poses_by_image(
    path: str | os.PathLike[str], *, skeleton: Skeleton | None = None
) -> dict[ImageId, Poses]:
    """The people of every image of a file, by image id.

    Args:
        path: A file of several images, as for :func:`read_poses`: COCO results, AlphaPose's, or
            the frames of a video, whose ids are their numbers.
        skeleton: As for :func:`read_poses`.

    Raises:
        ValueError: As for :func:`read_poses`, and if the file is of one image and does not say
            which.
        OSError: If the file cannot be read.
    """
    images = _read(path, None)
    with _naming(path):
        if None in images:
            raise ValueError("a file of one image without an id; use read_poses")
        return poses_by_image(images, skeleton)


def _read(path: str | os.PathLike[str], format: str | None) -> ImageEntries:
    readers = {name: kind.read for name, kind in FORMATS.items() if kind.read is not None}
    known = [*LAYOUTS, *readers]
    if format is not None and format not in known:
        raise ValueError(f"format: expected one of {', '.join(known)}, got {format!r}")
    name = format or _format_of(path)
    if name in readers:
        with _naming(path):
            return readers[name](path)
    data = read_json_or_lines(path)
    with _naming(path):
        layout, images = entries_in(data)
        if format not in (None, layout) and data != []:
            raise ValueError(f"expected format {format!r}, got {layout!r}")
    return images


def _format_of(path: str | os.PathLike[str]) -> str | None:
    """The format that a file has by its name, of those that are no JSON."""
    for name, kind in FORMATS.items():
        if kind.read and os.fspath(path).lower().endswith((kind.suffix, kind.video_suffix)):
            return name
    return None


@contextlib.contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Puts the name of a file before the messages of errors about its contents."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error
