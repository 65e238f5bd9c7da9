"""Recordings for Rerun's viewer: frames, people and fields on one timeline."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.checks import import_extra
from openpaf.fields import Fields
from openpaf.io.closing import Closing
from openpaf.poses import Poses
from openpaf.visualization.draw import drawn_strips, side_color

_JPEG_QUALITY = 80
_MIN_JOINT_SCORE = 0.1  # as in drawn images
_BOX_COLOR = (240, 240, 240)


class RerunFile(Closing):
    """A ``.rrd`` file, which ``rerun FILE`` shows; for videos of any length, frame after frame.

    Entities are ``image`` (JPEG), ``image/limbs``, ``image/joints`` and ``image/people`` (boxes
    with id and score), ``fields/heatmap`` (the highest of the joints' heatmaps, 0 to 1) and
    ``fields/paf`` (the length of the longest of the limbs' vectors, 0 to 1), both in cells of the
    network, and ``people/count``; timelines are ``frame`` and ``time``.

    Args:
        path: The file; an existing one is replaced.

    Raises:
        ValueError: If rerun-sdk, the extra ``rerun``, is not installed.

    Example:
        >>> import numpy as np
        >>> import tempfile
        >>> import openpaf
        >>> from openpaf.visualization.rerun_file import RerunFile
        >>> empty = openpaf.Poses.empty(openpaf.Skeleton.COCO17)
        >>> with tempfile.TemporaryDirectory() as folder, RerunFile(f"{folder}/a.rrd") as file:
        ...     file.write(np.zeros((48, 64, 3), np.uint8), empty, frame=0, time_s=0.0)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._rerun: Any = import_extra("rerun", "rerun", "rrd")
        self._path = os.fspath(path)
        self._recording: Any = None

    def write(
        self,
        image: NDArray[np.uint8],
        poses: Poses,
        *,
        frame: int,
        time_s: float,
        fields: Fields | None = None,
    ) -> None:
        """Add a frame.

        Args:
            image: RGB uint8 (H, W, 3).
            poses: Its people in px of the image.
            frame: Its number.
            time_s: Its time in s.
            fields: What the people were found in; None where the method has none.

        Raises:
            OSError: If the file cannot be written.
        """
        rerun = self._rerun
        if self._recording is None:
            self._recording = self._opened(has_fields=fields is not None)
        self._recording.set_time("frame", sequence=frame)
        self._recording.set_time("time", duration=time_s)
        log = self._recording.log
        log("image", rerun.Image(image).compress(jpeg_quality=_JPEG_QUALITY))
        self._log_people(poses)
        log("people/count", rerun.Scalars(len(poses)))
        if fields is not None:
            lengths = np.hypot(fields.pafs[:, 0], fields.pafs[:, 1])
            log("fields/heatmap", self._map(fields.heatmaps[:-1].max(axis=0)))
            log("fields/paf", self._map(lengths.max(axis=0)))

    def _log_people(self, poses: Poses) -> None:
        rerun, log = self._rerun, self._recording.log
        strips, colors = drawn_strips(poses, _MIN_JOINT_SCORE)
        # Rerun counts px from the corner of the first one, not from its center.
        log("image/limbs", rerun.LineStrips2D([strip + 0.5 for strip in strips], colors=colors))
        person, joint = (i.tolist() for i in np.nonzero(poses.scores >= _MIN_JOINT_SCORE))
        names = [poses.skeleton.joints[k] for k in joint]
        points = rerun.Points2D(
            poses.xy[person, joint] + 0.5,
            colors=[side_color(poses.skeleton, k) for k in joint],
            radii=rerun.Radius.ui_points(3.0),
            labels=[
                f"{name} {poses.scores[n, k]:.2f}"
                for name, n, k in zip(names, person, joint, strict=True)
            ],
            show_labels=False,
        )
        log("image/joints", points)
        seen = np.flatnonzero((poses.scores > 0).any(axis=1))
        ids = [""] * len(poses) if poses.ids is None else [f"#{i} " for i in poses.ids]
        boxes = rerun.Boxes2D(
            array=poses.boxes()[seen] + 0.5,
            array_format=rerun.Box2DFormat.XYXY,
            labels=[f"{ids[n]}{poses.person_scores[n]:.2f}" for n in seen],
            colors=_BOX_COLOR,
        )
        log("image/people", boxes)

    def _map(self, values: NDArray[np.float32]) -> Any:
        return self._rerun.DepthImage(
            values.clip(0, 1).astype(np.float16), colormap="inferno", depth_range=(0.0, 1.0)
        )

    def _opened(self, *, has_fields: bool) -> Any:
        views: Any = importlib.import_module("rerun.blueprint")
        open(self._path, "wb").close()  # an error of ours, with the path, where it cannot be
        parts = [views.TimeSeriesView(origin="people", name="people")]
        if has_fields:
            parts = [
                views.Spatial2DView(origin="fields/heatmap", name="highest heatmap"),
                views.Spatial2DView(origin="fields/paf", name="longest PAF"),
                *parts,
            ]
        view = views.Spatial2DView(origin="image", name="people")
        blueprint = views.Blueprint(
            views.Horizontal(view, views.Vertical(*parts), column_shares=[2, 1]),
            collapse_panels=True,
        )
        recording = self._rerun.RecordingStream("openpaf")
        recording.save(self._path, default_blueprint=blueprint)
        return recording

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        if self._recording is not None:
            self._recording.flush()
            self._recording.disconnect()
            self._recording = None
