"""openpaf: finds every person in an image and their joints, with Part Affinity Fields.

The names below are imported when they are first used, so that ``import openpaf`` is quick and
brings neither torch nor OpenCV with it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openpaf.bulk.stream import StreamResult as StreamResult
    from openpaf.bulk.stream import stream as stream
    from openpaf.decoding import DecodeConfig as DecodeConfig
    from openpaf.decoding import decode as decode
    from openpaf.errors import ImageError as ImageError
    from openpaf.errors import VideoError as VideoError
    from openpaf.errors import WeightsError as WeightsError
    from openpaf.estimator import PoseEstimator as PoseEstimator
    from openpaf.estimator.object_detector import ObjectDetector as ObjectDetector
    from openpaf.fields import Fields as Fields
    from openpaf.fields import encode_fields as encode_fields
    from openpaf.fields import encode_mask as encode_mask
    from openpaf.geometry import Grid as Grid
    from openpaf.geometry import Letterbox as Letterbox
    from openpaf.io.images import read_image as read_image
    from openpaf.io.objects import Objects as Objects
    from openpaf.io.pose_files import read_poses as read_poses
    from openpaf.io.pose_files import write_poses as write_poses
    from openpaf.io.skeleton_files import read_skeleton as read_skeleton
    from openpaf.io.skeleton_files import write_skeleton as write_skeleton
    from openpaf.poses import Poses as Poses
    from openpaf.skeleton import Skeleton as Skeleton
    from openpaf.tracking.one_euro import Smoothing as Smoothing
    from openpaf.tracking.tracker import Tracker as Tracker
    from openpaf.tracking.tracker import TrackerConfig as TrackerConfig
    from openpaf.visualization.draw import draw_poses as draw_poses
    from openpaf.visualization.objects import draw_objects as draw_objects

__version__ = "0.2.0"

_HOME = {
    "DecodeConfig": "decoding",
    "Fields": "fields",
    "Grid": "geometry",
    "ImageError": "errors",
    "Letterbox": "geometry",
    "ObjectDetector": "estimator.object_detector",
    "Objects": "io.objects",
    "PoseEstimator": "estimator",
    "Poses": "poses",
    "Skeleton": "skeleton",
    "Smoothing": "tracking.one_euro",
    "StreamResult": "bulk.stream",
    "Tracker": "tracking.tracker",
    "TrackerConfig": "tracking.tracker",
    "VideoError": "errors",
    "WeightsError": "errors",
    "decode": "decoding",
    "draw_objects": "visualization.objects",
    "draw_poses": "visualization.draw",
    "encode_fields": "fields",
    "encode_mask": "fields",
    "read_image": "io.images",
    "read_poses": "io.pose_files",
    "read_skeleton": "io.skeleton_files",
    "stream": "bulk.stream",
    "write_poses": "io.pose_files",
    "write_skeleton": "io.skeleton_files",
}
_MODULES = ("analysis", "networks", "weights")

__all__ = [*_HOME, *_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"openpaf.{_HOME[name]}"), name)
        globals()[name] = value  # cached, as openpaf.decode may be called in a loop
        return value
    if name in _MODULES:
        return importlib.import_module(f"openpaf.{name}")
    raise AttributeError(f"module 'openpaf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
