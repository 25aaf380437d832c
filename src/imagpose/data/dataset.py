"""Reading a data set: one person at a time in any order, or all views as they are stored; checking what is stored.

Opening a data set checks its description, its index and the views of a few people; `check_dataset` checks everything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track

from imagpose.data.info import INDEX, INDEX_SCHEMA, DatasetInfo, read_info, verify_dataset
from imagpose.data.records import ViewRecord
from imagpose.data.shards import naming_damage, open_shard, read_person

_OPEN_SHARDS = 32
_CHECKED_PEOPLE = 4


class PersonDataset:
    """The identities of a data set, or of one of its splits, in the order in which they are stored.

    Attributes:
        folder: where it is.
        info: `info.json`.
        identities: their names.
        view_counts: int64 (identities,), views of each.
        left_out: number of identities that have fewer views than asked for.
    """

    def __init__(self, folder: Path | str, split: str | None = None, min_views: int = 1) -> None:
        """Open a data set; pictures are read later.

        Args:
            folder: what `imagpose prepare` wrote.
            split: one of its splits; None for all.
            min_views: identities with fewer views are left out. Training needs 2: a source and a target.

        Raises:
            FileNotFoundError: no finished data set, or a file of it is missing.
            ValueError: another format, a file of another length, counts that do not agree, no such split, no identity
                with enough views, or one of a few people whose views are not what they should be.
        """
        self.folder = Path(folder)
        self.info = read_info(folder)
        if split is not None and split not in self.info.splits:
            raise ValueError(f"{folder} has no split {split!r}, only {', '.join(self.info.splits)}")
        index = _read_index(self.folder, self.info)
        columns = {name: index[name].to_numpy() for name in ("shard", "row_group", "pictures")}
        names = np.array(index["identity"].to_pylist(), object)
        splits = np.array(index["split"].to_pylist(), object)
        in_split = np.ones(len(names), bool) if split is None else splits == split
        kept = in_split & (columns["pictures"] >= min_views)
        if not kept.any():
            raise ValueError(f"{folder}: no identity{f' of {split}' if split else ''} has {min_views} views")
        self.identities: list[str] = names[kept].tolist()
        self.view_counts = columns["pictures"][kept].astype(np.int64)
        self.left_out = int(in_split.sum() - kept.sum())
        self._places = np.stack([columns["shard"][kept], columns["row_group"][kept]], 1)
        self._numbers = {name: number for number, name in enumerate(self.identities)}
        self._shards: OrderedDict[int, pq.ParquetFile] = OrderedDict()
        for number in sorted({round(place) for place in np.linspace(0, len(self) - 1, _CHECKED_PEOPLE)}):
            self.check(number)

    def __len__(self) -> int:
        """Number of identities."""
        return len(self.identities)

    def views(self, identity: int | str) -> list[ViewRecord]:
        """The views of an identity, always in the same order; only they are read.

        Args:
            identity: its number in `identities`, or its name.

        Raises:
            ValueError: no such name, one that stands in several of the opened splits, or the shard is damaged.
        """
        if isinstance(identity, str):
            identity = self._number(identity)
        path, shard, row_group = self._place(identity)
        opened = self._open(shard)
        with naming_damage(path):
            records = read_person(opened, row_group)
        wanted = [self.identities[identity]] * int(self.view_counts[identity])
        if [record.identity for record in records] != wanted:
            raise ValueError(f"{path} holds other views than {INDEX} says: copy both again")
        return records

    def by_name(self, identity: int | str) -> dict[str, ViewRecord]:
        """`views`, by their names "<identity>/<view>"."""
        return {record.name: record for record in self.views(identity)}

    def check(self, identity: int) -> None:
        """Look at everything that is stored of an identity: key points, sizes, pictures, masks, parts, names.

        Raises:
            ValueError: something is not what `ViewRecord` says; the message names the shard and the view.
        """
        path, shard, _ = self._place(identity)
        seen = set()
        for record in self.views(identity):
            try:
                record.check()
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
            if record.split != self.info.shards[shard].split:
                raise ValueError(f"{path}: {record.name} is of split {record.split!r}, which is not the shard's")
            if record.view in seen:
                raise ValueError(f"{path}: two views have the name {record.name}")
            seen.add(record.view)

    def _place(self, identity: int) -> tuple[Path, int, int]:
        """Shard's file, shard and row group of an identity."""
        shard, row_group = self._places[identity].tolist()
        return self.folder / self.info.shards[shard].file, shard, row_group

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            raise ValueError(f"{self.folder}: no identity {name!r}")
        if len(self._numbers) < len(self.identities) and self.identities.count(name) > 1:
            raise ValueError(f"{self.folder}: identity {name!r} stands in several splits; open one of them")
        return self._numbers[name]

    def stream(self) -> Iterator[ViewRecord]:
        """All views one after another, in the order in which they are stored."""
        for number in range(len(self)):
            yield from self.views(number)

    def _open(self, shard: int) -> pq.ParquetFile:
        if shard not in self._shards:
            if len(self._shards) >= _OPEN_SHARDS:
                self._shards.popitem(last=False)[1].close()
            self._shards[shard] = open_shard(self.folder / self.info.shards[shard].file)
        self._shards.move_to_end(shard)
        return self._shards[shard]

    def __getstate__(self) -> dict[str, Any]:
        """Without the opened files: each process opens its own."""
        return self.__dict__ | {"_shards": OrderedDict()}


def check_dataset(folder: Path | str) -> DatasetInfo:
    """Check all of a data set: the checksum of every file, and every view as `PersonDataset.check` does.

    Raises:
        FileNotFoundError, ValueError: see `verify_dataset` and `PersonDataset`.
    """
    info = verify_dataset(folder)
    dataset = PersonDataset(folder)
    for number in track(range(len(dataset)), "people", transient=True):
        dataset.check(number)
    return info


def _read_index(folder: Path, info: DatasetInfo) -> pa.Table:
    """Which person is in which row group of which shard: what `notes.finish` wrote beside `info`, in its order."""
    path = folder / INDEX
    with naming_damage(path):
        index = pq.read_table(path, use_threads=False)
    if not index.schema.equals(INDEX_SCHEMA) or any(column.null_count for column in index.columns):
        raise ValueError(f"{path}: not the index of a data set: copy it again")
    found = index.to_pydict()
    counts = {
        (index.num_rows, sum(found["pictures"])),
        (info.identities, info.pictures),
        (sum(shard.identities for shard in info.shards), sum(shard.pictures for shard in info.shards)),
    }
    places = (  # not a list: what the counts claim may be more than the memory holds
        (number, group, shard.split) for number, shard in enumerate(info.shards) for group in range(shard.identities)
    )
    if len(counts) > 1 or list(zip(found["shard"], found["row_group"], found["split"], strict=True)) != list(places):
        raise ValueError(f"{path} counts other identities or pictures than info.json: copy it again")
    return index
