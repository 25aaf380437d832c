"""What errors in the latents cost an autoencoder's pictures: PSNR and SSIM after noise of several strengths.

python benchmarks/latent_noise.py [--vae FOLDER ...] [--people 32] [--threads 1]

A denoiser's latents are never exact. Noise is Gaussian, its standard deviation in units of the latents' own; pictures are
of people from the validation split, measured over the whole picture and over the box of the foreground (SSIM only).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from imagpose.metrics.pixels import psnr, ssim
from imagpose.models.folder import WEIGHTS_ROOT, ModelFiles
from imagpose.models.loading import load_autoencoder
from imagpose.people import VALIDATION_SEEDS, iterate_views
from imagpose.pixels import bytes_to_signed, signed_to_bytes

HEIGHT, WIDTH = 256, 176
STRENGTHS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8)


def box_of(foreground: np.ndarray) -> np.ndarray:
    """The smallest box that holds all of a mask (H, W), as a mask."""
    rows, columns = (np.flatnonzero(foreground.any(axis)) for axis in (1, 0))
    box = np.zeros_like(foreground)
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return box


def main() -> None:
    """Print one table per autoencoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", type=Path, nargs="+", default=[WEIGHTS_ROOT / "mini" / "vae"])
    parser.add_argument("--people", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    views = [
        person[index % 8]
        for index, (_, person) in enumerate(iterate_views(VALIDATION_SEEDS[: arguments.people], 8, HEIGHT, WIDTH))
    ]
    truths = np.stack([view.picture for view in views])
    boxes = [box_of(view.foreground) for view in views]
    pixels = bytes_to_signed(truths)
    for folder in arguments.vae:
        vae = load_autoencoder(ModelFiles(str(folder)))
        print(f"{folder}: {len(views)} views of {HEIGHT}x{WIDTH}")
        print("| noise | PSNR, dB | SSIM | SSIM in the box |\n| --- | --- | --- | --- |")
        with torch.no_grad():
            latents = vae.encode(pixels).latent_dist.mean
            for strength in STRENGTHS:
                noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
                decoded = vae.decode(latents + strength * latents.std() * noise).sample
                found = signed_to_bytes(decoded).numpy()
                pairs = list(zip(found, truths, strict=True))
                boxed = [ssim(one, other, box) for (one, other), box in zip(pairs, boxes, strict=True)]
                whole = np.mean([psnr(*pair) for pair in pairs]), np.mean([ssim(*pair) for pair in pairs])
                print(f"| {strength:.1f} | {whole[0]:.2f} | {whole[1]:.3f} | {np.mean(boxed):.3f} |")


if __name__ == "__main__":
    main()
