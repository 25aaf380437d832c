"""Measures a folder of generated pictures against a folder of references, whoever made them.

Behind `imagpose evaluate images`. Two protocols: `clean`, as the libraries define the metrics, and `field`, as the
scripts behind the published tables compute them (`metrics.field`, `networks`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from imagpose.data.records import identity_of
from imagpose.evaluation.folders import ComparedPair, check_readable, check_sizes, find_pairs, list_pictures
from imagpose.evaluation.judging import JudgedPairs
from imagpose.evaluation.measure import Measures, MeasureSettings, Yardstick, measure_pairs
from imagpose.evaluation.networks import Needs, find_networks
from imagpose.evaluation.recognition import open_views
from imagpose.evaluation.report import (
    HOW_TO_READ,
    ReportPage,
    check_report_folder,
    html_table,
    markdown_table,
    notes_of,
    pair_table,
    pictured_strips,
    write_report,
)
from imagpose.evaluation.rows import cell_text, side_by_side
from imagpose.evaluation.store import ValueStore
from imagpose.io import clear_partial_files, locked_folder
from imagpose.outputs import claim_folder

_ROLES = ("generated", "reference", "train", "masks")  # in reports


@dataclass(frozen=True)
class ImageFolders:
    """What is compared with what.

    Attributes:
        generated, reference: pictures of one name belong together, see `folders`.
        train: training pictures, for FID as the field has it and for real test against train.
        masks: of the references, white where the person is.
        data: a data set whose test split the references are views of, named "<identity>/<view>"; if
            `imagpose prepare people` made it, pose, silhouette and identity are measured.
    """

    generated: Path
    reference: Path
    train: Path | None = None
    masks: Path | None = None
    data: Path | None = None


def evaluate_images(folders: ImageFolders, out: Path, settings: MeasureSettings | None = None) -> str:
    """Writes `summary.json`, `pairs.parquet` and `report.html` into the folder `out`, which is made where it is missing.

    Values are computed part by part and kept in the folder's `parts`: a run that was broken off continues. A folder is for
    the same folders of pictures; the three files are made anew.

    Returns:
        The table, Markdown.

    Raises:
        ValueError, OSError: folders that do not match, files that cannot be compared, an illegal setting; `out` holds
            results of other folders, or files that no evaluation wrote.
    """
    started = time.perf_counter()
    settings = settings or MeasureSettings()
    check_report_folder(out)
    protocols = settings.protocols
    pairs = find_pairs(folders.generated, folders.reference, folders.masks)
    if folders.data is not None:  # whose views are named "<identity>/<view>"
        pairs = [replace(pair, person=identity_of(pair.name)) for pair in pairs]
    sizes = check_sizes(pairs, resizing="clean" not in protocols)
    train = None if folders.train is None else list(list_pictures(folders.train, "train").values())
    check_readable(train or ())
    views = open_views(folders.data, settings.detect, settings.identity_network)
    judged = views if isinstance(views, Needs) else JudgedPairs(views, [pair.name for pair in pairs])

    store = ValueStore(out / "parts", settings.workers)
    yardstick = Yardstick(protocols, store, settings.networks or find_networks(), sizes, train)
    with locked_folder(out):
        claim_folder(out, {role: str(Path(own).resolve()) for role, own in _given(folders).items()})
        clear_partial_files(out)
        measures = measure_pairs(pairs, judged, yardstick)
        notes = notes_of(pairs, measures.rows)
        notes += [] if isinstance(views, Needs) or "clean" not in protocols else [views.note]
        _write_report(out, folders, pairs, measures, protocols, notes, time.perf_counter() - started)
    lines = [[name, *map(cell_text, cells)] for name, cells in side_by_side(measures.rows, protocols)]
    return markdown_table(["metric", *protocols], lines)


def _given(folders: ImageFolders) -> dict[str, str]:
    return {role: str(own) for role in _ROLES if (own := getattr(folders, role)) is not None}


def _write_report(
    out: Path, folders: ImageFolders, pairs: Sequence[ComparedPair], measures: Measures, protocols: Sequence[str],
    notes: Sequence[str], seconds: float,
) -> None:  # fmt: skip
    given = _given(folders)
    summary = {
        "folders": given,
        "protocols": list(protocols),
        "pairs": len(pairs),
        "samples": len(pairs[0].samples),
        "rows": [asdict(row) for row in measures.rows],
    }
    page = ReportPage(
        f"{folders.generated.resolve().name} against {folders.reference.resolve().name}",
        f"{len(pairs):,} pairs of pictures. {HOW_TO_READ}",
        [html_table(["metric", *protocols], side_by_side(measures.rows, protocols), defined=True)],
        pictured_strips(pairs, measures.values, protocols[0]),
        f"{'; '.join(f'{role}: {folder}' for role, folder in given.items())}. ",
    )
    write_report(out, page, pair_table(pairs, measures.values), summary, notes, seconds)
