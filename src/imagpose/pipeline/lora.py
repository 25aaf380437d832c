"""LoRA on the pipeline: diffusers' own loader, for a UNet without a text encoder; needs the extra `lora` (peft).

An adapter adds B A to a frozen weight matrix, A and B of a low rank. Source: Hu et al., "LoRA: low-rank adaptation of large
language models", 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

from diffusers.loaders import StableDiffusionLoraLoaderMixin

from imagpose.models.unet import IMAGPoseUNet


class LoraAdapters(StableDiffusionLoraLoaderMixin):
    """What diffusers' pipelines have: `load_lora_weights`, `save_lora_weights`, `set_adapters`, `fuse_lora`, ..."""

    _lora_loadable_modules = ["unet"]
    text_encoder = None  # the loader asks for it
    unet: IMAGPoseUNet

    @classmethod
    def load_lora_into_text_encoder(cls, state_dict: dict[str, Any], *_: Any, **__: Any) -> None:
        """There is none here.

        Raises:
            ValueError: the file holds an adapter of one.
        """
        if any(name.startswith("text_encoder") for name in state_dict):
            raise ValueError("the LoRA adapts a text encoder, this model has none: it is another kind of model's")

    def fuse_lora(self, components: Sequence[str] = ("unet",), **kwargs: Any) -> None:
        """As in diffusers, where the components are a UNet and a text encoder."""
        super().fuse_lora(list(components), **kwargs)

    def unfuse_lora(self, components: Sequence[str] = ("unet",), **kwargs: Any) -> None:
        """As in diffusers."""
        super().unfuse_lora(list(components), **kwargs)

    def save_pretrained(self, save_directory: str | PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As in diffusers.

        Raises:
            ValueError: an adapter is loaded; nothing is written.
        """
        self.unet.check_without_adapters()
        super().save_pretrained(save_directory, *args, **kwargs)
