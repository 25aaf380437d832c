"""Configuration of the denoiser: its data, its networks, the recipe.

The defaults are the paper's (§4) where it has one; docs/models.md lists what is ours.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from imagpose.data.augment import AugmentSettings
from imagpose.pipeline.sampling import Sampling
from imagpose.training.configs import (
    TAGS,
    Fraction,
    LearningRateSchedule,
    Positive,
    RunConfig,
    Section,
    StoredViewsConfig,
    ViewCacheConfig,
    kind_of_views,
    same_people,
)
from imagpose.training.denoiser.draw import Recipe
from imagpose.views import ViewGrid


class DatasetConfig(StoredViewsConfig):
    """A data set; identities with one view are left out."""

    cache: Path | None = Field(
        None,
        description="Folder of cached latents, tokens and skeletons (`imagpose cache`); none: pictures are encoded in "
        "every step, which augmentation needs.",
    )
    augment: AugmentSettings = Field(AugmentSettings(), description="Random changes of views, see `data.augment`.")

    @property
    def cached(self) -> bool:
        """Whether latents are read from a cache."""
        return self.cache is not None

    @model_validator(mode="after")
    def _augmented_or_cached(self) -> DatasetConfig:
        if self.cache is not None and self.augment.changes_views:
            raise ValueError(
                "augment changes pictures in every step, a cache holds them as they are: remove one of both"
            )
        return self


Data = Annotated[
    Annotated[ViewCacheConfig, Tag(TAGS[0])] | Annotated[DatasetConfig, Tag(TAGS[1])], Discriminator(kind_of_views)
]


def _is_grid(text: str) -> str:
    ViewGrid.parse(text)
    return text


GridName = Annotated[str, AfterValidator(_is_grid)]


Weight = Annotated[float, Field(ge=0)]
Shift = Annotated[float, Field(gt=0)]
Beta = Annotated[float, Field(gt=0, lt=1)]


_RECIPE = tuple(field.name for field in fields(Recipe))

PURE_NOISE = (
    "pure_noise_share needs zero_terminal_snr, or start_from image_condition: else nothing starts at the last timestep"
)


class Phase(Section):
    """A stretch of a run; what it does not name is as the run has it."""

    steps: Positive | None = Field(
        default=None, description="Its length; the last phase has none and lasts to the end."
    )
    low_resolution_share: Fraction | None = None
    pure_noise_share: Fraction | None = None
    timestep_shift: Shift | None = None
    attention_weight: Weight | None = None
    person_weight: Weight | None = None
    head_weight: Weight | None = None


class DenoiserConfig(RunConfig):
    """Stage 3: UNet, pose encoder and feature tokens, trained together (Eq. 4).

    `batch_size` counts canvases of 2 x 2 views: of other grids there are as many as show about as many views.
    """

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
    pose_channels: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=4)] | None = Field(
        None, description="Widths of the pose encoder, the last at the latents' size; none: the preset's."
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
        0.05, description="Probability of each: F_H dropped, F_L dropped, both dropped."
    )
    all_masked_share: Fraction | None = Field(
        None,
        description="Share of canvases without a visible slot; in the others the number of masked slots is uniform over "
        "1..V - 1. None: uniform over 1..V (paper §3.3).",
    )
    source_pose_dropout: Fraction = Field(0.1, description="Probability that a canvas lacks its sources' skeletons.")
    repeat_probability: Fraction = Field(
        0.15,
        description="Share of canvases whose masked slots all show one view, and of those whose visible slots do: "
        "T1 and T2 lay their canvases so.",
    )
    masked_views: Literal["black", "warped"] | None = Field(
        None,
        description="What stands in masked slots of the masked latents: black views (paper §3.3), or the sources moved "
        "into the target's pose, unless their skeletons are dropped. None: as `initial`, else black.",
    )
    start_from: Literal["noise", "image_condition"] | None = Field(
        None,
        description="What sampling starts from: noise (paper), or the views that the masked latents show, with noise of "
        "the last timestep. None: as `initial`, else noise.",
    )
    prediction_type: Literal["epsilon", "v_prediction"] | None = Field(
        None, description="What the UNet predicts; none: what its base or `initial` does, epsilon for a fresh `mini`."
    )
    beta_schedule: Literal["scaled_linear", "linear"] | None = Field(
        None,
        description="linear: betas rise linearly from first to last, the paper's word (Table 6). scaled_linear: their "
        "square roots do, as in Stable Diffusion's training and in the published code. None: that of `initial`, else "
        "scaled_linear.",
    )
    betas: tuple[Beta, Beta] | None = Field(
        None, description="The schedule's first and last beta. None: as `initial`, else 0.00085 and 0.012."
    )
    zero_terminal_snr: bool | None = Field(
        None, description="Rescale betas to zero terminal SNR; needs v_prediction. None: as `initial`, else not."
    )
    min_snr_gamma: float | None = Field(None, gt=0, description="Min-SNR weighting with this gamma; none: Eq. 4.")
    noise_offset: float = Field(
        0.0,
        ge=0,
        description="Standard deviation of a constant added to each channel of the noise; published code: 0.05.",
    )
    noise_offset_scope: Literal["canvas", "view"] = Field(
        "canvas", description="Whether the views of a canvas share that constant, as in the published code."
    )
    timestep_shift: Shift = Field(
        1.0, description="Timesteps are drawn as s u / (1 + (s - 1) u) of uniform u; 1: uniformly, 5: 36 % above 900."
    )
    pure_noise_share: Fraction = Field(
        0.0, description="Share of canvases at the last timestep, where sampling starts."
    )
    visible_weight: Fraction = Field(
        1.0,
        description="Weight of the loss in visible slots. 1 is Eq. 4 as printed. Less spends the network on what is "
        "generated: a visible slot is given to it in the masked latents and is easy.",
    )
    person_weight: Weight = Field(
        1.0,
        description="A latent cell that shows the person counts this often against the ground's, with mean 1 in each "
        "view; needs rendered people, whose surfaces are known.",
    )
    head_weight: Weight | None = Field(
        None, description="The same of a cell that shows the head; none: as the rest of the person."
    )
    attention_weight: Weight = Field(
        0.0,
        description="Weight of the loss that teaches attention where each target's place of the body is in the sources; "
        "needs rendered people.",
    )
    feature_weight: Weight = Field(
        0.0,
        description="Weight of the distance of decoded targets to the true ones in EfficientNet-lite0's features, which a "
        "blur fails; needs the extra 'perceptual'.",
    )
    adversarial_weight: Weight = Field(
        0.0,
        description="Weight of a discriminator of decoded targets in the same features; needs the extra 'perceptual'.",
    )
    adversarial_start: int = Field(0, ge=0, description="First step at which the denoiser hears of it.")
    attention_levels: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (1,), description="Levels of the UNet whose attention is taught; 0 is the finest.", min_length=1
    )
    attention_heads: Positive = Field(1, description="The first heads of each such layer are taught.")
    attention_cross_view: bool = Field(False, description="Also teach cross-view attention at these levels.")
    low_resolution_share: Fraction = Field(
        0.0, description="Share of steps whose views have half their height and width."
    )
    low_resolution_batch: Positive = Field(4, description="Times as many canvases in such a step.")
    overfit: Positive | None = Field(
        None,
        description="Train on the same canvases over and over, noise and timesteps included: so many of 2 x 2 views, a "
        "multiple of a step's. Whatever works learns them by heart. None: all canvases are new.",
    )
    phases: tuple[Phase, ...] = Field((), description="Stretches of the run with other values of what they name.")
    sampling: Sampling = Field(
        Sampling(),
        description="How held-out people are drawn, for sample grids and for the PSNR of generated targets. Steps and "
        "guidance_scale, where they are given, are also what the model's folder gives calls that do not say them.",
    )

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
        self._check_recipes()
        if self.validation is not None and same_people(self.data, self.validation):
            raise ValueError("validation shows the people of data: name another split, or none")
        return self

    def _check_recipes(self) -> None:
        *earlier, last = self.phases or (Phase(),)
        if last.steps is not None or any(phase.steps is None for phase in earlier):
            raise ValueError("phases: all but the last need steps, the last lasts to the end of the run")
        recipes = [recipe for _, recipe in self.recipes]
        # What `initial` records is read later.
        zero_snr = self.initial is not None if self.zero_terminal_snr is None else self.zero_terminal_snr
        if self.draws_pure_noise and not zero_snr and self.start_from != "image_condition":
            raise ValueError(PURE_NOISE)
        if any(recipe.reads_surfaces for recipe in recipes) and not isinstance(self.data, ViewCacheConfig):
            raise ValueError(
                "attention_weight, person_weight and head_weight need rendered people: no others have surfaces"
            )
        if self.judges_pictures and any(recipe.low_resolution_share for recipe in recipes):
            raise ValueError("feature_weight and adversarial_weight judge views of whole size: no low_resolution_share")
        if any(recipe.low_resolution_share for recipe in recipes) and (self.data.height % 2 or self.data.width % 2):
            raise ValueError(f"low_resolution_share halves views, {self.data.height}x{self.data.width} is odd")

    @property
    def judges_pictures(self) -> bool:
        """Whether targets are decoded in training."""
        return bool(self.feature_weight or self.adversarial_weight)

    @property
    def draws_pure_noise(self) -> bool:
        """Whether some phase does."""
        return any(recipe.pure_noise_share for _, recipe in self.recipes)

    @property
    def recipes(self) -> tuple[tuple[int, Recipe], ...]:
        """Steps at which a phase begins, and what holds in it."""
        recipes, first = [], 0
        for phase in self.phases or (Phase(),):
            named = {name: value for name, value in phase if name != "steps" and value is not None}
            recipes.append((first, Recipe(**{name: named.get(name, getattr(self, name)) for name in _RECIPE})))
            first += phase.steps or 0
        return tuple(recipes)

    @property
    def view_grids(self) -> dict[ViewGrid, float]:
        """`grids`, parsed."""
        return {ViewGrid.parse(name): share for name, share in self.grids.items()}
