"""Parquet shards of views: one row per view, one row group per person, so that a person is read without the shard.

Columns: ``identity``, ``view``, ``picture`` (struct of ``bytes`` and ``path``), ``width``, ``height``, ``keypoints``
(18 x (x, y, confidence), flat, row by row), ``mask`` (as ``picture``, or null), ``split``, ``source_file``. The schema's
metadata tell `datasets` that ``picture`` and ``mask`` are pictures. Source: own; the convention of the metadata is that
of Hugging Face `datasets`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from imagpose.data.records import ViewRecord

__all__ = ["SCHEMA", "open_shard", "read_person", "temporary", "write_shard"]

_POINTS = 18 * 3
_TEXT = {"dtype": "string", "_type": "Value"}
_PIXELS = {"dtype": "int32", "_type": "Value"}
_FEATURES = {
    "identity": _TEXT,
    "view": _TEXT,
    "picture": {"_type": "Image"},
    "width": _PIXELS,
    "height": _PIXELS,
    "keypoints": {"feature": {"dtype": "float32", "_type": "Value"}, "length": _POINTS, "_type": "Sequence"},
    "mask": {"_type": "Image"},
    "split": _TEXT,
    "source_file": _TEXT,
}
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("identity", pa.string()),
        ("view", pa.string()),
        ("picture", _PICTURE),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("keypoints", pa.list_(pa.float32(), _POINTS)),
        ("mask", _PICTURE),
        ("split", pa.string()),
        ("source_file", pa.string()),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)
# Pictures are compressed already.
_COMPRESSION = {
    name: "none" if name.endswith(".bytes") else "snappy"
    for name in (
        "identity", "view", "picture.bytes", "picture.path", "width", "height", "keypoints.list.element", "mask.bytes",
        "mask.path", "split", "source_file",
    )
}  # fmt: skip


@contextlib.contextmanager
def write_shard(path: Path) -> Iterator[Callable[[Sequence[ViewRecord]], None]]:
    """Write a shard: the block gets a function that appends the views of one person.

    The shard appears at the end of the block; if the block fails, nothing is left of it.

    Raises:
        OSError: the file cannot be written.
    """
    with (
        temporary(path) as partial,
        # Statistics of pictures would repeat whole pictures in the footer, which every reader loads.
        pq.ParquetWriter(
            partial, SCHEMA, compression=_COMPRESSION, use_dictionary=["split"], write_statistics=["identity"]
        ) as writer,
    ):
        yield lambda person: writer.write_table(_table(person), row_group_size=len(person))


def _table(person: Sequence[ViewRecord]) -> pa.Table:
    points = np.concatenate([np.asarray(record.keypoints, np.float32).ravel() for record in person])
    columns = {
        "picture": [{"bytes": record.picture, "path": None} for record in person],
        "mask": [None if record.mask is None else {"bytes": record.mask, "path": None} for record in person],
        "keypoints": pa.FixedSizeListArray.from_arrays(pa.array(points), _POINTS),
    }
    for name in ("identity", "view", "width", "height", "split", "source_file"):
        columns[name] = [getattr(record, name) for record in person]
    return pa.table(columns, schema=SCHEMA)


def open_shard(path: Path) -> pq.ParquetFile:
    """A shard for reading, memory-mapped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a shard of views, or damaged.
    """
    try:
        shard = pq.ParquetFile(path, memory_map=True)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: damaged ({error})") from None
    missing = set(SCHEMA.names) - set(shard.schema_arrow.names)
    if missing:
        raise ValueError(f"{path}: no shard of views, columns {', '.join(sorted(missing))} are missing")
    return shard


def read_person(shard: pq.ParquetFile, row_group: int) -> list[ViewRecord]:
    """The views of the person in a row group."""
    table = shard.read_row_group(row_group, columns=SCHEMA.names, use_threads=False)
    points = table["keypoints"].combine_chunks().flatten().to_numpy().reshape(-1, 18, 3)
    return [
        ViewRecord(
            **row
            | {"picture": row["picture"]["bytes"], "keypoints": keypoints, "mask": (row["mask"] or {}).get("bytes")}
        )
        for row, keypoints in zip(table.drop_columns(["keypoints"]).to_pylist(), points, strict=True)
    ]


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` at the end of the block, or is removed if the block fails."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
