"""Poses: 18 key points, their file formats and their drawing. Knows no model."""

from imagpose.pose.drawing import draw_skeleton
from imagpose.pose.keypoints import KEYPOINT_NAMES, LIMBS, Pose

__all__ = ["KEYPOINT_NAMES", "LIMBS", "Pose", "draw_skeleton"]
