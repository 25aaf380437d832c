"""Feature tokens against a loop over patches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from imagpose.models.feature_tokens import FeatureTokens


@torch.no_grad()
def test_image_tokens_then_texture_tokens_row_by_row() -> None:
    torch.manual_seed(0)
    module = FeatureTokens(token_width=6, encoder_width=5)
    image_tokens, latents = torch.randn(2, 3, 5), torch.randn(2, 4, 32, 48)
    tokens = module(image_tokens, latents).features

    assert tokens.shape == (2, 3 + 2 * 3, 6)
    for sample in range(2):
        for index in range(3):
            expected = module.project.weight @ image_tokens[sample, index] + module.project.bias
            torch.testing.assert_close(tokens[sample, index], expected)
        for index in range(6):
            row, col = divmod(index, 3)
            patch = latents[sample, :, row * 16 : row * 16 + 16, col * 16 : col * 16 + 16]
            expected = (module.texture.weight * patch).sum((1, 2, 3)) + module.texture.bias
            torch.testing.assert_close(tokens[sample, 3 + index], expected, rtol=1e-4, atol=1e-5)


def test_equal_widths_leave_image_tokens_as_they_are() -> None:
    module = FeatureTokens(token_width=6, encoder_width=6)
    image_tokens = torch.randn(1, 3, 6)
    assert torch.equal(module(image_tokens, torch.randn(1, 4, 16, 16)).features[:, :3], image_tokens)
    assert {key: tuple(value.shape) for key, value in module.state_dict().items()} == {
        "texture.weight": (6, 4, 16, 16),
        "texture.bias": (6,),
    }


def test_without_texture() -> None:
    module = FeatureTokens(token_width=6, encoder_width=6, use_texture=False)
    image_tokens = torch.randn(1, 3, 6)
    assert torch.equal(module(image_tokens).features, image_tokens)
    with pytest.raises(ValueError, match="use_texture=False"):
        module(image_tokens, torch.randn(1, 4, 16, 16))


def test_texture_latents_that_do_not_fit_are_refused() -> None:
    module = FeatureTokens(token_width=6, encoder_width=6)
    with pytest.raises(ValueError, match="None"):
        module(torch.randn(1, 3, 6))
    with pytest.raises(ValueError, match="multiples of 16"):
        module(torch.randn(1, 3, 6), torch.randn(1, 4, 16, 12))


def test_an_unknown_range_is_refused() -> None:
    with pytest.raises(ValueError, match="texture_range 'bytes': one of signed, unit"):
        FeatureTokens(token_width=6, encoder_width=6, texture_range="bytes")


@torch.no_grad()
def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    module = FeatureTokens(token_width=6, encoder_width=5, texture_long_side=256)
    module.save_pretrained(tmp_path)
    loaded = FeatureTokens.from_pretrained(tmp_path)
    given = torch.randn(1, 3, 5), torch.randn(1, 4, 16, 16)
    assert torch.equal(loaded(*given).features, module(*given).features)
    assert loaded.config.texture_long_side == 256


def test_without_any_parameter_it_is_saved_and_loaded_and_has_a_device(tmp_path: Path) -> None:
    FeatureTokens(token_width=6, encoder_width=6, use_texture=False).save_pretrained(tmp_path)
    loaded = FeatureTokens.from_pretrained(tmp_path, use_safetensors=True)
    assert not list(loaded.parameters())
    assert loaded.device == torch.device("cpu") and loaded.dtype == torch.float32


def test_with_parameters_the_file_holds_nothing_else(tmp_path: Path) -> None:
    FeatureTokens(token_width=6, encoder_width=5).save_pretrained(tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    assert sorted(load_file(file)) == ["project.bias", "project.weight", "texture.bias", "texture.weight"]
