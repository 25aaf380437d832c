"""Folders that commands write to: whose they are, and what in them may be replaced.

What a command has written is listed in ``.imagpose.json``; what a longer work continues is marked by ``settings.json``.
Nothing else is ever removed or overwritten (docs/files.md). Source: own.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from imagpose.io import clear_left_overs, partial_folder, read_json, unfinished_folder, write_json

SETTINGS_FILE = "settings.json"
_WRITTEN = ".imagpose.json"


@contextmanager
def result_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """`partial_folder` for the results of a command, marked as its own; an earlier one is replaced where `overwrite`.

    Raises:
        ValueError: see `check_replaceable`, which looks before the block and again after it.
    """
    path = path.resolve()
    check_replaceable(path, overwrite)
    with partial_folder(path, replace=overwrite) as new:
        yield new
        mark_written(new)
        check_replaceable(path, overwrite)


@contextmanager
def staged_folder(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder beside `out` whose files are moved into `out` when the block ends without an error.

    Files of the same name are replaced one by one where `overwrite` and if they are ours, others in `out` stay. After an
    error nothing is left behind.

    Raises:
        ValueError: see `check_new_files`.
    """
    out = out.resolve()
    created = [folder for folder in (out.parent, *out.parent.parents) if not folder.exists()]
    try:
        with unfinished_folder(out) as stage:
            yield stage
            names = _files_of(stage)
            check_new_files(out, names, overwrite)
            if names:
                out.mkdir(exist_ok=True)
                write_json(out / _WRITTEN, sorted(names | (_listed(out) or set())))
            for name in sorted(names):
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(stage / name, out / name)
    except BaseException:
        for folder in created:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        raise


def mark_written(folder: Path) -> None:
    """List the files of a folder in its ``.imagpose.json``, by which `check_replaceable` knows it again."""
    write_json(folder / _WRITTEN, sorted(_files_of(folder)))


def carry_over(folder: Path, new: Path) -> None:
    """Copy into `new`, which is to replace `folder`, what others have put into `folder` since we wrote it."""
    listed = _listed(folder) or set()
    for name in _files_of(folder) - listed - _files_of(new):
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(folder / name, new / name, follow_symlinks=False)


def remove_written(folder: Path, names: Iterable[str]) -> None:
    """Remove files that we wrote into a folder, and the folder itself if nothing else is in it."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # somebody else's file is in it
        folder.rmdir()


def check_replaceable(folder: Path, overwrite: bool) -> None:
    """Look at a folder that is to be written anew: only what `mark_written` listed may be removed, and `clear_left_overs`.

    Raises:
        ValueError: it exists and is not marked, holds other files too, or is not to be overwritten; or nothing can be
            written beside it.
    """
    clear_left_overs(folder)
    if not folder.exists() and not folder.is_symlink():
        check_output_folder(folder)
        return
    if not folder.is_dir():
        raise ValueError(f"output folder {folder} exists and is not a folder")
    check_output_folder(folder.resolve().parent)  # where the new one is written, and then renamed
    if os.path.ismount(folder):
        raise ValueError(f"{folder} is a mount, which cannot be replaced as a whole: choose a folder inside of it")
    found = _files_of(folder)
    listed = _listed(folder)
    if found and listed is None:
        raise ValueError(f"{folder} exists and was not written by this command: choose another folder")
    if others := sorted(found - (listed or set())):
        raise ValueError(f"{folder} holds {others[0]}, which this command did not write: choose another folder")
    if listed is not None and not overwrite:
        raise ValueError(f"{folder} exists already: choose another folder, or replace it with --overwrite")


def check_new_files(folder: Path, names: Iterable[str], overwrite: bool = False) -> None:
    """Look for files in a folder that are about to be written there: only what was listed before may be replaced.

    Raises:
        ValueError: one exists and is not listed as ours, or is not to be overwritten.
    """
    listed = _listed(folder) or set()
    for name in sorted(names):
        if os.path.lexists(folder / name):
            if name not in listed:
                raise ValueError(f"{folder / name} exists and was not written by this command: choose another folder")
            if not overwrite:
                raise ValueError(f"{folder / name} exists: choose another folder, or replace it with --overwrite")


def check_new_file(path: Path, overwrite: bool = False) -> None:
    """Look at the place of a single file, which nothing marks as ours, before it is written.

    Raises:
        ValueError: it exists and is not to be overwritten, or is no file; or its folder cannot be written.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; the name of a file is expected")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists: choose another name, or replace it with --overwrite")
    check_output_folder(path.parent)


def check_output_folder(out: Path) -> None:
    """Look at the folder that results go to before any time is spent on them.

    Raises:
        ValueError: it is a file, or nothing can be written there.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"output folder {out} exists and is not a folder")
    parent = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ValueError(f"output folder {out} cannot be written: no permission in {parent}")


def check_free_space(folder: Path, needed: int) -> None:
    """Look at the disk that a folder lies on, or will, before any time is spent.

    Args:
        needed: bytes that will be written at least.

    Raises:
        OSError: less is free.
    """
    free = shutil.disk_usage(next(own for own in (folder, *folder.absolute().parents) if own.exists())).free
    if free < needed:
        text = f"about {needed / 1e6:,.0f} MB will be written, and {free / 1e6:,.0f} MB are free"
        raise OSError(errno.ENOSPC, f"{text}: make room, or choose another disk", str(folder))


def claim_folder(folder: Path, settings: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> None:
    """Mark a folder, made where it is missing, as holding what these settings give: ``settings.json``.

    Args:
        folder: whose results are to be continued.
        settings: of what JSON can hold; dictionaries in it are compared key by key.
        defaults: what a setting was if the mark does not name it, because it was written before the setting existed.

    Raises:
        ValueError: it is marked with others; the message names those that differ.
    """
    mark = folder / SETTINGS_FILE
    if not mark.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(mark, settings)
        return
    try:
        found = read_json(mark)
    except ValueError:
        found = None
    if other := _differing(found, json.loads(json.dumps(settings)), json.loads(json.dumps(defaults or {}))):
        raise ValueError(f"{folder} holds results of other settings ({', '.join(other)} differ): choose another folder")


def check_unclaimed(folder: Path, names: Iterable[str]) -> None:
    """Look for what a folder should hold only if `claim_folder` has marked it.

    Raises:
        ValueError: it holds one of these names and is not marked.
    """
    if not (folder / SETTINGS_FILE).is_file():
        check_new_files(folder, names)


def _differing(found: Any, wanted: Mapping[str, Any], defaults: Any) -> list[str]:
    """Names of the values that differ, those of inner dictionaries in place of the dictionary's own."""
    defaults = defaults if isinstance(defaults, dict) else {}
    held = {**defaults, **(found if isinstance(found, dict) else {})}
    names: list[str] = []
    for name, value in wanted.items():
        if isinstance(value, dict):
            names += _differing(held.get(name), value, defaults.get(name))
        elif name not in held or held[name] != value:
            names.append(name)
    return names


def _files_of(folder: Path) -> set[str]:
    """Names of all files of a folder but our list of them, of inner folders too; links count as files."""
    if not folder.is_dir():
        return set()
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in paths} - {_WRITTEN}


def _listed(folder: Path) -> set[str] | None:
    """What `mark_written` listed; None where a folder is not marked."""
    try:
        names = read_json(folder / _WRITTEN, list)
        return set(names) if all(isinstance(name, str) for name in names) else None
    except (OSError, ValueError, TypeError):
        return None
