"""Poses: 18 key points (and hands), every file that holds them, and their drawing. Knows no model."""

from imagpose.pose.drawing import SKELETONS, draw_skeleton, draw_skeletons
from imagpose.pose.keypoints import KEYPOINT_NAMES, LIMBS, Pose
from imagpose.pose.reading import PoseFile, read_pose, read_pose_file, read_poses
from imagpose.pose.settling import PoseOptions
from imagpose.pose.skeleton_picture import read_skeleton_picture
from imagpose.pose.text_kinds import read_annotation_csv
from imagpose.pose.writing import to_openpose, write_annotation_csv, write_openpose_json, write_txt

__all__ = [
    "KEYPOINT_NAMES", "LIMBS", "SKELETONS", "Pose", "PoseFile", "PoseOptions", "draw_skeleton",
    "draw_skeletons", "read_annotation_csv", "read_pose", "read_pose_file", "read_poses", "read_skeleton_picture",
    "to_openpose", "write_annotation_csv", "write_openpose_json", "write_txt",
]  # fmt: skip
