"""``openpaf predict`` of images: what is done with each result, and what is counted and said."""

from __future__ import annotations

import errno
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from openpaf.cli.common import counted, described, one_line, report, say, shown, traceback_wanted
from openpaf.cli.interrupts import raise_if_terminated
from openpaf.cli.outputs import IMAGE, Outputs, write_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from openpaf.bulk.parts import PartWriter
    from openpaf.bulk.process import Result
    from openpaf.cli.viewer import Viewer
    from openpaf.io.objects import Objects
    from openpaf.poses import Poses
    from openpaf.tables.schema import ImageRow

# What stops every photo from being written, so that to go on would only repeat it.
_FOR_ALL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_MAX_REPORTED = 20  # failures that are said, of a run whose tables have them all


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What is left of an image when its files are written.

    Args:
        path: Of the image.
        n_found: How many people or objects it has; None if it was skipped.
        skipped: Why it was.
        stem: Of its files, where that is not its own.
        row: For the tables, if there are some.
        drawn: The file of the drawing, if there is one.
    """

    path: str
    n_found: int | None = None
    skipped: str | None = None
    stem: str | None = None
    row: ImageRow | None = None
    drawn: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Finisher:
    """Writes the files of each image, in the thread or process that it was found in.

    Args:
        threshold: Leave out those whose score is below this.
        boxes: Whether boxes are drawn around people, and their scores.
        has_rows: Whether there are tables.
        model: For the rows: name of the model.
        engine: And of the engine.
    """

    threshold: float
    boxes: bool = False
    has_rows: bool = False
    model: str | None = None
    engine: str | None = None

    def __call__(self, result: Result) -> Finished:
        """Write what is to be written; errors of an image are part of what is returned.

        Raises:
            OSError: If no further file can be written either.
        """
        from openpaf.errors import ImageError

        error, path = result.error, result.input.path
        if error is None:
            return self._written(result)
        if traceback_wanted() and not isinstance(error, ImageError):
            raise error
        reason = one_line(error) if isinstance(error, ImageError) else described(error)
        return self._skipped(result, reason.removeprefix(f"{shown(path)}: "))

    def _written(self, result: Result) -> Finished:
        from openpaf.io.objects import Objects

        path, output = result.input.path, result.input.output
        chosen = result.found[_scores(result.found) >= self.threshold]
        try:
            if output is None:
                pass
            elif isinstance(chosen, Objects):
                _write_objects(output, result.image, chosen)
            else:
                _write(output, result.image, chosen, self.boxes)
        except MemoryError as error:
            return self._skipped(result, one_line(error))
        except OSError as error:
            if error.errno in _FOR_ALL:
                raise
            return self._skipped(result, f"cannot write {one_line(error)}")
        is_renamed = output is not None and output.stem != Path(path).stem
        return Finished(
            path=path,
            n_found=len(chosen),
            stem=output.stem if is_renamed else None,
            row=self._row(result, chosen) if self.has_rows else None,
            drawn=None if output is None else output.files.get(IMAGE),
        )

    def _skipped(self, result: Result, reason: str) -> Finished:
        own = reason if result.error is None else None  # of writing; others as in every table
        row = self._row(result, None, own) if self.has_rows else None
        return Finished(path=result.input.path, skipped=reason, row=row)

    def _row(self, result: Result, poses: Poses | None, error: str | None = None) -> ImageRow:
        from openpaf.bulk.rows import row_of

        return row_of(result, poses, error=error, model=self.model, engine=self.engine)


@dataclass
class ImageJob:
    """The images of a run: what was done with them.

    Args:
        quiet: Say nothing but errors.
        nouns: What is found, one and many.
        parts: The tables, if there are some.
        says_each: Whether there is a line for each image.
        done: How many images were written.
        found: How many people or objects are on these.
        skipped: How many images could not be read, estimated or written.
        errors: Sources that gave no image, not yet reported; a thread may add some.
        viewer: Shows the drawings, if that is asked for.
    """

    quiet: bool
    nouns: tuple[str, str] = ("person", "people")
    parts: PartWriter | None = None
    says_each: bool = True
    done: int = 0
    found: int = 0
    skipped: int = 0
    errors: deque[str] = field(default_factory=deque)
    viewer: Viewer | None = None
    started: float = field(default_factory=time.perf_counter)

    def predict(
        self,
        finished: Iterable[Finished],
        total: int | None,
        count: Callable[[], int | None] | None,
    ) -> None:
        """Take what is finished, with a progress bar on a terminal.

        Args:
            finished: As it comes.
            total: How many there will be, if that is known.
            count: Counts them if it is not; called in a thread, and only for a bar.
        """
        from tqdm import tqdm

        hidden = True if self.quiet else None  # None: hidden unless the stream is a terminal
        with tqdm(total=total, unit="photo", file=sys.stderr, disable=hidden, leave=False) as bar:
            if count is not None and not bar.disable:
                _set_total(bar, count)
            for one in finished:
                raise_if_terminated()
                self.take(one)
                bar.update()
                if self.skipped:
                    bar.set_postfix_str(f"{self.skipped} skipped", refresh=False)

    def take(self, one: Finished) -> None:
        """Count an image, say what it has, and add its row."""
        self.report_errors()
        if self.parts is not None and one.row is not None:
            self.parts.add(one.row)
        if one.n_found is None:
            self.skip(f"{shown(one.path)}: {one.skipped}")
            return
        self.done += 1
        self.found += one.n_found
        if not self.quiet and self.says_each:
            renamed = "" if one.stem is None else f" -> {shown(one.stem)}"
            say(f"{shown(one.path)}: {self.counted(one.n_found)}{renamed}")
        if self.viewer is not None and one.drawn is not None:
            self.viewer.show_file(one.drawn)

    def wants(self, path: str) -> bool:
        """Whether an image is to be run: the tables do not have it."""
        from openpaf.bulk.parts import table_path

        return self.parts is None or table_path(path) not in self.parts.done

    def counted(self, n: int) -> str:
        """A number of what the model finds, with its noun."""
        return counted(n, *self.nouns)

    def report_errors(self) -> None:
        """Report the sources that gave no image since the last call."""
        while self.errors:
            self.skip(self.errors.popleft())

    def skip(self, message: str) -> None:
        """Report an image that gives no result, and count it."""
        self.skipped += 1
        if self.says_each or self.skipped <= _MAX_REPORTED:
            report(f"skipped {message}")
        elif self.skipped == _MAX_REPORTED + 1:
            report("more is skipped; the tables say what and why")

    def say_part(self, _n_rows: int) -> None:
        """Say how far the run is, when a part of its tables is there."""
        if not self.quiet:
            say(f"{self.summary()}, {self.done / self.seconds:.1f} a second")

    def summary(self) -> str:
        """What was done until now."""
        before = f", {len(self.parts.done)} before" if self.parts and self.parts.done else ""
        return (
            f"{counted(self.done, 'photo', 'photos')}, {self.counted(self.found)}, "
            f"{self.skipped} skipped{before}"
        )

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.perf_counter() - self.started


def _set_total(bar: object, count: Callable[[], int | None]) -> None:
    import threading

    def run() -> None:
        bar.total = count()  # type: ignore[attr-defined]

    threading.Thread(target=run, name="openpaf-count", daemon=True).start()


def _scores(found: Poses | Objects) -> NDArray[np.float32]:
    from openpaf.io.objects import Objects

    return found.scores if isinstance(found, Objects) else found.person_scores


def _write_objects(output: Outputs, image: NDArray[np.uint8] | None, objects: Objects) -> None:
    from openpaf.io.coco_objects import write_objects
    from openpaf.visualization.objects import draw_objects

    for name, path in output.files.items():
        if name != IMAGE:
            write_objects(objects, path, output.image_id)
        elif image is not None:
            write_image(draw_objects(image, objects), path)


def _write(output: Outputs, image: NDArray[np.uint8] | None, poses: Poses, boxes: bool) -> None:
    from openpaf.io.pose_files import write_poses
    from openpaf.visualization.draw import draw_poses

    for name, path in output.files.items():
        if name != IMAGE:
            write_poses(poses, path, name, image_id=output.image_id)
        elif image is not None:
            write_image(draw_poses(image, poses, boxes=boxes, scores=boxes), path)
