"""Whether anchors make many poses of one person look like one person: identity distances among outputs, with and without.

Rendered people of the test split, one source each, poses of the library. Prints the table of docs/your-own-photo.md.

    python benchmarks/anchors.py --people 4 --poses 9 --steps 8
"""

from __future__ import annotations

import argparse
import os
from itertools import combinations, islice
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from PIL import Image

from imagpose.judges.identity import embed_people
from imagpose.people import make_identity, render_view, sample_view_specs
from imagpose.people.splits import TEST_SEEDS
from imagpose.pipeline.loading import load_pipeline
from imagpose.pose.library import library
from imagpose.serving.generate import generate

COLUMNS = {
    "distance": "distance among outputs",
    "across": "of outputs on different canvases",
    "pose": "pose (PCK@0.1)",
    "likeness": "likeness",
    "sharpness": "sharpness",
}


def measure(images: list[Image.Image], record: dict[str, Any], first: int) -> dict[str, float]:
    """Means over the pictures of one person; `first` stand on the first canvas."""
    vectors = embed_people(np.stack([np.asarray(own) for own in images]))
    pairs = {pair: 1 - float(vectors[pair[0]] @ vectors[pair[1]]) for pair in combinations(range(len(images)), 2)}
    scores = [own["scores"] for own in record["outputs"]]
    return {
        "distance": float(np.mean(list(pairs.values()))),
        "across": float(np.mean([value for (one, other), value in pairs.items() if one < first <= other])),
        **{name: float(np.mean([own[name] for own in scores])) for name in ("pose", "likeness", "sharpness")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--poses", type=int, default=9, help="of the library, spread over its groups")
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    pipeline = load_pipeline(options.model)
    pipeline.set_progress_bar_config(disable=True)
    size = pipeline.config.view_height, pipeline.config.view_width
    names = [name for name, own in library().items() if own.pose.inside[[10, 13]].all()]
    chosen = [names[index] for index in np.linspace(0, len(names) - 1, options.poses).round().astype(int)]
    rows: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for seed in islice(TEST_SEEDS, options.people):
        (spec,) = sample_view_specs(seed, 1)
        view = render_view(make_identity(seed), spec, *size)
        for anchor, row in rows.items():
            source = Image.fromarray(view.picture)
            done = generate(
                source, chosen, view.pose, model=pipeline, steps=options.steps, anchor=anchor, crop=False, seed=seed
            )
            row.append(measure(done.images, done.record, first=3))
    print(f"{options.model}, {options.people} people, {options.poses} poses, {options.steps} steps")
    print("| |", " | ".join(COLUMNS.values()), "|\n|", " | ".join(["---"] * (len(COLUMNS) + 1)), "|")
    for anchor, row in rows.items():
        values = (np.mean([own[name] for own in row]) for name in COLUMNS)
        print("| with anchors |" if anchor else "| without |", " | ".join(f"{value:.3f}" for value in values), "|")
    changes = np.array(
        [[one[name] - other[name] for name in COLUMNS] for one, other in zip(rows[True], rows[False], strict=True)]
    )
    error = changes.std(0, ddof=1) / len(changes) ** 0.5
    spread = (f"{mean:+.3f} ± {own:.3f}" for mean, own in zip(changes.mean(0), error, strict=True))
    print("| change, ± its standard error |", " | ".join(spread), "|")


if __name__ == "__main__":
    main()
