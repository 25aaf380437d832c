"""Measures a folder of generated pictures against a folder of references, whoever made them.

Behind `imagpose evaluate images`. Two protocols: `clean`, as the libraries define the metrics, and `field`, as the
scripts behind the published tables compute them (`metrics.field`, `networks`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from imagpose.evaluation.folders import check_readable, check_sizes, find_pairs, list_pictures
from imagpose.evaluation.images_report import write_results
from imagpose.evaluation.judging import JudgedPairs, open_judged_views
from imagpose.evaluation.measure import Yardstick, measure_pairs
from imagpose.evaluation.networks import Needs, Networks, find_networks
from imagpose.evaluation.rows import PROTOCOLS, markdown_table
from imagpose.evaluation.store import ValueStore
from imagpose.io import check_output_folder

__all__ = ["check_settings", "evaluate_images"]


def evaluate_images(
    generated: Path | str,
    reference: Path | str,
    out: Path | str,
    train: Path | str | None = None,
    masks: Path | str | None = None,
    protocols: Sequence[str] = PROTOCOLS,
    workers: int | None = None,
    networks: Networks | None = None,
    data: Path | str | None = None,
    detect: str | None = None,
) -> str:
    """Writes `summary.json`, `pairs.parquet` and `report.html` into a folder.

    Values are computed part by part and kept in the folder's `parts`: a run that was broken off continues.

    Args:
        generated, reference: folders; pictures of one name belong together, see `folders`.
        out: the folder; made where it is missing.
        train: folder of the training pictures, for FID as the field has it and for real test against train.
        masks: folder of the references' masks, white where the person is.
        protocols: "clean", "field" or both.
        workers: processes; None for one per core.
        networks: those found on this machine if not given.
        data: a data set whose test split the references are views of, named "<identity>/<view>"; if
            `imagpose prepare people` made it, pose, silhouette and identity are measured.
        detect: "cpu" or "cuda": pose is measured in photographs too, see `open_judged_views`.

    Returns:
        The table, Markdown.

    Raises:
        ValueError, OSError: folders that do not match, files that cannot be compared, an illegal setting.
    """
    started = time.perf_counter()
    check_settings(Path(out), protocols, workers)
    folders = {"generated": Path(generated), "reference": Path(reference)}
    folders |= {role: Path(path) for role, path in (("train", train), ("masks", masks)) if path is not None}
    pairs = find_pairs(folders["generated"], folders["reference"], folders.get("masks"))
    if data is not None:  # whose views are named "<identity>/<view>"
        pairs = [replace(pair, person=pair.name.rpartition("/")[0]) for pair in pairs]
    sizes = check_sizes(pairs, resizing="clean" not in protocols)
    trained = None if train is None else list(list_pictures(Path(train), "train").values())
    check_readable(trained or ())
    views = open_judged_views(None if data is None else Path(data), detect)
    judged = views if isinstance(views, Needs) else JudgedPairs(views, [pair.name for pair in pairs])

    store = ValueStore(Path(out) / "parts", workers)
    measures = measure_pairs(pairs, judged, Yardstick(protocols, store, networks or find_networks(), sizes, trained))
    notes = [] if isinstance(views, Needs) or "clean" not in protocols else [views.note]
    seconds = time.perf_counter() - started
    write_results(Path(out), folders, protocols, pairs, measures.rows, measures.values, notes, seconds)
    return markdown_table(measures.rows, protocols)


def check_settings(out: Path, protocols: Sequence[str], workers: int | None) -> None:
    """Raises ValueError for an unknown or repeated protocol, no worker, or a file where the folder should be."""
    unknown = [protocol for protocol in protocols if protocol not in PROTOCOLS]
    if unknown or not protocols or len(set(protocols)) < len(protocols):
        raise ValueError(f"protocol is {','.join(protocols)!r}; clean, field or clean,field expected")
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; at least 1 expected")
    check_output_folder(out)
