"""The configurations that go on from the packaged mini build, and keep what its folder records."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from imagpose.pipeline import IMAGPosePipeline
from imagpose.training.configs import load_config
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.denoiser.lora import LoraConfig
from imagpose.training.denoiser.networks import RECORDED, build_pipeline

CONFIGS = Path(__file__).parents[3] / "configs"
FROM_MINI = [
    path for path in sorted(CONFIGS.rglob("*.yaml")) if yaml.safe_load(path.read_text()).get("initial") == "mini"
]


@pytest.mark.parametrize("path", FROM_MINI, ids=lambda path: path.stem)
def test_a_configuration_that_starts_from_mini_goes_on_as_mini_was_trained(path: Path) -> None:
    config = load_config(LoraConfig if path.stem == "lora" else DenoiserConfig, path, [])
    built, mini = build_pipeline(config), IMAGPosePipeline.from_pretrained("mini")
    assert {name: built.config[name] for name in RECORDED} == {name: mini.config[name] for name in RECORDED}
    for name in ("beta_start", "beta_end", "beta_schedule", "rescale_betas_zero_snr", "prediction_type"):
        assert built.scheduler.config[name] == mini.scheduler.config[name], name
    assert built.unet.config.input_skip


def test_there_are_such_configurations() -> None:
    assert {path.stem for path in FROM_MINI} >= {"lora", "finetune", "generator"}
