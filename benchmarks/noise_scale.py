"""What the spread of the start noise does to pictures: T1 of held-out people at several noise scales.

python benchmarks/noise_scale.py [--model mini] [--people 24] [--scales 1 0.5 0] [--threads 2]

20 steps, guidance 2.0, the same noise at every scale. Variety: mean absolute difference of the pictures of two
seeds, of 255.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from imagpose.evaluation.held_out import held_out_people
from imagpose.evaluation.protocol import generate_people, load_pipeline, measure_person

STEPS, GUIDANCE = 20, 2.0
MEASURES = ("psnr", "ssim", "iou")


def main() -> None:
    """Print one row per scale, every column a mean over people and targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 0.5, 0.0])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pipeline = load_pipeline(arguments.model)
    people = list(held_out_people(arguments.people, pipeline.config.view_height, pipeline.config.view_width))
    print("| noise scale | PSNR in the box, dB | SSIM | silhouette IoU | variety |\n| --- | --- | --- | --- | --- |")
    for scale in arguments.scales:
        pipeline.register_to_config(noise_scale=scale)
        one, other = (list(generate_people(pipeline, people, STEPS, GUIDANCE, seed)) for seed in (0, 10_000_000))
        records = [record for person in one for record in measure_person(person)]
        psnr, ssim, iou = (np.mean([record[name] for record in records]) for name in MEASURES)
        differences = [
            np.abs(first.from_front[name].astype(float) - second.from_front[name]).mean()
            for first, second in zip(one, other, strict=True)
            for name in first.from_front
        ]
        print(f"| {scale:.2f} | {psnr:.2f} | {ssim:.3f} | {iou:.3f} | {np.mean(differences):.1f} |", flush=True)


if __name__ == "__main__":
    main()
