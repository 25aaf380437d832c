"""Nodes of poses: read from images, files and JSON, and drawn. Several in a chain ask for several poses at once."""

from __future__ import annotations

import json
from typing import Any

import torch
from comfy_api.latest import io

from imagpose.pixels import pictures_to_unit
from imagpose.pose import draw_skeleton, read_pose_file
from imagpose.pose.library import library
from imagpose.serving.framing import poses_in_picture
from imagpose.serving.inputs import Targets, found_targets, read_targets

from . import host
from .kinds import CATEGORY, KeypointsType, PosesType, read_images, read_size

_DRAWN = (512, 352)  # height and width


def _poses_before() -> Any:
    return PosesType.Input("poses", optional=True, tooltip="poses that come before these")


def _after(before: Targets | None, own: Targets) -> Targets:
    return own if before is None else before.joined(own)


class PoseFromImage(io.ComfyNode):
    """The poses in pictures: of a drawn skeleton, or of the largest person in a photo."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposePoseFromImage",
            display_name="Pose from image",
            category=CATEGORY,
            description="One pose from each image: a drawn skeleton is read; in a photo, the largest person's is detected.",
            inputs=[
                io.Image.Input("image"),
                _poses_before(),
            ],
            outputs=[PosesType.Output(display_name="poses")],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, poses: Targets | None = None) -> io.NodeOutput:
        found = [poses_in_picture(picture)[0][0] for picture in read_images(image)]
        return io.NodeOutput(_after(poses, found_targets(found, "image")))


class PoseFromFile(io.ComfyNode):
    """A pose of the library, or the poses in a file of ComfyUI's input folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposePoseFromFile",
            display_name="Pose from file or library",
            category=CATEGORY,
            description="A pose of imagpose's library, or a file of key points in ComfyUI's input folder.",
            inputs=[
                io.Combo.Input("pose", options=[*library(), *host.pose_files()]),
                _poses_before(),
            ],
            outputs=[PosesType.Output(display_name="poses")],
        )

    @classmethod
    def execute(cls, pose: str, poses: Targets | None = None) -> io.NodeOutput:
        source = pose if pose in library() else host.input_file(pose)
        return io.NodeOutput(_after(poses, read_targets([source])))

    @classmethod
    def fingerprint_inputs(cls, pose: str, **others: Any) -> float:
        """A file that has changed since is read again."""
        return 0.0 if pose in library() else host.input_file(pose).stat().st_mtime


class PoseFromJSON(io.ComfyNode):
    """Poses as JSON text, or as the nodes that detect for ControlNet give them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposePoseFromJSON",
            display_name="Pose from JSON",
            category=CATEGORY,
            description="OpenPose JSON, as a pose editor or `imagpose web` saves it, or any other JSON of key points.",
            inputs=[
                io.String.Input("text", multiline=True, default=""),
                KeypointsType.Input("keypoints", optional=True, tooltip="taken instead of the text"),
                _poses_before(),
            ],
            outputs=[PosesType.Output(display_name="poses")],
        )

    @classmethod
    def execute(cls, text: str, keypoints: Any = None, poses: Targets | None = None) -> io.NodeOutput:
        if keypoints is None:
            try:
                keypoints = json.loads(text)
            except ValueError as error:
                raise ValueError(f"text is not JSON ({error}); OpenPose JSON expected") from None
        return io.NodeOutput(_after(poses, found_targets(read_pose_file(keypoints).poses, "pose")))


class DrawPoses(io.ComfyNode):
    """Poses drawn as skeletons, one image each."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposeDrawPoses",
            display_name="Draw poses",
            category=CATEGORY,
            description="One image a pose, to look at or for ControlNet.",
            inputs=[
                PosesType.Input("poses"),
                io.String.Input("size", default="{}x{}".format(*_DRAWN), tooltip="height x width"),
                io.Boolean.Input("controlnet", default=False, tooltip="sticks of 4 pixels at any size, sharp edges"),
            ],
            outputs=[io.Image.Output(display_name="skeletons")],
        )

    @classmethod
    def execute(cls, poses: Targets, size: str, controlnet: bool) -> io.NodeOutput:
        height, width = read_size(size) or _DRAWN
        drawn = [draw_skeleton(pose.fit(width, height), width, height, exact=controlnet) for pose in poses.poses]
        return io.NodeOutput(pictures_to_unit(drawn))
