"""From an image to its people."""

from openpaf.estimator.pose_estimator import PoseEstimator, is_detector

__all__ = ["PoseEstimator", "is_detector"]
