"""What ``openpaf predict`` writes of a video: the drawn film, lines of JSON, tables, and Rerun's
file."""

from __future__ import annotations

import contextlib
from typing import IO, TYPE_CHECKING, Any

from openpaf.cli.outputs import IMAGE, RRD, Outputs
from openpaf.io.closing import Closing

if TYPE_CHECKING:
    from openpaf.estimator import PoseEstimator
    from openpaf.io.pose_formats import FrameInfo
    from openpaf.poses import Poses
    from openpaf.skeleton import Skeleton
    from openpaf.tables.files import TableWriter
    from openpaf.tables.schema import ImageRow
    from openpaf.video.base import Video
    from openpaf.video.stream import FrameResult


class VideoFiles:
    """The files of one video, opened when the first frame is there."""

    def __init__(
        self,
        output: Outputs,
        source: str,
        video: Video,
        stack: contextlib.ExitStack,
        estimator: PoseEstimator,
    ) -> None:
        self._output, self._source, self._video, self._stack = output, source, video, stack
        self._estimator = estimator
        self._lines: dict[str, IO[str]] = {}
        self._tables: list[_VideoTable] = []
        self._movie: Any = None
        self._rerun: Any = None
        self._is_open = False

    def write(self, result: FrameResult) -> None:
        """Add a frame to all of them."""
        from openpaf.io.pose_files import FORMATS
        from openpaf.io.pose_formats import FrameInfo

        frame = result.frame
        if not self._is_open:
            self._open(frame.pixel_aspect, result.poses.skeleton)
        if self._movie is not None and result.drawn is not None:
            self._movie.write(result.drawn, frame.time_s - getattr(self._video, "start_s", 0.0))
        height, width = frame.image.shape[:2]
        info = FrameInfo(index=frame.index, time_s=frame.time_s, image_hw=(height, width))
        for name, file in self._lines.items():
            file.write(FORMATS[name].line(result.poses, info) + "\n")
            file.flush()  # a line is there as soon as its frame is done
        for table in self._tables:
            table.add(result.poses, info)
        if self._rerun is not None:
            self._rerun.write(
                frame.image, result.poses, frame=frame.index, time_s=frame.time_s,
                fields=result.fields,
            )  # fmt: skip

    def _open(self, pixel_aspect: float, skeleton: Skeleton) -> None:
        from openpaf.tables.files import TABLES
        from openpaf.video.file import VideoFile
        from openpaf.video.writer import VideoWriter
        from openpaf.visualization.rerun_file import RerunFile

        self._is_open = True
        for name, path in self._output.files.items():
            if name == IMAGE:
                sound = self._source if isinstance(self._video, VideoFile) else None
                movie = VideoWriter(
                    path, fps=self._video.fps, sound=sound, pixel_aspect=pixel_aspect
                )
                self._movie = self._stack.enter_context(movie)
            elif name == RRD:
                self._rerun = self._stack.enter_context(RerunFile(path))
            elif name in TABLES:
                writer = TABLES[name].open(path, skeleton)
                table = _VideoTable(writer, TABLES[name].group, self._source, self._estimator)
                self._tables.append(self._stack.enter_context(table))
            else:
                file = open(path, "w", encoding="utf-8")  # noqa: SIM115 (the stack closes it)
                self._lines[name] = self._stack.enter_context(file)


class _VideoTable(Closing):
    """A table of one video: a row a frame."""

    def __init__(
        self, writer: TableWriter, group: int, source: str, estimator: PoseEstimator
    ) -> None:
        from openpaf.bulk.parts import table_path

        self._writer, self._group = writer, group
        self._named = {
            "path": table_path(source),
            "model": estimator.spec.name,
            "engine": estimator.engine,
        }
        self._rows: list[ImageRow] = []

    def add(self, poses: Poses, frame: FrameInfo) -> None:
        from openpaf.tables.schema import image_row

        row = image_row(
            poses, image_hw=frame.image_hw, frame=frame.index, time_s=frame.time_s, **self._named
        )
        self._rows.append(row)
        if len(self._rows) >= self._group:
            self._writer.write(self._rows)
            self._rows = []

    def close(self) -> None:
        try:
            self._writer.write(self._rows)
            self._rows = []
        finally:
            self._writer.close()
