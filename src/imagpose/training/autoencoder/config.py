"""Configuration of the autoencoder's two phases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from imagpose.training.configs import Fraction, Positive, Section, ViewsRunConfig


class AutoencoderModel(Section):
    """`models.autoencoder.PatchAutoencoderKL`; its factor is patch_size x 2^(levels - 1)."""

    patch_size: Positive = 4
    block_out_channels: tuple[Positive, ...] = (96, 128)
    decoder_block_out_channels: tuple[Positive, ...] | None = Field(
        default=None, description="The decoder's own widths, which cost one pass per picture only; none: the encoder's."
    )
    layers_per_block: Positive = 1
    latent_channels: Positive = 16
    norm_num_groups: Positive = 8

    @model_validator(mode="after")
    def _widths(self) -> AutoencoderModel:
        decoder = self.decoder_block_out_channels or self.block_out_channels
        if len(decoder) != len(self.block_out_channels):
            levels = len(self.block_out_channels)
            raise ValueError(f"decoder_block_out_channels must have {levels} levels as the encoder, not {len(decoder)}")
        odd = [width for width in (*self.block_out_channels, *decoder) if width % self.norm_num_groups]
        if odd:
            raise ValueError(f"widths must be multiples of norm_num_groups ({self.norm_num_groups}), not {odd[0]}")
        return self


class CropConfig(ViewsRunConfig):
    """Training of an autoencoder on crops; `batch_size` counts them."""

    crop_size: Annotated[int, Field(ge=32, multiple_of=32)] = Field(128, description="Side of a crop in pixels.")
    reduced_fraction: Fraction = Field(
        0.2, description="Share of batches of views made smaller: the denoiser starts on views of half the size."
    )
    smallest_scale: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="Smallest factor of a side of those views; the largest is 1."
    )
    head_fraction: Fraction = Field(0.0, description="Share of batches of small crops around heads, as many pixels.")
    head_crop_size: Annotated[int, Field(ge=32, multiple_of=32)] = Field(32, description="Side of these in pixels.")
    gradient_weight: float = Field(1.5, ge=0, description="Weight of the gradient loss, a mean over three scales.")
    person_weight: float = Field(
        4.0,
        ge=1,
        description="How much a pixel of the person counts beside one of the ground, which is most of a view.",
    )
    head_weight: float = Field(
        10.0, ge=1, description="How much a pixel of the head counts: a head is 20 pixels high, and looked at first."
    )
    latent_noise: float = Field(
        0.4,
        ge=0,
        description="Largest standard deviation, in units of the latents' own, of noise added before decoding: none "
        "for half of the pictures, uniform from 0 for the others.",
    )

    @model_validator(mode="after")
    def _crops_fit(self) -> CropConfig:
        if self.crop_size > min(self.data.height, self.data.width):
            view = f"{self.data.height}x{self.data.width}"
            raise ValueError(f"crop_size ({self.crop_size}) is larger than a view ({view})")
        if self.head_crop_size > self.crop_size:
            raise ValueError(f"head_crop_size ({self.head_crop_size}) is larger than crop_size ({self.crop_size})")
        return self


class AutoencoderConfig(CropConfig):
    """Stage 1: the patch autoencoder."""

    model: AutoencoderModel = AutoencoderModel()
    initial: Path | None = Field(
        None, description="Exported weights of this stage (a run's weights/) to start from; none: fresh ones."
    )
    kl_weight: float = Field(
        1e-3,
        ge=0,
        description="Weight of the KL divergence per latent value. Too much of it empties channels: their spread falls to "
        "next to nothing, as `least_spread` of the validation shows, and nothing is decoded from them.",
    )
    linear_weight: float = Field(
        0.0,
        ge=0,
        description="Weight of a second L1 loss, of a linear decoder that is trained beside the other and then dropped: "
        "every channel must carry part of the picture.",
    )


class AutoencoderFinishConfig(CropConfig):
    """The autoencoder's last phase: its decoder alone, for pictures that are as sharp as the truth."""

    autoencoder: Path = Field(description="Exported weights of the trained autoencoder (its run's weights/).")
    perceptual_weight: float = Field(0.1, ge=0, description="Weight of the distance in EfficientNet-lite0's features.")
    adversarial_weight: float = Field(0.1, ge=0, description="Weight of what the patch discriminator says.")
    adversarial_start: int = Field(
        500,
        ge=0,
        description="Steps after which the decoder learns from the discriminator, which learns from the first.",
    )
