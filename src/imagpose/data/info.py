"""What a data set's folder says of itself: `info.json`, checked when it is opened, and the checksums.

<split>-00000-of-00012.parquet   the views (`shards.py`)
index.parquet                    which person is in which row group
info.json                        settings, counts, sizes and checksums
problems.csv                     what was skipped, and why
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagpose.io import file_digest

INFO, INDEX, PROBLEMS = "info.json", "index.parquet", "problems.csv"
INDEX_SCHEMA = pa.schema(
    [
        ("identity", pa.string()),
        ("split", pa.string()),
        ("shard", pa.int32()),  # its place in info.json
        ("row_group", pa.int32()),
        ("pictures", pa.int32()),
    ]
)
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitInfo(_Part):
    """Counts of a split."""

    pictures: Count
    identities: Count


class FileInfo(_Part):
    """A file of the data set: its name, length and checksum."""

    file: Annotated[str, Field(pattern=r"^[\w.-]+\.parquet$")]
    bytes: Count
    sha256: str


class ShardInfo(FileInfo):
    """A shard, and what it holds."""

    split: str
    pictures: Count
    identities: Count


class DatasetInfo(_Part):
    """The content of `info.json`.

    Attributes:
        format, version: what tells this format from others.
        settings: what the command was asked for.
        fingerprint: of the list of people and views that was to be made (``plan`` in the file).
        pictures, identities: what is stored.
        skipped: pictures that are not, see problems.csv.
        splits: counts per split.
        shards, index: files with lengths and checksums.
    """

    format: Literal["imagpose views"]
    version: Literal[1]
    settings: dict[str, Any]
    fingerprint: str = Field(alias="plan")
    pictures: Count
    identities: Count
    skipped: Count
    splits: dict[str, SplitInfo]
    shards: tuple[ShardInfo, ...]
    index: FileInfo

    def summary(self) -> str:
        """One line of counts for people."""
        splits = ", ".join(f"{name} {split.pictures:,} of {split.identities:,}" for name, split in self.splits.items())
        skipped = f"; {self.skipped:,} skipped, see {PROBLEMS}" if self.skipped else "; none skipped"
        return f"{self.pictures:,} pictures of {self.identities:,} identities ({splits}){skipped}"


def read_info(folder: Path | str) -> DatasetInfo:
    """The description of a data set, whose files are there and have their lengths (checksums: `verify_dataset`).

    Raises:
        FileNotFoundError: no folder, no finished data set in it, or a file is missing.
        ValueError: another format or version, or a file of another length.
    """
    folder = Path(folder)
    path = folder / INFO
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no finished data set ({INFO} is missing); `imagpose prepare` makes one"
        )
    try:
        info = DatasetInfo.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "content"
        raise ValueError(f"{path}: not a data set of format version 1 ({place}: {first['msg']})") from None
    for file in (*info.shards, info.index):
        found = folder / file.file
        if not found.is_file():
            raise FileNotFoundError(f"{found} is missing: copy it again, or remove {folder} and prepare it again")
        if found.stat().st_size != file.bytes:
            raise ValueError(f"{found} has {found.stat().st_size:,} bytes, {file.bytes:,} expected: copy it again")
    return info


def verify_dataset(folder: Path | str) -> DatasetInfo:
    """Check the checksum of every file of a data set.

    Raises:
        FileNotFoundError: as `read_info`.
        ValueError: as `read_info`, or checksums differ; the message names the files.
    """
    info = read_info(folder)
    damaged = [file.file for file in (*info.shards, info.index) if file_digest(Path(folder) / file.file) != file.sha256]
    if damaged:
        raise ValueError(f"{folder}: other content than when it was made: {', '.join(damaged)}; copy them again")
    return info
