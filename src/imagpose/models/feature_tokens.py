"""Feature-level conditioning (FLC): image-encoder tokens beside texture tokens of the VAE's latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.utils import BaseOutput
from torch import nn

from imagpose.models.diffusers_hooks import WholeModel, register_to_config

TEXTURE_RANGES = ("signed", "unit")


@dataclass
class FeatureTokensOutput(BaseOutput):
    """What the feature tokens' network gives.

    Args:
        features: F_C, (b, n + m, d), image tokens first; m = h * w / kernel**2.
    """

    features: torch.Tensor


class FeatureTokens(WholeModel, ModelMixin, ConfigMixin):
    """F_C = concat(F_H, F_L), paper §3.2 and Eq. 3.

    Args:
        token_width: d, the UNet's cross_attention_dim.
        encoder_width: d_enc, width of the image encoder's tokens. Where it differs from d a learned linear layer projects
            them, where it is equal they stay as they are (as in the published code).
        latent_channels: channels of the VAE's latents.
        kernel_size: side and stride of the texture tokenizer's convolution.
        texture_long_side: pixels of the long side of the picture whose latents are tokenized (`texture_pixels`).
        use_texture: False leaves F_L out (ablations B0, B1, B3, and M1).
        texture_range: values of that picture as the VAE encodes it: "signed" is [-1, 1], which it is made for; "unit" is
            [0, 1], as the published code trains.

    Raises:
        ValueError: an unknown range.
    """

    @register_to_config
    def __init__(
        self,
        token_width: int,
        encoder_width: int,
        latent_channels: int = 4,
        kernel_size: int = 16,
        texture_long_side: int = 512,
        use_texture: bool = True,
        texture_range: str = "signed",
    ) -> None:
        if texture_range not in TEXTURE_RANGES:
            raise ValueError(f"texture_range {texture_range!r}: one of {', '.join(TEXTURE_RANGES)} expected")
        super().__init__()
        self.project = nn.Linear(encoder_width, token_width) if encoder_width != token_width else nn.Identity()
        self.texture = nn.Conv2d(latent_channels, token_width, kernel_size, kernel_size) if use_texture else None
        # Without any parameter (equal widths, no texture tokens) it would have neither dtype nor device, and save_pretrained
        # would write no file of weights, without which from_pretrained fails.
        self.register_buffer("place", torch.zeros(()), persistent=next(self.parameters(), None) is None)

    def forward(
        self, image_tokens: torch.Tensor, texture_latents: torch.Tensor | None = None, return_dict: bool = True
    ) -> FeatureTokensOutput | tuple[torch.Tensor]:
        """Tokens for the UNet's cross-attention.

        Args:
            image_tokens: F_H, (b, n, d_enc).
            texture_latents: scaled latents (b, c, h, w), h and w multiples of the kernel; None without texture tokens.

            return_dict: False returns a tuple.

        Raises:
            ValueError: texture latents are missing, superfluous or of a size that the kernel does not divide.
        """
        tokens: torch.Tensor = self.project(image_tokens)
        if self.texture is None:
            if texture_latents is not None:
                raise ValueError("texture latents given to feature tokens with use_texture=False")
            return FeatureTokensOutput(features=tokens) if return_dict else (tokens,)
        kernel = self.config.kernel_size
        if texture_latents is None or texture_latents.shape[-2] % kernel or texture_latents.shape[-1] % kernel:
            given = None if texture_latents is None else tuple(texture_latents.shape)
            raise ValueError(f"texture latents are {given}; height and width must be multiples of {kernel}")
        # F_L of Eq. 3: 512x512 pixels are 64x64 latents at a factor of 8, and 4x4 tokens.
        texture = self.texture(texture_latents).flatten(2).transpose(1, 2)
        features = torch.cat([tokens, texture], dim=1)
        return FeatureTokensOutput(features=features) if return_dict else (features,)
