"""From photos to scored pictures: sources framed, samples drawn canvas by canvas, looked at by the judges, the best kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from imagpose.pictures import fit_view
from imagpose.pose import Pose
from imagpose.serving.framing import Framed, frame_photo
from imagpose.serving.ground import KEEP, person_masks, put_on_ground
from imagpose.serving.inputs import GenerateInputs
from imagpose.serving.results import Output
from imagpose.serving.scores import score_pictures
from imagpose.serving.settings import GenerateSettings

if TYPE_CHECKING:
    import torch

    from imagpose.pipeline import IMAGPosePipeline

__all__ = ["AfterStep", "draw_poses", "draw_sample", "frame_sources", "keep_best", "scored_outputs"]

_OTHER_SHAPE = 0.2
AfterStep = Callable[..., dict[str, Any]]
"""diffusers' callback: pipeline, number of the step, timestep, tensors."""


def frame_sources(inputs: GenerateInputs, settings: GenerateSettings, height: int, width: int) -> list[Framed]:
    """The sources as the model gets them: on another ground where masks are given, then framed around the person."""
    masks: Sequence[Image.Image | None] = inputs.masks or [None] * len(inputs.sources)
    poses = inputs.source_poses or [None] * len(inputs.sources)
    framed = []
    for number, (picture, pose, mask) in enumerate(zip(inputs.sources, poses, masks, strict=True)):
        if settings.crop:
            own = frame_photo(picture, pose, mask, height, width)
            _note_shape(own, number, height, width)
        else:
            own = Framed(picture, pose, mask, None, None if pose is None else "given")
        if own.mask is not None and settings.background != KEEP:
            plain = "white" if settings.background == "transparent" else settings.background
            own = replace(own, picture=put_on_ground(own.picture, own.mask, plain))
        framed.append(own)
    return framed


def _note_shape(framed: Framed, number: int, height: int, width: int) -> None:
    """Say that a photo of another shape than the view's was taken whole, since nobody is known to be where in it."""
    picture = framed.picture
    if framed.pose is None and abs(picture.height * width / (picture.width * height) - 1) > _OTHER_SHAPE:
        warnings.warn(
            f"source {number + 1} ({picture.height}x{picture.width}) is taken whole: its person's pose is neither given nor"
            " detected (source poses; extra pose and `imagpose poses setup`)",
            UserWarning,
            stacklevel=2,
        )


def draw_sample(
    pipeline: IMAGPosePipeline,
    sources: Sequence[Framed],
    poses: Sequence[Pose],
    settings: GenerateSettings,
    seed: int,
    size: tuple[int, int],
    after_step: AfterStep | None,
) -> list[Image.Image]:
    """One picture per pose; the noise is drawn on the CPU, so that it is the same on any device.

    With `anchor` the poses of the first canvas come first; the best of their pictures, as many as fill half of a canvas
    together with the sources, stand beside the sources on all further canvases.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    pictures, own_poses = [own.picture for own in sources], [own.pose for own in sources]
    grid = settings.view_grid(len(sources), len(poses))
    free = max(1, grid.num_views - len(sources))
    if not settings.anchor or len(poses) <= free or len(sources) >= grid.num_views - 1:
        return draw_poses(pipeline, pictures, own_poses, poses, settings, generator, size, after_step)
    first = draw_poses(pipeline, pictures, own_poses, poses[:free], settings, generator, size, after_step)
    scores = score_pictures(first, poses[:free], pictures)
    best = sorted(range(free), key=lambda index: -scores[index].score)[: max(1, grid.num_views // 2 - len(sources))]
    anchors, anchor_poses = [first[index] for index in best], [poses[index].fit(size[1], size[0]) for index in best]
    rest = draw_poses(
        pipeline, [*pictures, *anchors], [*own_poses, *anchor_poses], poses[free:], settings, generator, size, after_step
    )  # fmt: skip
    return first + rest


def draw_poses(
    pipeline: IMAGPosePipeline,
    pictures: Sequence[Image.Image],
    own_poses: Sequence[Pose | None],
    poses: Sequence[Pose],
    settings: GenerateSettings,
    generator: torch.Generator,
    size: tuple[int, int],
    after_step: AfterStep | None,
    latents: torch.Tensor | None = None,
) -> list[Image.Image]:
    """One picture per pose beside pictures of the person, by one call of the pipeline; `latents` as of that."""
    images: list[Image.Image] = pipeline(
        sources=list(pictures),
        target_poses=list(poses),
        source_poses=list(own_poses) if any(pose is not None for pose in own_poses) else None,
        grid=settings.view_grid(len(pictures), len(poses)),
        scenario=settings.scenario,
        height=size[0],
        width=size[1],
        **settings.sampling.arguments(),
        generator=generator,
        latents=latents,
        return_dict=False,
        callback_on_step_end=after_step,
    )[0]
    return images


def scored_outputs(
    drawn: Sequence[Sequence[Image.Image]],
    inputs: GenerateInputs,
    sources: Sequence[Framed],
    settings: GenerateSettings,
) -> list[Output]:
    """All samples of each pose, scored, then on their ground."""
    width, height = drawn[0][0].size
    views = [fit_view(own.picture, width, height) for own in sources]
    scores = [score_pictures(sample, inputs.poses, views) for sample in drawn]
    if settings.background == KEEP:
        grounded = drawn
    else:
        grounded = [
            [
                put_on_ground(own, mask, settings.background)
                for own, mask in zip(sample, person_masks(sample), strict=True)
            ]
            for sample in drawn
        ]
    return [
        Output(
            name if settings.samples == 1 or settings.keep_best else f"{name}_{sample + 1}",
            target, sample + 1, settings.sampling.seed + sample, grounded[sample][target], scores[sample][target],
            settings.min_score is not None and bool(scores[sample][target].score < settings.min_score),
        )
        for target, name in enumerate(inputs.names)
        for sample in range(settings.samples)
    ]  # fmt: skip


def keep_best(outputs: list[Output], settings: GenerateSettings) -> list[Output]:
    """Everything, or with `keep_best` of each pose the sample with the highest score."""
    if not settings.keep_best:
        return outputs
    best: dict[int, Output] = {}
    for own in outputs:
        if own.target not in best or own.scores.score > best[own.target].scores.score:
            best[own.target] = own
    return list(best.values())
