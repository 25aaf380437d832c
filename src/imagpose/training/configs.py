"""What the configurations of all stages have in common: pydantic models read from YAML, with ``key=value`` overrides.

A stage's own configuration stands beside the stage.

The field descriptions are the documentation of the options; an unknown key is an error, so that a misspelt option
cannot be ignored silently.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from imagpose.io import error_line
from imagpose.people.world import find_world

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[int, Field(ge=1)]
Precision = Literal["fp32", "bf16", "fp16"]
LearningRateSchedule = Literal["constant", "constant_with_warmup", "linear", "cosine", "hold_decay", "multistep"]


TAGS = ("rendered people", "data set")
"""Names of alternatives; pydantic puts them into the place of an error, where a user's file has no such key."""


_RENAMED = {"sample_steps": "sampling.steps", "guidance_scale": "sampling.guidance_scale"}
"""Keys of earlier versions and what they are called now."""

_MAX_BYTES, _MAX_DEPTH = 1_000_000, 20


class Section(BaseModel):
    """A part of a configuration: immutable, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


def defaults_of(kind: type[Section]) -> dict[str, Any]:
    """What the options are that a configuration need not name, of what JSON can hold."""
    return kind.model_construct().model_dump(mode="json")


class RenderedPeopleConfig(Section):
    """Rendered views of consecutive identities."""

    first_seed: int = Field(ge=0, description="Seed of the first identity.")
    identities: Positive = Field(description="Number of identities.")
    views: Annotated[int, Field(ge=2)] = Field(description="Views per identity.")
    height: Annotated[int, Field(ge=16)] = Field(description="Height of a view in pixels.")
    width: Annotated[int, Field(ge=16)] = Field(description="Width of a view in pixels.")
    world: str = Field("studio", description="Grounds, framings and styles: studio or varied (`people.world`).")

    @field_validator("world")
    @classmethod
    def _known_world(cls, world: str) -> str:
        return find_world(world).name

    @property
    def seeds(self) -> range:
        """Seeds of the identities."""
        return range(self.first_seed, self.first_seed + self.identities)


class ViewCacheConfig(RenderedPeopleConfig):
    """Rendered people whose views are kept on disk in blocks (`cache.py`)."""

    folder: Path = Field(description="Folder of the cache; several stages may share it.")
    block: Positive = Field(256, description="Identities per shard file, of which there is a whole number.")

    @model_validator(mode="after")
    def _whole_blocks(self) -> ViewCacheConfig:
        if self.identities % self.block:
            raise ValueError(f"identities ({self.identities}) must be a multiple of block ({self.block})")
        return self

    @property
    def cached(self) -> bool:
        """Rendered people always are."""
        return True


class StoredViewsConfig(Section):
    """A split of a data set that `imagpose prepare` made."""

    dataset: Path = Field(description="Folder of the data set.")
    split: str = Field("train", description="Which of its splits.")
    height: Annotated[int, Field(ge=16)] = Field(description="Height of a view in pixels; other pictures are fitted.")
    width: Annotated[int, Field(ge=16)] = Field(description="Width of a view in pixels.")


def kind_of_views(values: Any) -> str:
    """The one of `TAGS` that a section is of, which is known by its key `dataset`."""
    named = values if isinstance(values, dict) else vars(values) if isinstance(values, Section) else {}
    return TAGS[1] if "dataset" in named else TAGS[0]


Views = Annotated[
    Annotated[ViewCacheConfig, Tag(TAGS[0])] | Annotated[StoredViewsConfig, Tag(TAGS[1])], Discriminator(kind_of_views)
]


def same_people(data: Section, validation: Section) -> bool:
    """Whether both name one split of one data set; rendered people have seeds, see `cache.check_split`."""
    if isinstance(data, StoredViewsConfig) and isinstance(validation, StoredViewsConfig):
        return (data.dataset, data.split) == (validation.dataset, validation.split)
    return False


class RunConfig(Section):
    """What every stage's run needs: length, optimiser, precision, records."""

    output: Path = Field(description="Folder of the run: checkpoints/, tensorboard/, weights/.")
    seed: int = Field(0, ge=0, description="All randomness is keyed by (seed, step, sample).")
    steps: Positive = Field(description="Optimiser steps of the whole run.")
    batch_size: Positive = Field(description="Samples per forward pass and process.")
    gradient_accumulation: Positive = Field(
        1, description="Forward passes per optimiser step; a step sees batch_size x this x processes samples."
    )
    global_batch: Positive | None = Field(
        None,
        description="Samples of an optimiser step over all processes, from which gradient_accumulation follows; none: what"
        " the two others and the processes make.",
    )
    optimizer: Literal["adamw", "adamw8bit", "adam"] = Field(
        "adamw",
        description="adamw8bit keeps both moments in 8 bits (extra 'optim8bit'): 2 bytes a weight in place of 8; not for"
        " FSDP, which shards them instead. With adam the weight decay is part of the gradient.",
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
        "over `decay_share`; the checkpoint from before the decay is kept, so that the run can go on with more `steps`. "
        "multistep divides the rate by ten at each of `decay_steps`.",
    )
    decay_steps: tuple[Positive, ...] = Field((), description="Steps at which multistep divides the rate by ten.")
    decay_share: Fraction = Field(0.2, description="Share of `steps` over which hold_decay takes the rate to zero.")
    warmup_steps: int = Field(0, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    adam_betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="AdamW's decays of the two moments.")
    gradient_clip: float = Field(1.0, gt=0, description="Largest gradient norm.")
    skip_nonfinite_steps: int = Field(
        0,
        ge=0,
        description="Steps of a run that may be left out because loss or gradient is not finite; one more stops it.",
    )
    ema_decay: Decay = Field(
        0.999, description="Largest EMA decay; diffusers' warm-up (1 + step) / (10 + step) holds before."
    )
    ema_on_cpu: bool = Field(False, description="Keep the EMA weights in the CPU's memory, 4 bytes a weight.")
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
        if self.global_batch is not None and "gradient_accumulation" in self.model_fields_set:
            raise ValueError("gradient_accumulation follows from global_batch: remove one of both")
        if self.lr_schedule == "hold_decay" and self.warmup_steps > self.decay_start:
            raise ValueError(
                f"warmup_steps ({self.warmup_steps}) must end before the decay begins, at step {self.decay_start}"
            )
        return self

    @property
    def decay_start(self) -> int:
        """Steps done when the decay of hold_decay begins."""
        return self.steps - round(self.decay_share * self.steps)


class ViewsRunConfig(RunConfig):
    """A run on single views of people, and on others for validation."""

    data: Views = Field(description="Who is trained on: rendered people inside TRAIN_SEEDS, or a data set.")
    validation: Views = Field(description="Who is held out: rendered people inside VALIDATION_SEEDS, or a data set.")

    @model_validator(mode="after")
    def _others_are_held_out(self) -> ViewsRunConfig:
        if same_people(self.data, self.validation):
            raise ValueError("validation shows the people of data: name another split")
        return self


class RenderedRunConfig(ViewsRunConfig):
    """A run on rendered people, of whom more is known than a data set holds."""

    data: ViewCacheConfig = Field(description="Training identities, inside TRAIN_SEEDS.")
    validation: ViewCacheConfig = Field(description="Held-out identities, inside VALIDATION_SEEDS.")


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
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes; a configuration has at most {_MAX_BYTES:,}")
    try:
        values = _parse(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: not a YAML file that is read here: {error_line(error, 300)}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: a mapping of options is expected, found {type(values).__name__}")
    for override in overrides or []:
        _apply_override(values, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"{path}: {_one_line(error)}") from None


def _parse(text: str) -> Any:
    """Values of a YAML text.

    Raises:
        yaml.YAMLError, ValueError: no YAML; an alias (a kilobyte of them stands for gigabytes); nested beyond reason.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"line {line}: an alias (*{event.anchor}); write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ValueError(f"line {line}: more than {_MAX_DEPTH} levels")
    return yaml.safe_load(text)


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ValueError(f"override {override!r}: key=value is expected, for example steps=1000")
    *sections, name = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ValueError(f"override {override!r}: {section} is not a section")
    try:
        values[name] = _parse(text)
    except (yaml.YAMLError, ValueError):
        raise ValueError(f"override {override!r}: {text!r} is not a YAML value") from None


def _one_line(error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"] if part not in TAGS) or "configuration"
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            now = f", its name is {_RENAMED[where]}" if where in _RENAMED else ""
            problems.append(f"{where}: unknown key{now}")
        elif problem["type"] == "missing":
            problems.append(f"{where}: missing")
        else:
            given = "" if isinstance(problem["input"], (dict, BaseModel)) else f" (got {repr(problem['input'])[:100]})"
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
