"""The machinery of `imagpose prepare`: people in, shards out, on all cores, continued after a kill. Source: own.

The result depends neither on where a run was broken off nor on the number of processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from imagpose.data.info import DatasetInfo
from imagpose.data.notes import Note, Problem, clear, finish, finished_info, preparing, read_note, write_note
from imagpose.data.records import ViewRecord
from imagpose.data.shards import write_shard
from imagpose.io import json_digest
from imagpose.outputs import check_output_folder
from imagpose.workers import in_order


@dataclass(frozen=True)
class Person:
    """The unit of work: all views of an identity in one split.

    Attributes:
        identity: who; once per split.
        split: name of letters, digits and underscores.
        views: one entry per expected view, of what JSON can hold; the maker knows what it means.
    """

    identity: str
    split: str
    views: tuple[Any, ...]


Made = tuple[list[ViewRecord], list[Problem]]


def make_views(
    person: Person, root: Path, file_of: Callable[[Any], str], make: Callable[[str, Any], ViewRecord]
) -> Made:
    """The views of a person that are made of files; one that cannot be read is a problem.

    What is warned of becomes notes on a file that is kept; of a picture that fails only the error counts.

    Args:
        person: whose views are asked for.
        root: folder of the pictures, which no message names.
        file_of: an entry's file below `root`.
        make: the view of a file and its entry.
    """

    def short(message: object, file: str) -> str:
        return str(message).replace(f"{root}{os.sep}", "").removeprefix(f"{file}: ")

    records: list[ViewRecord] = []
    problems: list[Problem] = []
    for view in person.views:
        file = file_of(view)
        try:
            with warnings.catch_warnings(record=True) as notes:
                warnings.simplefilter("always", UserWarning)
                records.append(make(file, view))
        except (OSError, ValueError) as error:
            problems.append(Problem(file, short(error, file)))
        else:
            problems += [Problem(file, short(note.message, file), skipped=False) for note in notes]
    return records, problems


def write_dataset(
    folder: Path | str,
    people: Sequence[Person],
    make: Callable[[Person], Made],
    settings: Mapping[str, Any],
    *,
    problems: Sequence[Problem] = (),
    strict: bool = False,
    workers: int | None = None,
    views_per_shard: int = 1024,
) -> DatasetInfo:
    """Make a data set, or what is missing of it, with a progress bar.

    Args:
        folder: made where it is missing; must be empty, or hold the same data set, finished or not.
        people: in the order in which they are stored; each split has its own shards.
        make: the views of a person, and what went wrong. It is called in other processes, so it must be a function of a
            module or a `functools.partial` of one. A picture that cannot be read is a problem, not an exception.
        settings: what was asked for, of what JSON can hold; stored in info.json.
        problems: what was found wrong before.
        strict: stop at the first skipped picture.
        workers: processes; None for one per core, 1 works in this process.
        views_per_shard: expected views after which a shard is full; people are never divided.

    Raises:
        ValueError: the folder holds something else or was begun with other settings or other pictures; nobody to store;
            a person twice; a problem, where `strict`.
        OSError: a file cannot be written, another process is writing the folder, or a process was killed.
    """
    folder = Path(folder)
    check_output_folder(folder)
    shards = _lay_out(people, views_per_shard)
    # As they are when they come back from JSON, so that they can be compared.
    asked = json.loads(json.dumps({"settings": dict(settings), "plan": _fingerprint(people, problems)}))
    if strict:
        _refuse(problems)
    info = finished_info(folder, asked)
    if info is None:
        with preparing(folder, asked) as state:
            notes = _make_missing(folder, state, shards, make, strict, workers)
            if not any(note.shard.pictures for note in notes):
                clear(folder)
                found = [*problems, *(problem for note in notes for problem in note.problems)]
                raise ValueError(f"{folder}: no picture could be stored; the first: {_named(found[0])}")
            info = finish(folder, asked, notes, problems)
    elif strict and info.skipped:
        raise ValueError(f"{folder} is finished, without --strict: {info.summary()}")
    return info


def _lay_out(people: Sequence[Person], views_per_shard: int) -> dict[str, list[Person]]:
    """Shards by name, split by split, each with the people that it holds."""
    if not people:
        raise ValueError("there is nobody to store: no person with a picture was found")
    blocks: dict[str, list[list[Person]]] = {}
    seen = set()
    for person in people:
        if not re.fullmatch(r"\w+", person.split):
            raise ValueError(f"split {person.split!r}: letters, digits and underscores expected")
        if (person.identity, person.split) in seen:
            raise ValueError(f"identity {person.identity!r} comes twice in split {person.split!r}")
        seen.add((person.identity, person.split))
        shards = blocks.setdefault(person.split, [[]])
        if sum(len(other.views) for other in shards[-1]) >= views_per_shard:
            shards.append([])
        shards[-1].append(person)
    return {
        f"{split}-{number:05d}-of-{len(shards):05d}.parquet": shard
        for split, shards in blocks.items()
        for number, shard in enumerate(shards)
    }


def _fingerprint(people: Sequence[Person], problems: Sequence[Problem]) -> str:
    return json_digest([[asdict(entry) for entry in entries] for entries in (people, problems)])


def _make_missing(
    folder: Path,
    state: Path,
    shards: Mapping[str, list[Person]],
    make: Callable[[Person], Made],
    strict: bool,
    workers: int | None,
) -> list[Note]:
    """Make the shards without a note; the notes of all, in their order."""
    notes = {name: note for name in shards if (note := read_note(state, folder / name))}
    if strict:
        _refuse(problem for note in notes.values() for problem in note.problems)
    missing = {name: people for name, people in shards.items() if name not in notes}
    everyone = [person for people in missing.values() for person in people]
    expected, done = (sum(len(person.views) for name in names for person in shards[name]) for names in (shards, notes))
    try:
        # One pool for all shards: the people of the next one are begun while one is closed.
        with _progress(expected, done) as advance, contextlib.closing(in_order(make, everyone, workers)) as results:
            for name, people in missing.items():
                stored, problems = _make_shard(folder / name, people, results, strict, advance)
                notes[name] = write_note(state, folder / name, people[0].split, stored, problems)
    except BrokenProcessPool:
        message = "a process was killed, perhaps for want of memory; the same command with fewer --workers continues"
        raise OSError(f"{folder}: {message}") from None
    return [notes[name] for name in shards]


def _make_shard(
    path: Path, people: Sequence[Person], results: Iterator[Made], strict: bool, advance: Callable[[int, int], None]
) -> tuple[list[tuple[str, int]], list[Problem]]:
    """Write one shard; the people that it holds with their numbers of pictures, and what went wrong."""
    stored, problems = [], []
    with write_shard(path) as write:
        for person in people:
            records, found = next(results)
            if strict:
                _refuse(found)
            _check(person, records)
            problems += found
            if records:
                write(records)
                stored.append((person.identity, len(records)))
            advance(len(person.views), sum(problem.skipped for problem in found))
    return stored, problems


def _check(person: Person, records: Sequence[ViewRecord]) -> None:
    for record in records:
        if (record.identity, record.split) != (person.identity, person.split):
            raise ValueError(f"a view of {record.identity!r} was made for {person.identity!r}, split {person.split}")
    if len({record.view for record in records}) < len(records):
        raise ValueError(f"two views of {person.identity!r} have the same name")


def _refuse(problems: Iterable[Problem]) -> None:
    """Raise for the first skipped picture."""
    for problem in problems:
        if problem.skipped:
            raise ValueError(f"{_named(problem)} (--strict stops at the first picture that would be skipped)")


def _named(problem: Problem) -> str:
    return problem.problem if problem.file in problem.problem else f"{problem.file}: {problem.problem}"


@contextlib.contextmanager
def _progress(expected: int, done: int) -> Iterator[Callable[[int, int], None]]:
    """A progress bar of pictures; gives the function that counts finished and skipped ones."""
    columns = (TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[skipped]} skipped"))
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("", total=expected, completed=done, skipped=0)

        def advance(pictures: int, skipped: int) -> None:
            progress.update(task, advance=pictures, skipped=progress.tasks[task].fields["skipped"] + skipped)

        yield advance
