"""Pose encoder against a plain chain of convolutions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from imagpose.models.pose_encoder import PoseEncoder


def test_starts_at_zero() -> None:
    assert not PoseEncoder(12)(torch.rand(1, 3, 32, 24)).pose_features.any()


@torch.no_grad()
def test_equals_a_chain_of_convolutions() -> None:
    torch.manual_seed(0)
    module = PoseEncoder(12, block_channels=(4, 6, 8, 10))
    torch.nn.init.normal_(module.embedding.conv_out.weight)
    state = module.state_dict()
    hidden = skeleton = torch.rand(2, 3, 32, 24)
    for name, stride in [("conv_in", 1), *((f"blocks.{index}", 1 + index % 2) for index in range(6))]:
        weight, bias = (state[f"embedding.{name}.{part}"] for part in ("weight", "bias"))
        hidden = functional.conv2d(hidden, weight, bias, stride=stride, padding=1)
        hidden = hidden * torch.sigmoid(hidden)
    weight, bias = (state[f"embedding.conv_out.{part}"] for part in ("weight", "bias"))
    expected = functional.conv2d(hidden, weight, bias, padding=1)
    assert expected.shape == (2, 12, 4, 3)
    torch.testing.assert_close(module(skeleton).pose_features, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_fewer_widths_see_an_averaged_skeleton() -> None:
    torch.manual_seed(0)
    small = PoseEncoder(12, block_channels=(4, 6, 8))
    torch.nn.init.normal_(small.embedding.conv_out.weight)
    skeleton = torch.rand(1, 3, 32, 24)
    means = skeleton.reshape(1, 3, 16, 2, 12, 2).mean((3, 5))
    torch.testing.assert_close(small(skeleton).pose_features, small.embedding(means))
    assert small(skeleton).pose_features.shape == (1, 12, 4, 3)
    with pytest.raises(ValueError, match="5 widths; too many for 8 pixels"):
        PoseEncoder(12, block_channels=(4, 4, 6, 6, 8))


def test_default_size_is_the_released_code_s() -> None:
    parameters = sum(weight.numel() for weight in PoseEncoder(320).parameters())
    assert round(parameters / 1e6, 2) == 1.09


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    module = PoseEncoder(12, block_channels=(4, 6, 8, 10))
    torch.nn.init.normal_(module.embedding.conv_out.weight)
    module.save_pretrained(tmp_path)
    skeleton = torch.rand(1, 3, 16, 16)
    assert torch.equal(PoseEncoder.from_pretrained(tmp_path)(skeleton).pose_features, module(skeleton).pose_features)
