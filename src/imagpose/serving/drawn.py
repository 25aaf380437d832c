"""From photos to scored pictures: sources framed, samples drawn canvas by canvas, looked at by the judges, the best kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from imagpose.pictures import fit_view
from imagpose.pixel_marks import mark_pixels
from imagpose.pose import Pose
from imagpose.serving.fitting import fit_inputs
from imagpose.serving.framing import Framed, frame_photo
from imagpose.serving.ground import KEEP, person_masks, put_on_ground
from imagpose.serving.inputs import GenerateInputs
from imagpose.serving.results import Output
from imagpose.serving.scores import Scores, score_pictures
from imagpose.serving.settings import GenerateSettings

if TYPE_CHECKING:
    import torch

    from imagpose.pipeline import IMAGPosePipeline

_OTHER_SHAPE = 0.2
AfterStep = Callable[..., dict[str, Any]]
"""diffusers' callback: pipeline, number of the step, timestep, tensors."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A request as it is drawn.

    Attributes:
        inputs: as they were read.
        settings: what is asked for.
        size: height and width of the pictures.
        sources: the photos, framed.
        fitted: the inputs, with target poses fitted to the body in the sources.
        how_fitted: in words.
    """

    inputs: GenerateInputs
    settings: GenerateSettings
    size: tuple[int, int]
    sources: Sequence[Framed]
    fitted: GenerateInputs
    how_fitted: str


def prepare(pipeline: IMAGPosePipeline, inputs: GenerateInputs, settings: GenerateSettings) -> Prepared:
    """Frame the photos, and fit the poses to the body in them."""
    size = settings.picture_size(pipeline)
    framed = frame_sources(inputs, settings, *size)
    return Prepared(inputs, settings, size, framed, *fit_inputs(inputs, framed, settings))


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
    pipeline: IMAGPosePipeline, request: Prepared, seed: int, after_step: AfterStep | None = None
) -> list[Image.Image]:
    """One picture per pose; the noise is drawn on the CPU, so that it is the same on any device.

    With `anchor` the poses of the first canvas come first; the best of their pictures, as many as fill half of a canvas
    together with the sources, stand beside the sources on all further canvases.
    """
    import torch

    sources, poses, settings, size = request.sources, request.fitted.poses, request.settings, request.size
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


def draw_together(
    pipeline: IMAGPosePipeline, requests: Sequence[Prepared], seeds: Sequence[int]
) -> list[list[Image.Image]]:
    """The pictures of several requests in one call, a seed for each; size, grid, scenario and sampling are the first's."""
    import torch

    given = [
        (
            [own.picture for own in request.sources],
            [own.pose for own in request.sources],
            request.fitted.poses,
            torch.Generator().manual_seed(seed),
        )
        for request, seed in zip(requests, seeds, strict=True)
    ]
    return _call(pipeline, given, requests[0].settings, requests[0].size)


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
    return _call(pipeline, [(pictures, own_poses, poses, generator)], settings, size, after_step, latents)[0]


def _call(
    pipeline: IMAGPosePipeline,
    requests: Sequence[tuple[Sequence[Image.Image], Sequence[Pose | None], Sequence[Pose], torch.Generator]],
    settings: GenerateSettings,
    size: tuple[int, int],
    after_step: AfterStep | None = None,
    latents: torch.Tensor | None = None,
) -> list[list[Image.Image]]:
    """Of each request: its sources, their poses, its target poses, its noise."""
    pictures, _, poses, _ = requests[0]
    images: list[list[Image.Image]] = pipeline(
        sources=[list(pictures) for pictures, *_ in requests],
        target_poses=[list(poses) for _, _, poses, _ in requests],
        source_poses=[list(own) if any(pose is not None for pose in own) else None for _, own, _, _ in requests],
        grid=settings.view_grid(len(pictures), len(poses)),
        scenario=settings.scenario,
        height=size[0],
        width=size[1],
        **settings.sampling.arguments(),
        generator=[generator for *_, generator in requests],
        latents=latents,
        return_dict=False,
        callback_on_step_end=after_step,
    )[0]
    return images


def finished_outputs(request: Prepared, drawn: Sequence[Sequence[Image.Image]], scored: bool = True) -> list[Output]:
    """What is kept of all samples of a request, on its ground; scored, unless nobody wants that.

    Args:
        drawn: the pictures of each sample.
        scored: whether to look at the pictures where the settings do not need it.
    """
    settings = request.settings
    needed = scored or settings.keep_best or settings.min_score is not None
    outputs = _outputs(drawn, request, _scores(drawn, request) if needed else None)
    return _keep_best(outputs) if settings.keep_best else outputs


def _scores(drawn: Sequence[Sequence[Image.Image]], request: Prepared) -> list[list[Scores]]:
    """Of each sample's pictures."""
    width, height = drawn[0][0].size
    views = [fit_view(own.picture, width, height) for own in request.sources]
    return [score_pictures(sample, request.fitted.poses, views) for sample in drawn]


def _outputs(
    drawn: Sequence[Sequence[Image.Image]], request: Prepared, scores: Sequence[Sequence[Scores]] | None
) -> list[Output]:
    """All samples of each pose, on their ground and with their mark."""
    settings = request.settings
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
            target, sample + 1, settings.sampling.seed + sample, mark_pixels(grounded[sample][target], settings.mark),
            None if scores is None else scores[sample][target],
            scores is not None and settings.min_score is not None
            and bool(scores[sample][target].score < settings.min_score),
        )
        for target, name in enumerate(request.fitted.names)
        for sample in range(settings.samples)
    ]  # fmt: skip


def _keep_best(outputs: list[Output]) -> list[Output]:
    """Of each pose the sample with the highest score."""
    best: dict[int, Output] = {}
    for own in outputs:
        if own.target not in best or own.score > best[own.target].score:
            best[own.target] = own
    return list(best.values())
