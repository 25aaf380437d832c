"""What we use of diffusers beyond its public interface still does what it is used for."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, ConfigMixin, DiffusionPipeline, ModelMixin
from torch import nn

from imagpose.models.diffusers_hooks import (
    CheckpointedModule,
    init_keys,
    name_library,
    register_to_config,
    set_tile_size,
)
from imagpose.models.feature_tokens import FeatureTokens


def test_a_saved_pipeline_names_the_library(tmp_path: Path) -> None:
    class Pipeline(DiffusionPipeline):
        def __init__(self, feature_tokens: FeatureTokens) -> None:
            super().__init__()
            self.register_modules(feature_tokens=feature_tokens)

    name_library()
    Pipeline(FeatureTokens(4, 4)).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["feature_tokens"] == ["imagpose", "FeatureTokens"]
    assert isinstance(Pipeline.from_pretrained(tmp_path).feature_tokens, FeatureTokens)


class Stock(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, width: int = 2, depth: int = 1) -> None:
        super().__init__()
        self.layer = nn.Linear(width, depth)


class Own(Stock):
    @register_to_config
    def __init__(self, extra: int = 0, **kwargs: int) -> None:
        super().__init__(**kwargs)

    @staticmethod
    def _get_init_keys(input_class: type) -> set[str]:
        return init_keys(input_class, Stock)


def test_a_configuration_keeps_the_keys_of_the_stock_class(tmp_path: Path) -> None:
    Own(extra=5, width=3, depth=4).save_pretrained(tmp_path)
    loaded = Own.from_pretrained(tmp_path)
    assert (loaded.config.extra, loaded.config.width, loaded.config.depth) == (5, 3, 4)
    assert loaded.layer.weight.shape == (4, 3)


def test_only_modules_that_are_to_stay_in_float32_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("diffusers.models.modeling_utils")
    logger.addHandler(handler)
    caplog.set_level(logging.WARNING, logger.name)  # commands silence diffusers for the whole process
    try:
        Stock().to(torch.bfloat16)
        assert not said
        monkeypatch.setattr(Stock, "_keep_in_fp32_modules", ["layer"])
        Stock().to(torch.bfloat16)
    finally:
        logger.removeHandler(handler)
    assert len(said) == 1 and "should be kept in float32: ['layer']" in said[0]


def test_checkpointing_runs_the_function_again(tmp_path: Path) -> None:
    calls = []

    class Part(CheckpointedModule):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return self.checkpointed(lambda value: calls.append(1) or value.sin().sin(), hidden)

    class Whole(Stock):
        _supports_gradient_checkpointing = True

        def __init__(self) -> None:
            super().__init__()
            self.part = Part()

    whole, hidden = Whole(), torch.ones(2, requires_grad=True)
    for saving, expected in ((False, 1), (True, 2)):
        if saving:
            whole.enable_gradient_checkpointing()
        calls.clear()
        whole.part(hidden).sum().backward()
        assert len(calls) == expected


def test_the_tile_size_decides_how_a_decoder_is_tiled(monkeypatch) -> None:
    vae = AutoencoderKL(
        block_out_channels=(4,), down_block_types=("DownEncoderBlock2D",), up_block_types=("UpDecoderBlock2D",),
        norm_num_groups=2,
    )  # fmt: skip
    seen = []
    original = vae.decoder.forward
    monkeypatch.setattr(vae.decoder, "forward", lambda tile: seen.append(tile.shape[-1]) or original(tile))
    set_tile_size(vae, 8)
    vae.enable_tiling()
    with torch.no_grad():
        vae.decode(torch.zeros(1, 4, 8, 16))
    assert max(seen) == 8 and len(seen) > 1
