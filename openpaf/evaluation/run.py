"""Run an estimator over the images of a set: read ahead, and go on where an earlier run stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from openpaf.errors import ImageError
from openpaf.evaluation.coco import as_results
from openpaf.evaluation.label_files import Annotations, Detection
from openpaf.evaluation.labels import check_image_size
from openpaf.io.images import read_image
from openpaf.io.partial_results import PartialResults
from openpaf.io.paths import inside_folder
from openpaf.poses import Poses

Image = NDArray[np.uint8]


def detect_photos(
    annotations: Annotations,
    images: str | Path,
    estimate: Callable[[Image], Poses],
    image_ids: Sequence[int],
    *,
    partial: PartialResults | None = None,
    workers: int = 2,
    progress: bool = True,
    description: str | None = None,
    on_error: Callable[[int, ImageError], None] | None = None,
) -> list[Detection]:
    """The people of many images, in COCO's submission format.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        images: Folder of the images.
        estimate: From an image, RGB uint8 (H, W, 3), to its people.
        image_ids: Which images.
        partial: Images that it has are not run again, and those that are run are added to it.
        workers: Threads that read images ahead, so that the network need not wait; at most
            ``4 * workers`` images are in memory.
        progress: Whether a terminal shows a bar.
        description: What the bar says before its numbers.
        on_error: Called with the id of each image that cannot be read, and why, instead of raising
            the error, so that the others are still run. Such images have no detections: they are
            to be left out of what is measured.

    Returns:
        Detections in the order of ``image_ids``.

    Raises:
        ImageError: If an image cannot be read, unless ``on_error`` is given.
        ValueError: If an image has another size than its labels are for; the message names it.
    """

    def people_of(image: Image, image_id: int) -> list[Detection]:
        return as_results(estimate(image), image_id, annotations)

    return detect_each(
        annotations, images, people_of, image_ids, partial=partial, workers=workers,
        progress=progress, description=description, on_error=on_error,
    )  # fmt: skip


def detect_each(
    annotations: Any,
    images: str | Path,
    detect: Callable[[Image, int], list[Detection]],
    image_ids: Sequence[int],
    *,
    partial: PartialResults | None = None,
    workers: int = 2,
    progress: bool = True,
    description: str | None = None,
    on_error: Callable[[int, ImageError], None] | None = None,
) -> list[Detection]:
    """What is found in many images, in COCO's submission format.

    Args:
        annotations: With ``imgs``, as pycocotools and :class:`Annotations` have them.
        images: Folder of the images.
        detect: From an image, RGB uint8 (H, W, 3), and its id to what is found in it.
        image_ids: As for :func:`detect_photos`, as are the others.
        partial: Images that it has are not run again, and those that are run are added to it.
        workers: Threads that read images ahead.
        progress: Whether a terminal shows a bar.
        description: What the bar says before its numbers.
        on_error: Called with the id of each image that cannot be read, and why.

    Returns:
        Detections in the order of ``image_ids``.

    Raises:
        ImageError: If an image cannot be read, unless ``on_error`` is given.
        ValueError: If an image has another size than its labels are for; the message names it.
    """
    results: dict[int, list[Detection]] = {} if partial is None else dict(partial.done)
    todo = [i for i in image_ids if i not in results]
    paths = [inside_folder(images, annotations.imgs[i]["file_name"]) for i in todo]
    with tqdm(
        total=len(image_ids),
        initial=len(image_ids) - len(todo),
        unit="image",
        desc=description,
        disable=None if progress else True,
    ) as bar:
        for image_id, path, image in zip(todo, paths, read_ahead(paths, workers), strict=True):
            bar.update()
            if isinstance(image, ImageError):
                if on_error is None:
                    raise image
                on_error(image_id, image)
                continue
            check_image_size(path, image.shape, annotations.imgs[image_id])
            results[image_id] = detect(image, image_id)
            if partial is not None:
                partial.add(image_id, results[image_id])
    return [one for image_id in image_ids for one in results.get(image_id, ())]


def check_photos(
    annotations: Annotations, images: str | Path, image_ids: Sequence[int]
) -> tuple[list[int], list[ImageError]]:
    """Read images once, to see which can be read before several methods are run over them.

    Returns:
        Ids of those that can be read, and the errors of the others.

    Raises:
        ImageError: If none can be read.
        ValueError: If an image has another size than its labels are for; the message names it.
    """
    readable: list[int] = []
    errors: list[ImageError] = []
    paths = [inside_folder(images, annotations.imgs[i]["file_name"]) for i in image_ids]
    for image_id, path, image in zip(image_ids, paths, read_ahead(paths, 2), strict=True):
        if isinstance(image, ImageError):
            errors.append(image)
            continue
        check_image_size(path, image.shape, annotations.imgs[image_id])
        readable.append(image_id)
    if not readable:
        raise none_readable(errors)
    return readable, errors


def none_readable(errors: Sequence[ImageError]) -> ImageError:
    """The error where no image can be read."""
    first = f"; {errors[0]}" if errors else ""
    return ImageError(f"none of {len(errors)} photos can be read{first}")


def read_ahead(paths: Sequence[Path], workers: int) -> Iterator[Image | ImageError]:
    """Images in the order of their paths, read by other threads while one is processed.

    Yields:
        For each path its image, or why it cannot be read.
    """
    pool = ThreadPoolExecutor(max(1, workers))
    waiting: deque[Future[Image | ImageError]] = deque()
    rest = iter(paths)
    try:
        for path in rest:
            waiting.append(pool.submit(_read, path))
            if len(waiting) >= 4 * max(1, workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _read(path: Path) -> Image | ImageError:
    try:
        return read_image(path)
    except ImageError as error:
        return error
