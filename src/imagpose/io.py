"""Files and folders that appear whole or not at all, JSON and its digests, and folders that belong to one set of settings.

A file is written under a temporary name beside its own and then renamed, which a file system does in one step: a reader
never meets half a file, whatever kills the writer. Source: own.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SETTINGS_FILE, LOCK_FILE, _WRITTEN = "settings.json", ".lock", ".imagpose.json"
_NEW, _OLD, _LONGEST = "new", "old", 200


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` at the end of the block, or is removed if the block fails.

    The name holds the process's number, so that two processes may write the same file; the last one wins. An OSError
    that names no file, as that of a full disk, names `path` afterwards.
    """
    partial = path.with_name(f"{_short(path.name)}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def clear_partial_files(folder: Path, pattern: str = "**/*") -> None:
    """Remove what killed processes left of files that nobody else writes now; the pattern is of the names in the folder."""
    for path in folder.glob(f"{pattern}.partial"):
        if re.search(r"\.\d+\.partial$", path.name) and path.is_file():
            path.unlink()


@contextmanager
def partial_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """An empty folder that becomes `path` at the end of the block, or is removed if the block fails.

    Args:
        path: the folder to make.
        replace: whether a folder at `path` makes room when everything new has been written. It is moved aside and removed
            last: if the process is killed in between, the next that writes `path` puts it back.

    Raises:
        OSError: something lies at `path` and is not to be replaced.
    """
    with _unfinished(path) as new:
        yield new
        if replace and path.is_dir() and not path.is_symlink():
            os.replace(path, new.with_name(_OLD))
        os.replace(new, path)


@contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """An empty folder for what goes to `path`, on its file system; removed at the end of the block.

    It lies in ``.<name>-<process>-<random>.partial`` beside `path`, locked by this process: what a killed process left is
    known by that, and removed when `path` is written again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_left_overs(path)
    room = Path(tempfile.mkdtemp(".partial", f".{_short(path.name)}-{os.getpid()}-", path.parent))
    with locked_folder(room):
        try:
            (room / _NEW).mkdir()  # mkdtemp's own folder is closed to other users
            yield room / _NEW
        finally:
            _close(room, path)


def _short(name: str) -> str:
    """A name to which an ending may be added: file systems take 255 bytes."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST else hashlib.sha256(encoded).hexdigest()[:32]


def _close(room: Path, path: Path) -> None:
    """Remove the folder around an unfinished one, and put back what was moved aside for it."""
    if (room / _NEW).exists() and (room / _OLD).exists():  # stopped between the two renames
        os.replace(room / _OLD, path)
    shutil.rmtree(room, ignore_errors=True)


def clear_left_overs(path: Path) -> None:
    """Remove what killed processes left of their attempts to write `path`; see `_unfinished`."""
    ours = re.compile(rf"\.{re.escape(_short(path.name))}-(\d+)-\w{{8}}\.partial")
    for folder in path.parent.glob(".*.partial"):
        found = ours.fullmatch(folder.name)
        if found is None or int(found[1]) == os.getpid():
            continue
        with suppress(OSError):  # a living process has locked it, or it is another user's
            if {LOCK_FILE} <= {entry.name for entry in folder.iterdir()} <= {LOCK_FILE, _NEW, _OLD}:
                with locked_folder(folder):
                    _close(folder, path)


def clear_all_left_overs(folder: Path) -> None:
    """As `clear_left_overs`, for all names in a folder; not for those of over 200 bytes, which rooms do not tell."""
    for room in folder.glob(".*.partial"):
        clear_left_overs(folder / room.name[1:].rsplit("-", 2)[0])


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


def mark_written(folder: Path) -> None:
    """List the files of a folder in its ``.imagpose.json``, by which `check_replaceable` knows it again."""
    write_json(folder / _WRITTEN, sorted(_files_of(folder)))


def check_replaceable(folder: Path, overwrite: bool) -> None:
    """Look at a folder that is to be written anew: only what `mark_written` listed may be removed.

    Raises:
        ValueError: it exists and is not marked, holds other files too, or is not to be overwritten; or nothing can be
            written beside it.
    """
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
        with _unfinished(out) as stage:
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


def write_text(path: Path, text: str, errors: str = "strict") -> None:
    """Write a text as UTF-8; `errors` as in `str.encode`."""
    with partial_file(path) as partial:
        partial.write_text(text, encoding="utf-8", errors=errors)


def read_json(path: Path, kind: type[dict[str, Any]] | type[list[Any]] = dict) -> Any:
    """The content of a JSON file: an object, or what `kind` says.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON in UTF-8, is nested too deeply, or holds something else; one line that names the file.
    """
    try:
        content = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError(f"{path}: JSON that is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, kind):
        names = {"dict": "an object", "list": "a list"}
        found = names.get(type(content).__name__, "a value")
        raise ValueError(f"{path}: JSON with {names[kind.__name__]} is expected, found {found}")
    return content


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write what JSON can hold, keys in their order, with a line end."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


def json_digest(value: Any) -> str:
    """SHA-256 of a value's JSON, 64 hexadecimal digits.

    Keys count in their order: a dictionary whose keys are sorted or come from a dataclass has one digest. The form is
    `json.dumps`'s own, because data sets on disk hold digests of it.
    """
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


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


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep other processes that do the same out of a folder, which is made where it is missing.

    The lock, on the folder's file ``.lock``, is this process's alone: children that it forks do not hold it, and it ends
    with the process, however that ends. Systems without such locks let everybody in.

    Raises:
        BlockingIOError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a") as file:  # it may be somebody's, whose content stays
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # which of the two depends on the system
            raise BlockingIOError(
                f"{folder} is being written by another process: wait until it ends, or choose another folder"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield


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


def cache_folder() -> Path:
    """``imagpose`` below the user's folder of caches (``$XDG_CACHE_HOME``, else ``~/.cache``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "imagpose"
