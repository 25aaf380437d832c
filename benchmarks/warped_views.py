"""How near warped views are to the truth, and what keeps them from it: held-out rendered people, one view moved into others.

    python benchmarks/warped_views.py --people 40

Prints the table of docs/models.md, and the time of a source and of a target. No denoiser is asked. The rows below the
network's have in its place, each by itself and together, what the renderer knows: the flow and what is visible, the outline,
the colours of what the source hides. What such a row gains is what that part of the network still loses.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from imagpose.metrics.pictures import measure_pictures
from imagpose.models.appearance_flow import FoundFlow, load_appearance_flow
from imagpose.people import VALIDATION_SEEDS, View, iterate_views
from imagpose.pipeline.warping import WarpSource, lay_person, warp
from imagpose.training.flow_examples import Example, FlowView, inputs_of, make_example

HEIGHT, WIDTH, TARGETS = 256, 176, 3
COLUMNS = {
    "psnr_mask": "PSNR in the mask, dB",
    "gradient_ratio": "gradient",
    "detail_correlation": "detail",
    "colour_error": "colour error, dE",
    "feature_distance_copy": "features, of copying",
}
SURE = 10.0  # logit
TRUE = (
    ("flow",),
    ("outline",),
    ("colours",),
    ("flow", "outline"),
    ("outline", "colours"),
    ("flow", "outline", "colours"),
)


def with_truth(found: FoundFlow, truth: Example, names: tuple[str, ...]) -> FoundFlow:
    """What was found of a pair, with what the renderer knows in place of some of it."""
    seen = truth["visible"] > 0.5
    if "flow" in names:
        flow = torch.where(seen[:, None], truth["true_flow"], found.flow)
        found = replace(found, flow=flow, visibility=torch.where(seen, SURE, -SURE))
    if "outline" in names:
        found = replace(found, outline=torch.logit(truth["coverage"], eps=0.01))
    if "colours" in names:
        found = replace(found, painted=truth["target_pixels"], kept=torch.full_like(found.kept, -SURE))
    return found


def pairs(people: int) -> Iterator[tuple[View, View]]:
    """First views and others of the same person."""
    for _, (first, *targets) in iterate_views(VALIDATION_SEEDS[:people], 1 + TARGETS, HEIGHT, WIDTH, workers=1):
        yield from ((first, target) for target in targets)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=40)
    people = parser.parse_args().people
    outputs: dict[str, list[np.ndarray]] = {}
    copied, truths, shown = [], [], []
    seconds = {"source": 0.0, "target": 0.0}
    for first, target in pairs(people):
        begun = time.perf_counter()
        source = WarpSource.of(first.picture, first.pose)
        prepared = time.perf_counter()
        views = FlowView.of(first, "first"), FlowView.of(target, "target")
        assert source is not None and views[0] is not None and views[1] is not None
        example = make_example(views[0], views[1])
        assert example is not None
        asked = time.perf_counter()
        moved = {"warped": warp([source], target.pose)}
        seconds["target"] += time.perf_counter() - asked
        seconds["source"] += prepared - begun
        found = load_appearance_flow()(inputs_of(example))
        for names in TRUE:
            known = with_truth(found, example, names)
            moved[f"with the true {' and '.join(names)}"] = lay_person([known], [first.picture], source.ground)
        for name, picture in ({"the source, copied": first.picture} | moved).items():
            assert picture is not None
            outputs.setdefault(name, []).append(picture)
        copied.append(first.picture)
        truths.append(target)
        shown.append(float(example["visible"].sum() / example["coverage"].sum()))
    pictures = [view.picture for view in truths]
    parts = [view.parts for view in truths if view.parts is not None]
    beside = [view.foreground for view in truths], parts, copied
    print(f"{len(truths)} views of {people} people, {HEIGHT}x{WIDTH}; their sources show {np.mean(shown):.2f} of them")
    print("| | " + " | ".join(COLUMNS.values()) + " |\n" + "| --- " * (len(COLUMNS) + 1) + "|")
    for name, own in outputs.items():
        measures = measure_pictures(own, pictures, *beside)
        cells = [f"{measures[key]:.3f}" if key in measures else "-" for key in COLUMNS]
        print(f"| {name} | " + " | ".join(cells) + " |")
    for name, number in seconds.items():
        print(f"{1000 * number / len(truths):.1f} ms a {name}")


if __name__ == "__main__":
    main()
