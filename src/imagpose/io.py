"""Files and folders that appear whole or not at all, JSON, digests, folders locked by one process; what failed, in one
line.

A file is written under a temporary name beside its own and then renamed, which a file system does in one step: a reader
never meets half a file, whatever kills the writer. Source: own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LOCK_FILE = ".lock"
_NEW, _OLD = "new", "old"  # in an unfinished folder: what is being written, what it replaces
_LONGEST = 200  # bytes of a name to which an ending is added
_AT_ONCE = 2**20  # bytes of a file that are read at a time


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """A name to write to, which becomes `path` at the end of the block, or is removed if the block fails.

    The folder of `path` is made where it is missing. The name holds the process's number, so that two processes may
    write the same file; the last one wins. An OSError that names no file, as that of a full disk, names `path`
    afterwards.
    """
    partial = path.with_name(f"{_short(path.name)}.{os.getpid()}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
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
    with unfinished_folder(path) as new:
        yield new
        if replace and path.is_dir() and not path.is_symlink():
            os.replace(path, new.with_name(_OLD))
        os.replace(new, path)


@contextmanager
def unfinished_folder(path: Path) -> Iterator[Path]:
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
    for inner in (_NEW, _OLD):  # before the lock, by which the room is known if this is killed too
        shutil.rmtree(room / inner, ignore_errors=True)
    shutil.rmtree(room, ignore_errors=True)


def clear_left_overs(path: Path) -> None:
    """Remove what killed processes left of their attempts to write `path`; see `unfinished_folder`.

    Also for whoever finds `path` there and writes nothing: a process may be killed behind the last renaming.
    """
    ours = re.compile(rf"\.{re.escape(_short(path.name))}-(\d+)-\w{{8}}\.partial")
    for folder in path.parent.glob(".*.partial"):
        found = ours.fullmatch(folder.name)
        if found is None or int(found[1]) == os.getpid():
            continue
        with suppress(OSError):  # a living process has locked it, or it is another user's
            held = {entry.name for entry in folder.iterdir()}  # nothing, if it was killed before it locked the folder
            if not held or {LOCK_FILE} <= held <= {LOCK_FILE, _NEW, _OLD}:
                with locked_folder(folder):
                    _close(folder, path)


def clear_all_left_overs(folder: Path) -> None:
    """As `clear_left_overs`, for all names in a folder; not for those of over 200 bytes, which rooms do not tell."""
    for room in folder.glob(".*.partial"):
        clear_left_overs(folder / room.name[1:].rsplit("-", 2)[0])


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


def file_digest(*paths: Path) -> str:
    """SHA-256 of the content of files, one after the other, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while part := file.read(_AT_ONCE):
                digest.update(part)
    return digest.hexdigest()


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


def cache_folder() -> Path:
    """``imagpose`` below the user's folder of caches (``$XDG_CACHE_HOME``, else ``~/.cache``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "imagpose"


def error_line(error: object, most: int | None = None) -> str:
    """What an error says, or a text, in one line of at most so many characters; the error's kind where it says nothing."""
    return " ".join(str(error).split())[:most] or type(error).__name__
