"""The networks of a denoiser's run: from a base, from scratch, or from a trained pipeline."""

from __future__ import annotations

import math
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from diffusers.models.attention_processor import AttnProcessor

from imagpose.devices import choose_device
from imagpose.io import read_json
from imagpose.models.conditions import linear_velocity
from imagpose.models.folder import ModelFiles, resolve_model
from imagpose.models.kinds import as_stored, check_base
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
from imagpose.models.unet import IMAGPoseUNet
from imagpose.pipeline import IMAGPosePipeline
from imagpose.training.denoiser.config import PURE_NOISE, DatasetConfig, DenoiserConfig

RECORDED = tuple(
    name
    for name, parameter in signature(IMAGPosePipeline.__init__).parameters.items()
    if parameter.default is not parameter.empty and name not in ("view_height", "view_width")
)
"""What a pipeline's folder says besides its networks, its scheduler and its size: a training from it keeps this."""


_SPREAD = 0.5  # standard deviation of latents around those of warped views, where these are right


def build_pipeline(config: DenoiserConfig) -> IMAGPosePipeline:
    """The pipeline to train: frozen VAE and image encoder, the rest from `initial`, the base, or fresh from `seed`.

    Raises:
        FileNotFoundError: a folder or a file in it is missing.
        OSError: the Hub cannot be reached.
        ValueError: unknown preset, damaged weights, or networks that do not fit the preset.
    """
    torch.manual_seed(config.seed)
    recorded: dict[str, Any] = {}
    if config.initial is not None:
        trained = IMAGPosePipeline.from_pretrained(config.initial)
        components, scheduler = _from_pipeline(config, trained, config.initial), _going_on(config, trained)
        recorded = {name: trained.config[name] for name in RECORDED}
    else:
        check_base(find_preset(config.preset), frozen_files(config))
        networks = load_networks(
            config.preset,
            config.base,
            config.image_encoder,
            config.autoencoder,
            config.texture_long_side,
            config.pose_channels,
            **config.unet,
        )
        components = networks.components()
        scheduler = build_scheduler(
            config.prediction_type or networks.prediction_type or "epsilon",
            config.beta_schedule or "scaled_linear",
            bool(config.zero_terminal_snr),
            **({} if config.betas is None else {"betas": config.betas}),
        )
        if components["unet"].config.get("input_skip"):
            set_input_skip(components["unet"], scheduler)
    recorded |= {name: asked for name in ("masked_views", "start_from") if (asked := getattr(config, name)) is not None}
    asked_of_calls = {"default_steps": config.sampling.steps, "default_guidance_scale": config.sampling.guidance_scale}
    recorded |= {name: asked for name, asked in asked_of_calls.items() if asked is not None}
    augmented = isinstance(config.data, DatasetConfig) and config.data.augment.changes_views
    if recorded.get("masked_views") == "warped" and augmented:
        raise ValueError("masked_views warped moves pictures as they are, augment changes them: remove one of both")
    if config.gradient_checkpointing:
        components["unet"].enable_gradient_checkpointing()
    return IMAGPosePipeline(
        **components,
        scheduler=scheduler,
        view_height=config.data.height,
        view_width=config.data.width,
        **recorded,
    )


@torch.no_grad()
def set_input_skip(unet: IMAGPoseUNet, scheduler: DDIMScheduler, spread: float = _SPREAD, gate: float = 0.5) -> None:
    """Sets a UNet's input skip: its linear part to the best prediction, its gate to the same share everywhere.

    Args:
        unet: with `input_skip`; its other weights stay, but those of the gate.
        scheduler: of the velocity or the noise that it predicts.
        spread: see `linear_velocity`.
        gate: share of the linear part, between 0 and 1.
    """
    wanted = linear_velocity(scheduler, spread).double()
    if scheduler.config.prediction_type == "epsilon":  # e = a v + s x_t
        kept = scheduler.alphas_cumprod.double()
        wanted = kept.sqrt()[:, None] * wanted
        wanted[:, 0] += (1 - kept).sqrt()
    embedded = unet.time_embedding(unet.time_proj(torch.arange(len(wanted))).to(unet.dtype)).double()
    known = torch.cat([embedded, torch.ones_like(embedded[:, :1])], dim=1)
    # Least squares with a little ridge: 1000 timesteps, a few hundred weights.
    ridge = 1e-5 * torch.eye(known.shape[1], dtype=known.dtype)
    found = torch.linalg.solve(known.T @ known + ridge, known.T @ wanted)
    coefficients, channels = unet.linear_skip.coefficients, unet.config.out_channels
    coefficients.weight.copy_(found[:-1].T.repeat_interleave(channels, dim=0))
    coefficients.bias.copy_(found[-1].repeat_interleave(channels))
    torch.nn.init.zeros_(unet.conv_out.weight[-1])
    assert unet.conv_out.bias is not None
    unet.conv_out.bias[-1] = math.log(gate / (1 - gate))


def use_fast_attention(unet: IMAGPoseUNet) -> None:
    """Without a GPU, attention by matrix products and a softmax."""
    if choose_device() == "cpu":
        # Measured on 2 cores, bf16, 2 x 2 canvases of 16 x 12 latents: 16.7 canvases/s, fused attention 12.8.
        unet.set_attn_processor(AttnProcessor())


def _going_on(config: DenoiserConfig, trained: IMAGPosePipeline) -> DDIMScheduler:
    """The scheduler that a trained pipeline records, with what the configuration asks for instead.

    Raises:
        ValueError: zero terminal SNR with epsilon, pure noise without zero terminal SNR, or a prediction type that has no
            objective here.
    """
    changes = {
        "prediction_type": config.prediction_type,
        "beta_schedule": config.beta_schedule,
        "rescale_betas_zero_snr": config.zero_terminal_snr,
        **({} if config.betas is None else dict(zip(("beta_start", "beta_end"), config.betas, strict=True))),
    }
    asked: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    if config.beta_schedule is not None or config.betas is not None:
        asked["trained_betas"] = None  # which would be taken before the schedule
    scheduler = DDIMScheduler.from_config(trained.scheduler.config, **asked)
    found = scheduler.config
    if found.prediction_type not in ("epsilon", "v_prediction"):
        raise ValueError(f"initial {config.initial} predicts {found.prediction_type}: epsilon or v_prediction expected")
    if found.rescale_betas_zero_snr and found.prediction_type == "epsilon":
        raise ValueError("zero_terminal_snr needs prediction_type v_prediction: at zero SNR the noise says nothing")
    start = trained.config.start_from if config.start_from is None else config.start_from
    if config.draws_pure_noise and not found.rescale_betas_zero_snr and start != "image_condition":
        raise ValueError(PURE_NOISE)
    return scheduler


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


def _from_pipeline(config: DenoiserConfig, trained: IMAGPosePipeline, initial: str) -> dict[str, Any]:
    """The networks of a trained pipeline, the frozen ones replaced where the configuration names others."""
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
    return components


def refuse_cached_canvases(config: DenoiserConfig, trained: IMAGPosePipeline) -> None:
    """Raises `ValueError` if the latents of a trained pipeline, whose VAE may see whole canvases, cannot be cached."""
    for data in (config.data, config.validation):
        if trained.config.vae_scope == "joint" and data is not None and data.cached:
            raise ValueError(
                f"initial {config.initial}: its VAE sees whole canvases (vae_scope joint), a cache holds latents of single"
                " views; give data sets (data.dataset, validation.dataset) without a cache"
            )


def _check_fits(config: DenoiserConfig, trained: IMAGPosePipeline, initial: str) -> None:
    """Refuse a trained pipeline whose networks are others than the preset's, or whose latents cannot be cached."""
    refuse_cached_canvases(config, trained)
    preset = find_preset(config.preset)
    wanted = preset.unet_arguments(trained.vae.config.latent_channels, config.unet)
    found = {name: trained.unet.config.get(name) for name in wanted}
    wanted["use_texture"], found["use_texture"] = preset.variant.use_texture, trained.feature_tokens.config.use_texture
    wanted["pose_channels"] = config.pose_channels or preset.pose_channels
    found["pose_channels"] = trained.pose_encoder.config.block_channels
    for name, value in wanted.items():
        if as_stored(found[name]) != as_stored(value):
            raise ValueError(
                f"initial {initial} does not fit preset {config.preset}: {name} is {as_stored(found[name])},"
                f" {as_stored(value)} expected"
            )
