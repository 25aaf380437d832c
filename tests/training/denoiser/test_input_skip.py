"""The input skip of a fresh denoiser: what its linear part stands for, and its gate."""

from __future__ import annotations

import pytest
import torch

from imagpose.models import IMAGPoseUNet
from imagpose.models.scheduler import build_scheduler
from imagpose.pipeline import IMAGPosePipeline
from imagpose.training.denoiser.networks import set_input_skip
from imagpose.views import ViewGrid


def predicted(unet: IMAGPoseUNet, timestep: int, noisy: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    sample = torch.cat([noisy, shown, torch.zeros_like(noisy[:, :1])], dim=1)
    return unet(sample, timestep, torch.zeros(1, 1, unet.config.cross_attention_dim), view_grid=ViewGrid(1, 1)).sample


@torch.no_grad()
@pytest.mark.parametrize("prediction_type", ["v_prediction", "epsilon"])
def test_it_alone_stands_for_what_is_shown_and_at_first_it_has_half(prediction_type: str) -> None:
    """At the last level, for either prediction: the clean latents, solved here, are the shown ones, but for the fit."""
    unet = IMAGPosePipeline.from_pretrained("mini").unet
    scheduler = build_scheduler(prediction_type, betas=(0.0001, 0.0018))
    set_input_skip(unet, scheduler)
    noisy, shown = torch.randn(2, 1, 16, 32, 24, generator=torch.Generator().manual_seed(0)).unbind(0)
    halves = []
    for gate in (0.0, 20.0, -20.0):  # sigmoid: one half, one, none
        unet.conv_out.bias[-1] += gate
        halves.append(predicted(unet, 999, noisy, shown))
        unet.conv_out.bias[-1] -= gate
    both, skip, layers = halves
    torch.testing.assert_close(both, (skip + layers) / 2, atol=1e-4, rtol=1e-4)
    kept = float(scheduler.alphas_cumprod[-1])
    signal, deviation = kept**0.5, (1 - kept) ** 0.5
    velocity = prediction_type == "v_prediction"
    clean = signal * noisy - deviation * skip if velocity else (noisy - deviation * skip) / signal
    assert (clean - shown).abs().mean() < 0.02 and (noisy - shown).abs().mean() > 1
