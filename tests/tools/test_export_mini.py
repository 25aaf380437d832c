"""The weights that ship: an input skip that is set by hand, and the rest as the run has it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from export_mini import GATE, SPREAD, export_mini
from imagpose.models.scheduler import build_scheduler
from imagpose.models.unet import IMAGPoseUNet
from imagpose.pipeline import IMAGPosePipeline
from imagpose.training.denoiser.networks import set_input_skip
from imagpose.views import ViewGrid


def predicted(unet: IMAGPoseUNet, timestep: int, noisy: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    sample = torch.cat([noisy, shown, torch.zeros_like(noisy[:, :1])], dim=1)
    return unet(sample, timestep, torch.zeros(1, 1, unet.config.cross_attention_dim), view_grid=ViewGrid(1, 1)).sample


@torch.no_grad()
@pytest.mark.parametrize("prediction_type", ["v_prediction", "epsilon"])
def test_an_input_skip_alone_stands_for_what_is_shown(prediction_type: str) -> None:
    """At the last level, for either prediction: the clean latents, solved here, are the shown ones, but for the fit."""
    pipeline = IMAGPosePipeline.from_pretrained("mini")
    scheduler = build_scheduler(prediction_type, betas=(0.0001, 0.0018))
    set_input_skip(pipeline.unet, scheduler, gate=1 - 1e-6)
    noisy, shown = torch.randn(2, 1, 16, 32, 24, generator=torch.Generator().manual_seed(0)).unbind(0)
    kept = float(scheduler.alphas_cumprod[-1])
    signal, deviation = kept**0.5, (1 - kept) ** 0.5
    found = predicted(pipeline.unet, 999, noisy, shown)
    velocity = prediction_type == "v_prediction"
    clean = signal * noisy - deviation * found if velocity else (noisy - deviation * found) / signal
    assert (clean - shown).abs().mean() < 0.02 and (noisy - shown).abs().mean() > 1


@torch.no_grad()
def test_the_exports_gate_is_the_same_everywhere_and_the_layers_are_the_runs(tmp_path: Path) -> None:
    pipeline = IMAGPosePipeline.from_pretrained("mini")
    pipeline.unet.conv_out.weight[-1].normal_()
    pipeline.register_to_config(default_steps=7)
    pipeline.save_pretrained(tmp_path / "run" / "weights")
    export_mini(tmp_path / "run", None, 0.3, tmp_path / "held", overwrite=False)
    export_mini(tmp_path / "run", None, None, tmp_path / "trained", overwrite=False)
    held, trained = (IMAGPosePipeline.from_pretrained(tmp_path / name) for name in ("held", "trained"))
    assert not held.unet.conv_out.weight[-1].any()
    assert float(held.unet.conv_out.bias[-1].sigmoid()) == pytest.approx(0.3, abs=1e-3)
    torch.testing.assert_close(
        trained.unet.conv_out.weight[-1], pipeline.unet.conv_out.weight[-1], rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(held.unet.conv_out.weight[:-1], trained.unet.conv_out.weight[:-1], rtol=0, atol=0)
    assert held.config.default_steps == trained.config.default_steps == 7


@torch.no_grad()
def test_the_packages_mini_was_exported_so() -> None:
    """Its gate and linear part are what the tool sets, but for half precision."""
    unet = IMAGPosePipeline.from_pretrained("mini").unet
    stored = unet.linear_skip.coefficients.weight.clone(), unet.conv_out.bias[-1].clone()
    set_input_skip(unet, IMAGPosePipeline.from_pretrained("mini").scheduler, SPREAD, GATE)
    noisy, shown = torch.randn(2, 1, 16, 32, 24, generator=torch.Generator().manual_seed(1)).unbind(0)
    anew = predicted(unet, 500, noisy, shown)
    unet.linear_skip.coefficients.weight.copy_(stored[0])
    unet.conv_out.bias[-1] = stored[1]
    assert float(stored[1].sigmoid()) == pytest.approx(GATE, abs=0.005)
    assert (predicted(unet, 500, noisy, shown) - anew).abs().mean() < 0.02


def test_the_packages_mini_asks_for_what_its_configuration_gives() -> None:
    sampling = yaml.safe_load((Path(__file__).parents[2] / "configs" / "mini" / "denoiser.yaml").read_text())[
        "sampling"
    ]
    mini = IMAGPosePipeline.from_pretrained("mini").config
    assert (mini["default_steps"], mini["default_guidance_scale"]) == (sampling["steps"], sampling["guidance_scale"])
