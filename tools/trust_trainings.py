"""Small configurations of every training, and the networks and pictures that they need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from imagpose.models.autoencoder import PatchAutoencoderKL
from imagpose.training.cache import render_views
from imagpose.training.configs import ViewCacheConfig
from trust_networks import tiny_pipeline

TRAININGS = (
    "autoencoder", "autoencoder-finish", "encoder", "denoiser", "lora", "fewstep", "appearance-flow", "pose-estimator",
    "silhouette", "identity", "reid",
)  # fmt: skip
RUN = {
    "output": "unused", "steps": 3, "batch_size": 2, "threads": 1, "precision": "fp32", "learning_rate": 1e-3,
    "checkpoint_every": 1, "validate_every": 2, "sample_every": 3,
}  # fmt: skip


def make_trainings(folder: Path) -> None:
    """Write ``<name>.yaml`` of each of `TRAININGS`, and networks that they begin with, into a new folder."""
    folder.mkdir()
    frozen = tiny_pipeline()
    frozen.vae.save_pretrained(folder / "autoencoder")
    frozen.image_encoder.save_pretrained(folder / "image_encoder")
    frozen.image_processor.save_pretrained(folder / "image_encoder")
    patches = PatchAutoencoderKL(block_out_channels=(8, 8), latent_channels=4, norm_num_groups=2, sample_size=64)
    patches.save_pretrained(folder / "patches")
    for name, own in _stages(folder).items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(RUN | own))


def render_people(folder: Path) -> None:
    """The views that the trainings in a folder of `make_trainings` see, which the first would render."""
    for values in _people(folder).values():
        render_views(ViewCacheConfig.model_validate(values))


def _stages(folder: Path) -> dict[str, dict[str, Any]]:
    views = _people(folder)
    latents = views | {"grids": {"1x2": 1.0}}
    frozen = {"autoencoder": str(folder / "autoencoder"), "image_encoder": str(folder / "image_encoder")}
    unet = {
        "block_out_channels": [8, 16], "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"], "norm_num_groups": 4, "cross_attention_dim": 16,
        "attention_head_dim": 2, "cross_view_placement": "cross_attention", "cross_view_heads": 8,
        "use_linear_projection": False,
    }  # fmt: skip
    network = {"unet": unet, "pose_channels": [4, 4, 8, 8], "texture_long_side": 128}
    model = {"block_out_channels": [8, 8], "latent_channels": 4, "norm_num_groups": 4}
    encoder = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 16}
    flow = {"height": 256, "width": 176, "views": 2}
    return {
        "autoencoder": views | {"model": model, "crop_size": 32},
        "autoencoder-finish": views | {"autoencoder": str(folder / "patches"), "crop_size": 32},
        "encoder": views | {"model": encoder, "projection_size": 8},
        "denoiser": latents | frozen | network | {"sampling": {"steps": 1}},
        "lora": latents | network | {"initial": str(folder.parent / ".model"), "rank": 2, "alpha": 2},
        "fewstep": latents | {"initial": str(folder.parent / ".model")},
        "appearance-flow": {
            "data": {"first_seed": 0, "identities": 1} | flow,
            "validation": {"first_seed": 1_000_000, "identities": 1} | flow,
            "group": 1, "steps": 1, "batch_size": 1,
        },
        "pose-estimator": views,
        "silhouette": views,
        "identity": views,
        "reid": {"data": str(folder.parent / ".reid"), "network": "resnet18-half", "height": 64, "width": 32,
                 "epochs": 3, "warmup_epochs": 1, "decay_epochs": [2], "batch_size": 4, "per_identity": 2},
    }  # fmt: skip


def _people(folder: Path) -> dict[str, dict[str, Any]]:
    """Two identities to learn and two held out, as values of a configuration."""
    size = {"identities": 2, "block": 2, "views": 3, "height": 64, "width": 48}
    return {
        "data": {"folder": str(folder / "train"), "first_seed": 0, **size},
        "validation": {"folder": str(folder / "validation"), "first_seed": 1_000_000, **size},
    }
