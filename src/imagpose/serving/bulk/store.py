"""Where the answers of a job are kept, each whole or not at all, by the id of its request.

One process writes: the one that holds the folder's lock. Workers hand it what they made, so a worker that lives on after its
job was killed cannot write anything twice.

    settings.json                   what all results have in common (`outputs.claim_folder`)
    failed.csv                      requests without a result, and why
    pictures/<2 digits>/<id>/       as files: <pose>.png, ..., result.json
    pictures-00000.parquet, ...     as Parquet: a row for each picture
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from imagpose.io import clear_all_left_overs, clear_partial_files, partial_file, read_json, write_json, write_text
from imagpose.outputs import check_unclaimed, result_folder
from imagpose.serving.bulk.table import Refused, opened_parquet
from imagpose.serving.bulk.worker import Answer
from imagpose.serving.results import RECORD

FORMATS = ("files", "parquet")
_FAILED = "failed.csv"
_PICTURES = "pictures"
_PART_BYTES, _PART_SECONDS = 64 * 2**20, 20.0
_PART = re.compile(rf"{_PICTURES}-(\d{{5,}})\.parquet")


class Store(Protocol):
    """Results by the ids of their requests."""

    def found(self) -> dict[str, str]:
        """Digests of the requests whose results are there, by their ids."""

    def add(self, answer: Answer, replace: bool) -> None:
        """Keep an answer; `replace`: in place of the result of another request under this id.

        Raises:
            ValueError, OSError: it cannot be kept.
        """

    def close(self) -> None:
        """Write what has not been written yet."""


def check_new_store(folder: Path) -> None:
    """Raises `ValueError` if a folder that no job has marked as its own holds files of the names of results."""
    check_unclaimed(folder, (_FAILED, _PICTURES, *(path.name for path in _part_files(folder))))


def open_store(folder: Path, form: str) -> Store:
    """The store of one of `FORMATS` in a folder that is there, locked by this process."""
    return _FileStore(folder / _PICTURES) if form == "files" else ParquetStore(folder)


def write_failed(folder: Path, failed: Iterable[Refused]) -> None:
    """The table of requests without a result; no table where there are none."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    rows = [(own.id, own.reason) for own in failed]
    table.writerows([("id", "reason"), *rows])
    if rows:
        write_text(folder / _FAILED, text.getvalue(), errors="replace")
    else:
        (folder / _FAILED).unlink(missing_ok=True)


class _FileStore:
    """A folder for each request, in 256 folders so that none gets too long."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def found(self) -> dict[str, str]:
        digests = {}
        for part in self.folder.glob("*"):  # a killed job's, also of folders that nobody will write again
            clear_all_left_overs(part)
        for file in self.folder.glob(f"*/*/{RECORD}"):
            if not file.parent.name.startswith("."):  # somebody else's
                digests[file.parent.name] = str(read_json(file).get("request"))
        return digests

    def add(self, answer: Answer, replace: bool) -> None:
        part = hashlib.sha256(answer.id.encode()).hexdigest()[:2]
        with result_folder(self.folder / part / answer.id, overwrite=replace) as folder:
            for name, picture in answer.pictures.items():
                (folder / name).write_bytes(picture)
            write_json(folder / RECORD, answer.record, indent=2)

    def close(self) -> None:
        pass


class ParquetStore:
    """Numbered files of some MB; of a request that two of them hold, the later one's rows count.

    A killed job loses what it had not written: answers of the last 20 s, which the next run makes again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts: dict[str, set[str]] = {}  # ids by the name of their file
        self._waiting: list[dict[str, Any]] = []
        self._size, self._since = 0, 0.0

    def found(self) -> dict[str, str]:
        digests: dict[str, str] = {}
        clear_partial_files(self.folder, f"{_PICTURES}-*")  # a killed job's
        for path in _part_files(self.folder):
            with opened_parquet(path) as part:
                ids, requests = part.read(columns=["id", "request"]).to_pydict().values()
            self._parts[path.name] = set(ids)
            digests.update(zip(ids, requests, strict=True))
        self._drop_replaced()
        return digests

    def add(self, answer: Answer, replace: bool) -> None:
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting += _rows(answer)
        self._size += sum(map(len, answer.pictures.values()))
        if self._size >= _PART_BYTES or time.monotonic() - self._since >= _PART_SECONDS:
            self._write()

    def close(self) -> None:
        self._write()
        self._drop_replaced()

    def _write(self) -> None:
        if not self._waiting:
            return
        import pyarrow

        number = max(map(_number, self._parts), default=-1) + 1
        path = self.folder / f"{_PICTURES}-{number:05d}.parquet"
        _write_part(path, pyarrow.Table.from_pylist(self._waiting, schema=_schema()))
        self._parts[path.name] = {row["id"] for row in self._waiting}
        self._waiting, self._size = [], 0

    def _drop_replaced(self) -> None:
        """Remove the rows of requests that a later file holds too."""
        import pyarrow
        import pyarrow.compute

        later: set[str] = set()
        for name in sorted(self._parts, key=_number, reverse=True):
            if replaced := self._parts[name] & later:
                self._parts[name] -= replaced
                with opened_parquet(self.folder / name) as part:
                    table = part.read()
                kept = pyarrow.compute.is_in(table["id"], pyarrow.array(sorted(self._parts[name]), pyarrow.string()))
                if self._parts[name]:
                    _write_part(self.folder / name, table.filter(kept))
                else:
                    (self.folder / name).unlink()
                    del self._parts[name]
                    continue
            later |= self._parts[name]


def _part_files(folder: Path) -> list[Path]:
    files = (path for path in folder.glob(f"{_PICTURES}-*.parquet") if _PART.fullmatch(path.name))
    return sorted(files, key=lambda path: _number(path.name))


def _number(name: str) -> int:
    found = _PART.fullmatch(name)
    assert found is not None
    return int(found[1])


def _write_part(path: Path, table: Any) -> None:
    import pyarrow.parquet

    with partial_file(path) as partial:
        pyarrow.parquet.write_table(table, partial, row_group_size=1000, compression={"record": "zstd"})


def _schema() -> Any:
    import pyarrow

    text, whole, share = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
    return pyarrow.schema(
        {
            "id": text, "name": text, "sample": whole, "seed": whole, "score": share, "pose": share, "likeness": share,
            "sharpness": share, "rejected": pyarrow.bool_(), "height": whole, "width": whole,
            "picture": pyarrow.binary(), "request": text, "record": text,
        }
    )  # fmt: skip


def _rows(answer: Answer) -> list[dict[str, Any]]:
    """A row for each picture of an answer."""
    record: Mapping[str, Any] = answer.record
    shared = {"id": answer.id, "request": answer.digest, "record": json.dumps(record), **record["size"]}
    return [
        {
            **shared, **(own["scores"] or {}), "name": Path(own["file"]).stem, "sample": own["sample"], "seed": own["seed"],
            "rejected": own["rejected"], "picture": answer.pictures[own["file"]],
        }
        for own in record["outputs"]
    ]  # fmt: skip
