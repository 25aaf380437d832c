"""What `imagpose evaluate images` leaves behind: `summary.json`, `pairs.parquet` and `report.html`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from imagpose.evaluation.folders import Pair
from imagpose.evaluation.page import Figure, Strip, build_page, html_table
from imagpose.evaluation.rows import Row, side_by_side
from imagpose.io import partial_file, write_json, write_text
from imagpose.version import __version__

__all__ = [
    "HOW_TO_READ", "library_versions", "notes_of", "pair_table", "pictured_strips", "write_results",
]  # fmt: skip

HOW_TO_READ = (
    "Means with their 95 % bootstrap interval, over people where they are known, else over pairs; n is the number of"
    " pictures counted. Only numbers of one protocol compare with each other."
)

_PACKAGES = ("numpy", "scipy", "scikit-image", "Pillow", "torch", "torchvision", "lpips", "torch-fidelity")
_SHOWN = 6  # pairs pictured of each kind
_FEATURES = 2048  # of Inception


def write_results(
    out: Path,
    folders: dict[str, Path],
    protocols: Sequence[str],
    pairs: Sequence[Pair],
    rows: Sequence[Row],
    values: dict[str, np.ndarray],
    notes: Sequence[str],
    seconds: float,
) -> None:
    """Write the three files, each complete or not at all.

    Args:
        folders: what was compared, by role.
        values: per column `<protocol>_<measure>`, (pairs, samples); NaN where a pair has none.
        notes: what a reader should know beside what `notes_of` finds.
        seconds: of this run, without what an earlier one had computed.
    """
    out.mkdir(parents=True, exist_ok=True)
    notes, versions = [*notes_of(pairs, rows), *notes], library_versions()
    summary = {
        "format": 1,
        "folders": {role: str(folder) for role, folder in folders.items()},
        "protocols": list(protocols),
        "pairs": len(pairs),
        "samples": len(pairs[0].samples),
        "rows": [asdict(row) for row in rows],
        "notes": notes,
        "seconds": round(seconds, 1),
        "versions": versions,
    }
    page = build_page(
        f"{folders['generated'].resolve().name} against {folders['reference'].resolve().name}",
        f"{len(pairs):,} pairs of pictures. {HOW_TO_READ}",
        notes,
        [html_table(["metric", *protocols], side_by_side(rows, protocols), defined=True)],
        pictured_strips(pairs, values, protocols[0]),
        "; ".join(f"{role}: {folder}" for role, folder in folders.items())
        + ". " + ", ".join(f"{name} {number}" for name, number in versions.items()) + ".",
    )  # fmt: skip
    table = pair_table(pairs, values)
    with partial_file(out / "pairs.parquet") as partial:
        pyarrow.parquet.write_table(table, partial)
    write_text(out / "report.html", page)
    write_json(out / "summary.json", summary)


def pair_table(pairs: Sequence[Pair], values: dict[str, np.ndarray]) -> pyarrow.Table:
    """One row per generated picture."""
    samples = [(pair, number, file) for pair in pairs for number, file in enumerate(pair.samples)]
    columns: dict[str, Any] = {
        "name": [pair.name for pair, _, _ in samples],
        "person": pyarrow.array([pair.person for pair, _, _ in samples], pyarrow.string()),
        "sample": pyarrow.array([number for _, number, _ in samples], pyarrow.int32()),
        "generated": [str(file) for _, _, file in samples],
        "reference": [str(pair.reference) for pair, _, _ in samples],
        "mask": pyarrow.array([pair.mask and str(pair.mask) for pair, _, _ in samples], pyarrow.string()),
    }
    for name, own in values.items():
        columns[name] = pyarrow.array(own.ravel(), pyarrow.float64(), mask=np.isnan(own.ravel()))
    return pyarrow.table(columns)


def pictured_strips(
    pairs: Sequence[Pair],
    values: dict[str, np.ndarray],
    protocol: str,
    prefix: str = "",
) -> list[Strip]:
    """The worst, the median and the best pairs by the SSIM of one protocol, first samples only.

    Args:
        values: see `write_results`.
        prefix: of the titles.
    """
    order = values[f"{protocol}_ssim"][:, 0].argsort(kind="stable")
    shown = min(_SHOWN, -(-len(order) // 3))
    middle = (len(order) - shown) // 2
    chosen = {"Worst": order[:shown], "Median": order[middle : middle + shown], "Best": order[::-1][:shown]}

    def figure(number: int) -> Figure:
        pair = pairs[number]
        source = [("source", pair.source)] if pair.source else []
        pictures = [*source, ("reference", pair.reference), ("generated", pair.samples[0])]
        return Figure(pair.name, pictures, {name: float(own[number, 0]) for name, own in values.items()})

    return [
        Strip(f"{prefix}{title} by SSIM, {protocol}", [figure(number) for number in numbers.tolist()])
        for title, numbers in chosen.items()
    ]


def notes_of(pairs: Sequence[Pair], rows: Sequence[Row]) -> list[str]:
    """What a reader of the numbers should know."""
    notes = []
    samples = len(pairs[0].samples)
    if samples > 1:
        notes.append(
            f"Every reference has {samples} samples. Rows count the first (_0); rows named best of {samples} take the"
            " sample with the highest SSIM against the reference, which no user can do."
        )
    lossy = sum(pair.reference.suffix.lower() in (".jpg", ".jpeg") for pair in pairs)
    lossy_generated = sum(file.suffix.lower() in (".jpg", ".jpeg") for pair in pairs for file in pair.samples)
    if lossy or lossy_generated:
        notes.append(
            f"{lossy} references and {lossy_generated} generated pictures are JPEG: the compression counts as error."
            " Compare PNG files."
        )
    counts = [row.count for row in rows if row.key.startswith("fid") and row.value is not None]
    if counts and min(counts) <= _FEATURES:
        notes.append(
            f"FID of {min(counts):,} pictures: no more than its {_FEATURES:,} features. It is biased upwards; compare"
            " it with FID of equally many pictures only."
        )
    return notes


def library_versions() -> dict[str, str]:
    """Versions of what decides the numbers, as far as it is installed."""
    found = {"imagpose": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
