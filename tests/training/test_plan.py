"""What a run's plan says follows from the networks that it names."""

from __future__ import annotations

from pathlib import Path

from imagpose.models.autoencoder import PatchAutoencoderKL
from imagpose.training.plan import plan_denoiser

CONFIG = Path(__file__).parents[2] / "configs" / "mini" / "denoiser.yaml"


def test_sizes_are_those_of_the_patch_autoencoder(tmp_path: Path) -> None:
    PatchAutoencoderKL().save_config(tmp_path)
    text = plan_denoiser(CONFIG, [f"autoencoder={tmp_path}", "image_encoder=null"])
    assert "256x176 pixels, padded to 256x192\n" in text
    assert "2x2 (60%): 512x384 pixels, 64x48 latents;" in text and "3x3 (8%): 768x576 pixels, 96x72 latents" in text
