"""Configuration of a re-identification network's training; the defaults are those of the strong baseline (BoT).

Source: Luo et al., "Bag of tricks and a strong baseline for deep person re-identification", 2019.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from imagpose.training.configs import Decay, Fraction, LearningRateSchedule, Positive, RunConfig


class ReidConfig(RunConfig):
    """A re-identification network on a set in Market-1501's layout; `batch_size` counts pictures."""

    data: Path = Field(description="Folder with bounding_box_train; query and bounding_box_test are measured on.")
    subset: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="Share of the real pictures that is used.")
    subset_seed: int = Field(0, ge=0, description="Of the choice of the subset.")
    generated_per_real: Annotated[float, Field(gt=0)] | None = Field(
        None, description="At most so many generated pictures for each real one, drawn by subset_seed; none: all."
    )
    real_fraction: Fraction | None = Field(
        None, description="Share of real pictures in each batch, where an identity has both; none: as they come."
    )
    network: Literal["resnet50", "resnet18", "resnet18-half"] = "resnet50"
    imagenet: Path | None = Field(None, description="ImageNet's weights to start from; none: from scratch.")
    height: Annotated[int, Field(ge=32)] = 256
    width: Annotated[int, Field(ge=16)] = 128
    epochs: Positive = Field(120, description="An epoch has as many pictures as the training set.")
    steps: int = Field(0, ge=0, description="Optimiser steps; 0: those of `epochs`.")
    warmup_epochs: int = Field(10, ge=0, description="Of `epochs`; with `steps`, the same share of them.")
    decay_epochs: tuple[Positive, ...] = Field(
        (40, 70), description="After which the rate is divided by ten; likewise."
    )
    batch_size: Positive = 64
    per_identity: Annotated[int, Field(ge=2)] = Field(4, description="Pictures of each identity in a batch (K).")
    learning_rate: float = Field(3.5e-4, gt=0)
    lr_schedule: LearningRateSchedule = "multistep"
    optimizer: Literal["adamw", "adamw8bit", "adam"] = "adam"
    weight_decay: float = Field(5e-4, ge=0)
    gradient_clip: float = Field(1e4, gt=0, description="Largest gradient norm; the default never clips.")
    ema_decay: Decay = Field(0.0, description="0: the weights themselves are exported.")
    label_smoothing: Fraction = 0.1
    margin: float = Field(0.3, ge=0, description="Of the triplet loss.")
    centre_weight: float = Field(0.0, ge=0, description="Weight of the centre loss; the baseline's is 0.0005.")
    mirror_probability: Fraction = 0.5
    crop_padding: int = Field(10, ge=0, description="Black pixels around a picture, of which a crop is taken.")
    erase_probability: Fraction = Field(0.5, description="Of random erasing.")

    @model_validator(mode="after")
    def _batches_fit(self) -> ReidConfig:
        if self.batch_size % self.per_identity or self.batch_size // self.per_identity < 2:
            raise ValueError(
                f"batch_size ({self.batch_size}) must be a multiple of per_identity ({self.per_identity}), of two"
                " identities at least"
            )
        return self

    def with_steps(self, pictures: int) -> ReidConfig:
        """What depends on the number of training pictures: steps, warm-up and decays."""
        steps = self.steps or self.epochs * max(1, round(pictures / (self.batch_size * self.gradient_accumulation)))
        per_epoch = steps / self.epochs
        return self.model_copy(
            update={
                "steps": steps,
                "warmup_steps": round(self.warmup_epochs * per_epoch),
                "decay_steps": tuple(max(1, round(own * per_epoch)) for own in self.decay_epochs),
            }
        )
