"""How near pictures stay to those of fp32 when the UNet computes in bf16, which is the default on CPUs that multiply it.

python benchmarks/bf16_pictures.py [--preset official] [--steps 20] [--guidance 2] [--threads N]

UNet, pose encoder and feature tokens are the preset's with random weights; VAE and image encoder are `mini`'s, so that
latents become pictures. Nothing is downloaded. A person of the demo is drawn from pure noise in the pose of another view,
first in fp32, then with the UNet in bf16, from the same noise. Weights that nobody has trained draw no person: this says how
errors grow over the steps of a network of that size, not how they look. PSNR has a peak of 255; the error of the latents is
the norm of the difference over that of fp32's. "contrast" is the standard deviation of the picture's values, 0 to 255: of
a single grey PSNR would say nothing.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from imagpose.metrics.pixels import psnr
from imagpose.models.autoencoder import spatial_factor
from imagpose.models.onednn import route_by_onednn
from imagpose.models.presets import build_denoiser
from imagpose.models.scheduler import build_scheduler
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.loading import load_pipeline
from imagpose.pose import read_pose
from imagpose.serving.demo import PEOPLE_FOLDER
from imagpose.workers import usable_cores
from random_networks import switch_on


def build_pipeline(preset: str) -> IMAGPosePipeline:
    """The preset's denoiser with random weights between `mini`'s VAE and image encoder, black views, pure noise."""
    mini = load_pipeline("mini", device="cpu", dtype="fp32")
    torch.manual_seed(0)
    encoder_width, channels = mini.image_encoder.config.hidden_size, mini.vae.config.latent_channels
    parts = switch_on(build_denoiser(preset, encoder_width, channels, spatial_factor(mini.vae)))
    pipeline = IMAGPosePipeline(
        mini.vae, mini.image_encoder, mini.image_processor, parts.feature_tokens, parts.pose_encoder, parts.unet,
        build_scheduler("v_prediction"), mini.config.view_height, mini.config.view_width,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: IMAGPosePipeline, steps: int, guidance: float) -> tuple[torch.Tensor, np.ndarray, float]:
    """Latents of the last step, the picture uint8 (H, W, 3), and seconds."""
    person = PEOPLE_FOLDER / "2000003"
    latents: list[torch.Tensor] = []

    def keep(_: IMAGPosePipeline, index: int, t: torch.Tensor, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
        latents.append(tensors["latents"].float())
        return {}

    begun = time.perf_counter()
    images = pipeline(
        [person / "0.png"], [read_pose(person / "1.json")], num_inference_steps=steps, guidance_scale=guidance,
        generator=torch.Generator().manual_seed(0), callback_on_step_end=keep, return_dict=False,
    )[0]  # fmt: skip
    return latents[-1], np.asarray(images[0]), time.perf_counter() - begun


def main() -> None:
    """Print one line per precision, and what lies between them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="official")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=usable_cores())
    given = parser.parse_args()
    pipeline = build_pipeline(given.preset)
    torch.set_num_threads(given.threads)
    route_by_onednn(pipeline.unet)
    millions = pipeline.unet.num_parameters() / 1e6
    print(f"{given.preset}, {millions:.0f} M, {given.steps} steps, guidance {given.guidance:g}", flush=True)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        pipeline.unet.to(dtype)
        latents, picture, seconds = draw(pipeline, given.steps, given.guidance)
        found.append((latents, picture))
        print(f"{dtype}: {seconds:.0f} s, contrast {picture.std():.1f}", flush=True)
    (truth, exact), (latents, picture) = found
    error = float((latents - truth).norm() / truth.norm())
    print(f"bf16 against fp32: PSNR {psnr(picture, exact):.1f} dB, error of the latents {error:.2e}")


if __name__ == "__main__":
    main()
