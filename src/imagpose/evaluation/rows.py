"""What each protocol measures, under which name, and the row that each measure gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imagpose.evaluation.networks import Needs
from imagpose.evaluation.pixel_values import BODY_PARTS
from imagpose.metrics.statistics import bootstrap_mean, bootstrap_ratio

PROTOCOLS = ("clean", "field")


@dataclass(frozen=True)
class Metric:
    """A measure of one protocol.

    Attributes:
        key: its name in `pairs.parquet` (after the protocol's) and in `summary.json`.
        name: as shown.
        higher: whether higher is better.
        definition: what decides its value.
        absent: what it needs where no pair has a value.
        batch: the field drops what does not fill a batch of so many pictures; 1 where all are counted.
        ratio: of a measure that is the ratio of two means: the names of their values.
        of_person: whether it is shown with those of the person alone.
    """

    key: str
    name: str
    higher: bool
    definition: str
    absent: str = ""
    batch: int = 1
    ratio: tuple[str, str] | None = None
    of_person: bool = False

    def counted(self, pictures: int) -> int:
        """How many of so many pictures are counted."""
        return pictures if pictures < self.batch else pictures // self.batch * self.batch


_FID = "pytorch-fid's network, TensorFlow's resize"
_FIELD_FID = "torchvision's ImageNet Inception, its input in the wrong range; whole batches of 128"
_FLOOR = "what real pictures get: "
_JUDGE = "what the judge makes of real pictures: "
_MASKS = "needs masks of the references (--masks)"
_NO_PARTS = "needs part maps of the references: a data set of imagpose prepare people"
_NO_PART = "needs part maps that show it on 100 pixels"
_NO_SOURCE = "needs the source of each pair and masks: imagpose evaluate model"
_GRADIENT = "mean gradient of the luma in the mask, output over truth: 1 is right, less is blurred"
_DETAIL = "luma between Gaussians of 1 and 4 pixels, correlation with the truth in the mask"
_FEATURES = "EfficientNet-lite0, 4 stages, in the mask; mean over that of "
_COLOUR = "CIE 1976 difference of mean colours in the truth's parts of 100 pixels or more; mean over parts"
_RELATIVE = "over what the judge makes of real pictures"
_PCK = "asked key points found again within 0.1 of the longer side of their box"
_OKS = "COCO's sigmas without the neck, area: the person's mask"
_IOU = "silhouette found in the picture, renderer's mask"
_RANK1 = (
    "whether the nearest real view of all test people, ground cut out, shows the right one; without target and sources"
)
_RANK1_OPEN = "the same, only the target left out of the gallery"
_OTHERS = "needs people of more views"


def _of_person(
    key: str, name: str, higher: bool, definition: str, absent: str, ratio: tuple[str, str] | None = None
) -> Metric:
    return Metric(key, name, higher, definition, absent, ratio=ratio, of_person=True)


_OF_PERSON = (
    _of_person("gradient_ratio", "gradient energy", True, _GRADIENT, _MASKS, ("gradient", "gradient_real")),
    _of_person("detail", "detail correlation", True, _DETAIL, _MASKS),
    _of_person(
        "features_over_copy", "features / copying", False, _FEATURES + "the source in its place", _NO_SOURCE,
        ("features", "features_copy"),
    ),
    _of_person(
        "features_over_autoencoder", "features / autoencoder", False, _FEATURES + "the truth through the autoencoder",
        _NO_SOURCE, ("features", "features_autoencoder"),
    ),
    _of_person("colour", "colour error", False, _COLOUR, _NO_PARTS),
    _of_person(
        "pck_relative", "PCK@0.1, relative", True, f"{_PCK}, {_RELATIVE}", "needs two key points",
        ("pck", "pck_real"),
    ),
    _of_person("rank1_relative", "rank-1, relative", True, f"{_RANK1}, {_RELATIVE}", _OTHERS, ("rank1", "rank1_real")),
    *(
        _of_person(f"colour_{part}", f"colour error, {part}", False, _COLOUR.partition(";")[0], _NO_PART)
        for part in BODY_PARTS
    ),
)  # fmt: skip
METRICS: dict[str, tuple[Metric, ...]] = {
    "clean": (
        Metric("ssim", "SSIM", True, "Gaussian window of 1.5 pixels, data range 255"),
        Metric("psnr", "PSNR, dB", True, "peak 255, at most 60 dB"),
        Metric("ssim_mask", "SSIM in the mask", True, "mean of SSIM's map over the reference's mask", _MASKS),
        Metric("psnr_mask", "PSNR in the mask, dB", True, "over the pixels of the reference's mask", _MASKS),
        Metric("lpips", "LPIPS (AlexNet)", False, "pictures in [-1, 1]"),
        Metric("fid_train", "FID against train", False, _FID),
        Metric("fid_real", "FID of the references against train", False, _FLOOR + _FID),
        Metric("fid_reference", "FID against the references", False, _FID),
        Metric("pck", "PCK@0.1", True, _PCK, "needs two key points"),
        Metric("pck_real", "PCK@0.1 of the references", True, _JUDGE + _PCK),
        Metric("oks", "OKS", True, _OKS, "needs key points"),
        Metric("oks_real", "OKS of the references", True, _JUDGE + _OKS),
        Metric("iou", "silhouette IoU", True, _IOU),
        Metric("iou_real", "silhouette IoU of the references", True, _JUDGE + _IOU),
        Metric("rank1", "identity rank-1", True, _RANK1, _OTHERS),
        Metric("rank1_real", "identity rank-1 of the references", True, _JUDGE + _RANK1, _OTHERS),
        Metric("rank1_open", "identity rank-1, sources in the gallery", True, _RANK1_OPEN, _OTHERS),
        Metric(
            "rank1_open_real",
            "identity rank-1 of the references, sources in the gallery",
            True,
            _JUDGE + _RANK1_OPEN,
            _OTHERS,
        ),
        *_OF_PERSON,
    ),
    "field": (
        Metric("ssim", "SSIM", True, "Gaussian window of 1.2 pixels, data range: the prediction's own"),
        Metric(
            "ssim_51", "SSIM, window 51", True, "uniform window, data range 255", "needs sides of at least 51 pixels"
        ),
        Metric("psnr", "PSNR, dB", True, "peak 255, at most 60 dB"),
        Metric("lpips", "LPIPS (AlexNet)", False, "pictures in [0, 1]; whole batches of 64", batch=64),
        Metric("fid_train", "FID against train", False, _FIELD_FID, batch=128),
        Metric("fid_real", "FID of the references against train", False, _FLOOR + _FIELD_FID, batch=128),
    ),
}
_ORDER = tuple(dict.fromkeys(["ssim", "ssim_51", *(own.key for metrics in METRICS.values() for own in metrics)]))
REAL = {"fid_train": "fid_real"} | {key: f"{key}_real" for key in ("pck", "oks", "iou", "rank1", "rank1_open")}
"""Measures that real pictures are held against too, and the measure that says what they get."""


@dataclass(frozen=True)
class Row:
    """One measure of all pairs.

    Attributes:
        protocol: "clean" or "field".
        key, name, definition, higher: see `Metric`.
        best_of: 1 for the first sample of every pair; k for the best of k, chosen by SSIM against the reference.
        count: pictures counted.
        value: mean over them, ratio of two means, or the distance of a set; None where something is absent.
        low, high: 95 % bootstrap interval over people, or over pairs where people are not known; None for distances.
        needs: what is absent.
    """

    protocol: str
    key: str
    name: str
    definition: str
    higher: bool
    best_of: int
    count: int
    value: float | None
    low: float | None = None
    high: float | None = None
    needs: str | None = None


def mean_row(
    protocol: str,
    metric: Metric,
    values: np.ndarray | Needs,
    best_of: int = 1,
    people: np.ndarray | None = None,
    over: np.ndarray | Needs | None = None,
) -> Row:
    """The mean of one value per pair, (n,); pairs without a value (NaN) are left out.

    Args:
        people: (n,) whom each pair shows, for the interval.
        over: (n,) of a ratio, what the mean is divided by.
    """
    absent = next((own for own in (values, over) if isinstance(own, Needs)), None)
    if absent is not None or isinstance(values, Needs) or isinstance(over, Needs):
        return _row(protocol, metric, best_of, 0, needs=str(absent))
    counted = np.arange(len(values)) < metric.counted(len(values))
    counted &= ~np.isnan(values) & ~np.isnan(values if over is None else over)
    if not counted.any():
        return _row(protocol, metric, best_of, 0, needs=metric.absent)
    people = None if people is None else people[counted]
    if over is None:
        interval = bootstrap_mean(values[counted], people=people)
    elif not over[counted].any():
        return _row(protocol, metric, best_of, 0, needs="needs a mean other than 0 to be held against")
    else:
        interval = bootstrap_ratio(values[counted], over[counted], people=people)
    return _row(protocol, metric, best_of, int(counted.sum()), interval.mean, interval.low, interval.high)


def distance_row(protocol: str, metric: Metric, distance: float | Needs, count: int, best_of: int = 1) -> Row:
    """A distance between sets of pictures, of which `count` were generated (or are references)."""
    if isinstance(distance, Needs):
        return _row(protocol, metric, best_of, 0, needs=str(distance))
    return _row(protocol, metric, best_of, count, distance)


def _row(
    protocol: str, metric: Metric, best_of: int, count: int, value: float | None = None, low: float | None = None,
    high: float | None = None, needs: str | None = None,
) -> Row:  # fmt: skip
    name = metric.name + (f", best of {best_of} by SSIM" if best_of > 1 else "")
    return Row(protocol, metric.key, name, metric.definition, metric.higher, best_of, count, value, low, high, needs)


def side_by_side(rows: Sequence[Row], protocols: Sequence[str]) -> list[tuple[str, list[Row | None]]]:
    """Per measure, its name with an arrow towards better, and its row in every protocol."""
    found = {(row.protocol, row.best_of, row.key): row for row in rows}
    lines = []
    for best_of in sorted({row.best_of for row in rows}):
        for key in _ORDER:
            cells = [found.get((protocol, best_of, key)) for protocol in protocols]
            named = next((cell for cell in cells if cell), None)
            if named:
                lines.append((f"{named.name} {'↑' if named.higher else '↓'}", cells))
    return lines


def cell_text(row: Row | None) -> str:
    """A value with its interval and the number of pictures, or what is absent; empty for no row."""
    if row is None:
        return ""
    if row.value is None:
        return row.needs or ""
    digits = 4 if abs(row.value) < 2 else 3
    interval = "" if row.low is None else f" [{row.low:.{digits}f}, {row.high:.{digits}f}]"
    return f"{row.value:.{digits}f}{interval}, n = {row.count:,}"
