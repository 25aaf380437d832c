"""The networks of a preset from the files of its base and image encoder, on this machine or on the hub.

Both are in the layouts of diffusers and transformers. Weights become float32 whatever they were stored in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import (
    AutoConfig,
    AutoModel,
    BaseImageProcessor,
    BitImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPVisionModel,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from imagpose.models import folder as model_folder
from imagpose.models.autoencoder import autoencoder_class, spatial_factor
from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.folder import ModelFiles, failures_of
from imagpose.models.pose_encoder import PoseEncoder
from imagpose.models.presets import PredictionType, Preset, build_denoiser, find_preset
from imagpose.models.unet import IMAGPoseUNet
from imagpose.models.whole_networks import check_read, read_network

_DIFFUSERS_WEIGHTS = (("diffusion_pytorch_model", ".safetensors"), ("diffusion_pytorch_model", ".bin"))
_TRANSFORMERS_WEIGHTS = (("model", ".safetensors"), ("pytorch_model", ".bin"))
_CLIP = ("clip", "clip_vision_model")


@dataclass(frozen=True)
class PresetNetworks:
    """What a pipeline is made of, but for its scheduler.

    Attributes:
        vae, image_encoder: frozen.
        image_processor: of the image encoder.
        unet, pose_encoder, feature_tokens: to be trained.
        prediction_type: what the base was trained to predict; None for `mini`, which has no base.
    """

    vae: AutoencoderKL
    image_encoder: PreTrainedModel
    image_processor: BaseImageProcessor
    unet: IMAGPoseUNet
    pose_encoder: PoseEncoder
    feature_tokens: FeatureTokens
    prediction_type: PredictionType | None

    def components(self) -> dict[str, Any]:
        """Arguments of IMAGPosePipeline."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "prediction_type"}


@dataclass(frozen=True)
class PresetFiles:
    """Where the networks of a preset are read from."""

    base: ModelFiles | None
    vae: ModelFiles
    image_encoder: ModelFiles


def preset_files(
    preset: Preset,
    base: str | Path | None = None,
    image_encoder: str | Path | None = None,
    autoencoder: str | Path | None = None,
) -> PresetFiles:
    """Where the networks of a preset lie; arguments as `load_networks`.

    Raises:
        ValueError: a base for `mini`, which has none.
    """
    if preset.own is not None:
        if base is not None:
            raise ValueError(f"preset {preset.name} has no base ({base} given): its UNet starts from scratch")
        own = str(model_folder.WEIGHTS_ROOT / preset.own.folder)
        return PresetFiles(
            None,
            ModelFiles(own, "vae") if autoencoder is None else ModelFiles(str(autoencoder)),
            ModelFiles(own, "image_encoder") if image_encoder is None else ModelFiles(str(image_encoder)),
        )
    assert preset.base is not None and preset.image_encoder is not None
    repository = preset.base.repository
    place = repository if base is None else str(base)
    encoder_repository = preset.image_encoder.repository
    return PresetFiles(
        ModelFiles(place, "unet", repository),
        ModelFiles(place, "vae", repository) if autoencoder is None else ModelFiles(str(autoencoder)),
        ModelFiles(encoder_repository if image_encoder is None else str(image_encoder), repository=encoder_repository),
    )


def load_networks(
    preset: str | Preset,
    base: str | Path | None = None,
    image_encoder: str | Path | None = None,
    autoencoder: str | Path | None = None,
    texture_long_side: int | None = None,
    pose_channels: Sequence[int] | None = None,
    **unet_config: Any,
) -> PresetNetworks:
    """The networks of a preset: pretrained ones from files, the others freshly initialised (torch's global generator).

    Args:
        preset: the preset or its name, see `find_preset`.
        base: folder (unet/, vae/, scheduler/) or hub repository of a Stable Diffusion; None: the preset's repository.
        image_encoder: folder or hub repository of a CLIP or DINOv2; None: the preset's repository, `mini`'s own.
        autoencoder: folder or hub repository of a VAE in place of the base's (or of `mini`'s).
        texture_long_side, pose_channels: see `build_denoiser`.
        unet_config: arguments of IMAGPoseUNet in place of the base's and the preset's.

    Raises:
        FileNotFoundError: a folder or a file in it is missing; the message says which and where to get it.
        OSError: the hub cannot be reached or does not have it.
        ValueError: unknown preset, a base for `mini`, damaged or incomplete weights, or arguments that do not fit.
    """
    preset = find_preset(preset) if isinstance(preset, str) else preset
    files = preset_files(preset, base, image_encoder, autoencoder)
    vae = load_autoencoder(files.vae)
    encoder = load_image_encoder(files.image_encoder)
    processor = load_image_processor(files.image_encoder, encoder)
    stock = None
    if files.base is not None:
        stock = _load(UNet2DConditionModel, files.base, files.base.check(_DIFFUSERS_WEIGHTS))
    denoiser = build_denoiser(
        preset, encoder.config.hidden_size, vae.config.latent_channels, spatial_factor(vae), stock, texture_long_side,
        pose_channels, **unet_config,
    )  # fmt: skip
    if vae.config.latent_channels != denoiser.unet.config.out_channels:
        raise ValueError(
            f"the autoencoder in {files.vae.place} has {vae.config.latent_channels} latent channels, preset {preset.name}"
            f" needs {denoiser.unet.config.out_channels}: give another autoencoder, or unet.out_channels"
        )
    return PresetNetworks(
        unet=denoiser.unet,
        pose_encoder=denoiser.pose_encoder,
        feature_tokens=denoiser.feature_tokens,
        vae=vae,
        image_encoder=encoder,
        image_processor=processor,
        prediction_type=_prediction_type(preset, files.base),
    )


def load_autoencoder(files: ModelFiles) -> AutoencoderKL:
    """A frozen VAE, of the class that its configuration names; errors as `load_networks`."""
    variant = files.check(_DIFFUSERS_WEIGHTS)
    with _reading(files):
        config = AutoencoderKL.load_config(files.folder or files.place, subfolder=_hub_subfolder(files))
    return _load(autoencoder_class(config), files, variant).eval().requires_grad_(False)


def _hub_subfolder(files: ModelFiles) -> str | None:
    return files.subfolder or None if files.folder is None else None


def load_image_encoder(files: ModelFiles) -> PreTrainedModel:
    """A frozen vision transformer; of a CLIP the vision tower only.

    Raises:
        ValueError: besides those of `load_networks`: a network without hidden_size, or one that needs code of its folder.
    """
    variant = files.check(_TRANSFORMERS_WEIGHTS)
    place = files.folder or files.place
    with _reading(files):
        stored, _ = PreTrainedConfig.get_config_dict(place)
        if "auto_map" in stored and stored.get("model_type") not in CONFIG_MAPPING:
            raise ValueError(
                "its config.json has auto_map, so it needs code of its own, which is never run; a network of"
                " transformers' own is expected, such as CLIP or DINOv2"
            )
        model_type = AutoConfig.from_pretrained(place, trust_remote_code=False).model_type
    model = _load(CLIPVisionModel if model_type in _CLIP else AutoModel, files, variant)
    if not isinstance(getattr(model.config, "hidden_size", None), int):
        raise ValueError(f"{files.place}: a {model_type} has no hidden_size; a CLIP or DINOv2 is expected")
    return model.eval().requires_grad_(False)


def load_image_processor(files: ModelFiles, image_encoder: PreTrainedModel) -> BaseImageProcessor:
    """The processor of an image encoder, of the class that works without torchvision; errors as `load_networks`.

    Its configuration lies beside the weights, or, as diffusers saves pipelines, in a folder image_processor or
    feature_extractor beside theirs.
    """
    kind = CLIPImageProcessorPil if isinstance(image_encoder, CLIPVisionModel) else BitImageProcessorPil
    place = _processor_place(files)
    with _reading(files):
        return kind.from_pretrained(place)


def _processor_place(files: ModelFiles) -> str | Path:
    if files.folder is None:
        return files.place
    for folder in (files.folder, *(files.folder.parent / name for name in ("image_processor", "feature_extractor"))):
        if (folder / "preprocessor_config.json").is_file():
            return folder
    files.require("preprocessor_config.json")
    return files.folder


def _load(kind: Any, files: ModelFiles, variant: str | None) -> Any:
    """The network in float32, all of its weights read; `variant` is what `ModelFiles.check` found."""
    options: dict[str, Any] = {"dtype": torch.float32}
    if kind is AutoModel:
        options["trust_remote_code"] = False
    if _hub_subfolder(files) is not None:
        options["subfolder"] = files.subfolder
    with _reading(files):
        model, info = _read_variant(kind, files, variant, options)
    check_read(info, str(files.folder or files.place))
    return model


def _read_variant(
    kind: Any, files: ModelFiles, variant: str | None, options: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The network and what is said of its weights; of a repository on the hub that lacks full precision, its fp16."""
    place = files.folder or files.place
    try:
        return read_network(kind, place, **options, **({} if variant is None else {"variant": variant}))
    except OSError:
        if files.folder is not None:
            raise
        try:
            return read_network(kind, place, **options, variant="fp16")
        except OSError:
            pass
        raise


@contextmanager
def _reading(files: ModelFiles) -> Iterator[None]:
    """Names the files in what diffusers and transformers raise: ValueError for a folder, OSError for the hub."""
    if files.folder is not None:
        with failures_of(files.folder):
            yield
        return
    try:
        with failures_of(Path(files.place)):
            yield
    except ValueError as error:
        raise OSError(
            f"cannot get '{files.place}' from the hub: {error} -- without a network, fetch it elsewhere"
            f" (hf download {files.place} --local-dir FOLDER) and give the folder"
        ) from error


def _prediction_type(preset: Preset, base: ModelFiles | None) -> PredictionType | None:
    """What the base's scheduler says that its UNet predicts; the preset's where no scheduler lies beside the UNet."""
    if base is None or preset.base is None:
        return None
    if base.folder is not None and not (base.folder.parent / "scheduler" / "scheduler_config.json").is_file():
        return preset.base.prediction_type
    with _reading(ModelFiles(base.place, "scheduler", base.repository)):
        config = DDIMScheduler.load_config(base.place, subfolder="scheduler")
        kind: PredictionType | None = config.get("prediction_type", "epsilon")
    return kind
