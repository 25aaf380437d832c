"""What the nodes give to one another beside ComfyUI's own types, and how they read these.

IMAGPOSE_MODEL is a `host.Model`, IMAGPOSE_PERSON a `Person`, IMAGPOSE_POSES `serving.inputs.Targets`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from comfy_api.latest import io
from PIL import Image

from imagpose.pictures import load_picture, parse_size
from imagpose.pipeline.requests import check_size
from imagpose.pose import Pose
from imagpose.serving.inputs import GenerateInputs, Targets, read_inputs

CATEGORY = "imagpose"
ModelType = io.Custom("IMAGPOSE_MODEL")
PersonType = io.Custom("IMAGPOSE_PERSON")
PosesType = io.Custom("IMAGPOSE_POSES")
KeypointsType = io.Custom("POSE_KEYPOINT")  # of the nodes that detect for ControlNet


@dataclass(frozen=True, eq=False)
class Person:
    """Photos of one person.

    Attributes:
        photos: RGB, of any sizes.
        poses: one for each photo, None where it is not known.
        masks: none, or one for each photo, white where it shows the person.
    """

    photos: list[Image.Image] = field(default_factory=list)
    poses: list[Pose | None] = field(default_factory=list)
    masks: list[Image.Image] = field(default_factory=list)

    def known_poses(self) -> list[Pose | None]:
        """The poses, or none where not one is known."""
        return self.poses if any(pose is not None for pose in self.poses) else []

    def inputs(self, targets: Targets) -> GenerateInputs:
        """This person in target poses, checked."""
        return read_inputs(self.photos, targets, self.known_poses(), masks=self.masks)


def read_images(images: torch.Tensor | None) -> list[Image.Image]:
    """An IMAGE (B, H, W, C) or MASK (B, H, W), floats in [0, 1], which other nodes may have exceeded."""
    return [] if images is None else [load_picture(image) for image in images.clamp(0, 1).cpu().numpy()]


def read_size(text: str) -> tuple[int, int] | None:
    """Height and width of a text such as 256x176; None for an empty one.

    Raises:
        ValueError: the text has another form, or a side is too short or too long.
    """
    if not text.strip():
        return None
    size = parse_size(text.replace(" ", ""))
    for name, side in zip(("height", "width"), size, strict=True):
        check_size(name, side)
    return size
