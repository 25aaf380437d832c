"""Configuration of the training stages: pydantic models read from YAML, with ``key=value`` overrides.

The field descriptions are the documentation of the options; an unknown key is an error, so that a misspelt option
cannot be ignored silently.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from imagpose.people.world import find_world
from imagpose.pipeline.sampling import Sampling

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]
Precision = Literal["fp32", "bf16", "fp16"]
LearningRateSchedule = Literal["constant", "constant_with_warmup", "linear", "cosine", "hold_decay"]


TAGS = ("rendered people", "data set")
"""Names of alternatives; pydantic puts them into the place of an error, where a user's file has no such key."""


class Section(BaseModel):
    """A part of a configuration: immutable, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ViewCacheConfig(Section):
    """Rendered views of consecutive identities, kept on disk in blocks (`cache.py`)."""

    folder: Path = Field(description="Folder of the cache; several stages may share it.")
    first_seed: int = Field(ge=0, description="Seed of the first identity.")
    identities: Positive = Field(description="Number of identities, a multiple of `block`.")
    views: Annotated[int, Field(ge=2)] = Field(description="Views per identity.")
    height: Annotated[int, Field(ge=16)] = Field(description="Height of a view in pixels.")
    width: Annotated[int, Field(ge=16)] = Field(description="Width of a view in pixels.")
    block: Positive = Field(256, description="Identities per shard file.")
    world: str = Field("studio", description="Grounds, framings and styles: studio or varied (`people.world`).")

    @field_validator("world")
    @classmethod
    def _known_world(cls, world: str) -> str:
        return find_world(world).name

    @model_validator(mode="after")
    def _whole_blocks(self) -> ViewCacheConfig:
        if self.identities % self.block:
            raise ValueError(f"identities ({self.identities}) must be a multiple of block ({self.block})")
        return self

    @property
    def seeds(self) -> range:
        """Seeds of the cached identities."""
        return range(self.first_seed, self.first_seed + self.identities)


class RunConfig(Section):
    """What every stage's run needs: length, optimiser, precision, records."""

    output: Path = Field(description="Folder of the run: checkpoints/, tensorboard/, weights/.")
    seed: int = Field(0, ge=0, description="All randomness is keyed by (seed, step, sample).")
    steps: Positive = Field(description="Optimiser steps of the whole run.")
    batch_size: Positive = Field(description="Samples per forward pass and process.")
    gradient_accumulation: Positive = Field(
        1, description="Forward passes per optimiser step; a step sees batch_size x this x processes samples."
    )
    threads: int = Field(0, ge=0, description="CPU threads; 0 leaves torch's own choice.")
    workers: int = Field(0, ge=0, description="Processes that prepare batches ahead; 0: the training process itself.")
    precision: Precision = Field(
        "bf16", description="Autocast with fp32 weights in bf16 or fp16 (with a loss scale; needs a GPU), or fp32."
    )
    learning_rate: float = Field(gt=0)
    lr_schedule: LearningRateSchedule = Field(
        "cosine",
        description="Schedule over `steps`, after the warm-up. hold_decay holds the rate, then takes it linearly to zero "
        "over `decay_share`; the checkpoint from before the decay is kept, so that the run can go on with more `steps`.",
    )
    decay_share: Fraction = Field(0.2, description="Share of `steps` over which hold_decay takes the rate to zero.")
    warmup_steps: int = Field(0, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    adam_betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="AdamW's decays of the two moments.")
    gradient_clip: float = Field(1.0, gt=0, description="Largest gradient norm.")
    ema_decay: Decay = Field(
        0.999, description="Largest EMA decay; diffusers' warm-up (1 + step) / (10 + step) holds before."
    )
    ema_every: Positive = Field(1, description="Steps between updates of the EMA, each with decay ** this.")
    compile: bool = Field(
        False, description="torch.compile what the stage offers; without a compiler the run goes on uncompiled."
    )
    log_every: Positive = Field(50, description="Steps between TensorBoard scalars.")
    validate_every: Positive = Field(1000, description="Steps between validations on held-out people, EMA weights.")
    sample_every: Positive = Field(1000, description="Steps between sample grids, with EMA weights.")
    progress_every: Positive = Field(
        20_000,
        description="Samples between rows of progress.csv with their picture, where the stage measures progress.",
    )
    checkpoint_every: Positive = Field(500, description="Steps between checkpoints.")
    keep_checkpoints: Positive = Field(2, description="The last K checkpoints are kept.")
    export_minutes: float | None = Field(
        None,
        gt=0,
        description="Minutes between exports of the EMA weights while the run goes on; none: at its end only.",
    )
    wandb: str | None = Field(
        None, description="Project of Weights & Biases to record in, beside TensorBoard; needs the package wandb."
    )

    @model_validator(mode="after")
    def _schedule_fits(self) -> RunConfig:
        if self.lr_schedule == "hold_decay" and self.warmup_steps > self.decay_start:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) must end before the decay begins, at step {self.decay_start}"
            )
        return self

    @property
    def decay_start(self) -> int:
        """Steps done when the decay of hold_decay begins."""
        return self.steps - round(self.decay_share * self.steps)


class RenderedRunConfig(RunConfig):
    """A run on rendered people."""

    data: ViewCacheConfig = Field(description="Training identities, inside TRAIN_SEEDS.")
    validation: ViewCacheConfig = Field(description="Held-out identities, inside VALIDATION_SEEDS.")


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


class CropConfig(RenderedRunConfig):
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
    kl_weight: float = Field(1e-3, ge=0, description="Weight of the KL divergence per latent value.")


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


class EncoderModel(Section):
    """The image encoder (transformers Dinov2Model)."""

    hidden_size: Positive = 192
    num_hidden_layers: Positive = 6
    num_attention_heads: Positive = 6
    patch_size: Positive = 16
    height: Positive | None = Field(default=None, description="Height that pictures are brought to; none: the view's.")
    width: Positive | None = Field(default=None, description="Width that pictures are brought to; none: the view's.")

    @model_validator(mode="after")
    def _heads(self) -> EncoderModel:
        if self.hidden_size % self.num_attention_heads:
            heads = f"num_attention_heads ({self.num_attention_heads})"
            raise ValueError(f"hidden_size ({self.hidden_size}) must be a multiple of {heads}")
        return self


class MetricLearningConfig(RenderedRunConfig):
    """Telling identities apart; `batch_size` counts identities, each with two views."""

    temperature: float = Field(0.1, gt=0, description="Temperature of the contrastive loss.")
    colour_jitter: Fraction = Field(0.1, description="Largest relative change of brightness, contrast and saturation.")
    crop_fraction: Fraction = Field(0.15, description="Largest share of a view's sides that a random crop removes.")
    mirror_probability: Fraction = 0.5
    plain_probability: Fraction = Field(
        0.7,
        description="Share of pictures put before a plain random colour: the views of an identity share a backdrop, by "
        "which they could be told apart without a look at the person.",
    )


class EncoderConfig(MetricLearningConfig):
    """Stage 2: image encoder by metric learning."""

    model: EncoderModel = EncoderModel()
    initial: Path | None = Field(
        None, description="Exported weights of this stage (a run's weights/) to start from; none: fresh ones."
    )
    projection_size: Positive = Field(128, description="Width of the embedding that the loss compares.")

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the encoder's pictures."""
        return self.model.height or self.data.height, self.model.width or self.data.width


class IdentityConfig(MetricLearningConfig):
    """The network that evaluation tells people apart with."""


class PoseEstimatorConfig(RenderedRunConfig):
    """The network that evaluation finds key points with; `batch_size` counts pictures."""

    largest_turn: Annotated[float, Field(ge=0, le=45)] = Field(15.0, description="Largest random turn, degrees.")
    largest_zoom: Annotated[float, Field(ge=1, le=2)] = Field(
        1.3, description="Largest random enlargement; 1/x smallest."
    )
    largest_shift: Fraction = Field(0.1, description="Largest random shift, share of the picture's sides.")


class SilhouetteConfig(RenderedRunConfig):
    """The network that evaluation finds silhouettes with; `batch_size` counts pictures."""

    empty_probability: Fraction = Field(
        0.1, description="Share of pictures in whose place an empty one is shown, where a side of the picture is free."
    )
    height: Annotated[int, Field(ge=16)] | None = Field(
        None, description="Height at which the network looks at pictures, to which views are brought; none: theirs."
    )
    coarse_probability: Fraction = Field(0.4, description="Share of pictures with less detail, see `degrade.coarsen`.")


class ReconstructionConfig(RenderedRunConfig):
    """What decoding is trained by."""

    gradient_weight: float = Field(0.2, ge=0, description="Weight of the multi-scale gradient loss.")
    colour_weight: float = Field(
        20.0, ge=0, description="Weight of the squared error of colours averaged over 4x4 pixels."
    )
    ssim_weight: float = Field(0.02, ge=0, description="Weight of 1 - SSIM.")
    latent_noise: float = Field(
        0.0,
        ge=0,
        description="Largest standard deviation, in units of the latents' own, of noise added before decoding, uniform "
        "from 0 per sample: what a denoiser predicts is never exact, and the decoder must bear it.",
    )


class DecoderConfig(ReconstructionConfig):
    """Stage 4: the VAE's decoder on what the trained denoiser generates; `batch_size` counts views."""

    pipeline: Path = Field(description="Folder of the trained pipeline (the denoiser's run, weights/).")
    people: Positive = Field(512, description="Identities that are generated: the first of `data`, one canvas each.")
    generated_share: Fraction = Field(0.7, description="Share of generated latents; the others are encoded pictures.")
    sample_steps: Positive = Field(10, description="DDIM steps.")
    guidance_scale: float = Field(2.0, ge=1.0, description="Guidance of what is generated.")

    @property
    def sampling(self) -> Sampling:
        """How views are generated."""
        return Sampling(self.sample_steps, self.guidance_scale)


ConfigType = TypeVar("ConfigType", bound=Section)


def load_config(kind: type[ConfigType], path: str | Path, overrides: list[str] | None = None) -> ConfigType:
    """Configuration of `kind` read from a YAML file.

    Args:
        kind: configuration class.
        path: YAML file.
        overrides: ``key=value`` texts that replace values of the file; keys of sections are dotted
            (``data.identities=512``), values are read as YAML.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not a YAML mapping, an override has no ``=``, a key is unknown or a value is illegal;
            one line that names the file and the key.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"configuration file not found: {path}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: a mapping of options is expected, found {type(values).__name__}")
    for override in overrides or []:
        _apply_override(values, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"{path}: {_one_line(error)}") from None


def _apply_override(values: dict, override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ValueError(f"override {override!r}: key=value is expected, for example steps=1000")
    *sections, name = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ValueError(f"override {override!r}: {section} is not a section")
    try:
        values[name] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"override {override!r}: {text!r} is not a YAML value") from None


def _one_line(error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"] if part not in TAGS) or "configuration"
        if problem["type"] == "extra_forbidden":
            problems.append(f"{where}: unknown key")
        elif problem["type"] == "missing":
            problems.append(f"{where}: missing")
        else:
            given = "" if isinstance(problem["input"], (dict, BaseModel)) else f" (got {problem['input']!r})"
            problems.append(f"{where}: {problem['msg'].removeprefix('Value error, ')}{given}")
    return "; ".join(problems)


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``90s``, ``50m``, ``2h`` or ``1h30m``.

    Raises:
        ValueError: the text is not a positive duration.
    """
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip())
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    duration = 3600 * hours + 60 * minutes + seconds
    if duration <= 0:
        raise ValueError(f"duration {text!r}: expected for example 90s, 50m, 2h or 1h30m")
    return duration
