"""What commands leave on the disk: killed, without room, without permission, two at once, with somebody's files there.

Each command runs in a forked child of this process, so that a try takes no time for imports and a kill meets the work
itself. `python tools/trust.py --only files` prints a table of all.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, partial
from pathlib import Path
from typing import NoReturn

import torch
from pyarrow import parquet

from imagpose.cli import main as command_line
from trust_commands import COMMANDS, Command, make_inputs
from trust_trainings import render_people

NOBODY = 65534
TRACEBACK = 70
COLUMNS = (
    "killed, run again",
    "limit of size, run again",
    "disk full, run again",
    "no permission",
    "read-only",
    "two at once",
)
_LARGE = "1g"


@dataclass
class Child:
    """A command in a forked process."""

    pid: int
    said: int

    def wait(self) -> tuple[int, str]:
        """Exit code (negative: the signal that ended it) and what it printed."""
        with os.fdopen(self.said, encoding="utf-8", errors="replace") as pipe:
            text = pipe.read()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), text


def start(arguments: list[str], before: Callable[[], None] = lambda: None) -> Child:
    """Run a command in a child, which calls `before` first."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads; the children start none
        pid = os.fork()
    if not pid:
        _become(arguments, write, before)
    os.close(write)
    return Child(pid, read)


def _become(arguments: list[str], output: int, before: Callable[[], None]) -> NoReturn:
    """The command itself, in the child, with streams of its own."""
    code = TRACEBACK
    try:
        for number in (1, 2):
            os.dup2(output, number)
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
        sys.argv = ["imagpose", *arguments]
        before()
        command_line()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(code)


def _content(path: Path, folder: Path) -> bytes:
    """A file's bytes, but for what differs from run to run: the order of a safetensors header, names of our own folder."""
    content = path.read_bytes()
    if path.suffix == ".safetensors" and len(content) > 8:
        length = 8 + int.from_bytes(content[:8], "little")
        with contextlib.suppress(ValueError):  # of an unfinished file
            return json.dumps(json.loads(content[8:length]), sort_keys=True).encode() + content[length:]
    if path.name == "pairs.parquet":
        return json.dumps(parquet.read_table(path).to_pylist()).replace(str(folder), "").encode()
    return content


def contents(folder: Path, command: Command) -> dict[str, bytes]:
    """What lies in a folder, but for locks; of files that vary only that some are there."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    found = {}
    for path in files:
        name = path.relative_to(folder).as_posix()
        varying = next((pattern for pattern in command.varying if fnmatch(name, pattern)), None)
        found[varying or name] = _content(path, folder) if varying is None else b""
    return found


def is_whole(out: Path, command: Command, reference: dict[str, bytes]) -> bool:
    """Whether every file of `out` is complete: unfinished ones lie under other names."""
    unfinished = (".partial", "preparing/", "parts/", ".frames/")
    found = contents(out, command).items()
    return all(
        content == reference.get(name) for name, content in found if not any(mark in name for mark in unfinished)
    )


def is_finished(out: Path, command: Command, inputs: Path, reference: dict[str, bytes]) -> bool:
    """Whether the command, run again, ends with the reference's files and nothing else."""
    code, text = start(command.given(inputs, out)).wait()
    complete = code == 0 or (code == 2 and " exists" in text)
    return complete and contents(out, command) == reference and not list(out.parent.glob(f".{out.name}-*.partial"))


def is_one_line(code: int, text: str) -> bool:
    """Whether a command failed as it should: an exit code of its own, one line about an error, no traceback."""
    lines = [line for line in text.splitlines() if line.startswith(("error:", "this is a bug"))]
    return code in (1, 2) and len(lines) == 1 and lines[0].startswith("error:") and "Traceback" not in text


_PAGE = 4096


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """A new disk in memory, and what mounts it again with other options; for root, where mounting is allowed."""
    place = Path(tempfile.mkdtemp(dir=folder))

    def mount(*words: str) -> None:
        subprocess.run(["mount", *words], check=True, capture_output=True)

    mount("-t", "tmpfs", "-o", options, "tmpfs", str(place))
    try:
        yield place, lambda changed: mount("-o", f"remount,{changed}", str(place))
    finally:
        subprocess.run(["umount", str(place)], check=True)


def can_mount(folder: Path) -> bool:
    """Whether `mounted` works here."""
    try:
        with mounted(folder, f"size={_LARGE}"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


class Trial:
    """One command, its inputs and what a whole run of it gives."""

    def __init__(self, command: Command, inputs: Path, folder: Path) -> None:
        self.command, self.inputs, self.folder = command, inputs, folder
        started = time.monotonic()
        out = self._new()
        code, text = start(command.given(inputs, out)).wait()
        if code:
            raise RuntimeError(f"{command.name}: {text}")
        self.seconds = time.monotonic() - started
        self.reference = contents(out, command)

    def _new(self, place: Path | None = None) -> Path:
        out = (place or Path(tempfile.mkdtemp(dir=self.folder))) / "out"
        if self.command.one_file:
            out.mkdir()
        return out

    def kill(self, moment: float) -> bool:
        """Kill it after a share of its time; then nothing is half, and the same command ends as if nothing had been."""
        out = self._new()
        child = start(self.command.given(self.inputs, out))
        time.sleep(moment * self.seconds)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        whole = is_whole(out, self.command, self.reference)
        return whole and is_finished(out, self.command, self.inputs, self.reference)

    def fill(self, share: float) -> bool:
        """No file may grow beyond a share of its longest one: one line, nothing half, and it can be run again."""
        out, limit = self._new(), int(share * max(map(len, self.reference.values())))
        child = start(
            self.command.given(self.inputs, out),
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)),
        )
        good = is_one_line(*child.wait()) and is_whole(out, self.command, self.reference)
        return good and is_finished(out, self.command, self.inputs, self.reference)

    def fill_disk(self, share: float) -> bool:
        """As `fill`, on a disk of its own with room for a share of all files together, beside a file of one page."""
        room = int(share * sum(-(-len(content) // _PAGE) for content in self.reference.values()))
        with mounted(self.folder, f"size={(room + 1) * _PAGE}") as (place, change):
            (place / "there before").write_bytes(bytes(_PAGE))
            out = self._new(place)
            failed = start(self.command.given(self.inputs, out)).wait()
            good = is_one_line(*failed) and is_whole(out, self.command, self.reference)
            change(f"size={_LARGE}")
            return good and is_finished(out, self.command, self.inputs, self.reference)

    def forbid_mount(self) -> bool:
        """A disk that is mounted read-only: one line, nothing written; and then it can be run."""
        with mounted(self.folder, f"size={_LARGE}") as (place, change):
            out = self._new(place)
            before = sorted(place.rglob("*"))
            change("ro")
            failed = start(self.command.given(self.inputs, out)).wait()
            good = is_one_line(*failed) and sorted(place.rglob("*")) == before
            change("rw")
            return good and is_finished(out, self.command, self.inputs, self.reference)

    def forbid(self) -> bool:
        """A folder without permission: one line, nothing written. As root it is run by nobody, whom modes hold."""
        out = self._new()
        place = out if self.command.one_file else out.parent
        out.parent.chmod(0o755)
        place.chmod(0o555)
        before = (lambda: os.setuid(NOBODY)) if os.geteuid() == 0 else (lambda: None)
        failed = start(self.command.given(self.inputs, out), before).wait()
        return is_one_line(*failed) and not list(place.iterdir())

    def double(self) -> bool:
        """Two at once: both end, one of them well, and the folder is whole."""
        out = self._new()
        ended = [child.wait() for child in [start(self.command.given(self.inputs, out)) for _ in range(2)]]
        good = all(code == 0 or is_one_line(code, text) for code, text in ended) and 0 in dict(ended)
        return good and contents(out, self.command) == self.reference


def survives(command: Command, inputs: Path, folder: Path, name: str, overwrite: bool) -> bool:
    """Whether somebody's file in the command's folder is as it was, and a refusal is one line."""
    file = Path(tempfile.mkdtemp(dir=folder)) / "out" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"three years of work")
    out = file.parents[len(Path(name).parts) - 1]
    code, text = start([*command.given(inputs, out), *(["--overwrite"] if overwrite else [])]).wait()
    kept = file.is_file() and file.read_bytes() == b"three years of work"
    return kept and (code == 0 or is_one_line(code, text))


def stranger_cases() -> list[tuple[Command, str, bool]]:
    """Every command with every name and, where it has it, with ``--overwrite``."""
    return [
        (command, name, overwrite)
        for command in COMMANDS
        for name in command.theirs
        for overwrite in ((False, True) if command.overwrites else (False,))
    ]


@dataclass(frozen=True)
class Cell:
    """Of the table: a command, one of `COLUMNS`, how often it is tried, and what tries it once."""

    command: str
    column: str
    count: int
    attempt: Callable[[random.Random], bool]

    def held(self, seed: int) -> int:
        """How often it held, at moments and sizes that are drawn from the seed and what is tried."""
        rng = random.Random(f"{seed} {self.command} {self.column}")
        return sum(self.attempt(rng) for _ in range(self.count))


@contextlib.contextmanager
def prepared() -> Iterator[tuple[Path, Path]]:
    """The inputs and a folder to write in."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        inputs = make_inputs(folder / "inputs")
        render_people(inputs / ".trainings")
        yield inputs, folder


def strangers_survive(inputs: Path, folder: Path) -> int:
    """In how many of `stranger_cases` somebody's file survives."""
    return sum(survives(command, inputs, folder, name, overwrite) for command, name, overwrite in stranger_cases())


def cells(inputs: Path, folder: Path, kills: int) -> Iterator[Cell]:
    """The table's, row by row; `kills` are of all commands together but those with `few` tries, which are killed once each.

    Two columns need the right to mount.
    """
    disks, quick = can_mount(folder), sum(not command.few for command in COMMANDS)
    shares = iter(kills // quick + (number < kills % quick) for number in range(quick))
    for command in COMMANDS:
        trial = cache(partial(Trial, command, inputs, folder))
        killed = 1 if command.few else next(shares)
        tries: tuple[tuple[int, Callable[[random.Random], bool]], ...] = (
            (killed, lambda rng, own=trial: own().kill(rng.random())),
            (2 if command.few else 10, lambda rng, own=trial: own().fill(rng.random() ** 2 * 0.99)),
            ((1 if command.few else 5) * disks, lambda rng, own=trial: own().fill_disk(rng.random() * 0.9)),
            (1, lambda _, own=trial: own().forbid()),
            (1 * disks, lambda _, own=trial: own().forbid_mount()),
            (1 if command.few else 3, lambda _, own=trial: own().double()),
        )
        for column, (count, attempt) in zip(COLUMNS, tries, strict=True):
            yield Cell(command.name, column, count, attempt)
