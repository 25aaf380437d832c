"""`imagpose reid augment`: a set enlarged with generated pictures, in the layout that third-party code reads.

    OUT/bounding_box_train/      the real pictures of the subset, and generated ones (frame numbers from 900000 on)
    OUT/query, bounding_box_test copied, so that the folder is a whole set
    OUT/manifest.csv             what is generated, and from what; written last
    OUT/rejected.csv             what the gate refused
    OUT/augment.json             counts and the AUC of real against generated

Work is done in groups of a source and up to three poses. ``augment.part.csv`` holds the groups that are done: after a kill
the same command continues, and gives the same files.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.JpegImagePlugin import get_sampling
from rich.progress import track

from imagpose.data.dataset import PersonDataset
from imagpose.data.reid import (
    FOLDERS,
    MANIFEST,
    UNFINISHED,
    ReidPicture,
    check_not_enlarged,
    list_pictures,
    subset,
)
from imagpose.evaluation.model_requests import model_mark
from imagpose.evaluation.reid.drawing import Draw, Drawing, find_poses, open_drawing, size_of
from imagpose.evaluation.reid.evaluate import Embed, open_embedder
from imagpose.evaluation.reid.gate import Augmentation, Gate
from imagpose.evaluation.reid.shortcut import real_or_generated
from imagpose.evaluation.reid.wanted import WantedGroup, WantedPicture, counts_per_identity, grouped, wanted_groups
from imagpose.io import clear_partial_files, locked_folder, partial_file, read_json, write_json, write_text
from imagpose.models.folder import model_name
from imagpose.outputs import check_output_folder, check_unclaimed, claim_folder
from imagpose.pictures import load_picture
from imagpose.pipeline.loading import settled_sampling
from imagpose.pipeline.sampling import Sampling
from imagpose.pose import Pose
from imagpose.provenance import Origin, save_generated

_GROUPS_AT_ONCE = 4
_REPORT, _REJECTED = "augment.json", "rejected.csv"
_COLUMNS = (
    "file",
    "identity",
    "camera",
    "source",
    "pose_donor",
    "seed",
    "likeness",
    "nearest",
    "pose",
    "generator_saw",
)
_REASON = "rejected"


def augment_set(
    root: Path | str,
    out: Path | str,
    asked: Augmentation,
    draw: Draw,
    poses: Mapping[str, Pose],
    *,
    model: str,
    settings: Mapping[str, Any],
    embed: Embed | None = None,
    seen: set[int] | None = None,
) -> dict[str, Any]:
    """Generate what is missing, with a progress bar.

    Args:
        root: the set, in Market-1501's layout.
        out: folder of the enlarged set; the same call continues in it.
        asked: see there.
        draw: of `drawing.open_drawing`.
        poses: of `drawing.find_poses`, for the training pictures.
        model: its name, for the pictures' marks.
        settings: what else the pictures depend on (model, sampling, ...), of what JSON can hold.
        embed: of `evaluate.open_embedder`, for the gate; None: likeness is not looked at.
        seen: identities that the generator was trained on; None: not known.

    Returns:
        What ``augment.json`` holds: counts, and the AUC.

    Raises:
        ValueError: the folder holds something else or was begun with other settings; see `Augmentation.check`,
            `wanted_groups` and `list_pictures`.
        OSError: it cannot be written, or another process writes it.
    """
    root, out = Path(root), Path(out)
    full, real, counts = _beginning(root, out, asked, embed is not None)
    groups = wanted_groups(real, set(poses), counts, asked.camera, asked.seed)
    with locked_folder(out):
        claim_folder(out, {**asdict(asked), **settings, "data": str(root.resolve()), "pictures": len(full)})
        rows = _read_rows(out / UNFINISHED) if not (out / MANIFEST).is_file() else None
        if rows is not None:
            clear_partial_files(out)
            _copy_real(root, out, real)
            gate = Gate(asked, real, embed)
            done = {row["file"] for row in rows}
            # Always the same groups together: in bfloat16 a picture's lowest bits depend on what is beside it.
            batches = [
                batch
                for batch in grouped(groups, _GROUPS_AT_ONCE)
                if not {own.name for group in batch for own in group.pictures} <= done
            ]
            for batch in track(batches, "groups of pictures"):
                found = _draw_groups(batch, draw, poses, gate, out, model, seen)
                _append_rows(out / UNFINISHED, found)
                rows += found
            _finish(out, groups, rows, real)
    report: dict[str, Any] = read_json(out / _REPORT)
    return report


def augment_with_model(
    root: Path | str,
    out: Path | str,
    asked: Augmentation,
    sampling: Sampling,
    *,
    model: str = "mini",
    size: tuple[int, int] | None = None,
    annotations: Path | str | None = None,
    detect: str | None = None,
    network: str | None = None,
    seen: str = "unknown",
    fit_bodies: bool = True,
    device: str | None = None,
) -> dict[str, Any]:
    """`augment_set` with a model, key points and a network by their names.

    Args:
        size: height and width of the views in the model; None: of the set's first picture.
        annotations, detect: see `drawing.find_poses`.
        network: see `evaluate.open_embedder`; None: likeness is not looked at.
        seen: whom the generator was trained on: "unknown", "none", "all", "subset", or the folder of a data set.
        model, fit_bodies, device: see `drawing.open_drawing`.

    Raises:
        ValueError, OSError: as `augment_set` and these.
    """
    full, real, _ = _beginning(Path(root), Path(out), asked, network is not None)
    known = _seen_identities(seen, full, real)
    poses = find_poses(real, [] if annotations is None else [annotations], detect)
    embed = None if network is None else open_embedder(network, device)
    size, sampling = size or size_of(full), settled_sampling(sampling, model)
    settings = {
        "model": model_mark(model), "sampling": str(sampling), "size": list(size), "retarget": fit_bodies,
        "network": network, "seen": seen, "keypoints": detect or str(Path(annotations or "").resolve()),
    }  # fmt: skip
    draw = open_drawing(model, sampling, size, fit_bodies=fit_bodies, device=device)
    return augment_set(
        root, out, asked, draw, poses, model=model_name(model), settings=settings, embed=embed, seen=known
    )


def _beginning(
    root: Path, out: Path, asked: Augmentation, has_network: bool
) -> tuple[list[ReidPicture], list[ReidPicture], dict[int, int]]:
    """The training pictures, the subset of them, and how many each identity gets, once all that is asked for makes sense."""
    asked.check(has_network)
    check_not_enlarged(root)
    full = list_pictures(root, "train")
    real = subset(full, asked.subset, asked.seed)
    counts = counts_per_identity(real, asked.per_identity, len(full))
    check_output_folder(out)
    check_unclaimed(out, [*FOLDERS.values(), MANIFEST, UNFINISHED, _REPORT, _REJECTED])
    return full, real, counts


def _seen_identities(seen: str, full: Sequence[ReidPicture], real: Sequence[ReidPicture]) -> set[int] | None:
    """Identities that the generator was trained on; None where it is not known."""
    if seen in ("unknown", "none"):
        return None if seen == "unknown" else set()
    if seen in ("all", "subset"):
        return {own.identity for own in (full if seen == "all" else real)}
    names = PersonDataset(seen, "train").identities
    return {int(name) for name in names if name.isdecimal()}


def _draw_groups(
    groups: Sequence[WantedGroup],
    draw: Draw,
    poses: Mapping[str, Pose],
    gate: Gate,
    out: Path,
    model: str,
    seen: set[int] | None,
) -> list[dict[str, Any]]:
    """Generate, look at and write the pictures of some groups; their rows."""
    sources = [load_picture(group.source.file) for group in groups]
    drawn = draw(
        [
            Drawing(
                source,
                poses.get(group.source.file.name),
                [poses[own.donor.file.name] for own in group.pictures],
                group.seed,
            )
            for source, group in zip(sources, groups, strict=True)
        ]
    )
    rows = []
    for group, pictures in zip(groups, drawn, strict=True):
        asked = [poses[own.donor.file.name] for own in group.pictures]
        scores = gate.scores(pictures, [group.identity] * len(pictures), asked)
        for wanted, picture, own in zip(group.pictures, pictures, scores, strict=True):
            reason = gate.refuses(group.identity, own)
            if not reason:
                file = out / FOLDERS["train"] / wanted.name
                save_generated(picture, file, Origin(model=model, seed=group.seed), jpeg=_as_source(group.source.file))
            rows.append({**_row(group, wanted, seen), **own, _REASON: reason})
    return rows


def _row(group: WantedGroup, wanted: WantedPicture, seen: set[int] | None) -> dict[str, Any]:
    saw = "unknown" if seen is None else "yes" if group.identity in seen else "no"
    return {
        "file": wanted.name, "identity": group.identity, "camera": wanted.camera, "source": group.source.file.name,
        "pose_donor": wanted.donor.file.name, "seed": group.seed, "generator_saw": saw,
    }  # fmt: skip


def _as_source(file: Path) -> dict[str, Any] | None:
    """How a generated picture is compressed: by the tables and the subsampling of its source; None for what is no JPEG."""
    with Image.open(file) as picture:
        if picture.format != "JPEG":
            return None
        return {"qtables": picture.quantization, "subsampling": get_sampling(picture)}  # type: ignore[attr-defined]


def _copy_real(root: Path, out: Path, real: Sequence[ReidPicture]) -> None:
    """Copy the subset, the queries and the gallery, whatever of them is missing."""
    others = [
        own for part in ("query", "gallery") if (root / FOLDERS[part]).is_dir() for own in list_pictures(root, part)
    ]
    (out / FOLDERS["train"]).mkdir(parents=True, exist_ok=True)
    for own in (*real, *others):
        copied = out / own.file.parent.name / own.file.name
        if not copied.is_file() or copied.stat().st_size != own.file.stat().st_size:
            copied.parent.mkdir(exist_ok=True)
            with partial_file(copied) as partial:
                shutil.copyfile(own.file, partial)


def _append_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = _as_csv(rows, header=not path.is_file() or not path.stat().st_size)
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write(text)


def _read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows that are complete: a kill may have cut the last one."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_text(path, whole)
    return list(csv.DictReader(io.StringIO(whole)))


def _as_csv(
    rows: Sequence[Mapping[str, Any]], header: bool = True, columns: Sequence[str] = (*_COLUMNS, _REASON)
) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _finish(out: Path, groups: Sequence[WantedGroup], rows: list[dict[str, Any]], real: Sequence[ReidPicture]) -> None:
    """Write the manifest and what goes with it, in the groups' order; then the set is finished."""
    by_name = {row["file"]: row for row in rows}
    ordered = [by_name[own.name] for group in groups for own in group.pictures]
    kept = [row for row in ordered if not row[_REASON]]
    generated = [
        ReidPicture(out / FOLDERS["train"] / row["file"], int(row["identity"]), int(row["camera"])) for row in kept
    ]
    auc = real_or_generated(real, generated) if generated else None
    refused = Counter(row[_REASON] for row in ordered if row[_REASON])
    report = {
        "real": len(real),
        "generated": len(kept),
        "rejected": {reason: refused[reason] for reason in ("identity", "pose")},
        "auc_real_or_generated": None if auc is None else round(auc, 3),
    }
    write_text(out / _REJECTED, _as_csv([row for row in ordered if row[_REASON]]))
    write_json(out / _REPORT, report)
    write_text(out / MANIFEST, _as_csv(kept, columns=_COLUMNS))
    (out / UNFINISHED).unlink(missing_ok=True)
