"""How large the presets are, without any weights: networks on the meta device, their parameters by part, and a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import (
    AutoConfig,
    AutoModel,
    BitImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    PreTrainedModel,
)

from imagpose.models.autoencoder import autoencoder_class, spatial_factor
from imagpose.models.folder import ModelFiles
from imagpose.models.loading import PresetNetworks, preset_files
from imagpose.models.presets import ABLATIONS, PRESETS, STABLE_DIFFUSION_VAE, Preset, build_denoiser, find_preset

__all__ = ["build_empty", "count_parameters", "size_table"]

_HEAD = (
    "preset", "base", "image encoder", "width", "UNet", "CVA", "pose encoder", "feature tokens", "VAE", "image encoder",
)  # fmt: skip
_NETWORKS = ("unet", "pose_encoder", "feature_tokens", "vae", "image_encoder")


def build_empty(
    preset: str | Preset,
    base: str | Path | None = None,
    image_encoder: str | Path | None = None,
    autoencoder: str | Path | None = None,
    texture_long_side: int | None = None,
    pose_channels: Sequence[int] | None = None,
    **unet_config: Any,
) -> PresetNetworks:
    """The networks that `load_networks` would give, on the meta device: no weights, no memory, a second.

    Arguments as there; only the configuration files of folders that are given are read, no weights and no hub. What is
    not given is as the preset has it.

    Raises:
        FileNotFoundError: a given folder lacks a configuration file.
        ValueError: unknown preset, or arguments that do not fit.
    """
    preset = find_preset(preset) if isinstance(preset, str) else preset
    files = preset_files(preset, base, image_encoder, autoencoder)
    with torch.device("meta"):
        encoder = _empty_encoder(preset, files.image_encoder)
        vae_config = _config(AutoencoderKL, files.vae) or STABLE_DIFFUSION_VAE
        vae = autoencoder_class(vae_config).from_config(vae_config)
        unet_file = None if files.base is None else _config(UNet2DConditionModel, files.base)
        stock = None if unet_file is None else UNet2DConditionModel.from_config(unet_file)
        denoiser = build_denoiser(
            preset, encoder.config.hidden_size, vae.config.latent_channels, spatial_factor(vae), stock,
            texture_long_side, pose_channels, **unet_config,
        )  # fmt: skip
    is_clip = isinstance(encoder, CLIPVisionModel)
    return PresetNetworks(
        vae=vae,
        image_encoder=encoder,
        image_processor=CLIPImageProcessorPil() if is_clip else BitImageProcessorPil(),
        unet=denoiser.unet,
        pose_encoder=denoiser.pose_encoder,
        feature_tokens=denoiser.feature_tokens,
        prediction_type=None if preset.base is None else preset.base.prediction_type,
    )


def _config(kind: Any, files: ModelFiles) -> dict[str, Any] | None:
    """The configuration in a folder; None for a repository on the hub."""
    if files.folder is None:
        return None
    files.require("config.json")
    return kind.load_config(files.folder)


def _empty_encoder(preset: Preset, files: ModelFiles) -> PreTrainedModel:
    if files.folder is not None:
        files.require("config.json")
        config = AutoConfig.from_pretrained(files.folder)
        config = getattr(config, "vision_config", config)
        return CLIPVisionModel(config) if isinstance(config, CLIPVisionConfig) else AutoModel.from_config(config)
    assert preset.image_encoder is not None  # `mini`'s lies in a folder
    if preset.image_encoder.kind == "clip":
        return CLIPVisionModel(CLIPVisionConfig(**preset.image_encoder.config))
    return Dinov2Model(Dinov2Config(**preset.image_encoder.config))


def count_parameters(networks: PresetNetworks) -> dict[str, int]:
    """Parameters by part; "unet" is the base's share of the UNet, "cross_view" what CVA adds to it."""
    cross_view = sum(weight.numel() for name, weight in networks.unet.named_parameters() if ".cross_view." in name)
    whole = {name: sum(weight.numel() for weight in getattr(networks, name).parameters()) for name in _NETWORKS}
    return {"unet": whole.pop("unet") - cross_view, "cross_view": cross_view, **whole}


def size_table(names: Sequence[str]) -> str:
    """A Markdown table: per preset its parts, and their parameters in millions.

    Args:
        names: of presets; none: all, and the ablations.

    Raises:
        ValueError: a preset is unknown.
    """
    rows = [_row(name) for name in names or (*PRESETS, *ABLATIONS)]
    lines = [_HEAD, ("---",) * 3 + ("---:",) * (len(_HEAD) - 3), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(name: str) -> tuple[str, ...]:
    preset = find_preset(name)
    networks = build_empty(preset)
    return (
        name,
        "own" if preset.base is None else preset.base.title,
        "own" if preset.image_encoder is None else preset.image_encoder.title,
        str(networks.image_encoder.config.hidden_size),
        *(f"{count / 1e6:,.1f}" for count in count_parameters(networks).values()),
    )
