"""The nodes: what they take and give. The work is done by `imagpose.serving`."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import torch
from comfy_api.latest import io

from imagpose.films import MOST_FPS
from imagpose.pictures import load_picture
from imagpose.pipeline.loading import BACKENDS, DTYPES
from imagpose.pixel_marks import NO_MARK, PIXEL_MARKS
from imagpose.pixels import pictures_to_unit
from imagpose.pose.retarget import PLACES
from imagpose.pose.sequence import SMOOTHING
from imagpose.serving.animate import animate
from imagpose.serving.demo import PEOPLE_FOLDER, DemoView, read_people
from imagpose.serving.drawn import frame_sources
from imagpose.serving.film_places import frame_name
from imagpose.serving.fitting import fit_inputs
from imagpose.serving.generate import check_request, generate_inputs
from imagpose.serving.inputs import Targets, found_targets
from imagpose.serving.settings import GenerateSettings
from imagpose.views import SCENARIOS

from . import host
from .kinds import CATEGORY, ModelType, Person, PersonType, PosesType, read_images, read_size
from .pose_nodes import DrawPoses, PoseFromFile, PoseFromImage, PoseFromJSON

_ANY, _AUTO = "any", "auto"
_OWN_SCALE = "0: the model's own; 1: no guidance, in half the time"
_OF_MODEL = "height x width, such as 256x176; empty: the model's"


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
            category=CATEGORY,
            description="A model that ships with imagpose, or the folder of a saved pipeline in models/imagpose.",
            inputs=[
                io.Combo.Input("model", options=host.model_names()),
                io.Combo.Input(
                    "dtype", options=[_AUTO, *DTYPES], tooltip="auto: fp32, and bf16 on CPUs that multiply it"
                ),
                io.Combo.Input(
                    "backend", options=[own for own in BACKENDS if own != _AUTO], tooltip="what evaluates the UNet"
                ),
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
            category=CATEGORY,
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
            category=CATEGORY,
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
        own = read_images(photos)
        if poses is not None and len(poses.poses) != len(own):
            raise ValueError(f"{len(poses.poses)} poses for {len(own)} photos: give one for each, or none")
        before = person or Person()
        known = [None] * len(own) if poses is None else poses.poses
        return io.NodeOutput(
            Person([*before.photos, *own], [*before.poses, *known], [*before.masks, *read_images(masks)])
        )


class Retarget(io.ComfyNode):
    """Poses fitted to the person's body, as Generate does it itself if it is asked to."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposeRetarget",
            display_name="Fit poses to person",
            category=CATEGORY,
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
        settings = GenerateSettings(place=place, size=read_size(size), crop=crop)
        inputs = person.inputs(poses)
        framed = frame_sources(inputs, settings, *settings.picture_size(model.pipeline))
        fitted, said = fit_inputs(inputs, framed, settings)
        return io.NodeOutput(Targets(poses.names, fitted.poses, poses.origins, poses.said), said)


def _inputs(*own: Any) -> list[Any]:
    """What Generate and Animate take alike, around what one of them takes alone."""
    return [
        ModelType.Input("model"),
        PersonType.Input("person"),
        PosesType.Input("poses"),
        io.Int.Input("seed", default=0, min=0, max=2**63 - 1, control_after_generate=True),
        io.Int.Input("steps", default=0, min=0, max=1000, tooltip="0: the model's own"),
        io.Float.Input("guidance_scale", default=0.0, min=0.0, max=100.0, step=0.1, tooltip=_OWN_SCALE),
        io.String.Input("grid", default="2x2", tooltip="rows x columns of the joint canvas, or auto"),
        io.String.Input("size", default="", tooltip=_OF_MODEL),
        io.Boolean.Input("crop", default=True, tooltip="frame photos around the person"),
        io.Boolean.Input("retarget", default=True, tooltip="fit poses to the person's body"),
        *own,
        io.String.Input(
            "save_as", default="", tooltip="a folder in ComfyUI's output folder for marked pictures; empty: none"
        ),
    ]


def _settings(asked: dict[str, Any]) -> dict[str, Any]:
    """A node's inputs as settings: 0 and "" stand for the model's own."""
    own = {"steps": asked["steps"] or None, "guidance_scale": asked["guidance_scale"] or None}
    return {**asked, **own, "size": read_size(asked["size"])}


class Generate(io.ComfyNode):
    """Pictures of the person in the poses: `imagpose generate`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposeGenerate",
            display_name="Generate person in poses",
            category=CATEGORY,
            description="One picture for each pose (and sample), all by one model in one go.",
            is_output_node=True,
            inputs=[
                *_inputs(
                    io.Combo.Input(
                        "scenario", options=[_ANY, *SCENARIOS], tooltip="any: any number of photos and poses"
                    ),
                    io.Int.Input("samples", default=1, min=1, max=1000, tooltip="pictures of each pose"),
                    io.Boolean.Input("keep_best", default=False, tooltip="of the samples of a pose, only the best"),
                    io.String.Input(
                        "background", default="keep", tooltip="keep, transparent, or a colour like #ffffff"
                    ),
                ),
                # Behind the others: workflows that were saved before give values by their order.
                io.Combo.Input("mark", options=[*PIXEL_MARKS], default=NO_MARK, optional=True, tooltip="in the pixels"),
            ],
            outputs=[io.Image.Output(display_name="images"), io.String.Output(display_name="result")],
        )

    @classmethod
    def execute(
        cls, model: host.Model, person: Person, poses: Targets, save_as: str, scenario: str, **others: Any
    ) -> io.NodeOutput:
        given = {**_settings(others), "scenario": None if scenario == _ANY else scenario}
        asked = GenerateSettings.of(given).settled(model.pipeline)
        inputs = person.inputs(poses)
        check_request(inputs, asked)
        done = generate_inputs(
            model.placed(), inputs, asked, out=host.output_folder(save_as) if save_as.strip() else None,
            dtype=model.dtype, after_step=host.watch(inputs, asked),
        )  # fmt: skip
        return io.NodeOutput(pictures_to_unit(done.images), json.dumps(done.record, indent=2))


class Animate(io.ComfyNode):
    """Frames of the person who moves as the poses do: `imagpose animate`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImagposeAnimate",
            display_name="Animate person",
            category=CATEGORY,
            description="One frame for each pose, in their order, on canvases that overlap in time.",
            is_output_node=True,
            inputs=_inputs(
                io.Float.Input("fps", default=25.0, min=1.0, max=MOST_FPS, step=0.1, tooltip="frames a second"),
                io.Int.Input("overlap", default=1, min=0, max=100, tooltip="finished frames on each canvas"),
                io.Combo.Input("smooth", options=[*SMOOTHING], tooltip="smoothing of the poses"),
            ),
            outputs=[
                io.Image.Output(display_name="frames"),
                io.Float.Output(display_name="fps"),
                io.String.Output(display_name="result"),
            ],
        )

    @classmethod
    def execute(cls, model: host.Model, person: Person, poses: Targets, save_as: str, **others: Any) -> io.NodeOutput:
        with host.frames_folder(save_as) as folder:
            done = animate(
                person.photos, poses.poses, person.known_poses(), out=folder, model=model.placed(), tell=host.teller(),
                **_settings(others),
            )  # fmt: skip
            frames = pictures_to_unit(load_picture(folder / frame_name(number)) for number in range(done.num_frames))
        return io.NodeOutput(frames, done.record["fps"], json.dumps(done.record, indent=2))


NODES: list[type[io.ComfyNode]] = [
    LoadModel, RenderedPerson, PhotosToPerson, PoseFromImage, PoseFromFile, PoseFromJSON, DrawPoses, Retarget, Generate,
    Animate,
]  # fmt: skip
