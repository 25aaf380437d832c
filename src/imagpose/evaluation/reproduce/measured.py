"""The numbers of a line: what `evaluate_model` left of a method, read back, and the seconds that a picture takes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet

from imagpose.data.dataset import PersonDataset
from imagpose.evaluation.model_pictures import answer_requests
from imagpose.evaluation.model_requests import DatasetRequest
from imagpose.evaluation.rows import METRICS, REAL, Metric, Row
from imagpose.io import error_line, read_json
from imagpose.pipeline.sampling import Sampling

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

_SHOWN = {
    "clean": ("ssim", "psnr", "lpips", "fid_train", "pck", "iou", "rank1"),
    "field": ("ssim", "lpips", "fid_train"),
}


@dataclass(frozen=True)
class Measured:
    """One line of a table.

    Attributes:
        name: of the line.
        rows: by (protocol, key), of the first samples.
        values: per column `<protocol>_<key>` the first sample's value of each pair, by the pair's name.
        facts: what else the table says of it, by column.
        people: whom each pair shows, by its name.
        dtype: number type that the pictures were generated in.
    """

    name: str
    rows: Mapping[tuple[str, str], Row]
    values: Mapping[str, Mapping[str, float]]
    facts: Mapping[str, str] = field(default_factory=dict)
    people: Mapping[str, str] = field(default_factory=dict)
    dtype: str = ""

    def value(self, protocol: str, key: str) -> float | None:
        """A mean or distance; None where it was not measured."""
        row = self.rows.get((protocol, key))
        return None if row is None else row.value


def read_measured(folder: Path, method: str, name: str, facts: Mapping[str, str] | None = None) -> Measured:
    """A method's line from the folder of an evaluation.

    Args:
        folder: `out` of `evaluate_model`.
        method: its name there: a scenario, `model.COPY`, `model.AUTOENCODER`, or another method's.
        name, facts: see `Measured`.

    Raises:
        ValueError: its files are damaged.
    """
    try:
        summary = read_json(folder / "summary.json")
        rows = [Row(**row) for row in summary["methods"][method]["rows"]]
        table = pyarrow.parquet.read_table(folder / "pairs.parquet")
        dtype: str = summary["settings"]["dtype"]
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(
            f"{folder} holds no whole evaluation ({error_line(error)}): remove it, so that it is measured again"
        ) from None
    table = table.filter(pc.and_(pc.equal(table["method"], method), pc.equal(table["sample"], 0)))
    names = table["name"].to_pylist()
    columns = [column for column in table.column_names if column.startswith(tuple(f"{own}_" for own in METRICS))]
    values: dict[str, dict[str, float]] = {}
    for column in columns:
        own = {pair: value for pair, value in zip(names, table[column].to_pylist(), strict=True) if value is not None}
        if own:
            values[column] = own
    people = dict(zip(names, table["person"].to_pylist(), strict=True))
    first = {(row.protocol, row.key): row for row in rows if row.best_of == 1}
    return Measured(name, first, values, facts or {}, people, dtype)


def real_pictures(measured: Measured) -> Measured:
    """The line of real pictures: what a perfect generator gets where a judge or a floor is involved."""
    rows = {
        (protocol, key): own
        for protocol in _SHOWN
        for key, real in REAL.items()
        if (own := measured.rows.get((protocol, real))) is not None
    }
    return Measured("real test pictures", rows, {})


def shown_metrics(lines: Sequence[Measured]) -> list[tuple[str, Metric]]:
    """Protocol and measure of the columns: those that some line has a value of."""
    return [
        (protocol, metric)
        for protocol, keys in _SHOWN.items()
        for metric in sorted((own for own in METRICS[protocol] if own.key in keys), key=lambda own: keys.index(own.key))
        if any(line.value(protocol, metric.key) is not None for line in lines)
    ]


def result_table(lines: Sequence[Measured]) -> list[list[str]]:
    """Head and lines of the table: the facts, then the measures, each named with its protocol and its direction."""
    facts = list(dict.fromkeys(fact for line in lines for fact in line.facts))
    metrics = shown_metrics(lines)
    head = ["", *facts, *(f"{metric.name}, {protocol} {'↑' if metric.higher else '↓'}" for protocol, metric in metrics)]
    body = [
        [line.name, *(line.facts.get(fact, "") for fact in facts)]
        + [value_text(line.value(protocol, metric.key)) for protocol, metric in metrics]
        for line in lines
    ]
    return [head, *body]


def absent_metrics(lines: Sequence[Measured]) -> list[str]:
    """What was not measured, and what it needs, one text per measure."""
    found: dict[str, Any] = {}
    for protocol, keys in _SHOWN.items():
        for key in keys:
            rows = [line.rows[protocol, key] for line in lines if (protocol, key) in line.rows]
            if rows and all(row.value is None for row in rows):
                found[f"{rows[0].name}, {protocol}: {(rows[0].needs or 'no value').partition(':')[0]}"] = None
    return list(found)


def value_text(value: float | None) -> str:
    """A value with as many digits as the field prints; empty for none."""
    return "" if value is None else f"{value:.4f}" if abs(value) < 2 else f"{value:.3f}"


def seconds_per_picture(
    pipeline: IMAGPosePipeline,
    requests: Mapping[str, Sequence[DatasetRequest]],
    dataset: PersonDataset,
    samplings: Sequence[Sampling],
) -> dict[tuple[str, Sampling], np.ndarray]:
    """Seconds of each call divided by the pictures it returns, one per pose.

    All settings take turns, so that what else the machine does meets them alike; a first round is not counted.

    Args:
        requests: per scenario what is asked, equally many of each; pictures in, pictures out.
        samplings: how each is sampled.

    Returns:
        Per scenario and sampling the seconds (requests,).
    """
    pipeline.set_progress_bar_config(disable=True)
    found: dict[tuple[str, Sampling], list[float]] = {}
    rounds = list(zip(*requests.values(), strict=True))
    for number, asked in enumerate([rounds[0], *rounds]):
        for request in asked:
            for sampling in samplings:
                started = time.perf_counter()
                answer_requests(pipeline, [request], dataset, 0, sampling)
                seconds = (time.perf_counter() - started) / len(request.poses)
                if number:
                    found.setdefault((request.scenario, sampling), []).append(seconds)
    return {setting: np.array(seconds) for setting, seconds in found.items()}
