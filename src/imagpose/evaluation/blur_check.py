"""What every measure gives on real pictures, and on real pictures that were blurred, or halved and enlarged again.

Behind `imagpose evaluate judges`. A measure that does not fall there says nothing of sharpness, and a value that a model
reaches without it, a blur reaches too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from scipy.ndimage import gaussian_filter

from imagpose.data.dataset import PersonDataset
from imagpose.data.info import read_info
from imagpose.data.records import ViewRecord
from imagpose.evaluation.judging import SPLIT, judge_views
from imagpose.evaluation.networks import Needs, find_efficientnet
from imagpose.evaluation.report import markdown_table
from imagpose.io import write_json
from imagpose.judges.identity import first_ranks
from imagpose.metrics.colour import part_colour_errors
from imagpose.metrics.detail import detail_correlation, gradient_energy
from imagpose.metrics.pixels import psnr, ssim
from imagpose.metrics.statistics import Interval, bootstrap_ratio
from imagpose.outputs import check_new_file
from imagpose.pixels import bytes_to_signed

_Alter = Callable[[np.ndarray], np.ndarray]
_NAMES = (
    "PCK@0.1", "OKS", "silhouette IoU", "identity rank-1", "gradient energy", "detail correlation", "features / copying",
    "colour error", "PSNR in the mask, dB", "SSIM in the mask",
)  # fmt: skip
_RATIOS = {"gradient energy": "gradient energy of the truth", "features / copying": "features of a copy"}


def blur(picture: np.ndarray, sigma: float) -> np.ndarray:
    """A picture uint8 (H, W, 3) under a Gaussian; edges reflected."""
    blurred: np.ndarray = gaussian_filter(picture.astype(np.float64), (sigma, sigma, 0)).round().astype(np.uint8)
    return blurred


def halve(picture: np.ndarray) -> np.ndarray:
    """A picture uint8 (H, W, 3) reduced to half its sides (mean over areas) and enlarged again (bicubic)."""
    own = Image.fromarray(picture)
    small = own.resize((max(1, own.width // 2), max(1, own.height // 2)), Image.Resampling.BOX)
    return np.asarray(small.resize(own.size, Image.Resampling.BICUBIC))


ALTERED: dict[str, _Alter] = {"truth": lambda own: own, "blurred, sigma 1.5": partial(blur, sigma=1.5), "halved": halve}


def check_measures(data: Path | str, people: int = 100, out: Path | None = None, overwrite: bool = False) -> str:
    """Measures the test people of a data set as they are, blurred and halved, all views of each.

    Rank-1 searches each view among all other views of these people; features are compared with those of the person's
    next view in its place.

    Args:
        data: made by `imagpose prepare people`, with a split "test".
        people: how many of its people, the first ones.
        out: JSON file for the numbers, if given.
        overwrite: replace that file if it exists.

    Returns:
        The table, Markdown: a line per measure, with 95 % intervals over people.

    Raises:
        FileNotFoundError, ValueError: no such data set, none of rendered people, or people of a single view; `out` exists.
    """
    if out is not None:
        check_new_file(out, overwrite)
    if people < 2:
        raise ValueError(f"people is {people}; at least 2 expected, so that one can be taken for another")
    if read_info(data).settings.get("command") != "people":
        raise ValueError(f"{data} shows no rendered people; the judges know no others (imagpose prepare people)")
    dataset = PersonDataset(data, SPLIT, min_views=2)
    shown = dataset.identities[:people]
    values: dict[str, dict[str, list[float]]] = {name: {} for name in ALTERED}
    found: dict[str, list[np.ndarray]] = {name: [] for name in ALTERED}
    owners: list[str] = []
    for identity in track(shown, "people", console=Console(stderr=True)):
        records = dataset.views(identity)
        owners += [identity] * len(records)
        for name, alter in ALTERED.items():
            rows, embeddings = _measure(records, alter)
            found[name].append(embeddings)
            for key, own in rows.items():
                values[name].setdefault(key, []).extend(own)
    people_of, gallery = np.array(owners), np.concatenate(found["truth"])
    for name, own_values in values.items():
        ranks = first_ranks(
            np.concatenate(found[name]), people_of, gallery, people_of, np.eye(len(gallery), dtype=bool)
        )
        own_values["identity rank-1"] = ranks.astype(float).tolist()
    intervals = {name: _intervals(own, people_of) for name, own in values.items()}
    if out is not None:
        numbers = {name: {key: asdict(value) for key, value in own.items()} for name, own in intervals.items()}
        summary = {"data": str(data), "people": len(shown), "views": len(owners), "measures": numbers}
        write_json(out, summary)
    return f"{len(owners):,} views of {len(shown):,} people\n\n{_table(intervals)}"


def _measure(records: Sequence[ViewRecord], alter: _Alter) -> tuple[dict[str, list[float]], np.ndarray]:
    """Values of one person's altered views by measure, and what the identity network makes of them."""
    truths = [np.asarray(record.decode()) for record in records]
    altered = [alter(truth) for truth in truths]
    judged = judge_views(altered, records)
    rows = {name: judged[:, column].tolist() for column, name in enumerate(_NAMES[:3])}
    for picture, truth, record in zip(altered, truths, records, strict=True):
        for name, value in _pixel_values(picture, truth, record):
            rows.setdefault(name, []).append(value)
    network = find_efficientnet()
    if not isinstance(network, Needs) and len({truth.shape for truth in truths}) == 1:
        masks = torch.from_numpy(np.stack([mask for record in records if (mask := record.foreground()) is not None]))
        stacks = (altered, truths[1:] + truths[:1], truths)
        made, copies, pixels = (bytes_to_signed(np.stack(own)) for own in stacks)
        rows["features / copying"] = network.run(made, pixels, masks).tolist()
        rows["features of a copy"] = network.run(copies, pixels, masks).tolist()
    return rows, judged[:, 3:]


def _pixel_values(picture: np.ndarray, truth: np.ndarray, record: ViewRecord) -> Iterator[tuple[str, float]]:
    mask, parts = record.foreground(), record.part_map()
    assert mask is not None  # rendered people have one
    yield "gradient energy", gradient_energy(picture, mask)
    yield "gradient energy of the truth", gradient_energy(truth, mask)
    yield "detail correlation", detail_correlation(picture, truth, mask)
    errors = [] if parts is None else list(part_colour_errors(picture, truth, parts).values())
    yield "colour error", float(np.mean(errors)) if errors else np.nan
    yield "PSNR in the mask, dB", psnr(picture, truth, mask)
    yield "SSIM in the mask", ssim(picture, truth, mask)


def _intervals(values: dict[str, list[float]], people: np.ndarray) -> dict[str, Interval]:
    """Per measure its mean, or the ratio of two; what no view has a value of is left out."""
    found = {}
    for name in _NAMES:
        own = np.array(values.get(name, [np.nan] * len(people)))
        over = np.array(values[_RATIOS[name]]) if name in values and name in _RATIOS else np.ones(len(people))
        known = ~np.isnan(own) & ~np.isnan(over)
        if known.any():
            found[name] = bootstrap_ratio(own[known], over[known], people=people[known])
    return found


def _table(intervals: dict[str, dict[str, Interval]]) -> str:
    lines = [
        [name, *(f"{own[name].mean:.3f} [{own[name].low:.3f}, {own[name].high:.3f}]" for own in intervals.values())]
        for name in _NAMES
        if name in intervals["truth"]
    ]
    return markdown_table(["measure", *intervals], lines)
