"""Latents against the VAE's own moments."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL

from imagpose.models.autoencoder import decode_latents, encode_latents


@pytest.fixture
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=2,
        scaling_factor=0.3,
    ).eval()


@torch.no_grad()
def test_latents_are_the_mean_of_the_posterior(vae: AutoencoderKL) -> None:
    pixels = torch.rand(2, 3, 16, 24) * 2 - 1
    mean, _ = vae.quant_conv(vae.encoder(pixels)).chunk(2, dim=1)
    torch.testing.assert_close(encode_latents(vae, pixels), mean * 0.3)


@torch.no_grad()
def test_decoding_takes_the_scale_off(vae: AutoencoderKL) -> None:
    latents = torch.randn(1, 4, 2, 3)
    expected = vae.decoder(vae.post_quant_conv(latents / 0.3))
    assert expected.shape == (1, 3, 16, 24)
    torch.testing.assert_close(decode_latents(vae, latents), expected)


@torch.no_grad()
def test_input_is_brought_to_the_dtype_of_the_vae(vae: AutoencoderKL) -> None:
    vae.to(torch.bfloat16)
    latents = encode_latents(vae, torch.rand(1, 3, 16, 16))
    assert latents.dtype == torch.bfloat16
    assert decode_latents(vae, latents.float()).dtype == torch.bfloat16
