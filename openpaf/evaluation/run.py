"""Run an estimator over the photos of a set: read ahead, and go on where an earlier run stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from openpaf.errors import ImageError
from openpaf.evaluation.coco import as_results
from openpaf.evaluation.labels import Detection, category_of_people, check_image_size
from openpaf.io.cache import cache_folder
from openpaf.io.images import read_image
from openpaf.io.paths import inside_folder
from openpaf.poses import Poses

Picture = NDArray[np.uint8]


class PartialResults:
    """Results of an unfinished run in a file, one line of JSON a photo.

    Each line carries the key of the settings that it was made with, so that one file can serve
    several runs, and results of other settings are never taken for one's own. A line that was cut
    off, as by a power cut, is passed over.

    Args:
        path: The file; made, with its folder, if missing.
        settings: What the results depend on, fit for JSON.

    Raises:
        OSError: If the file cannot be read or written.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.key = settings_key(settings)
        #: What was found earlier with these settings, by image id.
        self.done: dict[int, Any] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = True
        if self.path.exists():
            raw = self.path.read_bytes()
            whole = not raw or raw.endswith(b"\n")
            for line in raw.splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    row = json.loads(line)
                    if row["key"] == self.key:
                        self.done[row["image_id"]] = row["result"]
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)
        if not whole:
            self._file.write("\n")

    def add(self, image_id: int, result: Any) -> None:
        """Keep the result of a photo; it is in the file when this returns."""
        self.done[image_id] = result
        row = {"key": self.key, "image_id": image_id, "result": result}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def delete(self) -> None:
        """Close and delete the file: the run is complete."""
        self.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> PartialResults:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def settings_key(settings: Mapping[str, Any]) -> str:
    """A short name for settings, which differs where they do."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def default_partial_path(settings: Mapping[str, Any]) -> Path:
    """Where the results of an unfinished run wait: a file in the user's cache folder."""
    return cache_folder() / "evaluate" / f"{settings_key(settings)}.jsonl"


def detect_photos(
    annotations: Any,
    images: str | Path,
    estimate: Callable[[Picture], Poses],
    image_ids: Sequence[int],
    *,
    partial: PartialResults | None = None,
    workers: int = 2,
    progress: bool = True,
    description: str | None = None,
    on_error: Callable[[int, ImageError], None] | None = None,
) -> list[Detection]:
    """The people of many photos, in COCO's submission format.

    Args:
        annotations: As :func:`openpaf.evaluation.annotations.read_annotations` gives them.
        images: Folder of the photos.
        estimate: From a picture, RGB uint8 (H, W, 3), to its people.
        image_ids: Which photos.
        partial: Photos that it has are not run again, and those that are run are added to it.
        workers: Threads that read photos ahead, so that the network need not wait; at most
            ``4 * workers`` photos are in memory.
        progress: Whether a terminal shows a bar.
        description: What the bar says before its numbers.
        on_error: Called with the id of each photo that cannot be read, and why, instead of raising
            the error, so that the others are still run. Such photos have no detections: they are
            to be left out of what is measured.

    Returns:
        Detections in the order of ``image_ids``.

    Raises:
        ImageError: If a photo cannot be read, unless ``on_error`` is given.
        ValueError: If a photo has another size than its labels are for; the message names it.
    """
    found: dict[int, list[Detection]] = {} if partial is None else dict(partial.done)
    todo = [i for i in image_ids if i not in found]
    paths = [inside_folder(images, annotations.imgs[i]["file_name"]) for i in todo]
    category = category_of_people(annotations)
    with tqdm(
        total=len(image_ids),
        initial=len(image_ids) - len(todo),
        unit="photo",
        desc=description,
        disable=None if progress else True,
    ) as bar:
        for image_id, path, picture in zip(todo, paths, read_ahead(paths, workers), strict=True):
            bar.update()
            if isinstance(picture, ImageError):
                if on_error is None:
                    raise picture
                on_error(image_id, picture)
                continue
            check_image_size(path, picture.shape, annotations.imgs[image_id])
            found[image_id] = as_results(estimate(picture), image_id, category)
            if partial is not None:
                partial.add(image_id, found[image_id])
    return [row for image_id in image_ids for row in found.get(image_id, ())]


def check_photos(
    annotations: Any, images: str | Path, image_ids: Sequence[int]
) -> tuple[list[int], list[ImageError]]:
    """Read photos once, to see which can be read before several methods are run over them.

    Returns:
        Ids of those that can be read, and the errors of the others.

    Raises:
        ImageError: If none can be read.
        ValueError: If a photo has another size than its labels are for; the message names it.
    """
    readable: list[int] = []
    errors: list[ImageError] = []
    paths = [inside_folder(images, annotations.imgs[i]["file_name"]) for i in image_ids]
    for image_id, path, picture in zip(image_ids, paths, read_ahead(paths, 2), strict=True):
        if isinstance(picture, ImageError):
            errors.append(picture)
            continue
        check_image_size(path, picture.shape, annotations.imgs[image_id])
        readable.append(image_id)
    if not readable:
        raise none_readable(errors)
    return readable, errors


def none_readable(errors: Sequence[ImageError]) -> ImageError:
    """The error where not one photo can be read."""
    first = f"; {errors[0]}" if errors else ""
    return ImageError(f"none of {len(errors)} photos can be read{first}")


def read_ahead(paths: Sequence[Path], workers: int) -> Iterator[Picture | ImageError]:
    """Pictures in the order of their paths, read by other threads while one is looked at.

    Yields:
        For each path its picture, or why it cannot be read.
    """
    pool = ThreadPoolExecutor(max(1, workers))
    waiting: deque[Future[Picture | ImageError]] = deque()
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


def _read(path: Path) -> Picture | ImageError:
    try:
        return read_image(path)
    except ImageError as error:
        return error
