"""What users of diffusers expect of a pipeline beside its call: options that save memory or time, a card, clear refusals."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline
from diffusers.pipelines.pipeline_utils import StableDiffusionMixin

from imagpose.models.diffusers_hooks import VersionedConfig, without_fused_copies
from imagpose.models.folder import check_no_code
from imagpose.models.whole_networks import whole_part
from imagpose.pipeline.card import is_template, pipeline_card


class LatentPipeline(VersionedConfig, DiffusionPipeline, StableDiffusionMixin):
    """A pipeline of a VAE and a UNet. FreeU and fused projections are diffusers' own."""

    vae: Any
    unet: Any
    fusing_unet = fusing_vae = False  # unfusing reads them

    @classmethod
    def extract_init_dict(
        cls, config_dict: dict[str, Any], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """As in diffusers, which calls it before it loads the parts, in `DiffusionPipeline.from_pretrained` too.

        Raises:
            ValueError: code of the folder would be needed.
        """
        check_no_code(config_dict)
        parts, unused, hidden = super().extract_init_dict(config_dict, **kwargs)
        return {name: whole_part(entry) for name, entry in parts.items()}, unused, hidden

    def enable_vae_slicing(self) -> None:
        """Encodes and decodes one view at a time, to save memory."""
        self.vae.enable_slicing()

    def disable_vae_slicing(self) -> None:
        """Encodes and decodes several views in one batch."""
        self.vae.disable_slicing()

    def enable_vae_tiling(self) -> None:
        """Encodes and decodes views that are larger than a tile (the VAE's `sample_size`) in tiles, to save memory."""
        self.vae.enable_tiling()

    def disable_vae_tiling(self) -> None:
        """Encodes and decodes whole views."""
        self.vae.disable_tiling()

    def save_pretrained(self, save_directory: str | PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As in diffusers; fused projections are saved as the weights that they were made of."""
        with without_fused_copies(self.unet, self.vae):
            super().save_pretrained(save_directory, *args, **kwargs)

    def load_ip_adapter(self, *_: Any, **__: Any) -> None:
        """Refuses: diffusers' users look for it here, and an IP-Adapter's weights fit no network of this model.

        Raises:
            ValueError: always; the message says what is there instead.
        """
        raise ValueError(
            "IP-Adapter is not part of this model: sources are its picture prompts; they reach it by F_C and F_I"
        )

    set_ip_adapter_scale = load_ip_adapter

    def _upload_folder(self, working_dir: str, repo_id: str, **options: Any) -> Any:
        """As in diffusers; a card that only its template wrote is replaced by one that says something."""
        card = Path(working_dir) / "README.md"
        if not card.is_file() or is_template(card.read_text(encoding="utf-8")):
            card.write_text(pipeline_card(self, self.name_or_path), encoding="utf-8")
        return super()._upload_folder(working_dir, repo_id, **options)
