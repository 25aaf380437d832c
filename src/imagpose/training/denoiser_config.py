"""Configuration of the denoiser: its data, its networks, the recipe. The defaults are the paper's recipe (§4)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from imagpose.data.augment import AugmentSettings
from imagpose.training.config import (
    TAGS,
    Fraction,
    LearningRateSchedule,
    Positive,
    RunConfig,
    Section,
    ViewCacheConfig,
)
from imagpose.views import ViewGrid


class AugmentConfig(Section):
    """Random changes of views, see `data.augment`; nothing is changed by default."""

    mirror: Fraction = Field(0.0, description="Probability with which all views of a canvas are mirrored.")
    zoom: Fraction = Field(0.0, description="A view's scale lies between 1 / (1 + zoom) and 1 + zoom.")
    shift: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.0, description="A view's crop is moved by at most this share of its sides."
    )

    @property
    def settings(self) -> AugmentSettings | None:
        """None where nothing is changed."""
        settings = AugmentSettings(self.mirror, self.zoom, self.shift)
        return None if settings == AugmentSettings(0.0, 0.0, 0.0) else settings


class DatasetConfig(Section):
    """A data set that `imagpose prepare` made; identities with one view are left out."""

    dataset: Path = Field(description="Folder of the data set.")
    split: str = Field("train", description="Which of its splits.")
    height: Annotated[int, Field(ge=16)] = Field(description="Height of a view in pixels; other pictures are fitted.")
    width: Annotated[int, Field(ge=16)] = Field(description="Width of a view in pixels.")
    cache: Path | None = Field(
        None,
        description="Folder of cached latents, tokens and skeletons (`imagpose cache`); none: pictures are encoded in "
        "every step, which augmentation needs.",
    )
    augment: AugmentConfig = AugmentConfig(mirror=0.0, zoom=0.0, shift=0.0)

    @model_validator(mode="after")
    def _augmented_or_cached(self) -> DatasetConfig:
        if self.cache is not None and self.augment.settings is not None:
            raise ValueError(
                "augment changes pictures in every step, a cache holds them as they are: remove one of both"
            )
        return self


def _kind_of_data(values: Any) -> str:
    named = values if isinstance(values, dict) else vars(values) if isinstance(values, Section) else {}
    return TAGS[1] if "dataset" in named else TAGS[0]


Data = Annotated[
    Annotated[ViewCacheConfig, Tag(TAGS[0])] | Annotated[DatasetConfig, Tag(TAGS[1])], Discriminator(_kind_of_data)
]


def _is_grid(text: str) -> str:
    ViewGrid.parse(text)
    return text


GridName = Annotated[str, AfterValidator(_is_grid)]


class DenoiserConfig(RunConfig):
    """Stage 3: UNet, pose encoder and feature tokens, trained together (Eq. 4); `batch_size` counts canvases."""

    data: Data = Field(description="Who is trained on: rendered people inside TRAIN_SEEDS, or a data set.")
    validation: Data | None = Field(
        None, description="Who is held out: rendered people inside VALIDATION_SEEDS, or a data set; none: nobody."
    )
    preset: str = Field("mini", description="Name of the architecture, see `imagpose models`; name:B3 is an ablation.")
    base: str | None = Field(
        None, description="Folder or Hub id of a Stable Diffusion in diffusers' layout; none: the preset's Hub id."
    )
    autoencoder: str | None = Field(
        None, description="Folder or Hub id of a VAE; none: that of `initial`, of the base, or `mini`'s."
    )
    image_encoder: str | None = Field(
        None, description="Folder or Hub id of a CLIP or DINOv2; none: that of `initial`, the preset's, or `mini`'s."
    )
    initial: str | None = Field(
        None,
        description="Trained pipeline to start from: 'mini', a folder (a run's weights/) or a Hub id; none: the base's "
        "weights, the rest fresh. What `autoencoder` and `image_encoder` do not name comes from it too.",
    )
    unet: dict[str, Any] = Field({}, description="Arguments of IMAGPoseUNet in place of the preset's.")
    pose_channels: Annotated[tuple[Positive, ...], Field(min_length=4, max_length=4)] | None = Field(
        None, description="Widths of the pose encoder, at full size first; none: the preset's."
    )
    texture_long_side: Annotated[int, Field(ge=128, multiple_of=128)] | None = Field(
        None, description="Long side in pixels of the picture that texture tokens are made of; none: the preset's."
    )

    steps: Positive = 300_000
    batch_size: Positive = 4
    learning_rate: float = Field(5e-5, gt=0)
    lr_schedule: LearningRateSchedule = "constant"
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.9999
    gradient_checkpointing: bool = Field(False, description="Compute the UNet's activations twice to keep fewer.")

    grids: dict[GridName, Annotated[float, Field(gt=0)]] = Field(
        {"2x2": 1.0}, description="View grids and their shares; a step has one grid.", min_length=1
    )
    feature_dropout: Annotated[float, Field(ge=0, le=1 / 3)] = Field(
        0.05, description="Probability of each: F_H dropped, F_L dropped, both dropped (Table 6)."
    )
    source_pose_dropout: Fraction = Field(0.1, description="Probability that a canvas lacks its sources' skeletons.")
    repeat_probability: Fraction = Field(
        0.15,
        description="Share of canvases whose masked slots all show one view, and of those whose visible slots do: "
        "T1 and T2 lay their canvases so.",
    )
    prediction_type: Literal["epsilon", "v_prediction"] | None = Field(
        None, description="What the UNet predicts; none: what its base or `initial` does, epsilon for a fresh `mini`."
    )
    beta_schedule: Literal["scaled_linear", "linear"] = "scaled_linear"
    zero_terminal_snr: bool = Field(False, description="Rescale betas to zero terminal SNR; needs v_prediction.")
    min_snr_gamma: float | None = Field(None, gt=0, description="Min-SNR weighting with this gamma; none: Eq. 4.")
    noise_offset: float = Field(0.0, ge=0, description="Standard deviation of a constant added to the noise of a view.")
    noise_emphasis: float = Field(
        0.0, ge=0, description="Timesteps are drawn in proportion to (share of noise variance) ** this; 0: uniformly."
    )
    visible_weight: Fraction = Field(
        1.0,
        description="Weight of the loss in visible slots. 1 is Eq. 4 as printed. Less spends the network on what is "
        "generated: a visible slot is given to it in the masked latents and is easy.",
    )
    sample_steps: Positive = Field(20, description="DDIM steps of the sample grids.")
    guidance_scale: float = Field(2.0, ge=1.0, description="Guidance of the sample grids.")

    @model_validator(mode="after")
    def _consistent(self) -> DenoiserConfig:
        if self.zero_terminal_snr and self.prediction_type == "epsilon":
            raise ValueError("zero_terminal_snr needs prediction_type v_prediction: at zero SNR the noise says nothing")
        if self.base is not None and self.initial is not None:
            raise ValueError("base and initial both give the UNet's weights: remove one of both")
        rendered = [part for part in (self.data, self.validation) if isinstance(part, ViewCacheConfig)]
        largest, held = max(grid.num_views for grid in self.view_grids), [part.views for part in rendered]
        if held and largest > min(held):
            raise ValueError(f"grids need {largest} views per identity, the caches have {min(held)}")
        if self.validation is not None and _same_people(self.data, self.validation):
            raise ValueError("validation shows the people of data: name another split, or none")
        return self

    @property
    def view_grids(self) -> dict[ViewGrid, float]:
        """`grids`, parsed."""
        return {ViewGrid.parse(name): share for name, share in self.grids.items()}


def _same_people(data: ViewCacheConfig | DatasetConfig, validation: ViewCacheConfig | DatasetConfig) -> bool:
    if isinstance(data, DatasetConfig) and isinstance(validation, DatasetConfig):
        return (data.dataset, data.split) == (validation.dataset, validation.split)
    return False
