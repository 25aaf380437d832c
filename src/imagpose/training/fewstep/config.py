"""Configuration of a few-step student's training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from imagpose.pipeline.sampling import MOST_GUIDANCE
from imagpose.training.configs import Fraction, LearningRateSchedule, Positive
from imagpose.training.denoiser.config import DenoiserConfig

_TEACHERS = (
    "preset", "base", "autoencoder", "image_encoder", "unet", "pose_channels", "texture_long_side", "prediction_type",
    "beta_schedule", "betas", "zero_terminal_snr", "masked_views", "start_from",
)  # fmt: skip
_NOT_HERE = (
    "min_snr_gamma", "noise_offset", "noise_offset_scope", "pure_noise_share", "person_weight", "head_weight",
    "attention_weight", "attention_levels", "attention_heads", "attention_cross_view", "low_resolution_share",
    "low_resolution_batch", "phases",
)  # fmt: skip
_LEVELS = 1000  # timesteps of every schedule here
Scale = Annotated[float, Field(ge=-MOST_GUIDANCE, le=MOST_GUIDANCE)]


class FewStepConfig(DenoiserConfig):
    """A student of a trained denoiser; the teacher is `initial`, from which all networks come."""

    initial: str = Field(
        description="The teacher, which the student starts from: 'mini', a folder (a run's weights/) or a Hub id."
    )
    method: Literal["consistency", "progressive"] = Field(
        "consistency",
        description="consistency: one student for 1 to 4 steps, which draws new noise between them (LCM). progressive: a"
        " student for `student_steps` of DDIM, each of which does what several of the teacher's do.",
    )
    student_steps: Positive = Field(
        4, description="Steps that the exported folder asks for; progressive distillation is for these alone."
    )
    teacher_steps: Positive | None = Field(
        None,
        description="Steps of DDIM over the whole noise that the teacher takes. consistency: 50, each is one look back;"
        " progressive: twice the student's; a multiple of them, whose cost grows with it.",
    )
    guidance_scale: Scale | None = Field(
        None, description="Of the teacher, which the student has inside; none: the teacher's own, 2 for most models."
    )
    guidance_range: tuple[Scale, Scale] | None = Field(
        None,
        description="The student takes the scale as an input, learnt between these; `guidance_scale` is its default.",
    )

    learning_rate: float = Field(1e-5, gt=0)
    lr_schedule: LearningRateSchedule = "constant_with_warmup"
    feature_dropout: Annotated[float, Field(ge=0, le=1 / 3)] = Field(
        0.0, description="The null condition is the teacher's."
    )
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    visible_weight: Fraction = Field(1.0, description="Weight of the loss in visible slots.")

    @model_validator(mode="after")
    def _few_steps(self) -> FewStepConfig:
        for names, reason in ((_TEACHERS, "is the teacher's"), (_NOT_HERE, "is of the denoiser's own training")):
            if given := [name for name in names if name in self.model_fields_set]:
                raise ValueError(f"{given[0]} {reason}, a student has none: leave it out")
        if self.guidance_range is not None and not self.guidance_range[0] < self.guidance_range[1]:
            raise ValueError(f"guidance_range is {self.guidance_range}; two scales, the smaller first, expected")
        if self.student_steps > _LEVELS // 2:
            raise ValueError(f"student_steps is {self.student_steps}; at most {_LEVELS // 2} expected")
        if self.method == "consistency" and (_LEVELS % self.looks or self.student_steps > self.looks):
            raise ValueError(
                f"teacher_steps is {self.looks}; a divisor of {_LEVELS} expected, at least student_steps"
                f" ({self.student_steps})"
            )
        if self.method == "progressive" and (self.looks % self.student_steps or self.looks == self.student_steps):
            raise ValueError(
                f"teacher_steps is {self.looks}; twice student_steps ({self.student_steps}) or another multiple expected"
            )
        return self

    @property
    def looks(self) -> int:
        """`teacher_steps`, or what stands in for none."""
        if self.teacher_steps is not None:
            return self.teacher_steps
        return 50 if self.method == "consistency" else 2 * self.student_steps
