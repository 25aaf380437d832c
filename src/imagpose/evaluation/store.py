"""Values computed part by part and kept on disk, so that a run that was broken off continues where it stopped.

A part is a `.npy` file in the folder `parts`, named by a digest of everything that decides its values: what is
computed, and name, size and time of every file that goes in. A file that changes makes a new part. The folder may be
deleted at any time.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from imagpose.evaluation.folders import refuse
from imagpose.io import error_line, partial_file
from imagpose.workers import in_order

Files = tuple[Path | None, ...]  # what one row of values is computed from


@dataclass(frozen=True)
class ValueStore:
    """The values kept in one output folder.

    Attributes:
        folder: where the parts lie; made where it is missing.
        workers: processes for work on pixels; None for one per core.
    """

    folder: Path
    workers: int | None = None

    def values(
        self, what: str, items: Sequence[Files], size: int, work: Callable[[Sequence[Files]], np.ndarray], shared: bool
    ) -> np.ndarray:
        """One row of values per item, computed where no part holds it.

        Args:
            what: name, then version and settings, of what is computed; the name labels the progress bar.
            items: the files of every row.
            size: rows of a part.
            work: gives float (n, k) for n items; an error of one item is raised as ValueError or OSError.
            shared: whether processes share the work; it must be picklable then. Networks are not shared.

        Returns:
            (len(items), k).

        Raises:
            ValueError: some pictures are damaged. All others have been computed and are kept.
        """
        chunks = [items[start : start + size] for start in range(0, len(items), size)]
        name = what.split()[0]
        files = [self.folder / f"{name}-{_digest(what, chunk)}.npy" for chunk in chunks]
        missing = [number for number, file in enumerate(files) if not file.is_file()]
        self.folder.mkdir(parents=True, exist_ok=True)
        problems: list[str] = []
        todo = [chunks[number] for number in missing]
        workers = self.workers if shared and len(todo) > 1 else 1
        results: Iterable[tuple[np.ndarray, list[str]]] = in_order(partial(_attempt, work=work), todo, workers)
        with _progress() as progress:
            task = progress.add_task(name, total=len(items), completed=len(items) - sum(map(len, todo)))
            for number, (values, problem) in zip(missing, results, strict=True):
                problems += problem
                if not problem:
                    _save(files[number], values)
                progress.advance(task, len(chunks[number]))
        refuse(list(dict.fromkeys(problems)), "pictures that cannot be used")
        return np.concatenate([_load(file) for file in files])


def _attempt(chunk: Sequence[Files], work: Callable[[Sequence[Files]], np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """The values of a chunk; or, where that fails, what is wrong with each of its items."""
    try:
        return work(chunk), []
    except (ValueError, OSError) as error:
        return np.empty((0, 0)), [problem for item in chunk for problem in _problem(item, work)] or [str(error)]


def _problem(item: Files, work: Callable[[Sequence[Files]], np.ndarray]) -> list[str]:
    try:
        work([item])
    except (ValueError, OSError) as error:
        return [str(error)]
    return []


def _digest(what: str, chunk: Sequence[Files]) -> str:
    digest = hashlib.sha256(what.encode())
    for item in chunk:
        for file in item:
            stat = file.stat() if file else None
            digest.update(repr((str(file), stat and stat.st_size, stat and stat.st_mtime_ns)).encode())
    return digest.hexdigest()[:24]


def _save(file: Path, values: np.ndarray) -> None:
    encoded = io.BytesIO()
    np.save(encoded, values, allow_pickle=False)
    with partial_file(file) as partial:
        partial.write_bytes(encoded.getvalue())  # numpy itself does not notice that a disk is full


def _load(file: Path) -> np.ndarray:
    try:
        values: np.ndarray = np.load(file, allow_pickle=False)
        return values
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{file} is damaged ({error_line(error)}): remove it") from None


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
