"""A run of ``openpaf annotate``: its images and files, checked; the model run; what is written."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli.common import counted, described, one_line, report, shown, traceback_wanted
from openpaf.cli.interrupts import raise_if_terminated
from openpaf.cli.photos import check_writable, with_subfolders

if TYPE_CHECKING:
    from openpaf.annotation.files import Record
    from openpaf.annotation.label_formats import Text
    from openpaf.annotation.labels import LabelConfig, LabelSet
    from openpaf.estimator import PoseEstimator

# Flags of arguments that the library calls otherwise.
_FLAGS = {"path": "output", "root": "images-root"}


@dataclass
class LabelingJob:
    """A run: what is written where, and how many images were skipped."""

    arguments: argparse.Namespace
    images: Sequence[Path]
    root: Path
    files: dict[Path, Text]
    config: LabelConfig
    skipped: int = 0

    def skip(self, path: Path, error: Exception) -> None:
        """Report an image that gets no labels, and count it."""
        from openpaf.errors import ImageError

        raise_if_terminated()
        if isinstance(error, ImageError):
            report(f"skipped {one_line(error)}")
        elif traceback_wanted():
            raise error
        else:
            report(f"skipped {shown(path)}: {described(error)}")
        self.skipped += 1

    def settings(self, estimator: PoseEstimator) -> dict[str, Any]:
        """What the model's results depend on, without the day, so that runs compare."""
        from openpaf.evaluation.settings import describe

        settings = describe(estimator, self.arguments.device)
        del settings["date"]
        settings["images"] = str(self.root.resolve())
        return settings

    def label(self, estimator: PoseEstimator, record: Record, settings: dict[str, Any]) -> LabelSet:
        """Run the model from where an earlier run stopped, and write everything."""
        from openpaf.annotation.run import annotate_images
        from openpaf.io.partial_results import PartialResults, default_partial_path

        own = {**settings, "output": os.path.abspath(self.arguments.output)}
        path = self.arguments.partial or default_partial_path(own, "annotate")
        if self.arguments.fresh:
            path.unlink(missing_ok=True)
        quiet = self.arguments.quiet
        with PartialResults(path, own) as partial:
            if partial.done and not quiet:
                n_done = counted(len(partial.done), "image is", "images are")
                report(f"going on where an earlier run stopped: {n_done} done")
            try:
                labels = annotate_images(
                    self.images,
                    estimator,
                    root=self.root,
                    config=self.config,
                    partial=partial,
                    workers=self.arguments.workers,
                    batch_size=self.arguments.batch_size,
                    progress=not quiet,
                    on_error=self.skip,
                )
                self._write(labels, record)
            except KeyboardInterrupt:
                if not quiet:
                    n_done = counted(len(partial.done), "image", "images")
                    report(f"{n_done} done; the same command goes on from there ({shown(path)})")
                raise
            partial.delete()
        return labels

    def _write(self, labels: LabelSet, record: Record) -> None:
        prefix = self.arguments.image_prefix
        record.write({file: text(labels, prefix) for file, text in self.files.items()})
        if self.arguments.review:
            from openpaf.annotation.review import draw_review

            draw_review(labels, self.root, self.arguments.review, progress=not self.arguments.quiet)


def prepare(arguments: argparse.Namespace) -> tuple[LabelingJob, list[str]]:
    """The images and files of a run, and what is wrong with sources that give no image.

    Raises:
        ValueError: If there is no image, or an argument does not fit.
    """
    from openpaf.annotation.files import name_label_files
    from openpaf.annotation.labels import LabelConfig
    from openpaf.annotation.run import relative_names
    from openpaf.io.images import list_images

    with _naming_flags():
        config = LabelConfig(
            threshold=arguments.threshold,
            ignore_threshold=arguments.ignore_threshold,
            joint_threshold=arguments.joint_threshold,
        )
        files = name_label_files(arguments.output, arguments.format)
    for file in files:
        check_writable(file, "--output")
    _check_review(arguments)
    missing: list[str] = []
    sources = with_subfolders(arguments.sources) if arguments.recursive else arguments.sources
    images = list_images(sources, on_error=lambda error: missing.append(one_line(error)))
    if not images:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ValueError(f"no image to read: {missing[0]}{more}")
    root = _root(arguments, images)
    with _naming_flags():
        relative_names(images, root)
    return LabelingJob(arguments, images, root, files, config), missing


@contextlib.contextmanager
def _naming_flags() -> Iterator[None]:
    """Lets errors about arguments name the flags in their place."""
    try:
        yield
    except ValueError as error:
        name, _, rest = str(error).partition(":")
        flag = _FLAGS.get(name, name.replace("_", "-"))
        raise ValueError(f"--{flag}:{rest}") from error


def _check_review(arguments: argparse.Namespace) -> None:
    """See that the folder of contact sheets is none of images, whose next run would take them."""
    folder = arguments.review
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--review: {shown(folder)} is a file, not a folder")
    real = os.path.realpath(folder)
    for source in map(os.path.realpath, arguments.sources):
        is_inside = arguments.recursive and real.startswith(os.path.join(source, ""))
        if source == real or is_inside:
            raise ValueError(f"--review: {shown(folder)} is in a source; choose another folder")


def _root(arguments: argparse.Namespace, images: Sequence[Path]) -> Path:
    from openpaf.annotation.run import common_folder

    if arguments.images_root is not None:
        root: Path = arguments.images_root
        if not root.is_dir():
            raise ValueError(f"--images-root: no folder {shown(root)}")
        return root
    beside = Path(os.path.abspath(arguments.output.parent))
    common = common_folder(images)
    return beside if common.is_relative_to(beside) else common
