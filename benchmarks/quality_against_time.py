"""Quality against time per distinct picture over models, layouts of canvases, backends and steps: a table, a CSV, a plot.

python benchmarks/quality_against_time.py [MODEL ...] [--people 8] [--steps 1 2 4 8] [--only TEXT] [--out NAME]

Eight poses of each person of the test split (rendered here) from one picture of it: a canvas of T1 for each pose, three
canvases of 2x2, or one of 3x3; all ways take turns for every person. Time is the median over people of processor seconds
per picture, which other programs stretch little: with one thread the seconds of a machine that does nothing else. Programs
are exported and compiled before. Measures as in `speed_against_quality.py`; NAME.csv and NAME.png have them too. Needs the
extra `plots`, and for all columns and lines `perceptual` and `openvino`. The files are written after every person.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from PIL import Image

from imagpose.judges.identity import embed_people
from imagpose.models import exported
from imagpose.people import TEST_SEEDS, View, make_identity, render_view, sample_view_specs
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.loading import load_pipeline
from imagpose.views import ViewGrid
from speed_against_quality import COLUMNS, measure, print_table

_POSES = 8
_LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "T1": (1, {"scenario": "T1"}),
    "2x2": (_POSES, {}),
    "3x3": (_POSES, {"grid": ViewGrid(3, 3)}),
}
"""Poses of a call, and its arguments."""
_PLOTTED = {
    "features / copy": "distance in features / a copy's (lower is better)",
    "gradient energy": "gradient energy / the truth's (1 is right, lower is blurred)",
}
"""Measures, and the labels of their axes."""


@dataclass(frozen=True)
class Line:
    """What a line of the plot joins over steps.

    Attributes:
        layout: one of `_LAYOUTS`.
        precision: of the UNet; all other networks compute in float32.
        guidance: its scale; None: the model's own.
    """

    model: str
    layout: str
    backend: str
    precision: str
    guidance: float | None = None

    def __str__(self) -> str:
        scale = "" if self.guidance is None else f", guidance {self.guidance:g}"
        return f"{self.model}, {self.layout}, {self.backend}, {self.precision}{scale}"


Way = tuple[Line, int]  # and its steps


def lines_of(model: str, guidance: float) -> list[Line]:
    """The lines of a model; `guidance` is the scale of the one that differs from the model's own."""
    lines = [Line(model, layout, "torch", "fp32") for layout in _LAYOUTS]
    lines += [Line(model, "3x3", "torch", "bf16")]
    lines += [Line(model, "3x3", "openvino", precision) for precision in ("fp32", "bf16") if exported.is_installed()]
    return [*lines, Line(model, "3x3", "torch", "fp32", guidance)]


def load(line: Line) -> IMAGPosePipeline:
    """The pipeline of a line."""
    pipeline = load_pipeline(line.model, dtype="fp32", device="cpu", backend=line.backend)
    pipeline.set_progress_bar_config(disable=True)
    if line.precision == "bf16":
        pipeline.unet.to(torch.bfloat16)
    return pipeline


def draw(
    pipeline: IMAGPosePipeline, views: list[View], seed: int, line: Line, steps: int
) -> tuple[list[np.ndarray], float]:
    """Pictures of the person's other views from its first, and processor seconds per picture."""
    at_once, arguments = _LAYOUTS[line.layout]
    source, *targets = views
    pictures: list[np.ndarray] = []
    begun = time.process_time()
    for start in range(0, len(targets), at_once):
        images = pipeline(
            [Image.fromarray(source.picture)], [own.pose for own in targets[start : start + at_once]], [source.pose],
            num_inference_steps=steps, guidance_scale=line.guidance, return_dict=False,
            generator=torch.Generator().manual_seed(seed + start), **arguments,
        )[0]  # fmt: skip
        pictures += [np.asarray(own) for own in images]
    return pictures, (time.process_time() - begun) / len(targets)


def render(people: int, height: int, width: int) -> list[list[View]]:
    """Views of people of the test split: the source, then the targets."""
    return [
        [render_view(make_identity(seed), spec, height, width) for spec in sample_view_specs(seed, 1 + _POSES)]
        for seed in islice(TEST_SEEDS, people)
    ]


def measure_ways(
    ways: Sequence[Way], pipelines: Mapping[Line, IMAGPosePipeline], people: list[list[View]]
) -> Iterator[dict[Way, np.ndarray]]:
    """After each person, seconds per picture and the measures by way of all so far, (people, 1 + len(COLUMNS))."""
    for line in pipelines:
        draw(pipelines[line], people[0], 0, line, 1)  # what is made once
    gallery = embed_people(np.stack([own.picture for views in people for own in views[1:]]))
    owners = np.repeat(np.arange(len(people)), _POSES)
    rows: dict[Way, list[list[float]]] = {way: [] for way in ways}
    for person, views in enumerate(people):
        for line, steps in ways:
            pictures, seconds = draw(pipelines[line], views, person, line, steps)
            rows[line, steps].append([seconds, *measure(pictures, views, gallery, owners, person)])
        yield {way: np.array(own) for way, own in rows.items()}


def write_csv(path: Path, rows: Mapping[Way, np.ndarray]) -> None:
    """A record per way: what it is, the median of seconds, means of the measures."""
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["model", "layout", "backend", "precision", "guidance", "steps", "seconds per picture", *COLUMNS])
        for (line, steps), values in rows.items():
            numbers = [float(np.median(values[:, 0])), *values[:, 1:].mean(0).tolist()]
            guidance = "" if line.guidance is None else f"{line.guidance:g}"
            what = [line.model, line.layout, line.backend, line.precision, guidance, steps]
            out.writerow([*what, *(f"{number:.4f}" for number in numbers)])


def plot(path: Path, rows: Mapping[Way, np.ndarray], title: str) -> None:
    """A panel per measure of `_PLOTTED`: its mean against seconds per picture; steps stand at the points."""
    figure = Figure(figsize=(11, 5.5), layout="constrained", dpi=110)
    panels = figure.subplots(1, len(_PLOTTED))
    for panel, (measured, label) in zip(panels, _PLOTTED.items(), strict=True):
        column = 1 + COLUMNS.index(measured)
        for line in dict.fromkeys(line for line, _ in rows):
            own = {steps: values for (other, steps), values in rows.items() if other == line}
            points = [(np.median(values[:, 0]), values[:, column].mean()) for values in own.values()]
            drawn = panel.plot(*zip(*points, strict=True), marker="o", markersize=4, label=str(line))[0]
            for steps, point in zip(own, points, strict=True):
                panel.annotate(
                    str(steps), point, textcoords="offset points", xytext=(3, 4), fontsize=8, color=drawn.get_color()
                )
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_formatter("")
        panel.set_xlabel("processor seconds per distinct picture (logarithmic)")
        panel.set_ylabel(label)
    panels[-1].legend(fontsize=8)
    figure.suptitle(title)
    figure.savefig(path, format="png")


def main() -> None:
    """Print a row per way, and write the same as a CSV and a plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["mini"], metavar="MODEL", help="default: mini; of one size")
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--only", default="", help="lines whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("quality-against-time"), help="without .csv and .png")
    given = parser.parse_args()
    pipelines: dict[Line, IMAGPosePipeline] = {}
    for model in given.models:
        first = load(Line(model, "T1", "torch", "fp32"))
        other = 2.0 if first.config.default_guidance_scale == 1 else 1.0
        shared = {("torch", "fp32"): first}
        for line in lines_of(model, other):
            if given.only in str(line):
                key = line.backend, line.precision
                pipelines[line] = shared[key] = shared.get(key) or load(line)
    ways = [(line, steps) for line in pipelines for steps in given.steps]
    size = first.config.view_height, first.config.view_width
    for count, rows in enumerate(measure_ways(ways, pipelines, render(given.people, *size)), start=1):
        title = f"{count} people, {_POSES} poses each, {torch.get_num_threads()} thread(s)"
        write_csv(given.out.with_suffix(".csv"), rows)
        plot(given.out.with_suffix(".png"), rows, title)
    print(f"{title}\n")
    print_table({f"{line}, {steps} steps": own for (line, steps), own in rows.items()}, ["s / picture"])


if __name__ == "__main__":
    main()
