"""Time against quality: what guidance in an interval, a null branch, attention or features kept, and fewer steps cost.

python benchmarks/speed_against_quality.py [--model mini] [--people 16] [--steps N] [--only TEXT]
python benchmarks/speed_against_quality.py --few 1 2 4 20 [--model mini] [--people 16]

Rendered people of the test split, one source and three poses of each on one canvas (IMAGPose*); every way draws the same
people from the same noise in float32, so that rows are paired. Time is the median over people of a call's processor seconds
over the first way's for the same person, drawn just before. Measures are the model card's: gradient energy over the truth's,
distance in a network's features over a copy's (extra `perceptual`), rank-1 among all truths, silhouette IoU, PCK@0.1;
behind them the change against the first way with its standard error over people. A model that draws without guidance, as
`mini` does, has no ways that change it. The second form compares so many steps, under the model's own guidance, with the
paper's 20 under guidance of 2, which are 40 evaluations a canvas.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from diffusers import PyramidAttentionBroadcastConfig
from PIL import Image

from imagpose.judges.identity import embed_people, first_ranks
from imagpose.judges.pose import find_keypoints
from imagpose.judges.silhouette import find_foreground
from imagpose.metrics.keypoints import counted_points, pck
from imagpose.metrics.pictures import measure_pictures
from imagpose.metrics.pixels import mask_iou, psnr
from imagpose.people import TEST_SEEDS, View, make_identity, render_view, sample_view_specs
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.loading import load_pipeline
from imagpose.pipeline.sampling import USUAL_GUIDANCE, USUAL_STEPS

Keep = Callable[[], AbstractContextManager[None]]
Way = tuple[dict[str, Any], Keep]
COLUMNS = ("gradient energy", "features / copy", "rank-1", "IoU", "PCK@0.1")


@contextmanager
def attention_kept(pipeline: IMAGPosePipeline, every: int) -> Iterator[None]:
    """Self-attention of every so many-th step only: diffusers' Pyramid Attention Broadcast."""
    config = PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=every,
        spatial_attention_timestep_skip_range=(100, 900),
        current_timestep_callback=lambda: int(pipeline.current_timestep or 0),
    )
    pipeline.unet.enable_cache(config)
    yield
    pipeline.unet.disable_cache()


def ways(steps: int, pipeline: IMAGPosePipeline) -> dict[str, Way]:
    """Arguments of the pipeline, and what is kept between steps; the first is what others are compared with.

    What so few steps have no room for is left out.
    """
    guided: dict[str, dict[str, Any]] = {
        "guidance in 0.2 to 1": {"guidance_interval": (0.2, 1.0)},
        "guidance in 0 to 0.8": {"guidance_interval": (0.0, 0.8)},
        "guidance in 0.2 to 0.8": {"guidance_interval": (0.2, 0.8)},
        "guidance in 0.4 to 0.7": {"guidance_interval": (0.4, 0.7)},
        "no guidance": {"guidance_scale": 1.0},
        "null branch every 2nd step": {"guidance_every": 2},
        "null branch every 4th step": {"guidance_every": 4},
    }
    fewer = {
        f"{share} of the steps": steps // parts for share, parts in (("half", 2), ("a quarter", 4)) if parts <= steps
    }
    return {
        "all steps": ({}, nullcontext),
        **{name: (own, nullcontext) for name, own in guided.items() if pipeline.config.default_guidance_scale > 1},
        "attention kept for 2 steps": ({}, partial(attention_kept, pipeline, 2)),
        **{f"features kept for {own} steps": ({"features_every": own}, nullcontext) for own in (2, 4) if own <= steps},
        **{name: ({"num_inference_steps": count}, nullcontext) for name, count in fewer.items()},
    }


def fewer_steps(counts: Sequence[int], pipeline: IMAGPosePipeline) -> dict[str, Way]:
    """So many steps under the model's own guidance, which are compared with the paper's."""
    own = pipeline.config.default_guidance_scale
    guidance = "no guidance" if own == 1 else f"guidance {own:g}"
    paper = {"num_inference_steps": USUAL_STEPS, "guidance_scale": USUAL_GUIDANCE}
    return {
        f"steps: {USUAL_STEPS}, guidance {USUAL_GUIDANCE:g}": (paper, nullcontext),
        **{f"steps: {count}, {guidance}": ({"num_inference_steps": count}, nullcontext) for count in counts},
    }


def draw(
    pipeline: IMAGPosePipeline, views: list[View], seed: int, steps: int, way: Way
) -> tuple[list[np.ndarray], float]:
    """Pictures of the person's other views from its first, and processor seconds."""
    arguments, keep = way
    source, *targets = views
    begun = time.process_time()
    with keep():
        images = pipeline(
            [Image.fromarray(source.picture)], [own.pose for own in targets], [source.pose],
            generator=torch.Generator().manual_seed(seed), return_dict=False,
            **{"num_inference_steps": steps, **arguments},
        )[0]  # fmt: skip
    return [np.asarray(own) for own in images], time.process_time() - begun


def measure(
    pictures: list[np.ndarray], views: list[View], gallery: np.ndarray, owners: np.ndarray, person: int
) -> list[float]:
    """The measures of one person's pictures, as `COLUMNS`."""
    source, *targets = views
    masks = [own.foreground for own in targets]
    truths = [own.picture for own in targets]
    means = measure_pictures(pictures, truths, masks, sources=[source.picture] * len(targets))
    stack = np.stack(pictures)
    height, width = stack.shape[1:3]
    found = find_keypoints(stack)
    points = [
        pck(own, view.pose.keypoints, counted_points(view.pose.keypoints, width, height))
        for own, view in zip(found, targets, strict=True)
    ]
    ranks = first_ranks(
        embed_people(stack), np.full(len(stack), person), gallery, owners, np.zeros((len(stack), len(gallery)), bool)
    )
    ious = [mask_iou(own, mask) for own, mask in zip(find_foreground(stack), masks, strict=True)]
    return [
        means["gradient_ratio"], means.get("feature_distance_copy", np.nan), float(ranks.mean()),
        float(np.mean(ious)), float(np.nanmean(points)),
    ]  # fmt: skip


def main() -> None:
    """Print a line per way when all people are drawn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--steps", type=int, help="of the first way; default: the model's own")
    parser.add_argument("--only", default="", help="ways whose name contains this, beside the first")
    parser.add_argument("--few", type=int, nargs="+", metavar="STEPS", help="in place of these ways")
    given = parser.parse_args()
    pipeline = load_pipeline(given.model, dtype="fp32", backend="torch")
    pipeline.set_progress_bar_config(disable=True)
    steps = given.steps or pipeline.config.default_steps
    size = pipeline.config.view_height, pipeline.config.view_width
    seeds = list(islice(TEST_SEEDS, given.people))
    people = [[render_view(make_identity(seed), spec, *size) for spec in sample_view_specs(seed, 4)] for seed in seeds]
    truths = np.stack([own.picture for views in people for own in views[1:]])
    gallery, owners = embed_people(truths), np.repeat(np.arange(len(people)), [len(own) - 1 for own in people])
    known = fewer_steps(given.few, pipeline) if given.few else ways(steps, pipeline)
    chosen = {name: way for number, (name, way) in enumerate(known.items()) if number == 0 or given.only in name}
    draw(pipeline, people[0], 0, 1, ({}, nullcontext))  # what is made once
    rows: dict[str, list[list[float]]] = {name: [] for name in chosen}
    for person, views in enumerate(people):
        first: tuple[list[np.ndarray], float] | None = None
        for name, way in chosen.items():
            pictures, seconds = draw(pipeline, views, person, steps, way)
            first = first or (pictures, seconds)
            near = float(np.mean([psnr(*own) for own in zip(pictures, first[0], strict=True)]))
            rows[name].append([seconds / first[1], near, *measure(pictures, views, gallery, owners, person)])
    own_steps = "" if given.few else f"{steps} steps, "
    print(f"{given.model}, {given.people} people, 3 poses each, {own_steps}{torch.get_num_threads()} thread(s)\n")
    print_table({name: np.array(own) for name, own in rows.items()}, ["time", "PSNR to the first, dB"])


def print_table(rows: dict[str, np.ndarray], others: list[str]) -> None:
    """A line per way, the first of which is what the others are compared with.

    Args:
        rows: by way, (people, columns): what `others` names, then the measures.
        others: names of the columns before the measures; the first is of time, whose median is printed.
    """
    head = [*others, *COLUMNS]
    print("| way |", " | ".join(head), "|\n| --- |", " | ".join(["---:"] * len(head)), "|")
    base = next(iter(rows.values()))
    for name, values in rows.items():
        means, changes = values.mean(0), values - base
        error = changes.std(0, ddof=1) / len(changes) ** 0.5
        cells = [f"{np.median(values[:, 0]):.3f}", *(f"{mean:.1f}" for mean in means[1 : len(others)])]
        for column in range(len(others), len(means)):
            change = "" if values is base else f" ({changes[:, column].mean():+.3f} ± {error[column]:.3f})"
            cells.append(f"{means[column]:.3f}{change}")
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
