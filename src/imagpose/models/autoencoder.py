"""Pixels to scaled latents and back with any VAE, and the patch autoencoder: AutoencoderKL on patches of pixels.

    pixels (b, 3, H, W) -> pixel_unshuffle p -> (b, 3 p^2, H / p, W / p) -> encoder, L levels -> (b, c, h, w)

and back through the decoder and pixel_shuffle; H / h = p 2^(L - 1). The convolutions at full size, which cost an
AutoencoderKL most of its time, are left out: with p = 4, L = 2 and widths 96 and 128 (2.9 M parameters) one core trains
on 10 pictures of 256x192 a second. Source: own; the layers and the names of their weights are diffusers' own.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import Decoder, Encoder
from torch.nn import functional

from imagpose.models.diffusers_hooks import WholeModel, register_to_config, set_tile_size


class PatchAutoencoderKL(WholeModel, AutoencoderKL):
    """Pixels (b, 3, H, W) in [-1, 1] to a posterior of latents (b, latent_channels, H / f, W / f), and back.

    f is `patch_size` x 2^(levels - 1). Encoding, decoding, slicing, tiling, saving and loading are AutoencoderKL's.

    Args:
        patch_size: side of a patch in pixels, p.
        decoder_block_out_channels: widths of the decoder's levels, listed as the encoder's; None: the encoder's own.
        in_channels, out_channels: channels of pictures; patches have `patch_size`^2 as many.
        sample_size: side in pixels of a tile where tiling is enabled; a multiple of 4 f, because tiles overlap by a
            quarter.
        mid_block_add_attention: attention in the middle. Without it training on crops holds for pictures of any size.
        The others are AutoencoderKL's.

    Raises:
        ValueError: a patch or a tile size is not legal, or the decoder has another number of levels.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",) * 2,
        up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",) * 2,
        block_out_channels: tuple[int, ...] = (96, 128),
        layers_per_block: int = 1,
        act_fn: str = "silu",
        latent_channels: int = 16,
        norm_num_groups: int = 8,
        sample_size: int = 256,
        scaling_factor: float = 1.0,
        shift_factor: float | None = None,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
        force_upcast: bool = False,
        use_quant_conv: bool = True,
        use_post_quant_conv: bool = True,
        mid_block_add_attention: bool = False,
        patch_size: int = 4,
        decoder_block_out_channels: tuple[int, ...] | None = None,
    ) -> None:
        if patch_size < 1:
            raise ValueError(f"patch_size is {patch_size}; at least 1 expected")
        decoder_widths = tuple(decoder_block_out_channels or block_out_channels)
        if len(decoder_widths) != len(block_out_channels):
            levels = len(block_out_channels)
            raise ValueError(f"decoder_block_out_channels has {len(decoder_widths)} levels, the encoder {levels}")
        # It registers its arguments as well, so it must get all of ours; its encoder and decoder are replaced.
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            down_block_types=down_block_types,
            up_block_types=up_block_types,
            block_out_channels=block_out_channels,
            latent_channels=latent_channels,
            sample_size=sample_size,
            scaling_factor=scaling_factor,
            shift_factor=shift_factor,
            latents_mean=latents_mean,
            latents_std=latents_std,
            force_upcast=force_upcast,
            use_quant_conv=use_quant_conv,
            use_post_quant_conv=use_post_quant_conv,
            layers_per_block=layers_per_block,
            act_fn=act_fn,
            norm_num_groups=norm_num_groups,
            mid_block_add_attention=mid_block_add_attention,
        )
        self._use_patches(decoder_widths)

    def _use_patches(self, decoder_widths: tuple[int, ...]) -> None:
        """Put an encoder and a decoder of patches in place of those of pixels."""
        config = self.config
        both: dict[str, Any] = {
            name: config[name] for name in ("layers_per_block", "act_fn", "norm_num_groups", "mid_block_add_attention")
        }
        self.encoder = _PatchEncoder(
            in_channels=config.in_channels * config.patch_size**2,
            out_channels=config.latent_channels,
            down_block_types=config.down_block_types,
            block_out_channels=config.block_out_channels,
            **both,
        )
        self.decoder = _PatchDecoder(
            in_channels=config.latent_channels,
            out_channels=config.out_channels * config.patch_size**2,
            up_block_types=config.up_block_types,
            block_out_channels=decoder_widths,
            **both,
        )
        factor = spatial_factor(self)
        self.encoder.patch_size = self.decoder.patch_size = config.patch_size
        self.encoder.factor = factor
        if config.sample_size < 1 or config.sample_size % (4 * factor):
            raise ValueError(f"sample_size is {config.sample_size}; a multiple of {4 * factor} expected")
        set_tile_size(self, config.sample_size // factor)


class _PatchEncoder(Encoder):
    """diffusers' encoder behind `pixel_unshuffle`."""

    patch_size: int
    factor: int

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        if sample.shape[-2] % self.factor or sample.shape[-1] % self.factor:
            size = f"{sample.shape[-2]}x{sample.shape[-1]}"
            raise ValueError(f"pictures of {size} pixels: sides that are multiples of {self.factor} expected")
        moments: torch.Tensor = super().forward(functional.pixel_unshuffle(sample, self.patch_size))
        return moments


class _PatchDecoder(Decoder):
    """diffusers' decoder before `pixel_shuffle`."""

    patch_size: int

    def forward(self, sample: torch.Tensor, latent_embeds: torch.Tensor | None = None) -> torch.Tensor:
        return functional.pixel_shuffle(super().forward(sample, latent_embeds), self.patch_size)


def autoencoder_class(config: dict[str, Any]) -> type[AutoencoderKL]:
    """The class of the VAE that a folder's ``config.json`` names: ours, or diffusers' AutoencoderKL."""
    own = config.get("_class_name") == PatchAutoencoderKL.__name__
    found: type[AutoencoderKL] = PatchAutoencoderKL if own else AutoencoderKL
    return found


def spatial_factor(vae: AutoencoderKL) -> int:
    """Pixels along a side of a picture per latent: 2 per halving, times the side of a patch where the VAE has patches."""
    factor: int = 2 ** (len(vae.config.block_out_channels) - 1) * vae.config.get("patch_size", 1)
    return factor


def encode_latents(vae: AutoencoderKL, pixels: torch.Tensor) -> torch.Tensor:
    """Scaled latents (b, c, H / f, W / f) of pixels (b, 3, H, W) in [-1, 1], in the VAE's dtype; f is `spatial_factor`.

    They are the posterior's mean: a picture has the same latents in a cache, in training and in a request.
    """
    latents: torch.Tensor = vae.encode(pixels.to(vae.dtype)).latent_dist.mode() * vae.config.scaling_factor
    return latents


def decode_latents(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Pixels (b, 3, H, W), about [-1, 1], of scaled latents (b, c, H / f, W / f), in the VAE's dtype."""
    decoded: torch.Tensor = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample
    return decoded
