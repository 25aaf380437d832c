"""What is kept while a data set is made, and how it is closed. Source: own.

While `prepare` works, the folder `preparing` holds the settings and a note per finished shard: its counts, checksum and
problems. A shard without a note is made again. Closing turns the notes into index.parquet, problems.csv and info.json.
A set is begun in an empty folder only, so what has the name of one of its files is its own.
"""

from __future__ import annotations

import csv
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from imagpose.data.info import (
    INDEX,
    INDEX_SCHEMA,
    INFO,
    PROBLEMS,
    DatasetInfo,
    FileInfo,
    ShardInfo,
    SplitInfo,
    read_info,
)
from imagpose.io import file_digest, locked_folder, partial_file, read_json, write_json, write_text
from imagpose.outputs import remove_written

_STATE, _SETTINGS = "preparing", "settings.json"
_SHARD = r"\w+-\d{5}-of-\d{5}\.parquet"
_OWN = re.compile(rf"(?:{_SHARD}|{INDEX}|{PROBLEMS})(?:\.\d+\.partial)?|{INFO}\.\d+\.partial")
_OWN_NOTES = re.compile(rf"(?:{_SHARD}\.json|{_SETTINGS})(?:\.\d+\.partial)?|\.lock")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a file; `skipped` is False where the picture is kept all the same."""

    file: str
    problem: str
    skipped: bool = True


def finished_info(folder: Path, asked: dict[str, Any]) -> DatasetInfo | None:
    """The description of a folder that holds the whole data set already.

    Raises:
        ValueError: it holds another one.
    """
    if not (folder / INFO).is_file():
        return None
    info = read_info(folder)
    _compare(folder, {"settings": info.settings, "plan": info.fingerprint}, asked)
    _remove_notes(folder)
    return info


@contextmanager
def preparing(folder: Path, asked: dict[str, Any]) -> Iterator[Path]:
    """The folder of notes of a data set that is new, or was begun with the same settings; nobody else writes it inside.

    What was begun of other pictures is begun anew, and so is what was begun with other settings if no picture was stored.

    Raises:
        ValueError: the folder holds something else, or pictures that were stored with other settings.
        BlockingIOError: another process prepares it.
    """
    state = folder / _STATE
    if folder.is_dir() and not (state / _SETTINGS).is_file() and any(path != state for path in folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no data set: choose another folder")
    with locked_folder(state):
        found = _begun_with(state)
        if found is not None and found != asked:
            stored = sum(note.shard.pictures for note in _notes(folder))
            if stored and found["settings"] != asked["settings"]:
                _compare(folder, found, asked)
            if stored:
                warnings.warn(f"{folder} was begun with other pictures than are there now: begun anew", stacklevel=3)
            clear(folder)
        for path in folder.iterdir():
            if path.name.endswith(".partial") and _OWN.fullmatch(path.name):
                path.unlink()
        write_json(state / _SETTINGS, asked, indent=None)
        yield state


def _begun_with(state: Path) -> dict[str, Any] | None:
    """Settings and fingerprint of a set that was begun; None where none was."""
    path = state / _SETTINGS
    if not path.is_file():
        return None
    try:
        found = read_json(path)
        return {"settings": dict(found["settings"]), "plan": str(found["plan"])}
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is damaged: remove {state.parent}, or choose another folder") from None


def _notes(folder: Path) -> list[Note]:
    state = folder / _STATE
    notes = [read_note(state, folder / path.name.removesuffix(".json")) for path in state.glob("*.parquet.json")]
    return [note for note in notes if note is not None]


def clear(folder: Path) -> None:
    """Remove what was made of an unfinished data set, whose lock is held, but no file that has another name."""
    for path in (folder, folder / _STATE):
        own = _OWN if path == folder else _OWN_NOTES
        for file in list(path.iterdir()):
            if own.fullmatch(file.name) and file.name != ".lock":
                file.unlink()


def _remove_notes(folder: Path) -> None:
    state = folder / _STATE
    if state.is_dir():
        remove_written(state, [path.name for path in state.iterdir() if _OWN_NOTES.fullmatch(path.name)])


def _compare(folder: Path, found: dict[str, Any], asked: dict[str, Any]) -> None:
    before, now = found["settings"], asked["settings"]
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            difference = f"{name} {json.dumps(before.get(name))}, not {json.dumps(now.get(name))}"
            raise ValueError(f"{folder} was made with {difference}: choose another folder, or remove it")
    if found["plan"] != asked["plan"]:
        raise ValueError(
            f"{folder} was made from other pictures than are there now: choose another folder, or remove it"
        )


class Note(BaseModel):
    """What is known of a finished shard: its people with their numbers of pictures, in the order of its row groups."""

    shard: ShardInfo
    people: list[tuple[str, int]]
    problems: list[Problem]


def read_note(state: Path, shard: Path) -> Note | None:
    """The note of a shard, if both are whole."""
    try:
        note = Note.model_validate_json(_note_path(state, shard).read_bytes())
        return note if shard.stat().st_size == note.shard.bytes else None
    except (OSError, ValueError):
        return None


def write_note(
    state: Path, shard: Path, split: str, stored: Sequence[tuple[str, int]], problems: Sequence[Problem]
) -> Note:
    """Note a finished shard: the people that it holds with their numbers of pictures, and what was skipped."""
    pictures = sum(count for _, count in stored)
    info = ShardInfo(**dict(_file_info(shard)), split=split, pictures=pictures, identities=len(stored))
    note = Note(shard=info, people=list(stored), problems=list(problems))
    write_text(_note_path(state, shard), note.model_dump_json() + "\n")
    return note


def _note_path(state: Path, shard: Path) -> Path:
    return state / f"{shard.name}.json"


def _file_info(path: Path) -> FileInfo:
    return FileInfo(file=path.name, bytes=path.stat().st_size, sha256=file_digest(path))


def finish(folder: Path, asked: dict[str, Any], notes: Sequence[Note], problems: Sequence[Problem]) -> DatasetInfo:
    """Write index.parquet, problems.csv and, last, info.json, which makes the folder a data set; remove the notes.

    Args:
        asked: settings and fingerprint.
        notes: of all shards, in their order.
        problems: those that were known before any shard was made.
    """
    everything = [*problems, *(problem for note in notes for problem in note.problems)]
    _write_index(folder / INDEX, notes)
    with partial_file(folder / PROBLEMS) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "problem", "skipped"))
        writer.writerows((problem.file, problem.problem, "yes" if problem.skipped else "no") for problem in everything)
    shards = tuple(note.shard for note in notes)
    info = DatasetInfo(
        format="imagpose views",
        version=1,
        **asked,
        pictures=sum(shard.pictures for shard in shards),
        identities=sum(shard.identities for shard in shards),
        skipped=sum(problem.skipped for problem in everything),
        splits={name: _split(name, shards) for name in dict.fromkeys(shard.split for shard in shards)},
        shards=shards,
        index=_file_info(folder / INDEX),
    )
    write_text(folder / INFO, info.model_dump_json(indent=1, by_alias=True) + "\n")
    _remove_notes(folder)
    return info


def _split(name: str, shards: Sequence[ShardInfo]) -> SplitInfo:
    own = [shard for shard in shards if shard.split == name]
    return SplitInfo(pictures=sum(shard.pictures for shard in own), identities=sum(shard.identities for shard in own))


def _write_index(path: Path, notes: Sequence[Note]) -> None:
    rows = [
        (identity, note.shard.split, number, row_group, pictures)
        for number, note in enumerate(notes)
        for row_group, (identity, pictures) in enumerate(note.people)
    ]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * len(INDEX_SCHEMA)
    with partial_file(path) as partial:
        pq.write_table(pa.table(columns, schema=INDEX_SCHEMA), partial)
