"""A table of requests: one row each, in Parquet, CSV or JSON lines; or the same as Python objects."""

from __future__ import annotations

import csv
import glob
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagpose.io import error_line
from imagpose.serving.inputs import DETECT, POSE_ENDINGS, PoseLike, is_pattern
from imagpose.serving.photos import PictureLike
from imagpose.serving.settings import read_settings

COLUMNS = ("id", "sources", "poses", "source_poses", "seed", "options")
_LEGAL_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,119}")


@dataclass(frozen=True, eq=False)
class BulkRequest:
    """A row of the table.

    Attributes:
        id: 1 to 120 letters, digits, dots, hyphens and underscores (no dot or hyphen first); its results are named after it.
        sources: photos of one person: paths, or pictures.
        poses: as of `generate`: files, folders, patterns, names of the library, or poses.
        source_poses: as of `generate`.
        seed: None: the job's.
        options: settings by name as JSON holds them ({"size": "256x176", "steps": 30}), in place of the job's; see
            `settings.read_settings`.
    """

    id: str
    sources: Sequence[PictureLike]
    poses: Sequence[PoseLike]
    source_poses: PoseLike | Sequence[PoseLike | None] = ()
    seed: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """A row that is no request: what it is known by, and why."""

    id: str
    reason: str


def read_table(path: Path) -> list[BulkRequest | Refused]:
    """The rows of a table, in its order.

    Args:
        path: .parquet, .csv, .jsonl or .ndjson. Paths in it that are not absolute start at its folder. In CSV, several
            sources or poses stand in one cell, separated by semicolons or as a JSON list, and options as a JSON object.

    Raises:
        ValueError: it is no such table, has no rows, lacks a column or has one that means nothing.
        OSError: it cannot be read.
    """
    readers = {".parquet": _parquet_rows, ".csv": _csv_rows, ".jsonl": _json_rows, ".ndjson": _json_rows}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path}: a table of requests is Parquet, CSV or JSON lines ({', '.join(readers)})")
    if not path.is_file():
        raise FileNotFoundError(f"table not found: {path}")
    folder = path.parent
    rows = [_read_row(values, number, folder) for number, values in enumerate(reader(path), 1)]
    if not rows:
        raise ValueError(f"{path}: no rows")
    return rows


def check_ids(rows: Iterable[BulkRequest | Refused]) -> None:
    """Look for ids that two rows have.

    Raises:
        ValueError: there are some; the message names the first, and how many there are.
    """
    seen: set[str] = set()
    doubled = [row.id for row in rows if row.id in seen or seen.add(row.id)]  # type: ignore[func-returns-value]
    if doubled:
        raise ValueError(
            f"{len(doubled)} rows have the id of an earlier one, first {doubled[0]!r}: every request needs an id of its own"
        )


@contextmanager
def opened_parquet(path: Path) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile`, to be read in the block.

    Raises:
        ValueError: it is none, or is found to be damaged in the block.
        OSError: the system's.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowInvalid, OSError) as error:  # which of the two depends on the place of the damage
        if getattr(error, "errno", None) is not None:
            raise
        raise ValueError(f"{path}: not a Parquet file that can be read ({error_line(error)})") from None


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    with opened_parquet(path) as file:
        _check_columns(path, file.schema_arrow.names)
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _check_columns(path, reader.fieldnames or ())
            for row in reader:
                yield {"": "too many cells"} if None in row else row
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a CSV file in UTF-8 ({error})") from None


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                if line.strip():
                    yield _json_row(line)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not JSON lines in UTF-8 ({error})") from None


def _json_row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"": f"not JSON ({str(error)[:100]})"}
    return row if isinstance(row, dict) else {"": "JSON, but no object"}


def _check_columns(path: Path, names: Sequence[str]) -> None:
    if missing := [name for name in COLUMNS[:3] if name not in names]:
        raise ValueError(
            f"{path}: no column {missing[0]!r}; id, sources and poses are needed, found {', '.join(names) or 'none'}"
        )
    if unknown := [name for name in names if name not in COLUMNS]:
        raise ValueError(f"{path}: no column is named {unknown[0]!r}; known are {', '.join(COLUMNS)}")


def _read_row(values: Mapping[str, Any], number: int, folder: Path) -> BulkRequest | Refused:
    """The request of row `number`, counted from 1; a row without a legal id is known by its number."""
    own_id = values.get("id")
    name = str(own_id) if isinstance(own_id, (str, int)) and not isinstance(own_id, bool) else ""
    try:
        if "" in values:
            raise ValueError(values[""])
        if not _LEGAL_ID.fullmatch(name):
            name, given = f"row {number}", own_id
            raise ValueError(f"id is {given!r}; up to 120 letters, digits, '.', '-', '_' expected, no '.' or '-' first")
        if unknown := [own for own in values if own not in COLUMNS]:
            raise ValueError(f"no column is named {unknown[0]!r}; known are {', '.join(COLUMNS)}")
        return BulkRequest(
            name,
            [_source(own, folder) for own in _texts("sources", values.get("sources"))],
            [_pose(own, folder) for own in _texts("poses", values.get("poses"))],
            [
                own if own in (None, DETECT) else _pose(own, folder)
                for own in _texts("source_poses", values.get("source_poses"), optional=True)
            ],
            _seed(values.get("seed")),
            _options(values.get("options")),
        )
    except (ValueError, OSError) as error:  # the system may refuse to look for a text as a path: it is too long
        return Refused(name or f"row {number}", error_line(error))


def _texts(column: str, value: Any, optional: bool = False) -> list[Any]:
    """The entries of a cell; None in it only where `optional`."""
    if isinstance(value, str):
        value = _parsed(column, value) if value.lstrip().startswith("[") else value.split(";") if value.strip() else []
    entries = [] if value is None else value
    if not isinstance(entries, list):
        raise ValueError(f"{column} must be texts, got {value!r}")
    entries = [own.strip() or None if isinstance(own, str) else own for own in entries]
    for own in entries:
        if not (isinstance(own, str) or (optional and own is None)):
            raise ValueError(f"{column} must be texts, got {own!r}")
    return entries


def _parsed(column: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{column}: not JSON ({str(error)[:100]})") from None


def _source(text: str, folder: Path) -> str:
    return text if "://" in text else str(folder / text)


def _pose(text: str, folder: Path) -> str:
    """A path below the table's folder; a name or a pattern of the library where no file there has it."""
    inside = folder / text
    if "://" in text:
        return text
    if inside.exists() or "/" in text or inside.suffix.lower() in POSE_ENDINGS:
        return str(inside)
    return str(inside) if is_pattern(text) and glob.glob(str(inside), recursive=True) else text


def _seed(value: Any) -> int | None:
    if isinstance(value, str):
        value = int(value) if value.strip().isdecimal() else value.strip()
    return read_settings({"seed": value}).get("seed")


def _options(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = _parsed("options", value) if value.strip() else {}
    if isinstance(value, list):  # a map of Arrow
        value = dict(value)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"options must be an object of settings, got {value!r}")
    return {name: own for name, own in value.items() if own is not None}
