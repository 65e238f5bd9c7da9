"""``openpaf predict`` of images: read, run in batches, and written; what fails is counted."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.cli.common import counted, described, one_line, report, say, shown, traceback_wanted
from openpaf.cli.interrupts import raise_if_terminated
from openpaf.cli.outputs import IMAGE, Outputs, write_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from openpaf.estimator import PoseEstimator
    from openpaf.estimator.batches import TakesBatches
    from openpaf.estimator.object_detector import ObjectDetector
    from openpaf.io.objects import Objects
    from openpaf.poses import Poses

# What stops every photo from being written, so that to go on would only repeat it.
_FOR_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@dataclass
class ImageJob:
    """The images of a run.

    Args:
        estimator: Finds the people, or the objects.
        threshold: Leave out those whose score is below this.
        quiet: Say nothing but errors.
        boxes: Whether boxes are drawn around people, and their scores.
        nouns: What is found, one and many.
        done: How many images were written.
        found: How many people or objects are on these.
        skipped: How many images could not be read, estimated or written.
    """

    estimator: PoseEstimator | ObjectDetector
    threshold: float
    quiet: bool
    boxes: bool = False
    nouns: tuple[str, str] = ("person", "people")
    done: int = 0
    found: int = 0
    skipped: int = 0

    def predict(self, photos: Sequence[Path], outputs: Sequence[Outputs], batch_size: int) -> None:
        """Go through the photos in batches, with a progress bar on a terminal."""
        from tqdm import tqdm

        hidden = True if self.quiet else None  # None: hidden unless the stream is a terminal
        with tqdm(
            total=len(photos), unit="photo", file=sys.stderr, disable=hidden, leave=False
        ) as bar:
            for start in range(0, len(photos), batch_size):
                raise_if_terminated()
                chunk = range(start, min(start + batch_size, len(photos)))
                images = {i: image for i in chunk if (image := self._read(photos[i])) is not None}
                for i, poses in self._estimate(photos, images).items():
                    self._finish(photos[i], outputs[i], images[i], poses)
                bar.update(len(chunk))

    def counted(self, n: int) -> str:
        """A number of what the model finds, with its noun."""
        return counted(n, *self.nouns)

    def skip(self, message: str) -> None:
        """Report an image that gives no result, and count it."""
        self.skipped += 1
        report(f"skipped {message}")

    def _read(self, photo: Path) -> NDArray[np.uint8] | None:
        from openpaf.errors import ImageError
        from openpaf.io.images import read_image

        try:
            return read_image(photo)
        except ImageError as error:
            self.skip(one_line(error))
            return None

    def _estimate(
        self, photos: Sequence[Path], images: dict[int, NDArray[np.uint8]]
    ) -> dict[int, Poses | Objects]:
        """What each image has, without those that fail."""
        from openpaf.estimator.batches import estimate_each

        results: dict[int, Poses | Objects] = {}
        estimator: TakesBatches[Poses | Objects] = self.estimator
        estimated = estimate_each(estimator, list(images.values()))
        for i, found in zip(images, estimated, strict=True):
            if not isinstance(found, Exception):
                results[i] = found
            elif traceback_wanted():
                raise found
            else:
                self.skip(f"{shown(photos[i])}: {described(found)}")
        return results

    def _finish(
        self, photo: Path, output: Outputs, image: NDArray[np.uint8], found: Poses | Objects
    ) -> None:
        """Write one photo's results and say what it has."""
        from openpaf.io.objects import Objects

        chosen = found[_scores(found) >= self.threshold]
        try:
            if isinstance(chosen, Objects):
                _write_objects(photo, output, image, chosen)
            else:
                _write(photo, output, image, chosen, self.boxes)
        except MemoryError as error:
            self.skip(f"{shown(photo)}: {one_line(error)}")
            return
        except OSError as error:
            if error.errno in _FOR_ALL:
                raise
            self.skip(f"{shown(photo)}: cannot write {one_line(error)}")
            return
        self.done += 1
        self.found += len(chosen)
        if not self.quiet:
            renamed = "" if output.stem == photo.stem else f" -> {shown(output.stem)}"
            say(f"{shown(photo)}: {self.counted(len(chosen))}{renamed}")


def _scores(found: Poses | Objects) -> NDArray[np.float32]:
    from openpaf.io.objects import Objects

    return found.scores if isinstance(found, Objects) else found.person_scores


def _write_objects(
    photo: Path, output: Outputs, image: NDArray[np.uint8], objects: Objects
) -> None:
    from openpaf.io.coco_objects import write_objects
    from openpaf.visualization.objects import draw_objects

    for name, path in output.files.items():
        if name == IMAGE:
            write_image(draw_objects(image, objects), path)
        else:
            write_objects(objects, path, _image_id(photo))


def _write(
    photo: Path, output: Outputs, image: NDArray[np.uint8], poses: Poses, boxes: bool
) -> None:
    from openpaf.io.pose_files import write_poses
    from openpaf.visualization.draw import draw_poses

    for name, path in output.files.items():
        if name == IMAGE:
            write_image(draw_poses(image, poses, boxes=boxes, scores=boxes), path)
        else:
            write_poses(poses, path, name, image_id=_image_id(photo))


def _image_id(photo: Path) -> int | str:
    """COCO's own photos are numbers, as in ``000000000139.jpg``; others go by their file name."""
    stem = photo.stem
    if stem.isascii() and stem.isdecimal() and len(stem) <= 18:
        return int(stem)
    return photo.name.encode(errors="replace").decode()
