"""The networks of a denoiser's run: from a base, from scratch, or from a trained pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from imagpose.io import read_json
from imagpose.models.folder import ModelFiles, resolve_model
from imagpose.models.loading import (
    PresetFiles,
    load_autoencoder,
    load_image_encoder,
    load_image_processor,
    load_networks,
    preset_files,
)
from imagpose.models.presets import find_preset
from imagpose.models.scheduler import build_scheduler
from imagpose.pipeline import IMAGPosePipeline
from imagpose.training.denoiser.config import DenoiserConfig


def build_pipeline(config: DenoiserConfig) -> IMAGPosePipeline:
    """The pipeline to train: frozen VAE and image encoder, the rest from `initial`, the base, or fresh from `seed`.

    Raises:
        FileNotFoundError: a folder or a file in it is missing.
        OSError: the Hub cannot be reached.
        ValueError: unknown preset, damaged weights, or networks that do not fit the preset.
    """
    torch.manual_seed(config.seed)
    if config.initial is not None:
        components, prediction_type = _from_pipeline(config, config.initial)
    else:
        networks = load_networks(
            config.preset,
            config.base,
            config.image_encoder,
            config.autoencoder,
            config.texture_long_side,
            config.pose_channels,
            **config.unet,
        )
        components, prediction_type = networks.components(), networks.prediction_type or "epsilon"
    if config.gradient_checkpointing:
        components["unet"].enable_gradient_checkpointing()
    return IMAGPosePipeline(
        **components,
        scheduler=build_scheduler(
            config.prediction_type or prediction_type,  # type: ignore[arg-type]
            config.beta_schedule,
            config.zero_terminal_snr,
        ),
        view_height=config.data.height,
        view_width=config.data.width,
    )


def frozen_files(config: DenoiserConfig) -> PresetFiles:
    """Where the VAE and the image encoder of a run are read from."""
    if config.initial is None:
        return preset_files(find_preset(config.preset), config.base, config.image_encoder, config.autoencoder)
    place = resolve_model(config.initial)
    return PresetFiles(
        None,
        ModelFiles(place, "vae") if config.autoencoder is None else ModelFiles(config.autoencoder),
        ModelFiles(place, "image_encoder") if config.image_encoder is None else ModelFiles(config.image_encoder),
    )


def canvases_seen(model: str) -> int:
    """Canvases that a trained pipeline has seen, as its export says; 0 where it does not say."""
    try:
        return int(read_json(Path(resolve_model(model)) / "training.json").get("canvases", 0))
    except (OSError, TypeError, ValueError):
        return 0


def _from_pipeline(config: DenoiserConfig, initial: str) -> tuple[dict[str, Any], str]:
    """The networks of a trained pipeline, the frozen ones replaced where the configuration names others."""
    trained = IMAGPosePipeline.from_pretrained(initial)
    _check_fits(config, trained, initial)
    components = {name: part for name, part in trained.components.items() if name != "scheduler"}
    files = frozen_files(config)
    if config.autoencoder is not None:
        components["vae"] = load_autoencoder(files.vae)
    if config.image_encoder is not None:
        encoder = load_image_encoder(files.image_encoder)
        width, expected = encoder.config.hidden_size, trained.feature_tokens.config.encoder_width
        if width != expected:
            raise ValueError(
                f"image_encoder {config.image_encoder} has width {width}, initial {initial} needs {expected}"
            )
        components["image_encoder"] = encoder
        components["image_processor"] = load_image_processor(files.image_encoder, encoder)
    for name in ("vae", "image_encoder"):
        components[name].eval().requires_grad_(False)
    if config.texture_long_side is not None:
        trained.feature_tokens.register_to_config(texture_long_side=config.texture_long_side)
    return components, trained.scheduler.config.prediction_type


def _check_fits(config: DenoiserConfig, trained: IMAGPosePipeline, initial: str) -> None:
    """Refuse a trained pipeline whose networks are others than the preset's, or whose VAE sees whole canvases."""
    if trained.config.vae_scope != "view":
        raise ValueError(
            f"initial {initial}: vae_scope is {trained.config.vae_scope}, training encodes each view alone: view expected"
        )
    preset = find_preset(config.preset)
    wanted = preset.unet_arguments(trained.vae.config.latent_channels, config.unet)
    found = {name: trained.unet.config.get(name) for name in wanted}
    wanted["use_texture"], found["use_texture"] = preset.variant.use_texture, trained.feature_tokens.config.use_texture
    wanted["pose_channels"] = config.pose_channels or preset.pose_channels
    found["pose_channels"] = trained.pose_encoder.config.block_channels
    for name, value in wanted.items():
        if _plain(found[name]) != _plain(value):
            raise ValueError(
                f"initial {initial} does not fit preset {config.preset}: {name} is {_plain(found[name])},"
                f" {_plain(value)} expected"
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
