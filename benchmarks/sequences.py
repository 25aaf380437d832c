"""Films against independent pictures: flicker, nearness to the truth, identity and time, on rendered people who move.

A person of the test split goes from one motion to the next before a fixed camera; the model sees one other view of the
person. Flicker is the mean absolute change between successive frames in the box of the person, minus the truth's: what
moves although nothing does. Prints the table of docs/sequences.md and writes strips of frames, <person>.png, one of which
that page shows. Results lie in `--out`, and a stopped run goes on there.

    python benchmarks/sequences.py --people 3 --frames 32 --steps 4 --out sequences
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from PIL import Image

from imagpose.io import read_json, write_json
from imagpose.judges.identity import embed_people, first_ranks
from imagpose.metrics.pixels import psnr
from imagpose.outputs import claim_folder
from imagpose.people import interpolate_motions, make_identity, render_view, sample_motion, sample_view_specs
from imagpose.people.scene import View
from imagpose.people.splits import TEST_SEEDS
from imagpose.pictures import load_picture
from imagpose.pipeline.loading import load_pipeline
from imagpose.pipeline.sampling import Sampling
from imagpose.serving.animate import draw_frames
from imagpose.serving.drawn import draw_poses
from imagpose.serving.film_places import FilmPlaces
from imagpose.serving.framing import Framed
from imagpose.serving.sequences import PreparedSequence
from imagpose.serving.settings import AnimateSettings, GenerateSettings

MOTIONS = ("walk", "out", "wave", "contrapposto")
GALLERY = 60  # people, two views each
COLUMNS = ("flicker", "psnr", "first quarter", "last quarter", "rank-1", "CPU s a frame")
Draw = Callable[..., list[Image.Image]]


def film(seed: int, frames: int, size: tuple[int, int]) -> tuple[View, list[View]]:
    """A source, and the truth of a person's film."""
    person = make_identity(seed)
    spec, other = sample_view_specs(seed, 2)
    rng = np.random.default_rng([seed, 0xF11])
    motions = [sample_motion(rng, (kind,)) for kind in MOTIONS]
    still = [render_view(person, spec, *size, motion=motion) for motion in motions]
    camera = min((view.projection for view in still), key=lambda own: own.focal)  # from which the widest motion is seen
    views = []
    for place in np.linspace(0, len(motions) - 1, frames):
        first = min(int(place), len(motions) - 2)
        share = 0.5 - 0.5 * np.cos(np.pi * (place - first))  # at rest where one motion ends and the next begins
        between = interpolate_motions(person, motions[first], motions[first + 1], float(share))
        views.append(render_view(person, spec, *size, motion=between, projection=camera))
    return render_view(person, other, *size), views


def independent(own_seeds: bool) -> Draw:
    """Each frame alone, by T1; with noise of its own, or the same for all."""

    def draw(pipeline: Any, source: Framed, truth: list[View], drawing: GenerateSettings, size: tuple[int, int]) -> Any:
        alone = replace(drawing, scenario="T1", grid="2x2")
        pictures = []
        for number, view in enumerate(truth):
            generator = torch.Generator().manual_seed(drawing.sampling.seed + number * own_seeds)
            pictures += draw_poses(
                pipeline, [source.picture], [source.pose], [view.pose], alone, generator, size, None
            )  # fmt: skip
        return pictures

    return draw


def animated(grid: str, overlap: int) -> Draw:
    """What `imagpose animate` draws."""

    def draw(pipeline: Any, source: Framed, truth: list[View], drawing: GenerateSettings, size: tuple[int, int]) -> Any:
        sequence = PreparedSequence([view.pose for view in truth], list(range(len(truth))), len(truth), {})
        settings = AnimateSettings(overlap=overlap, drawing=replace(drawing, grid=grid))
        with tempfile.TemporaryDirectory() as folder:
            places = FilmPlaces(Path(folder))
            draw_frames(pipeline, [source], sequence, settings, size, places)
            return [load_picture(places.frame(number)) for number in range(len(truth))]

    return draw


METHODS: dict[str, Draw] = {
    "independent (T1), noise of its own": independent(True),
    "independent (T1), one noise": independent(False),
    **{
        f"animate, {grid}, overlap {overlap}": animated(grid, overlap)
        for grid, overlap in (("2x2", 0), ("2x2", 1), ("3x3", 0), ("3x3", 1), ("3x3", 2))
    },
}

SHOWN = ("truth", *list(METHODS)[:2], "animate, 2x2, overlap 1", "animate, 3x3, overlap 1")
COLUMNS_SHOWN = 12


def changes(pictures: list[np.ndarray], box: tuple[slice, slice]) -> float:
    """Mean absolute change between successive frames in a box, levels of 255."""
    return float(np.abs(np.diff(np.stack([own[box].astype(np.float64) for own in pictures]), axis=0)).mean())


def person_box(truth: list[View]) -> tuple[slice, slice]:
    """Rows and columns in which the person is in any frame."""
    rows, columns = np.nonzero(np.any([view.foreground for view in truth], axis=0))
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


def gallery(size: tuple[int, int], people: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of two views of `GALLERY` people, the measured ones among them, and whose they are."""
    others = (seed for seed in TEST_SEEDS if seed not in people)
    owners = [*people, *islice(others, GALLERY - len(people))]
    views = [
        render_view(make_identity(seed), spec, *size).picture
        for seed in owners
        for spec in sample_view_specs(seed, 4)[2:]
    ]
    return embed_people(np.stack(views)), np.repeat(owners, 2)


def measure(
    pictures: list[np.ndarray], truth: list[View], seed: int, known: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Of the frames of one film."""
    box, quarter = person_box(truth), max(1, len(truth) // 4)
    near = [psnr(own, view.picture, view.foreground) for own, view in zip(pictures, truth, strict=True)]
    vectors, owners = known
    left_out = np.zeros((len(pictures), len(owners)), bool)
    ranks = first_ranks(embed_people(np.stack(pictures)), np.full(len(pictures), seed), vectors, owners, left_out)
    return {
        "flicker": changes(pictures, box) - changes([view.picture for view in truth], box),
        "psnr": float(np.mean(near)),
        "first quarter": float(np.mean(near[:quarter])),
        "last quarter": float(np.mean(near[-quarter:])),
        "rank-1": float(ranks.mean()),
    }


def strip(films: dict[str, list[np.ndarray]]) -> Image.Image:
    """Some frames of the films of `SHOWN`, a film a row, at half their size."""
    chosen = np.linspace(0, len(films["truth"]) - 1, COLUMNS_SHOWN).round().astype(int)
    rows = [np.concatenate([films[name][own] for own in chosen], 1) for name in SHOWN]
    return Image.fromarray(np.concatenate(rows)).reduce(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("sequences"))
    options = parser.parse_args()
    claim_folder(options.out, {"model": options.model, "frames": options.frames, "steps": options.steps})
    pipeline = load_pipeline(options.model)
    size = pipeline.config.view_height, pipeline.config.view_width
    pipeline.set_progress_bar_config(disable=True)
    drawing = GenerateSettings(crop=False, retarget=False, sampling=Sampling(steps=options.steps))
    people = list(islice(TEST_SEEDS, 20, 20 + options.people))
    known = gallery(size, people)
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in people:
        source, truth = film(seed, options.frames, size)
        framed = Framed(Image.fromarray(source.picture), source.pose, None, None, "given")
        films = {"truth": [view.picture for view in truth]}
        own = measure(films["truth"], truth, seed, known)
        rows.setdefault("truth", []).append({**own, COLUMNS[-1]: float("nan")})
        for number, (name, draw) in enumerate(METHODS.items()):
            stored = options.out / f"{seed}-{number}.json"
            if not stored.is_file():
                started = time.process_time()
                pictures = [np.asarray(own) for own in draw(pipeline, framed, truth, drawing, size)]
                seconds = (time.process_time() - started) / len(truth)
                np.save(stored.with_suffix(".npy"), np.stack(pictures))
                write_json(stored, {**measure(pictures, truth, seed, known), COLUMNS[-1]: seconds})
            rows.setdefault(name, []).append(read_json(stored))
            films[name] = list(np.load(stored.with_suffix(".npy")))
        strip(films).save(options.out / f"{seed}.png")
    print(f"{options.model}, {options.people} people, {options.frames} frames, {options.steps} steps")
    print("| |", " | ".join(COLUMNS), "|\n|", " | ".join(["---"] * (len(COLUMNS) + 1)), "|")
    for name, row in rows.items():
        values = [float(np.mean([own[column] for own in row])) for column in COLUMNS]
        print(f"| {name} |", " | ".join("" if np.isnan(value) else f"{value:.2f}" for value in values), "|")
    print(
        json.dumps({"of each person": {name: [round(own["flicker"], 2) for own in row] for name, row in rows.items()}})
    )


if __name__ == "__main__":
    main()
