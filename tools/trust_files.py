"""What commands leave on the disk: killed, without room, without permission, two at once, with somebody's files there.

Each command runs in a forked child of this process, so that a try takes no time for imports and a kill meets the work
itself. `python tools/trust.py --only files` prints what `rows` finds.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import torch

from imagpose.cli import main as command_line
from imagpose.data.reid_people import render_reid_people
from imagpose.data.rendered import prepare_people
from imagpose.people.render_set import render_set
from trust_networks import tiny_pipeline

ROOT = Path(__file__).parents[1]
LOADED = ("data.folder", "data.rendered", "evaluation.images", "serving.demo", "serving.generate", "serving.poses")
"""What commands import when they begin; loaded once, before children are forked."""
NOBODY = 65534
TRACEBACK = 70
Row = tuple[str, int, int]


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        name: of the command; behind " to " what it writes, where that is said by its arguments.
        arguments: with ``{out}`` for what it writes and ``{inputs}`` for the folder of `make_inputs`.
        theirs: names in its folder at which somebody's file must survive.
        varying: files that hold times or names of folders, so that two runs differ.
        runs: whether it is run to its end here; of others only refusals are tried.
        overwrites: whether it has ``--overwrite``.
        one_file: it writes one file into a folder that is there.
    """

    name: str
    arguments: str
    theirs: tuple[str, ...]
    varying: tuple[str, ...] = ()
    runs: bool = True
    overwrites: bool = False
    one_file: bool = False

    def given(self, inputs: Path, out: Path) -> list[str]:
        words = f"{self.name.partition(' to ')[0]} {self.arguments}"
        return [part.format(inputs=inputs, out=out) for part in words.split()]


_PEOPLE = "--seed 2000100 --count 3 --views 2 --size 64x48 --workers 1 --out {out}"
_MOVES = (
    "--source {inputs}/2000000/0.png --poses {inputs}/2000000/0.json --poses {inputs}/2000000/1.json --between 4 --steps 1"
    " --model {inputs}/.model --overlap 1"
)
_TABLE = "{inputs}/.table.csv --model {inputs}/.model --steps 1"
_METHODS = "--real {inputs}/2000000 --method a={inputs}/2000000 --method b={inputs}/2000001"
_RECORDS = tuple(f"pictures/{part}/{number}/result.json" for number, part in enumerate(("5f", "6b")))
_CROWD = "--train 2 --test 2 --views 2 --workers 1"
_REQUEST = "--source {inputs}/2000000/0.png --pose {inputs}/2000000/1.json --pose {inputs}/2000000/0.json"
COMMANDS = (
    Command("people", _PEOPLE, ("notes.txt", "2000101/notes.txt", "2000102/0.png", "x.partial")),
    Command(
        "prepare people", _PEOPLE, ("notes.txt", "test-00000-of-00001.parquet", "info.json", "preparing/notes.txt"),
    ),
    Command(
        "prepare folder", "--pictures {inputs} --workers 1 --out {out}", ("notes.txt", "index.parquet", "x.partial")
    ),
    Command(
        "generate", f"{_REQUEST} --model {{inputs}}/.model --steps 2 --out {{out}}",
        ("notes.txt", "target-7.png", "result.json"), ("result.json",), overwrites=True,
    ),
    Command(
        "generate --photos", "{inputs} --pose walk-01 --model {inputs}/.model --steps 2 --out {out}",
        ("2000001/notes.txt",), ("2000000/result.json", "2000001/result.json"),
        overwrites=True,
    ),
    Command(
        "requests export", f"{_REQUEST} --size 64x48 --out {{out}}", ("notes.txt", "person/request.json"),
        overwrites=True,
    ),
    Command(
        "evaluate images", "--generated {inputs}/2000000 --reference {inputs}/2000000 --workers 1 --out {out}",
        ("notes.txt", "summary.json", "parts/notes.txt"), ("summary.json", "report.html"),
    ),
    Command(
        "demo", "--model {inputs}/.model --steps 1 --out {out}", ("notes.txt", "index.html", "t1/target-0.png"),
        runs=False, overwrites=True,
    ),
    Command("poses detect", "{inputs}/2000000/0.png --out {out}", ("0.json",), runs=False, overwrites=True),
    Command(
        "train autoencoder", f"--config {ROOT}/configs/mini/autoencoder.yaml output={{out}}", ("weights/notes.txt",),
        runs=False,
    ),
    Command("train export", "--run {inputs}/.run --out {out}", ("notes.txt",), overwrites=True),
    Command(
        "convert official",
        "--unet {inputs}/2000000/0.json --pose {inputs}/2000000/0.json --patch {inputs}/2000000/0.json"
        " --base {inputs}/.model --out {out}",
        ("notes.txt",), runs=False,
    ),
    Command("convert to-official", "--model {inputs}/.model --out {out}", ("patch-0.pth",), runs=False),
    Command(
        "animate", f"{_MOVES} --out {{out}}", ("frame-000002.png", "frame-000003.png", "result.json", "notes.txt", ".lock"),
        ("result.json",), overwrites=True,
    ),
    Command(
        "animate to a film", f"{_MOVES} --out {{out}}/a.gif", ("a.gif", "a.gif.json", "a.gif.frames/frame-000002.png"),
        ("a.gif.json",), one_file=True,
    ),
    Command(
        "bulk", f"{_TABLE} --out {{out}}", ("pictures/notes.txt", "failed.csv", "settings.json", "notes.txt"), _RECORDS
    ),
    Command(
        "bulk to Parquet", f"{_TABLE} --format parquet --out {{out}}",
        ("pictures-00000.parquet", "pictures-00001.parquet", "pictures-00001.parquet.txt"), ("pictures-00000.parquet",),
    ),
    Command(
        "evaluate model", "--model {inputs}/.model --data {inputs}/.data --scenario T1 --steps 1 --limit 2 --out {out}",
        ("pictures/notes.txt", "parts/notes.txt", "report.html"), runs=False,
    ),
    Command(
        "evaluate requests", "--data {inputs}/.data --scenario T1 --out {out}", ("requests.json", "notes.txt"),
        overwrites=True,
    ),
    Command(
        "evaluate import", "--from pcdms --pictures {inputs}/.made --data {inputs}/.data --out {out}", ("notes.txt",),
        overwrites=True,
    ),
    Command("study build", f"{_METHODS} --real-fake 1 --side-by-side 1 --seed 3 --out {{out}}", ("key.json",)),
    Command(
        "prepare reid",
        r"--pattern (\d+)_c(\d) --train {inputs}/.reid/bounding_box_train --query {inputs}/.reid/query"
        " --gallery {inputs}/.reid/bounding_box_test --out {out}",
        ("names.csv", "query/notes.txt"), overwrites=True,
    ),
    Command("reid people", f"{_CROWD} --out {{out}}", ("query/notes.txt", "notes.txt"), overwrites=True),
    Command(
        "reid augment",
        "--data {inputs}/.reid --annotations {inputs}/.reid/market-annotation-train.csv --model {inputs}/.model --steps 1"
        " --size 32x16 --per-identity 3 --out {out}",
        ("query/notes.txt", "manifest.csv", "augment.part.csv", "augment.json", "rejected.csv", "settings.json"),
    ),
    Command("poses draw", "{inputs}/2000000/0.json --out {out}/a.png", ("a.png", "notes.txt"), one_file=True),
    Command("poses convert", "{inputs}/2000000/0.json {out}/a.json", ("a.json", "notes.txt"), one_file=True),
    Command("poses list", "walk-* --sheet {out}/a.png", ("a.png", "notes.txt"), one_file=True),
)  # fmt: skip


def make_inputs(folder: Path) -> Path:
    """Pictures and poses of two people; hidden beside them a small model and a run's folder."""
    for name in LOADED:
        import_module(f"imagpose.{name}")
    codecs.lookup("utf-8-sig")  # of the interpreter's files, which nobody may not be able to read
    render_set(2_000_000, 2, 2, 64, 48, folder, 1)
    tiny_pipeline().save_pretrained(folder / ".model")
    shutil.copytree(folder / ".model", folder / ".run" / "weights")
    prepare_people(2_000_000, 2, 5, 64, 48, folder / ".data", workers=1)
    render_reid_people(folder / ".reid", 2, 2, 2, 1)
    (folder / ".made").mkdir()
    shutil.copy(folder / "2000000" / "1.png", folder / ".made" / "2000000_0_to_2000000_1.png")
    rows = [f"{number},2000000/{number}.png,2000001/{number}.json" for number in range(2)]
    (folder / ".table.csv").write_text("\n".join(["id,sources,poses", *rows]) + "\n")
    return folder


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


def contents(folder: Path, command: Command) -> dict[str, bytes]:
    """What lies in a folder, but for locks; of files that vary only that they are there."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: b"" if name in command.varying else path.read_bytes() for name, path in names.items()}


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

    def _new(self) -> Path:
        out = Path(tempfile.mkdtemp(dir=self.folder)) / "out"
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


def rows(kills: int, seed: int) -> Iterator[Row]:
    """What was tried, how often, and how often it held.

    Args:
        kills: of all commands together, at random moments.
        seed: of the moments and of the sizes at which the disk is full.
    """
    torch.set_num_threads(1)
    rng = random.Random(seed)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        inputs = make_inputs(folder / "inputs")
        cases = stranger_cases()
        held = sum(survives(command, inputs, folder, name, overwrite) for command, name, overwrite in cases)
        yield f"somebody's file in the folder of {len({case[0].name for case in cases})} commands", len(cases), held
        running = [command for command in COMMANDS if command.runs]
        for number, command in enumerate(running):
            trial = Trial(command, inputs, folder)
            times = kills // len(running) + (number < kills % len(running))
            tries: tuple[tuple[str, Callable[[], bool], int], ...] = (
                ("killed at a random moment, run again", lambda own=trial: own.kill(rng.random()), times),
                ("the disk fills, run again", lambda own=trial: own.fill(rng.random() ** 2 * 0.99), 10),
                ("no permission", trial.forbid, 1),
                ("two at once", trial.double, 3),
            )
            for what, attempt, count in tries:
                yield f"{command.name}: {what}", count, sum(attempt() for _ in range(count))
