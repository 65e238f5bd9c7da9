"""A model run over images to label them, from where an earlier run stopped."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from openpaf.annotation.labels import NO_TEXT, LabelConfig, LabeledImage, LabelSet, label_people
from openpaf.errors import ImageError, shown
from openpaf.estimator import PoseEstimator
from openpaf.estimator.batches import estimate_each
from openpaf.evaluation.run import none_readable, read_ahead
from openpaf.io.images import list_images
from openpaf.io.partial_results import PartialResults
from openpaf.poses import Poses
from openpaf.skeleton import Skeleton


def annotate_images(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    estimator: PoseEstimator,
    *,
    root: str | os.PathLike[str] | None = None,
    config: LabelConfig | None = None,
    partial: PartialResults | None = None,
    workers: int = 2,
    batch_size: int = 1,
    progress: bool = True,
    on_error: Callable[[Path, Exception], None] | None = None,
) -> LabelSet:
    """Labels of the people that a model finds, for a labeling tool and for training.

    Args:
        sources: Files, folders and globs, as :func:`openpaf.io.images.list_images` takes them.
        estimator: Finds the people.
        root: The folder that file names are relative to; the images' common folder if None.
        config: Which people and joints become labels.
        partial: Images that it has are not run again, unless their files have changed, and those
            that are run are added to it. It may serve runs with other thresholds.
        workers: Threads that read images ahead.
        batch_size: Images that the network sees together, where their shapes are the same.
        progress: Whether a terminal shows a bar.
        on_error: Called with the path of each image that cannot be read, named or estimated, and
            why, instead of raising the error, so that the others are still labeled.

    Returns:
        Labels of all images without an error, in their order; also of those without people.

    Raises:
        ImageError: If an image is missing or unreadable and ``on_error`` is not given, or none can
            be read.
        ValueError: If an image is not below ``root``.

    Example:
        >>> import openpaf
        >>> from openpaf.annotation.run import annotate_images
        >>> estimator = openpaf.PoseEstimator("fast", engine="torch", size=256)
        >>> labels = annotate_images("data/photos/astronaut.jpg", estimator, progress=False)
        >>> labels.images[0].file_name, len(labels.images[0].people)
        ('astronaut.jpg', 1)
    """
    paths = list_images(sources)
    folder = common_folder(paths) if root is None else Path(root)
    names = dict(zip(paths, relative_names(paths, folder), strict=True))
    errors: list[Exception] = []

    def fail(path: Path, error: Exception) -> None:
        if on_error is None:
            raise error
        errors.append(error)
        on_error(path, error)

    results = _stored_results(names, estimator.skeleton, partial)
    todo = []
    for path in paths:
        if NO_TEXT.search(names[path]):
            fail(path, ImageError(f"{shown(path)}: label files cannot hold its name"))
        elif path not in results:
            todo.append(path)
    bar = tqdm(
        total=len(results) + len(todo),
        initial=len(results),
        unit="image",
        disable=None if progress else True,
    )
    with bar:
        for path, result in _run(todo, estimator, workers, batch_size):
            bar.update()
            if isinstance(result, Exception):
                fail(path, result)
                continue
            results[path] = result
            if partial is not None:
                partial.add(names[path], _to_store(path, result))
    if not results:
        raise none_readable([ImageError(str(error)) for error in errors])
    chosen = config or LabelConfig()
    images = tuple(results[path].labeled(names[path], chosen) for path in paths if path in results)
    return LabelSet(images=images, skeleton=estimator.skeleton, model=estimator.spec.name)


class _Result(NamedTuple):
    """All people of an image, before any threshold, and its height and width."""

    poses: Poses
    image_hw: tuple[int, int]

    def labeled(self, name: str, config: LabelConfig) -> LabeledImage:
        people = label_people(self.poses, self.image_hw, config)
        return LabeledImage(file_name=name, image_hw=self.image_hw, people=people)


def _run(
    paths: Sequence[Path], estimator: PoseEstimator, workers: int, batch_size: int
) -> Iterator[tuple[Path, _Result | Exception]]:
    """For each image its people, or why they cannot be had."""
    pairs = zip(paths, read_ahead(paths, workers), strict=True)
    while batch := list(itertools.islice(pairs, batch_size)):
        images = [image for _, image in batch if not isinstance(image, ImageError)]
        people = iter(estimate_each(estimator, images))
        for path, image in batch:
            if isinstance(image, ImageError):
                yield path, image
                continue
            poses = next(people)
            if isinstance(poses, Exception):
                yield path, poses
            else:
                yield path, _Result(poses, (image.shape[0], image.shape[1]))


def common_folder(paths: Sequence[Path]) -> Path:
    """The deepest folder that all files lie in, or below.

    Raises:
        ValueError: If they have none, as files on different disks of Windows.
    """
    try:
        return Path(os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths]))
    except ValueError as error:
        raise ValueError("root: the images have no common folder") from error


def relative_names(paths: Sequence[Path], folder: Path) -> list[str]:
    """The files relative to a folder, with ``/``.

    Raises:
        ValueError: If one is not below the folder; the message names it.
    """
    absolute = Path(os.path.abspath(folder))
    names = []
    for path in paths:
        place = Path(os.path.abspath(path))
        if not place.is_relative_to(absolute):
            raise ValueError(f"root: {shown(path)} is not below {shown(folder)}")
        names.append(place.relative_to(absolute).as_posix())
    return names


def _to_store(path: Path, result: _Result) -> dict[str, Any]:
    """A result as JSON, to the last bit."""
    poses = result.poses
    return {
        "file": _state(path),
        "size": list(result.image_hw),
        "xy": np.nan_to_num(poses.xy).tolist(),
        "scores": poses.scores.tolist(),
        "person_scores": poses.person_scores.tolist(),
    }


def _stored_results(
    names: Mapping[Path, str], skeleton: Skeleton, partial: PartialResults | None
) -> dict[Path, _Result]:
    """What an earlier run stored of the images, as far as their files are as they were."""
    results = {}
    for path, name in names.items():
        entry = None if partial is None else partial.done.get(name)
        if entry is None or NO_TEXT.search(name):
            continue
        with contextlib.suppress(KeyError, TypeError, ValueError):  # not written by us
            if entry["file"] == _state(path):
                results[path] = _from_store(entry, skeleton)
    return results


def _from_store(entry: Any, skeleton: Skeleton) -> _Result:
    scores = np.array(entry["scores"], np.float32).reshape(-1, skeleton.n_joints)
    xy = np.array(entry["xy"], np.float32).reshape(-1, skeleton.n_joints, 2)
    poses = Poses(
        xy=np.where(scores[..., None] > 0, xy, np.nan),
        scores=scores,
        person_scores=np.array(entry["person_scores"], np.float32),
        skeleton=skeleton,
    )
    height, width = map(int, entry["size"])
    return _Result(poses, (height, width))


def _state(path: Path) -> list[int]:
    """What changes when a file does: its size in bytes and its time."""
    try:
        status = os.stat(path)
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
