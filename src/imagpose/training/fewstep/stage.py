"""The student's stage: what the guided teacher does in many steps, done in few.

Student and teacher see the same canvases under the same conditions, computed once: the pose encoder and the feature tokens
stay as they are, the UNet alone learns.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler, LCMScheduler

from imagpose.models.conditions import null_features
from imagpose.models.unet import IMAGPoseUNet
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.sampling import Sampling
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.data import CanvasData
from imagpose.training.denoiser.draw import CanvasDraw
from imagpose.training.denoiser.networks import refuse_cached_canvases, use_fast_attention
from imagpose.training.denoiser.objective import predicted_latents, slot_errors, slot_mean
from imagpose.training.denoiser.stage import DenoiserStage, predict_canvases
from imagpose.training.fewstep.config import FewStepConfig
from imagpose.training.fewstep.objective import (
    clean_of_step,
    consistent,
    ddim_step,
    noise_level,
    pseudo_huber,
    velocity_error,
)
from imagpose.training.stage import Batch, Drawn, keyed_rng
from imagpose.views import visible_share

_EMBEDDED = 256
"""Numbers that a scale of guidance becomes, as in diffusers' latent consistency models."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """The frozen UNet that is imitated. No module, so that nothing in it is trained, saved or copied with the stage."""

    unet: IMAGPoseUNet

    def predict(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, batch: Batch, features: torch.Tensor, poses: torch.Tensor
    ) -> torch.Tensor:
        """Its guided prediction (b, v, c, h, w); ``guidance`` of the batch is the scale of each canvas."""
        self.unet.to(noisy.device)
        scale = batch["guidance"]
        if self.unet.config.time_cond_proj_dim is not None:
            return predict_canvases(self.unet, noisy, timesteps, batch, features, poses, scale)
        conditioned = predict_canvases(self.unet, noisy, timesteps, batch, features, poses)
        if bool((scale == 1).all()):
            return conditioned
        null = predict_canvases(self.unet, noisy, timesteps, batch, null_features(features), poses)
        guided: torch.Tensor = null + scale.view(-1, 1, 1, 1, 1) * (conditioned - null)
        return guided


def build_student(config: DenoiserConfig) -> IMAGPosePipeline:
    """The teacher's pipeline, all of it frozen, its schedule DDIM's.

    Raises:
        FileNotFoundError, OSError, ValueError: there is no such model, or its latents cannot be cached.
    """
    assert config.initial is not None
    pipeline = IMAGPosePipeline.from_pretrained(config.initial)
    refuse_cached_canvases(config, pipeline)
    for part in (pipeline.vae, pipeline.image_encoder, pipeline.unet, pipeline.pose_encoder, pipeline.feature_tokens):
        part.requires_grad_(False)
    pipeline.scheduler = DDIMScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="trailing", clip_sample=False
    )
    return pipeline


class FewStepStage(DenoiserStage):
    """Consistency or progressive distillation of a guided teacher, see `objective`."""

    name = "fewstep"
    progress_steps = None
    config: FewStepConfig

    def __init__(self, config: FewStepConfig, pipeline: IMAGPosePipeline) -> None:
        """Put a student in the place of the teacher's UNet.

        Args:
            config: of the run.
            pipeline: of the teacher, see `build_student`; its UNet becomes the student's.

        Raises:
            ValueError: the scale is outside of `guidance_range`; or see `DenoiserStage`.
        """
        scale = Sampling(guidance_scale=config.guidance_scale).settled(pipeline.config).guidance_scale
        assert scale is not None
        if config.guidance_range is not None and not config.guidance_range[0] <= scale <= config.guidance_range[1]:
            raise ValueError(f"guidance_scale is {scale:g}; within guidance_range {config.guidance_range} expected")
        self.guidance_scale = scale
        teacher = copy.deepcopy(pipeline.unet).eval()
        pipeline.unet = student_of(teacher, config.guidance_range is not None)
        if config.gradient_checkpointing:
            pipeline.unet.enable_gradient_checkpointing()
        super().__init__(config, pipeline)
        use_fast_attention(teacher)
        self.teacher = Teacher(teacher)
        if config.method == "consistency" and self._recorded["start_from"] != "noise":
            raise ValueError(
                f"initial {config.initial} starts from views with noise; method consistency draws new noise between its"
                " steps and leaves their way: method progressive expected"
            )
        takes_scale = self.unet.config.time_cond_proj_dim is not None
        self._recorded |= {
            "default_steps": config.student_steps, "default_guidance_scale": float(scale) if takes_scale else 1.0
        }  # fmt: skip
        self._sampler = pipeline.scheduler
        if config.method == "consistency":
            self._sampler = LCMScheduler.from_config(pipeline.scheduler.config, original_inference_steps=config.looks)

    @property
    def pipeline(self) -> IMAGPosePipeline:
        """The student's pipeline, which says its steps and its guidance: 1, unless it takes the scale as an input."""
        pipeline = super().pipeline
        pipeline.scheduler = self._sampler
        return pipeline

    def _assembled(self, data: CanvasData, draw: CanvasDraw, *changes: Any) -> Batch:
        scales = torch.full((len(draw.samples),), float(self.guidance_scale))
        if self.config.guidance_range is not None and data is self.data:
            low, high = self.config.guidance_range
            drawn = [keyed_rng(*sample, Drawn.GUIDANCE).random() for sample in draw.samples]
            scales = low + (high - low) * torch.tensor(drawn, dtype=torch.float32)
        return super()._assembled(data, draw, *changes) | {"guidance": scales}

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of the chosen method, and `picture_losses` where they are wanted."""
        config, mask = self.config, batch["mask"]
        batch = self._encoded(batch)
        features, poses = self._features(batch), self._pose_features(batch)
        consistency = config.method == "consistency"
        output, target, errors = (self._consistency if consistency else self._progressive)(batch, features, poses)
        share = visible_share(mask.shape[1], config.all_masked_share)
        loss = slot_mean(errors.mean(dim=2), mask, config.visible_weight, share)
        scalars = slot_errors(output, target, mask)
        if "adversarial_weight" in batch:
            more, found = self._judged(output, batch)
            loss, scalars = loss + more, scalars | found
        return batch["weight"] * loss, scalars

    def _consistency(
        self, batch: Batch, features: torch.Tensor, poses: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """f(z, t), f(z', t') and their error, each (b, v, c, h, w); t is one of `looks` levels, t' the one before."""
        stride = len(self.scheduler.alphas_cumprod) // self.config.looks
        # The levels that LCMScheduler samples from, with 50 looks 19, 39, ..., 999. Before the first lies timestep 0, where
        # f is the identity: what all others have to agree with.
        start = (batch["timesteps"] // stride + 1) * stride - 1
        end = (start - stride).clamp(min=0)
        noisy = self.scheduler.add_noise(batch["latents"], batch["noise"], start)
        scaling = self._sampler.config.timestep_scaling
        with torch.no_grad():
            before = self._teachers_step(noisy, start, end, batch, features, poses)
            target = consistent(before, self._student(before, end, batch, features, poses), end, scaling)
        output = consistent(noisy, self._student(noisy, start, batch, features, poses), start, scaling)
        return output, target, pseudo_huber(output - target)

    def _progressive(
        self, batch: Batch, features: torch.Tensor, poses: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The student's clean latents, those of equation 2, and their error as velocities, each (b, v, c, h, w)."""
        steps, levels = self.config.student_steps, len(self.scheduler.alphas_cumprod)
        stride, parts = levels // steps, self.config.looks // steps
        start = self._student_timesteps(batch["timesteps"])
        noisy = reached = self.scheduler.add_noise(batch["latents"], batch["noise"], start)
        with torch.no_grad():
            for part in range(parts):
                first, last = (start - stride * end // parts for end in (part, part + 1))
                reached = self._teachers_step(reached, first, last, batch, features, poses)
            level = noise_level(self.scheduler, start)
            target = clean_of_step(noisy, reached, level, noise_level(self.scheduler, start - stride))
        output = self._student(noisy, start, batch, features, poses)
        return output, target, velocity_error(output, target, level)

    def _student_timesteps(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Of timesteps (b,) uniform over the schedule, those at which steps of the student begin, each as often."""
        sampler = copy.copy(self._sampler)
        sampler.set_timesteps(self.config.student_steps, device=timesteps.device)
        levels = len(self.scheduler.alphas_cumprod)
        begins: torch.Tensor = sampler.timesteps.flip(0)[timesteps * self.config.student_steps // levels]
        return begins

    def _teachers_step(
        self, noisy: torch.Tensor, start: torch.Tensor, end: torch.Tensor, batch: Batch, *given: torch.Tensor
    ) -> torch.Tensor:
        clean = predicted_latents(self.scheduler, self.teacher.predict(noisy, start, batch, *given), noisy, start)
        return ddim_step(noisy, clean, noise_level(self.scheduler, start), noise_level(self.scheduler, end))

    def _student(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, batch: Batch, features: torch.Tensor, poses: torch.Tensor
    ) -> torch.Tensor:
        """Its clean latents (b, v, c, h, w)."""
        predicted = predict_canvases(self.unet, noisy, timesteps, batch, features, poses, batch["guidance"])
        return predicted_latents(self.scheduler, predicted, noisy, timesteps)

    def _card(self) -> str:
        title = f"# A student of {self.config.initial} for {self.config.student_steps} steps, by imagpose"
        return "\n".join(title if line.startswith("# ") else line for line in super()._card().split("\n"))


def student_of(teacher: IMAGPoseUNet, takes_scale: bool) -> IMAGPoseUNet:
    """A trainable copy of a UNet; where it is to take the scale of guidance, that changes nothing yet."""
    student: IMAGPoseUNet = copy.deepcopy(teacher)
    if takes_scale and teacher.config.time_cond_proj_dim is None:
        student = IMAGPoseUNet.from_config(teacher.config, time_cond_proj_dim=_EMBEDDED)
        student.load_state_dict(teacher.state_dict(), strict=False)
        torch.nn.init.zeros_(student.time_embedding.cond_proj.weight)
    student.train().requires_grad_(True)
    return student
