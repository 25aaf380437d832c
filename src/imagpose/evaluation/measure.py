"""All measures of pairs of pictures on disk: values per pair, then the rows of each protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from imagpose.evaluation.folders import ComparedPair
from imagpose.evaluation.judging import JudgedPairs, judge_pairs
from imagpose.evaluation.networks import Needs, Network, Networks, feature_values, lpips_values, set_features
from imagpose.evaluation.pixel_values import CLEAN_PIXELS, FIELD_PIXELS, clean_pixels, field_pixels
from imagpose.evaluation.rows import METRICS, PROTOCOLS, REAL, Metric, Row, distance_row, mean_row
from imagpose.evaluation.store import Files, ValueStore
from imagpose.metrics.frechet import frechet_distance, gaussian

_VERSION = "2"  # of what is computed, for the values that are kept
_PIXEL_PART = 32
# Which set is held against which.
_SETS = {
    "fid_train": ("generated", "train"), "fid_real": ("reference", "train"), "fid_reference": ("generated", "reference"),
}  # fmt: skip
_Values = dict[str, "np.ndarray | Needs"]
_UNKNOWN = Needs("needs the source of each pair and masks: imagpose evaluate model")


@dataclass(frozen=True)
class Measures:
    """What was measured of pairs.

    Attributes:
        rows: of the protocols; the first samples, then, where there are several, the best by SSIM.
        values: per column `<protocol>_<measure>`, (pairs, samples), NaN where a pair has none.
        styles: rows of the first samples of each style; empty where the pairs do not have several.
    """

    rows: list[Row]
    values: dict[str, np.ndarray]
    styles: dict[str, list[Row]]


@dataclass(frozen=True)
class MeasureSettings:
    """How pictures are measured.

    Attributes:
        protocols: "clean", "field" or both.
        workers: processes for work on pixels; None for one per core.
        networks: of published metrics; None: those found on this machine.
        detect: a detector of poses, which measures them in photographs too, see `open_judged_views`.
        identity_network: a vision transformer that judges identity in place of the shipped judge, see `recognition`.

    Raises:
        ValueError: an unknown or repeated protocol, or no worker.
    """

    protocols: Sequence[str] = PROTOCOLS
    workers: int | None = None
    networks: Networks | None = None
    detect: str | None = None
    identity_network: str | None = None

    def __post_init__(self) -> None:
        known = [protocol for protocol in dict.fromkeys(self.protocols) if protocol in PROTOCOLS]
        if not known or len(known) < len(self.protocols):
            raise ValueError(f"protocol is {','.join(self.protocols)!r}; clean, field or clean,field expected")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers is {self.workers}; at least 1 expected")


@dataclass(frozen=True)
class Yardstick:
    """What pairs are measured with and against, whoever made them.

    Attributes:
        protocols: "clean", "field" or both.
        store: where values are kept.
        networks: of published metrics.
        sizes: (width, height) of the references.
        train: training pictures; None where there are none.
    """

    protocols: Sequence[str]
    store: ValueStore
    networks: Networks
    sizes: set[tuple[int, int]]
    train: Sequence[Path] | None


def measure_pairs(pairs: Sequence[ComparedPair], judged: JudgedPairs | Needs, yardstick: Yardstick) -> Measures:
    """The rows of the protocols, and the values behind them.

    Args:
        pairs: all with equally many samples.
        judged: which views of a data set the pairs are of, or what the clean protocol's judges need.

    Raises:
        ValueError: damaged pictures, masks that mark nothing.
    """
    styles = sorted({pair.style for pair in pairs if pair.style is not None})
    measures = Measures([], {}, {style: [] for style in styles if len(styles) > 1})
    for protocol in yardstick.protocols:
        job = _Job(protocol, pairs, judged, yardstick)
        values = job.pair_values()
        measures.rows.extend(job.rows(values))
        for style, rows in measures.styles.items():
            rows += job.mean_rows(values, np.array([pair.style == style for pair in pairs]))
        measures.values.update({f"{protocol}_{key}": own for key, own in values.items() if not isinstance(own, Needs)})
    return measures


@dataclass(frozen=True)
class _Job:
    """One protocol's measures of the pairs.

    Attributes:
        gaussians: those of the sets of pictures that have been asked for.
    """

    protocol: str
    pairs: Sequence[ComparedPair]
    judged: JudgedPairs | Needs
    yardstick: Yardstick
    gaussians: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def pair_values(self) -> _Values:
        """Per measure, values (pairs, samples), or what it needs."""
        items: list[Files] = [(sample, pair.reference) for pair in self.pairs for sample in pair.samples]
        masked: list[Files] = [
            (sample, pair.reference, pair.mask, pair.parts) for pair in self.pairs for sample in pair.samples
        ]
        clean = self.protocol == "clean"
        keys: tuple[str, ...] = CLEAN_PIXELS if clean else FIELD_PIXELS
        work, files = (clean_pixels, masked) if clean else (field_pixels, items)
        pixels = self.yardstick.store.values(
            f"{self.protocol}-pixels {_VERSION}", files, _PIXEL_PART, work, shared=True
        )
        shape = len(self.pairs), len(self.pairs[0].samples)
        values: _Values = {key: pixels[:, column].reshape(shape) for column, key in enumerate(keys)}
        if clean:
            values |= judge_pairs(self.pairs, self.judged, self.yardstick.store) | self._feature_values()
        network = self.yardstick.networks.lpips
        if isinstance(network, Needs):
            return values | {"lpips": network}
        distances = lpips_values(self.yardstick.store, self.protocol, items, network)
        return values | {"lpips": distances.reshape(shape)}

    def _feature_values(self) -> _Values:
        """Distances in a network's features: of the samples, of the copied source, of the reconstruction."""
        network = self.yardstick.networks.features
        made: list[list[Files]] = [[(own, pair.reference, pair.mask) for own in pair.samples] for pair in self.pairs]
        copied: list[list[Files]] = [
            [(pair.source, pair.reference, pair.mask)] * len(pair.samples) for pair in self.pairs
        ]
        decoded: list[list[Files]] = [
            [(pair.reconstruction, pair.reference, pair.mask)] * len(pair.samples) for pair in self.pairs
        ]
        columns = {"features": made, "features_copy": copied, "features_autoencoder": decoded}
        distinct: list[Files] = [item for item in dict.fromkeys(chain(*made, *copied, *decoded)) if None not in item]
        if isinstance(network, Needs) or not any(None not in item for item in chain(*copied)):
            return {"features": network if isinstance(network, Needs) else _UNKNOWN}
        found = dict(zip(distinct, feature_values(self.yardstick.store, distinct, network), strict=True))
        return {
            name: np.array([[found.get(item, np.nan) for item in own] for own in items])
            for name, items in columns.items()
        }

    def rows(self, values: _Values) -> list[Row]:
        """The rows of the first samples, then, where there are several, of the best by SSIM."""
        samples = len(self.pairs[0].samples)
        rows = self._rows_of(values, np.zeros(len(self.pairs), int), 1)
        if samples > 1:
            rows += self._rows_of(values, np.asarray(values["ssim"]).argmax(1), samples)
        return rows

    def _rows_of(self, values: _Values, chosen: np.ndarray, best_of: int) -> list[Row]:
        """The rows of one chosen sample per pair."""
        rows = self._mean_rows(values, np.arange(len(self.pairs)), chosen, best_of)
        generated = [pair.samples[number] for pair, number in zip(self.pairs, chosen, strict=True)]
        for metric in METRICS[self.protocol]:
            if metric.key in _SETS and not (best_of > 1 and metric.key in REAL.values()):
                rows.append(self._distance(metric, generated, best_of))
        place = {metric.key: number for number, metric in enumerate(METRICS[self.protocol])}
        return sorted(rows, key=lambda row: place[row.key])

    def mean_rows(self, values: _Values, which: np.ndarray) -> list[Row]:
        """The rows of means of some pairs' first samples; `which` is bool (pairs,)."""
        numbers = np.flatnonzero(which)
        return self._mean_rows(values, numbers, np.zeros(len(numbers), int), 1)

    def _mean_rows(self, values: _Values, numbers: np.ndarray, chosen: np.ndarray, best_of: int) -> list[Row]:
        """The rows of means and of ratios of means, of the chosen sample of the pairs of these numbers."""
        shown = np.array([pair.person or "" for pair in self.pairs])[numbers]
        people = shown if all(shown) else None

        def own(key: str) -> np.ndarray | Needs:
            value = values[key]
            return value if isinstance(value, Needs) else value[numbers, chosen]

        rows = []
        for metric in METRICS[self.protocol]:
            top, bottom = metric.ratio or (metric.key, None)
            if top in values and not (best_of > 1 and metric.key in REAL.values()):
                over = None if bottom is None else own(bottom if bottom in values else top)  # both are absent then
                rows.append(mean_row(self.protocol, metric, own(top), best_of, people, over))
        return rows

    def _distance(self, metric: Metric, generated: list[Path], best_of: int) -> Row:
        """The distance between two sets, or what it needs."""
        sets: dict[str, Sequence[Path] | None]
        sets = {
            "generated": generated,
            "reference": [pair.reference for pair in self.pairs],
            "train": self.yardstick.train,
        }
        files = [sets[role] for role in _SETS[metric.key]]
        count = metric.counted(len(files[0] or ()))
        needs = self._needs(files)
        if needs:
            return distance_row(self.protocol, metric, needs, count, best_of)
        one, other = (self._gaussian(metric, role, sets[role] or [], best_of) for role in _SETS[metric.key])
        return distance_row(self.protocol, metric, frechet_distance(one, other), count, best_of)

    def _needs(self, files: Sequence[Sequence[Path] | None]) -> Needs | None:
        network = self._network()
        if isinstance(network, Needs):
            return network
        if None in files:
            return Needs("needs the training pictures (--train)")
        if any(len(own or ()) < 2 for own in files):
            return Needs("needs at least 2 pictures in each set")
        if self.protocol == "field" and len(self.yardstick.sizes) > 1:
            return Needs("needs references of one size")
        return None

    def _gaussian(
        self, metric: Metric, role: str, files: Sequence[Path], best_of: int
    ) -> tuple[np.ndarray, np.ndarray]:
        key = role, best_of if role == "generated" else 1
        if key not in self.gaussians:
            network = self._network()
            assert not isinstance(network, Needs)
            counted = sorted(files)[: metric.counted(len(files))]
            features = set_features(
                self.yardstick.store, self.protocol, counted, network, next(iter(self.yardstick.sizes))
            )
            self.gaussians[key] = gaussian(features)
        return self.gaussians[key]

    def _network(self) -> Network | Needs:
        return self.yardstick.networks.fid if self.protocol == "clean" else self.yardstick.networks.field_inception
