"""From an image to its people: the estimator, and the methods that it may have."""

from openpaf.estimator.pose_estimator import PoseEstimator

__all__ = ["PoseEstimator"]
