"""A bulk job whose command and workers are killed (SIGKILL) at random moments, until it is complete; then all is counted.

    python tools/bulk_trial.py --requests 10000 --engine ray --workers 2
    python tools/bulk_trial.py --requests 200 --model mini --format parquet

Prints a line for each kill, and at last how many results are there, how often any is there twice, and how
many differ from what an answer without kills gives (with the stand-in every picture is compared, with mini a few). The exit
code is 1 if anything is lost, doubled or other than it should be.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet
from PIL import Image

from bulk_stand_in import STAND_IN, StandIn, engine_of, write_table
from imagpose.io import read_json
from imagpose.serving.bulk import run_bulk
from imagpose.serving.settings import GenerateSettings

_COMPARED_OF_MINI = 8
Found = Iterator[tuple[str, str, bytes]]


def results(out: Path, form: str) -> Found:
    """Id, name of the pose, and pixels of every picture in a job's folder."""
    if form == "files":
        for record in sorted(out.glob("pictures/*/*/result.json")):
            for own in read_json(record)["outputs"]:
                yield record.parent.name, Path(own["file"]).stem, _pixels(record.parent / own["file"])
        return
    for part in sorted(out.glob("pictures-*.parquet")):
        for batch in pyarrow.parquet.ParquetFile(part).iter_batches(columns=["id", "name", "picture"]):
            for row in batch.to_pylist():
                yield row["id"], row["name"], _pixels(pyarrow.BufferReader(row["picture"]))


def _pixels(file: object) -> bytes:
    with Image.open(file) as picture:  # type: ignore[arg-type]
        return np.asarray(picture).tobytes()


def descendants(process: int) -> list[int]:
    """All processes that a process started, and those that they did."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [process]
    while waiting:
        own = children.get(waiting.pop(), [])
        found += own
        waiting += own
    return found


def workers_of(process: int) -> list[int]:
    """The processes of a command in which models are at work."""
    found = []
    for own in descendants(process):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{own}/cmdline").read_bytes()
            if b"BulkWorker" in words or b"multiprocessing.spawn" in words:
                found.append(own)
    return found


def trial(
    table: Path,
    out: Path,
    command: Sequence[str],
    kills: int,
    longest: float,
    say: Callable[[str], None] = print,
    seed: int = 0,
) -> int:
    """Run a command until it ends by itself; up to `kills` times it or one of its workers is killed before.

    Args:
        table, out: of the job.
        command: the words in front of both.
        kills: how often; command and worker by turns. A command that lost a worker goes on.
        longest: seconds after which one is killed at the latest, counted from the first result since the last kill.
        say: is told each kill, and the end.
        seed: of the moments.

    Returns:
        The command's exit code at last.
    """
    moments = random.Random(seed)
    words = [*command, str(table), "--out", str(out)]
    process, starts = subprocess.Popen(words, stdout=subprocess.DEVNULL), 1
    for kill in range(kills):
        _wait_for_more(process, out, _count(out))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0, longest))
        if process.poll() is not None:
            break
        workers = workers_of(process.pid)
        victim = moments.choice(workers) if workers and kill % 2 == 0 else process.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        if victim == process.pid:
            process.wait()
        say(f"{'command' if victim == process.pid else 'worker'} killed, {_count(out):,} folders or parts")
        if process.poll() is not None:
            process, starts = subprocess.Popen(words, stdout=subprocess.DEVNULL), starts + 1
    code = process.wait()
    say(f"start {starts} ended with exit code {code}, {_count(out):,} folders or parts")
    return code


def _wait_for_more(process: subprocess.Popen[bytes], out: Path, before: int) -> None:
    while process.poll() is None and _count(out) <= before:
        time.sleep(0.2)


def _count(out: Path) -> int:
    """Folders or parts with results."""
    return sum(1 for _ in out.glob("pictures/*/[!.]*")) + sum(1 for _ in out.glob("pictures-*.parquet"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--model", choices=("stand-in", "mini"), default="stand-in")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--format", choices=("files", "parquet"), default="files")
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--longest", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagpose-bulk-trial-") as folder:
        table = write_table(Path(folder), given.requests, (128, 96) if given.model == "mini" else (64, 32))
        out, shared = Path(folder) / "out", ["--engine", given.engine, "--workers", str(given.workers)]
        shared += ["--format", given.format]
        if given.model == "mini":
            command = [sys.executable, "-W", "ignore", "-m", "imagpose", "bulk", "--steps", str(given.steps), *shared]
            command += ["--device", "cpu", "--no-crop", "--no-retarget"]
        else:
            command = [sys.executable, str(Path(__file__).with_name("bulk_stand_in.py")), *shared]
        started = time.monotonic()
        code = trial(table, out, command, given.kills, given.longest)
        print(f"{time.monotonic() - started:.0f} s")
        return verdict(table, out, given.model, given.format, given.steps) or code


def verdict(table: Path, out: Path, model: str, form: str, steps: int) -> int:
    """Count what is there, and compare it with answers that nobody disturbed; 1 where something is wrong."""
    found: dict[tuple[str, str], bytes] = {}
    often: Counter[tuple[str, str]] = Counter()
    for own_id, name, pixels in results(out, form):
        often[own_id, name] += 1
        found[own_id, name] = pixels
    lines = table.read_text(encoding="utf-8").splitlines()
    wanted = {line.split(",")[0] for line in lines[1:]}
    undisturbed = table.with_name("again.csv")
    compared = lines if model == "stand-in" else [lines[0], *lines[1 :: max(1, len(lines) // _COMPARED_OF_MINI)]]
    undisturbed.write_text("\n".join(compared) + "\n", encoding="utf-8")
    again, started = table.with_name("again"), time.monotonic()
    if model == "stand-in":
        run_bulk(
            undisturbed, again, model=STAND_IN, form=form, engine=engine_of("local", 1), open_model=partial(StandIn)
        )
    else:
        settings = GenerateSettings.of({"steps": steps, "crop": False, "retarget": False})
        run_bulk(undisturbed, again, model=model, form=form, settings=settings, device="cpu")
    seconds = time.monotonic() - started
    print(f"undisturbed in this process: {len(compared) - 1:,} requests in {seconds:.0f} s")
    expected = {(own_id, name): pixels for own_id, name, pixels in results(again, form)}
    lost = wanted - {own_id for own_id, _ in found}
    doubled = [key for key, count in often.items() if count > 1]
    other = [key for key, pixels in expected.items() if found.get(key) != pixels]
    unfinished = list(out.rglob("*.partial"))
    print(
        f"{len(wanted):,} requests, {len(found):,} pictures: {len(lost)} lost, {len(doubled)} doubled,"
        f" {len(other)} of {len(expected):,} compared differ, {len(unfinished)} unfinished left"
    )
    return 1 if lost or doubled or other or unfinished else 0


if __name__ == "__main__":
    sys.exit(main())
