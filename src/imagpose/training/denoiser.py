"""Stage 3: UNet, pose encoder and feature tokens trained together on Eq. 4, with the masking strategy of §3.3."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor

from imagpose.models import FeatureTokens, IMAGPoseUNet, PoseEncoder
from imagpose.models.conditions import unet_input
from imagpose.models.latents import encode_latents
from imagpose.models.scheduler import build_scheduler
from imagpose.training.cache import ViewCache, check_split
from imagpose.training.config import DenoiserConfig, load_config
from imagpose.training.denoiser_cache import KINDS, FrozenNetworks, build_cache, load_frozen
from imagpose.training.loop import Outcome, Training
from imagpose.training.objective import (
    DrawSettings,
    denoising_loss,
    draw_canvases,
    min_snr_weights,
    prediction_target,
)
from imagpose.training.stage import Batch, Stage, keyed_generator
from imagpose.views import ViewGrid, tile, untile

_VALIDATION_STEPS = 8
_VALIDATION_KEY = 1_000_003


class DenoiserStage(Stage):
    """Joint canvases of several views: the masked ones are denoised given the visible ones, F_C and F_P."""

    name = "denoiser"

    def __init__(self, config: DenoiserConfig, frozen: FrozenNetworks) -> None:
        super().__init__()
        self.config = config
        self.samples_per_step = config.batch_size
        self.cache = ViewCache(config.data, KINDS)
        self.validation_cache = ViewCache(config.validation, KINDS)
        self._frozen = (frozen,)  # in a tuple, so that its networks do not become parameters of the stage
        self.scheduler = build_scheduler(
            prediction_type=config.prediction_type,
            beta_schedule=config.beta_schedule,
            rescale_betas_zero_snr=config.zero_terminal_snr,
        )
        torch.manual_seed(config.seed)
        self.unet: IMAGPoseUNet
        self.pose_encoder: PoseEncoder
        self.feature_tokens: FeatureTokens
