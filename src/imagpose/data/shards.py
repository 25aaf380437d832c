"""Parquet shards of views: one row per view, one row group per person, so that a person is read without the shard.

Columns: ``identity``, ``view``, ``picture`` (struct of ``bytes`` and ``path``), ``width``, ``height``, ``keypoints``
(18 x (x, y, confidence), flat, row by row), ``mask`` (as ``picture``, or null), ``split``, ``source_file``, and, which
older shards lack, ``style`` (string, or null) and ``parts`` (as ``mask``). The schema's metadata tell `datasets` which
columns are pictures. Source: own; the convention of the metadata is that of Hugging Face `datasets`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagpose.data.records import ViewRecord
from imagpose.io import error_line, partial_file

_POINTS = 18 * 3
# Each kind of column: its type here, and what `datasets` is told of it.
_TEXT = pa.string(), {"dtype": "string", "_type": "Value"}
_PIXELS = pa.int32(), {"dtype": "int32", "_type": "Value"}
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())]), {"_type": "Image"}
_KEYPOINTS = (
    pa.list_(pa.float32(), _POINTS),
    {"feature": {"dtype": "float32", "_type": "Value"}, "length": _POINTS, "_type": "Sequence"},
)
_COLUMNS: dict[str, tuple[pa.DataType, dict[str, Any]]] = {
    "identity": _TEXT, "view": _TEXT, "picture": _PICTURE, "width": _PIXELS, "height": _PIXELS, "keypoints": _KEYPOINTS,
    "mask": _PICTURE, "split": _TEXT, "source_file": _TEXT, "style": _TEXT, "parts": _PICTURE,
}  # fmt: skip
_PICTURES = [name for name, kind in _COLUMNS.items() if kind is _PICTURE]
_OPTIONAL = {"style", "parts"}  # columns that shards of earlier versions lack
_NULLABLE = {"mask", *_OPTIONAL}
SCHEMA = pa.schema(
    [(name, kind) for name, (kind, _) in _COLUMNS.items()],
    metadata={"huggingface": json.dumps({"info": {"features": {name: told for name, (_, told) in _COLUMNS.items()}}})},
)
# Pictures are compressed already.
_COMPRESSION = {
    **dict.fromkeys((name for name in _COLUMNS if name not in (*_PICTURES, "keypoints")), "snappy"),
    "keypoints.list.element": "snappy",
    **{f"{name}.{part}": how for name in _PICTURES for part, how in (("bytes", "none"), ("path", "snappy"))},
}


@contextlib.contextmanager
def write_shard(path: Path) -> Iterator[Callable[[Sequence[ViewRecord]], None]]:
    """Write a shard: the block gets a function that appends the views of one person.

    The shard appears at the end of the block; if the block fails, nothing is left of it.

    Raises:
        OSError: the file cannot be written.
    """
    with (
        partial_file(path) as partial,
        # Statistics of pictures would repeat whole pictures in the footer, which every reader loads.
        pq.ParquetWriter(
            partial, SCHEMA, compression=_COMPRESSION, use_dictionary=["split", "style"], write_statistics=["identity"]
        ) as writer,
    ):
        yield lambda person: writer.write_table(_table(person), row_group_size=len(person))


def _table(person: Sequence[ViewRecord]) -> pa.Table:
    columns: dict[str, Any] = {name: [getattr(record, name) for record in person] for name in _COLUMNS}
    columns |= {name: [_file(encoded) for encoded in columns[name]] for name in _PICTURES}
    points = np.concatenate([np.asarray(own, np.float32).ravel() for own in columns["keypoints"]])
    columns["keypoints"] = pa.FixedSizeListArray.from_arrays(pa.array(points), _POINTS)
    return pa.table(columns, schema=SCHEMA)


def _file(encoded: bytes | None) -> dict[str, bytes | None] | None:
    return None if encoded is None else {"bytes": encoded, "path": None}


@contextlib.contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """What pyarrow says of damage while a Parquet file is read inside becomes an error that names the file.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, ValueError) as error:  # which of the two depends on the place of the damage
        raise ValueError(f"{path}: damaged ({error_line(error)}): copy it again") from None


def open_shard(path: Path) -> pq.ParquetFile:
    """A shard for reading, memory-mapped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a shard of views, or damaged.
    """
    with naming_damage(path):
        shard = pq.ParquetFile(path, memory_map=True)
    found = shard.schema_arrow
    missing = set(SCHEMA.names) - _OPTIONAL - set(found.names)
    if missing:
        raise ValueError(f"{path}: no shard of views, columns {', '.join(sorted(missing))} are missing")
    other = [field.name for field in SCHEMA if field.name in found.names and found.field(field.name).type != field.type]
    if other:
        raise ValueError(f"{path}: no shard of views, columns {', '.join(other)} are of another type")
    return shard


def read_person(shard: pq.ParquetFile, row_group: int) -> list[ViewRecord]:
    """The views of the person in a row group.

    Raises:
        OSError, ValueError: the shard is damaged; see `naming_damage`.
    """
    stored = [name for name in SCHEMA.names if name in shard.schema_arrow.names]
    table = shard.read_row_group(row_group, columns=stored, use_threads=False)
    points = keypoints_of(table)
    pictures = [name for name in _PICTURES if name in stored]
    return [
        ViewRecord(**row | {"keypoints": keypoints} | {name: (row[name] or {}).get("bytes") for name in pictures})
        for row, keypoints in zip(table.drop_columns(["keypoints"]).to_pylist(), points, strict=True)
    ]


def keypoints_of(table: pa.Table) -> np.ndarray:
    """The column ``keypoints`` of a shard's table, float32 (n, 18, 3).

    Raises:
        ValueError: a column that must have a value everywhere has none somewhere.
    """
    if empty := [name for name in table.column_names if name not in _NULLABLE and table[name].null_count]:
        raise ValueError(f"columns {', '.join(empty)} have empty places")
    points: np.ndarray = table["keypoints"].combine_chunks().flatten().to_numpy().reshape(-1, 18, 3)
    return points
