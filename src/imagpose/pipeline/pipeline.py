"""IMAGPosePipeline: photos of one person and poses in, pictures of that person out.

One direction: check inputs -> encode the conditions -> denoise -> decode the views that were asked for. A few canvases at a
time go all the way, so that memory does not grow with what is asked for, and nothing is encoded twice.
Source: paper §3 (Fig. 2), Eq. 5 for guidance; the plan for any number of sources and poses is our own.
"""

import inspect
from collections.abc import Callable, Iterator
from itertools import islice
from os import PathLike, fspath
from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.schedulers import KarrasDiffusionSchedulers
from transformers import BaseImageProcessor, PreTrainedModel

from imagpose.models.autoencoder import PatchAutoencoderKL, spatial_factor
from imagpose.models.conditions import check_start
from imagpose.models.diffusers_hooks import name_library
from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.folder import check_folder, failures_of, fetch_folder, resolve_model
from imagpose.models.pose_encoder import PoseEncoder
from imagpose.models.scheduler import check_scheduler
from imagpose.models.unet import IMAGPoseUNet
from imagpose.pipeline.backends import Backend
from imagpose.pipeline.canvases import (
    CanvasJob,
    Generators,
    IMAGPosePipelineOutput,
    check_latents,
    draw_jobs,
    join_pictures,
    origins,
    per_request,
)
from imagpose.pipeline.conditions import ConditionEncoder, JointConditions
from imagpose.pipeline.decoding import CanvasDecoder
from imagpose.pipeline.diffusers_options import LatentPipeline
from imagpose.pipeline.finite import FiniteSteps
from imagpose.pipeline.guidance import GuidedUNet
from imagpose.pipeline.lora import LoraAdapters
from imagpose.pipeline.requests import Request, check_size, read_requests
from imagpose.pipeline.sampling import AT_ONCE, USUAL_GUIDANCE, USUAL_STEPS, Sampling, check_guidance, check_steps
from imagpose.pixels import Padding, padded_size
from imagpose.pose import SKELETONS
from imagpose.views import ViewGrid, view_multiple

name_library()

_CHOICES = {
    "vae_scope": ("view", "joint"),
    "skeleton": SKELETONS,
    "masked_views": ("black", "warped"),
    "start_from": ("noise", "image_condition"),
}

AfterStep = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]


class IMAGPosePipeline(LoraAdapters, LatentPipeline):
    """Generates pictures of one person in given poses, from any number of photos of that person.

    Args:
        vae: encodes one view at a time; latents are 1/8 of the view.
        image_encoder: frozen vision transformer (DINOv2 or CLIP vision model) behind F_H.
        image_processor: its processor; size, mean and standard deviation are read from it.
        feature_tokens: builds F_C from the image tokens and the texture latents.
        pose_encoder: builds F_P from the joint skeleton.
        unet: denoises joint canvases.
        scheduler: any diffusers scheduler; `mini` was trained with `models.scheduler.build_scheduler`'s.
        view_height, view_width: size in pixels of the views the model was trained on, used where a call gives none.
        vae_scope: "view": the VAE sees one view at a time, so that none bleeds into its neighbour. "joint": it sees whole
            canvases, as in the released code.
        skeleton: what the model was trained to see, one of `pose.SKELETONS`: hands are drawn for "body_hands" alone.
        masked_views: what stands in the masked slots of F_I. "black": nothing, as in the paper (§3.3). "warped": the sources
            in the target's pose (`pipeline.warping.warp`), where the sources' poses are known.
        start_from: what sampling starts from. "noise", as in the paper. "image_condition": the views that F_I shows, with
            noise of the schedule's last level, which must not be pure noise (`models.conditions.noise_from`).
        default_steps, default_guidance_scale: of calls that do not say them.

    Raises:
        ValueError: a size, the scope, what masked slots show, a scale, the steps or the skeleton is not legal.
    """

    model_cpu_offload_seq = "image_encoder->feature_tokens->pose_encoder->unet->vae"
    _callback_tensor_inputs = ["latents"]
    backend: Backend

    vae: AutoencoderKL
    image_encoder: PreTrainedModel
    feature_tokens: FeatureTokens
    pose_encoder: PoseEncoder
    unet: IMAGPoseUNet

    def __init__(
        self,
        vae: AutoencoderKL | PatchAutoencoderKL,  # both by name: from_pipe takes no subclass of a type that stands here
        image_encoder: PreTrainedModel,
        image_processor: BaseImageProcessor,
        feature_tokens: FeatureTokens,
        pose_encoder: PoseEncoder,
        unet: IMAGPoseUNet,
        scheduler: KarrasDiffusionSchedulers,
        view_height: int = 512,
        view_width: int = 512,
        vae_scope: str = "view",
        skeleton: str = "body",
        masked_views: str = "black",
        start_from: str = "noise",
        default_steps: int = USUAL_STEPS,
        default_guidance_scale: float = USUAL_GUIDANCE,
    ) -> None:
        super().__init__()
        self.backend = Backend("torch")
        for name, value in zip(_CHOICES, (vae_scope, skeleton, masked_views, start_from), strict=True):
            if value not in _CHOICES[name]:
                raise ValueError(f"{name} {value!r}: one of {', '.join(_CHOICES[name])} expected")
        if masked_views == "warped" and vae_scope == "joint":
            raise ValueError("masked_views warped needs vae_scope view: a VAE of whole canvases knows black views only")
        self.register_modules(
            vae=vae,
            image_encoder=image_encoder,
            image_processor=image_processor,
            feature_tokens=feature_tokens,
            pose_encoder=pose_encoder,
            unet=unet,
            scheduler=scheduler,
        )
        self.register_to_config(
            view_height=check_size("view_height", view_height),
            view_width=check_size("view_width", view_width),
            vae_scope=vae_scope,
            skeleton=skeleton,
            masked_views=masked_views,
            start_from=start_from,
            default_steps=check_steps("default_steps", default_steps),
            default_guidance_scale=check_guidance("default_guidance_scale", default_guidance_scale),
        )
        self._check_scheduler()

    def _check_scheduler(self) -> None:
        """Of now: it may be assigned later."""
        check_scheduler(self.scheduler)
        if self.config.start_from == "image_condition":
            check_start(self.unet.config.in_channels, self.vae.config.latent_channels, self.scheduler)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike[str], **kwargs: Any) -> "IMAGPosePipeline":
        """Loads `"mini"`, the folder of a saved pipeline, or a Hub id; `kwargs` as in diffusers (`dtype=`, ...).

        Weights become float32 where `dtype` does not say otherwise, whatever precision they were saved in. Code that lies
        in a model's folder is never run.

        Raises:
            ValueError: the name means no model, the folder's files are damaged (the message names the file), or code of
                the folder would be needed or is asked for.
            OSError: the Hub cannot be reached or does not have it.
        """
        model = resolve_model(fspath(pretrained_model_name_or_path))
        if "torch_dtype" not in kwargs:  # transformers would take the saved precision, diffusers float32
            kwargs.setdefault("dtype", torch.float32)
        folder = fetch_folder(model, cls.download, kwargs)
        check_folder(folder, kwargs)
        kwargs["local_files_only"] = True  # they are; nothing in them may ask the Hub for more
        with failures_of(folder):
            pipeline: IMAGPosePipeline = super().from_pretrained(folder, **kwargs)
        pipeline.register_to_config(_name_or_path=model)  # of a Hub's model not the cache's folder
        return pipeline

    @property
    def guidance_scale(self) -> float:
        """Scale of the guidance of this call; a callback may change `_guidance_scale` between steps."""
        return self._guidance_scale

    @property
    def do_classifier_free_guidance(self) -> bool:
        return self._guidance_scale != 1 and self.unet.config.time_cond_proj_dim is None

    @property
    def num_timesteps(self) -> int:
        return self._num_timesteps

    @property
    def current_timestep(self) -> torch.Tensor | None:
        """The timestep of the step that runs, `None` between calls; caches of diffusers ask for it."""
        return self._current_timestep

    @property
    def interrupt(self) -> bool:
        return self._interrupt

    @property
    def view_multiple(self) -> int:
        """The sides of the views that the UNet sees are multiples of this many pixels."""
        return view_multiple(len(self.unet.config.block_out_channels), spatial_factor(self.vae))

    @torch.no_grad()
    def __call__(
        self,
        sources: Any,
        target_poses: Any,
        source_poses: Any = None,
        grid: ViewGrid | str | None = None,
        scenario: str | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        guidance: str = "feature",
        guidance_interval: tuple[float, float] = (0.0, 1.0),
        guidance_every: int = 1,
        features_every: int = 1,
        generator: Generators = None,
        latents: torch.Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        return_canvases: bool = False,
        callback_on_step_end: Callable[..., dict[str, Any]] | PipelineCallback | MultiPipelineCallbacks | None = None,
        callback_on_step_end_tensor_inputs: list[str] = ["latents"],  # noqa: B006 (diffusers' signature, never changed)
    ) -> IMAGPosePipelineOutput | tuple[Any, ...]:
        """Generates one picture per target pose.

        Args:
            sources: a picture of the person or a list of S: path, `PIL.Image`, array or tensor of any size and mode.
                Several list of them make a batch of requests. F_C is taken from the first source of each.
            target_poses: a `Pose` or a list of T (a list of lists for a batch). Each is fitted into the view as a
                picture of its frame's size would be.
            source_poses: the sources' poses in their pictures' frames, where known; `None` draws no skeleton.
            grid: slots of the joint canvas, `ViewGrid(2, 2)` if not given; text like `"2x3"` is read.
            scenario: `"T1"`, `"T2"`, `"T3"`, `"star"` (paper §4.1), or `None` for the plan that fits S and T.
            height, width: size of the generated pictures in pixels; the size the model was trained on if not given.
                Sides that the UNet cannot halve often enough are padded for it and cropped again.
            num_inference_steps, guidance_scale, guidance, guidance_interval, guidance_every, features_every: `Sampling`.
            generator: source of T1's choice among its candidates, then of the noise; a list: each request its own.
            latents: start noise (canvases, c, rows*h, cols*w), all requests' canvases in order, instead of drawn
                noise.
            output_type: `"pil"`, `"np"`, `"pt"` or `"latent"`, see `IMAGPosePipelineOutput`.
            return_dict: `False` returns a tuple.
            return_canvases: also return the joint canvases.
            callback_on_step_end: called as in diffusers after each step, for each part of `AT_ONCE` canvases in turn; may
                return other `latents`.
            callback_on_step_end_tensor_inputs: names of the tensors that the callback gets: `"latents"`.

        Raises:
            ValueError: an input is not legal; the message says which and what would be.
            FloatingPointError: numbers overflowed; the message says where and what helps.
        """
        sampling = Sampling(
            num_inference_steps, guidance_scale, guidance, guidance_interval, guidance_every=guidance_every,
            features_every=features_every,
        ).settled(self.config)  # fmt: skip
        assert sampling.guidance_scale is not None
        self._check_scheduler()
        self._guidance_scale, self._interrupt, self._current_timestep = sampling.guidance_scale, False, None
        size = self._view_size(height, width)
        padding = Padding.to_multiple(*size, self.view_multiple)
        decode = CanvasDecoder(self.vae, self.config.vae_scope, padding, output_type, return_canvases)
        requests, is_batch = read_requests(sources, target_poses, source_poses, grid, scenario, *size)
        generators = per_request(generator, len(requests))
        after_step = self._after_step(callback_on_step_end, callback_on_step_end_tensor_inputs)
        images: list[list[Any]] = [[] for _ in requests]
        canvases: list[list[Any]] = [[] for _ in requests]
        for part, drawn in self._draw(requests, generators, latents, size, sampling, after_step):
            for job, pictures, canvas in zip(part, *decode(part, drawn), strict=True):
                images[job.number].append(pictures)
                canvases[job.number].append(canvas)
        self._current_timestep = None
        self.maybe_free_model_hooks()

        joined, joined_canvases = ([join_pictures(own, output_type) for own in parts] for parts in (images, canvases))
        output = IMAGPosePipelineOutput(
            images=joined if is_batch else joined[0],
            canvases=None if not return_canvases else joined_canvases if is_batch else joined_canvases[0],
        )
        output.origins = origins(self.name_or_path, generators)
        return output if return_dict else output.to_tuple()

    def _view_size(self, height: int | None, width: int | None) -> tuple[int, int]:
        return (
            check_size("height", self.config.view_height if height is None else height),
            check_size("width", self.config.view_width if width is None else width),
        )

    def _after_step(self, callback: Callable[..., dict[str, torch.Tensor]] | None, names: list[str]) -> AfterStep:
        """What happens to the latents after step `index` at timestep t: what the user's callback makes of them.

        Args:
            callback, names: as `__call__` gets them; diffusers' own callbacks say themselves which tensors they take.
        """
        if isinstance(callback, (PipelineCallback, MultiPipelineCallbacks)):
            names = callback.tensor_inputs
        for name in names:
            if name not in self._callback_tensor_inputs:
                legal = ", ".join(self._callback_tensor_inputs)
                raise ValueError(f"callback_on_step_end_tensor_inputs: {name!r} is not one of {legal}")

        def call(index: int, t: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
            if callback is None:
                return latents
            return callback(self, index, t, dict.fromkeys(names, latents)).pop("latents", latents)

        return call

    def _draw(
        self,
        requests: list[Request],
        generators: list[torch.Generator | None],
        given: torch.Tensor | None,
        size: tuple[int, int],
        sampling: Sampling,
        after_step: AfterStep,
    ) -> Iterator[tuple[list[CanvasJob], torch.Tensor]]:
        """All canvases, `AT_ONCE` at a time, and their latents (n, c, rows*h, cols*w) when they are denoised.

        Args:
            given: start noise of all canvases, instead of drawn noise.
            size: height and width of the views, before padding.
        """
        encoder, shape = self._condition_encoder(), self.canvas_shape(requests[0].plan.grid, *size)
        count = sum(len(request.plan.canvases) for request in requests)
        if given is not None:
            check_latents(given, (count, *shape[1:]))
        assert sampling.steps is not None
        jobs = draw_jobs(requests, generators, shape, self._execution_device)
        with self.progress_bar(total=sampling.steps * -(-count // AT_ONCE)) as progress:
            for start in range(0, count, AT_ONCE):
                part = list(islice(jobs, AT_ONCE))
                noise = torch.cat([job.noise for job in part])
                yield (
                    part,
                    self._denoise(
                        noise if given is None else given[start : start + AT_ONCE].to(noise),
                        encoder([(job.request, job.canvas) for job in part]).to(self.unet.dtype),
                        sampling,
                        [job.generator for job in part],
                        after_step,
                        progress,
                    ),
                )

    def _condition_encoder(self) -> ConditionEncoder:
        return ConditionEncoder(
            self.vae,
            self.image_encoder,
            self.image_processor,
            self.feature_tokens,
            self.pose_encoder,
            in_channels=self.unet.config.in_channels,
            multiple=self.view_multiple,
            vae_scope=self.config.vae_scope,
            skeleton=self.config.skeleton,
            masked_views=self.config.masked_views,
            device=self._execution_device,
        )

    def canvas_shape(self, grid: ViewGrid, height: int, width: int) -> tuple[int, int, int, int]:
        """Of one canvas's latents, (1, c, rows*h, cols*w), for views of `height` x `width` before padding."""
        h, w = (side // spatial_factor(self.vae) for side in padded_size(height, width, self.view_multiple))
        return 1, self.vae.config.latent_channels, grid.rows * h, grid.cols * w

    def _denoise(
        self,
        noise: torch.Tensor,
        conditions: JointConditions,
        sampling: Sampling,
        generators: list[torch.Generator | None],
        after_step: AfterStep,
        progress: Any,
    ) -> torch.Tensor:
        """From noise to latents of some canvases (n, c, rows*h, cols*w); float32 outside the UNet whatever its dtype."""
        self.scheduler.set_timesteps(sampling.steps, device=noise.device)
        timesteps = self.scheduler.timesteps
        self._num_timesteps = len(timesteps)
        takes_generator = "generator" in inspect.signature(self.scheduler.step).parameters
        step_options = {"generator": generators} if takes_generator and generators[0] is not None else {}
        shares = [t / self.scheduler.config.num_train_timesteps for t in timesteps.tolist()]
        predict = GuidedUNet(self.unet, self.backend, conditions, sampling, shares, self.guidance_scale)
        latents: torch.Tensor = noise * self.scheduler.init_noise_sigma
        if self.config.start_from == "image_condition":
            # The first channels of F_I are the masked latents; see `conditions.noise_from`.
            shown = conditions.image[:, : noise.shape[1]].to(noise)
            latents = self.scheduler.add_noise(shown, noise, timesteps[:1].expand(len(noise)))
        finite = FiniteSteps()
        for index, t in enumerate(timesteps):
            if self.interrupt:
                continue
            self._current_timestep = t
            scaled = self.scheduler.scale_model_input(latents, t)
            prediction = predict(index, t, scaled, self.guidance_scale)
            latents = self.scheduler.step(prediction, t, latents, **step_options, return_dict=False)[0]
            latents = after_step(index, t, latents)
            finite.add(latents)
            if index == len(timesteps) - 1 or (index + 1) % self.scheduler.order == 0:
                progress.update()
        finite.check(conditions, self.unet.dtype, self.guidance_scale)
        return latents
