"""Poses: 18 key points, their file formats and their drawing. Knows no model."""

from imagpose.pose.drawing import draw_skeleton
from imagpose.pose.formats import (
    from_coco17,
    from_openpose,
    read_annotation_csv,
    read_pose,
    read_txt,
    to_openpose,
    write_annotation_csv,
    write_openpose_json,
    write_txt,
)
from imagpose.pose.keypoints import KEYPOINT_NAMES, LIMBS, Pose
from imagpose.pose.skeleton_picture import read_skeleton_picture

__all__ = [
    "KEYPOINT_NAMES", "LIMBS", "Pose", "draw_skeleton", "from_coco17", "from_openpose", "read_annotation_csv",
    "read_pose", "read_skeleton_picture", "read_txt", "to_openpose", "write_annotation_csv", "write_openpose_json",
    "write_txt",
]  # fmt: skip
