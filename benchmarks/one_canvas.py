"""Eight poses of a person: eight canvases of T1, three of 2x2, or one of 3x3; seconds per picture and the measures of each.

python benchmarks/one_canvas.py [--model mini] [--people 8] [--steps N]

Rendered people of the test split, in float32 by torch; the ways take turns for every person. Time is the median over people
of a way's seconds per picture over T1's for the same person. Measures as in `speed_against_quality.py`, and behind them
the change against T1 with its standard error over people.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image

from imagpose.judges.identity import embed_people
from imagpose.people import TEST_SEEDS, View, make_identity, render_view, sample_view_specs
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.loading import load_pipeline
from imagpose.views import ViewGrid
from speed_against_quality import measure, print_table

_POSES = 8
WAYS: dict[str, tuple[int, dict[str, Any]]] = {
    "T1, a canvas for each pose": (1, {"scenario": "T1"}),
    "2x2, three poses on a canvas": (_POSES, {}),
    "3x3, eight poses on a canvas": (_POSES, {"grid": ViewGrid(3, 3)}),
}
"""Poses of a call, and its arguments."""


def draw(
    pipeline: IMAGPosePipeline, views: list[View], seed: int, steps: int, way: str
) -> tuple[list[np.ndarray], float]:
    """Pictures of the person's other views from its first, and seconds."""
    at_once, arguments = WAYS[way]
    source, *targets = views
    pictures: list[np.ndarray] = []
    begun = time.perf_counter()
    for start in range(0, len(targets), at_once):
        images = pipeline(
            [Image.fromarray(source.picture)], [own.pose for own in targets[start : start + at_once]], [source.pose],
            num_inference_steps=steps, generator=torch.Generator().manual_seed(seed + start), return_dict=False,
            **arguments,
        )[0]  # fmt: skip
        pictures += [np.asarray(own) for own in images]
    return pictures, time.perf_counter() - begun


def main() -> None:
    """Print a line per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--steps", type=int, help="default: the model's own")
    given = parser.parse_args()
    pipeline = load_pipeline(given.model, dtype="fp32", backend="torch")
    pipeline.set_progress_bar_config(disable=True)
    steps = given.steps or pipeline.config.default_steps
    size = pipeline.config.view_height, pipeline.config.view_width
    people = [
        [render_view(make_identity(seed), spec, *size) for spec in sample_view_specs(seed, 1 + _POSES)]
        for seed in islice(TEST_SEEDS, given.people)
    ]
    gallery = embed_people(np.stack([own.picture for views in people for own in views[1:]]))
    owners = np.repeat(np.arange(len(people)), _POSES)
    draw(pipeline, people[0], 0, 1, next(iter(WAYS)))  # what is made once
    rows: dict[str, list[list[float]]] = {name: [] for name in WAYS}
    for person, views in enumerate(people):
        first = None
        for name in WAYS:
            pictures, seconds = draw(pipeline, views, person, steps, name)
            first = first or seconds
            rows[name].append([seconds / first, *measure(pictures, views, gallery, owners, person)])
    print(f"{given.model}, {given.people} people, {_POSES} poses each, {steps} steps, float32\n")
    print_table({name: np.array(own) for name, own in rows.items()}, ["time per picture"])


if __name__ == "__main__":
    main()
