"""The nodes: what they take and give, in ComfyUI's types and three of ours. The work is done by `imagpose.serving`.

Types of ours: IMAGPOSE_MODEL (`host.Model`), IMAGPOSE_PERSON (`Person`), IMAGPOSE_POSES (`serving.inputs.Targets`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from comfy_api.latest import io
from PIL import Image

from imagpose.pictures import load_picture, parse_size
from imagpose.pipeline.backends import BACKENDS
from imagpose.pipeline.loading import DTYPES
from imagpose.pixels import pictures_to_unit
from imagpose.pose import Pose, draw_skeleton, read_pose_file
from imagpose.pose.library import library
from imagpose.pose.retarget import PLACES
from imagpose.serving.demo import PEOPLE_FOLDER, DemoView, read_people
from imagpose.serving.drawn import frame_sources
from imagpose.serving.fitting import fit_inputs
from imagpose.serving.framing import poses_in_picture
from imagpose.serving.generate import check_request, generate_inputs
from imagpose.serving.inputs import GenerateInputs, Targets, found_targets, read_inputs, read_targets
from imagpose.serving.settings import GenerateSettings
from imagpose.views import SCENARIOS

from . import host

__all__ = ["NODES", "Person"]

_CATEGORY = "imagpose"
_ANY, _AUTO = "any", "auto"
_OWN_SCALE = "0: the model's own; 1: no guidance, in half the time"
_OF_MODEL = "height x width, such as 256x176; empty: the model's"
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

    def inputs(self, targets: Targets) -> GenerateInputs:
        """This person in target poses, checked."""
        known = self.poses if any(pose is not None for pose in self.poses) else []
        return read_inputs(self.photos, targets, known, masks=self.masks)


def _pictures(images: torch.Tensor | None) -> list[Image.Image]:
    """An IMAGE (B, H, W, C) or MASK (B, H, W), floats in [0, 1], which other nodes may have exceeded."""
    return [] if images is None else [load_picture(image) for image in images.clamp(0, 1).cpu().numpy()]


def _size(text: str) -> tuple[int, int] | None:
    return parse_size(text.replace(" ", "")) if text.strip() else None


@cache
def _people() -> dict[str, list[DemoView]]:
    return read_people(PEOPLE_FOLDER)


class LoadModel(io.ComfyNode):
    """A model that ships, or a saved pipeline below `models/imagpose`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposeLoadModel",
            display_name="Load imagpose model",
            category=_CATEGORY,
            description="A model that ships with imagpose, or the folder of a saved pipeline in models/imagpose.",
            inputs=[
                io.Combo.Input("model", options=host.model_names()),
                io.Combo.Input(
                    "dtype", options=[_AUTO, *DTYPES], tooltip="auto: fp32, and bf16 on CPUs that multiply it"
                ),
                io.Combo.Input("backend", options=[*BACKENDS], tooltip="what evaluates the UNet; auto: by the work"),
            ],
            outputs=[ModelType.Output(display_name="model")],
        )

    @classmethod
    def execute(cls, model: str, dtype: str, backend: str) -> io.NodeOutput:
        return io.NodeOutput(host.load_model(model, None if dtype == _AUTO else dtype, backend))


class RenderedPerson(io.ComfyNode):
    """One of the rendered adults that ship with imagpose."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposeRenderedPerson",
            display_name="Rendered person",
            category=_CATEGORY,
            description="Front, back and side of a rendered adult that ships with imagpose, with their poses.",
            inputs=[
                io.Combo.Input("person", options=[*_people()]),
                io.Int.Input("views", default=3, min=1, max=3, tooltip="1: front, 2: front and back, 3: side too"),
            ],
            outputs=[io.Image.Output(display_name="photos"), PosesType.Output(display_name="poses")],
        )

    @classmethod
    def execute(cls, person: str, views: int) -> io.NodeOutput:
        shown = _people()[person][:views]
        poses = found_targets([view.pose for view in shown], person)
        return io.NodeOutput(pictures_to_unit(view.picture for view in shown), poses)


class PhotosToPerson(io.ComfyNode):
    """Photos of one person, to which more of another size can be added."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposePerson",
            display_name="Photos to person",
            category=_CATEGORY,
            description="One or more photos of one person. Their poses are detected where none are given.",
            inputs=[
                io.Image.Input("photos"),
                PersonType.Input("person", optional=True, tooltip="photos that come before these, of any size"),
                PosesType.Input("poses", optional=True, tooltip="of the person, one for each photo"),
                io.Mask.Input("masks", optional=True, tooltip="1 where a photo shows the person; for `background`"),
            ],
            outputs=[PersonType.Output(display_name="person")],
        )

    @classmethod
    def execute(
        cls,
        photos: torch.Tensor,
        person: Person | None = None,
        poses: Targets | None = None,
        masks: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        own = _pictures(photos)
        if poses is not None and len(poses.poses) != len(own):
            raise ValueError(f"{len(poses.poses)} poses for {len(own)} photos: give one for each, or none")
        before = person or Person()
        known = [None] * len(own) if poses is None else poses.poses
        return io.NodeOutput(
            Person([*before.photos, *own], [*before.poses, *known], [*before.masks, *_pictures(masks)])
        )


class PoseFromImage(io.ComfyNode):
    """The poses in pictures: of a drawn skeleton, or of the largest person in a photo."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposePoseFromImage",
            display_name="Pose from image",
            category=_CATEGORY,
            description="One pose from each image: a drawn skeleton is read; in a photo, the largest person's is detected.",
            inputs=[
                io.Image.Input("image"),
                PosesType.Input("poses", optional=True, tooltip="poses that come before these"),
            ],
            outputs=[PosesType.Output(display_name="poses")],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, poses: Targets | None = None) -> io.NodeOutput:
        found = [poses_in_picture(picture)[0][0] for picture in _pictures(image)]
        return io.NodeOutput(_after(poses, found_targets(found, "image")))


class PoseFromFile(io.ComfyNode):
    """A pose of the library, or the poses in a file of ComfyUI's input folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposePoseFromFile",
            display_name="Pose from file or library",
            category=_CATEGORY,
            description="A pose of imagpose's library, or a file of key points in ComfyUI's input folder.",
            inputs=[
                io.Combo.Input("pose", options=[*library(), *host.pose_files()]),
                PosesType.Input("poses", optional=True, tooltip="poses that come before these"),
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
            category=_CATEGORY,
            description="OpenPose JSON, as a pose editor or `imagpose web` saves it, or any other JSON of key points.",
            inputs=[
                io.String.Input("text", multiline=True, default=""),
                KeypointsType.Input("keypoints", optional=True, tooltip="taken instead of the text"),
                PosesType.Input("poses", optional=True, tooltip="poses that come before these"),
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
            category=_CATEGORY,
            description="One image a pose, to look at or for ControlNet.",
            inputs=[
                PosesType.Input("poses"),
                io.String.Input("size", default="512x352", tooltip="height x width"),
                io.Boolean.Input("controlnet", default=False, tooltip="sticks of 4 pixels at any size, sharp edges"),
            ],
            outputs=[io.Image.Output(display_name="skeletons")],
        )

    @classmethod
    def execute(cls, poses: Targets, size: str, controlnet: bool) -> io.NodeOutput:
        height, width = parse_size(size)
        drawn = [draw_skeleton(pose.fit(width, height), width, height, exact=controlnet) for pose in poses.poses]
        return io.NodeOutput(pictures_to_unit(drawn))


class Retarget(io.ComfyNode):
    """Poses fitted to the person's body, as Generate does it itself if it is asked to."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposeRetarget",
            display_name="Fit poses to person",
            category=_CATEGORY,
            description="Poses as this person would take them. To see them first; Generate can do it itself.",
            inputs=[
                ModelType.Input("model"),
                PersonType.Input("person"),
                PosesType.Input("poses"),
                io.Combo.Input("place", options=[*PLACES], tooltip="where the person stands: as in the pose or source"),
                io.String.Input("size", default="", tooltip=_OF_MODEL),
                io.Boolean.Input("crop", default=True, tooltip="frame photos around the person"),
            ],
            outputs=[PosesType.Output(display_name="poses"), io.String.Output(display_name="done")],
        )

    @classmethod
    def execute(
        cls, model: host.Model, person: Person, poses: Targets, place: str, size: str, crop: bool
    ) -> io.NodeOutput:
        settings = GenerateSettings(place=place, size=_size(size), crop=crop)
        inputs = person.inputs(poses)
        framed = frame_sources(inputs, settings, *settings.picture_size(model.pipeline))
        fitted, said = fit_inputs(inputs, framed, settings)
        return io.NodeOutput(Targets(poses.names, fitted.poses, poses.origins, poses.said), said)


class Generate(io.ComfyNode):
    """Pictures of the person in the poses: `imagpose generate`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposeGenerate",
            display_name="Generate person in poses",
            category=_CATEGORY,
            description="One picture for each pose (and sample), all by one model in one go.",
            is_output_node=True,
            inputs=[
                ModelType.Input("model"),
                PersonType.Input("person"),
                PosesType.Input("poses"),
                io.Int.Input("seed", default=0, min=0, max=2**63 - 1, control_after_generate=True),
                io.Int.Input("steps", default=0, min=0, max=1000, tooltip="0: the model's own"),
                io.Float.Input("guidance_scale", default=0.0, min=0.0, max=100.0, step=0.1, tooltip=_OWN_SCALE),
                io.Combo.Input("scenario", options=[_ANY, *SCENARIOS], tooltip="any: any number of photos and poses"),
                io.String.Input("grid", default="2x2", tooltip="rows x columns of the joint canvas, or auto"),
                io.String.Input("size", default="", tooltip=_OF_MODEL),
                io.Int.Input("samples", default=1, min=1, max=1000, tooltip="pictures of each pose"),
                io.Boolean.Input("keep_best", default=False, tooltip="of the samples of a pose, only the best"),
                io.String.Input("background", default="keep", tooltip="keep, transparent, or a colour like #ffffff"),
                io.Boolean.Input("crop", default=True, tooltip="frame photos around the person"),
                io.Boolean.Input("retarget", default=True, tooltip="fit poses to the person's body"),
                io.String.Input(
                    "save_as",
                    default="",
                    tooltip="a folder in ComfyUI's output folder for marked pictures; empty: none",
                ),
            ],
            outputs=[io.Image.Output(display_name="images"), io.String.Output(display_name="result")],
        )

    @classmethod
    def execute(
        cls,
        model: host.Model,
        person: Person,
        poses: Targets,
        steps: int,
        guidance_scale: float,
        scenario: str,
        size: str,
        save_as: str,
        **settings: Any,
    ) -> io.NodeOutput:
        given = {"steps": steps or None, "guidance_scale": guidance_scale or None, "size": _size(size), **settings}
        asked = GenerateSettings.of({"scenario": None if scenario == _ANY else scenario, **given}).settled(
            model.pipeline
        )
        inputs = person.inputs(poses)
        check_request(inputs, asked)
        done = generate_inputs(
            model.placed(), inputs, asked, out=host.output_folder(save_as) if save_as.strip() else None,
            dtype=model.dtype, after_step=host.watch(inputs, asked),
        )  # fmt: skip
        return io.NodeOutput(pictures_to_unit(done.images), json.dumps(done.record, indent=2))


def _after(before: Targets | None, own: Targets) -> Targets:
    return own if before is None else before.joined(own)


NODES: list[type[io.ComfyNode]] = [
    LoadModel, RenderedPerson, PhotosToPerson, PoseFromImage, PoseFromFile, PoseFromJSON, DrawPoses, Retarget, Generate,
]  # fmt: skip
