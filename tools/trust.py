"""The long form of tests/trust: files damaged by chance, kills, full disks; prints the tables of docs/trust.md.

python tools/trust.py --files 20000 --kills 50

About an hour on one core. `--only` takes one of the four: `damaged` files, `files` that commands write (`trust_files`),
`training` (`trust_training`), `pipeline` (`trust_pipeline`). The exit code is 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, groupby
from pathlib import Path

import trust_samples
from trust_damage import Sample, Tally, damage, damages, one_byte
from trust_record import Record

BYTES = 200  # files of each kind with one byte changed
COMMANDS = 400  # damaged files given to commands
DAMAGED_HEAD = """\
| kind of file | damaged files | refused | read the same | read otherwise | faults | slowest, s |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |"""
GIVEN = "pictures and poses, given to commands"
HEAD = """\
| what was tried | times | held |
| --- | ---: | ---: |"""
OUTCOMES = ("refused", "equal", "another")


def damaged(folder: Path, files: int, seed: int, only: list[str]) -> Iterator[tuple[str, Callable[[], Tally]]]:
    """For each kind of file what tries it: `BYTES` files with one changed byte, and a share of `files` with any damage.

    The files of a kind are the same ones whether it is tried alone, as one of `only`, or with all the others.
    """
    light = [room for room in trust_samples.MAKERS if room not in trust_samples.SLOW]
    samples = list(trust_samples.samples(folder, *light, *trust_samples.SLOW))
    slow = {sample.kind for sample in samples if sample.path.is_relative_to(folder / "networks")}
    kinds: dict[str, list[Sample]] = {}
    for sample in samples:
        kinds.setdefault(sample.kind.split(":")[0], []).append(sample)
    rest = max(0, files - BYTES * len(kinds) - COMMANDS)
    each = -(-rest // sum(sample.kind not in slow for sample in samples))
    if unknown := set(only) - set(kinds):
        raise SystemExit(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(kinds)}")

    def tried(own: list[Sample]) -> Tally:
        tally = Tally()
        for number, sample in enumerate(own):
            share = BYTES // len(own) + (number < BYTES % len(own))
            tally += damage(sample, share, seed, one_byte)
            if sample.kind not in slow:
                tally += damage(sample, each, seed + 1)
        return tally

    for kind in only or kinds:
        yield kind, partial(tried, kinds[kind])


def commanded(folder: Path, seed: int) -> Tally:
    """Damaged pictures and files of poses given to `imagpose check` and `imagpose poses show`."""
    from imagpose.cli.commands import app
    from imagpose.cli.failures import exit_code_of

    tally, rng = Tally(), random.Random(seed)
    samples = list(trust_samples.samples(folder, "marks", "poses"))
    for number in range(COMMANDS):
        sample = samples[number % len(samples)]
        way = rng.choice(damages(sample))
        sample.path.write_bytes(way(sample.content, rng))
        words = ["check"] if sample.kind.startswith("marks") else ["poses", "show"]
        printed, said = io.StringIO(), io.StringIO()
        arguments = [*words, str(sample.path)]
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said), warnings.catch_warnings():
            code = exit_code_of(lambda arguments=arguments: app(arguments, standalone_mode=False) or 0, debug=False)
        lines = [line for line in said.getvalue().splitlines() if not line.startswith("note:")]
        held = code in (0, 1, 2) and len(lines) == (code == 2) and "Traceback" not in said.getvalue()
        tally.counts["fault" if not held else "refused" if code == 2 else "another"] += 1
        if not held:
            tally.faults.append(f"{' '.join(words)}, file {number} of seed {seed} ({sample.kind}): {code}, {lines}")
        sample.path.write_bytes(sample.content)
    return tally


Line = tuple[str, bool]  # of a table, and whether what it says held


def tables(given: argparse.Namespace, record: Record) -> Iterator[Line]:
    """Lines of the tables."""
    makers = {"damaged": damaged_lines, "files": file_lines, "training": training_lines, "pipeline": pipeline_lines}
    for name, lines in makers.items():
        if given.only in (None, name):
            yield "", True
            yield from lines(given, record)


def damaged_lines(given: argparse.Namespace, record: Record) -> Iterator[Line]:
    """Damaged files, by kind."""
    yield DAMAGED_HEAD, True
    total = Tally()
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as other:
        to_commands = () if given.row else ((GIVEN, lambda: commanded(Path(other), given.seed)),)
        for kind, tried in chain(damaged(Path(place), given.files, given.seed, given.row), to_commands):
            tally = Tally.of(record.once(kind, lambda own=tried: own().record()))
            yield _line(kind, tally), not tally.faults
            total += tally
    if not given.row:
        yield _line("all", total), not total.faults
    yield from ((f"    {fault}", False) for fault in total.faults)


def file_lines(given: argparse.Namespace, record: Record) -> Iterator[Line]:
    """What commands leave, a line for each."""
    import trust_files  # with torch, which the processes that commands start would import too: they import this module

    with trust_files.prepared() as (inputs, folder):
        if not given.row:
            cases = len(trust_files.stranger_cases())
            held = record.once("somebody's file", lambda: trust_files.strangers_survive(inputs, folder))
            yield f"Somebody's file survived in {held} of {cases} cases.\n", held == cases
        yield _row("command", *trust_files.COLUMNS) + "\n| --- |" + " ---: |" * len(trust_files.COLUMNS), True
        for command, own in groupby(trust_files.cells(inputs, folder, given.kills), lambda cell: cell.command):
            if given.row and command not in given.row:
                continue
            tried = list(own)
            found = [
                record.once(f"{command}: {cell.column}", lambda cell=cell: cell.held(given.seed)) for cell in tried
            ]
            shown = [f"{held} of {cell.count}" if cell.count else "" for cell, held in zip(tried, found, strict=True)]
            yield _row(command, *shown), found == [cell.count for cell in tried]


def training_lines(given: argparse.Namespace, record: Record) -> Iterator[Line]:
    """What a training survives."""
    import trust_training

    return _counted_lines(trust_training.rows(given.trials), record)


def pipeline_lines(_: argparse.Namespace, record: Record) -> Iterator[Line]:
    """What a pipeline keeps."""
    import trust_pipeline

    return _counted_lines(trust_pipeline.rows(), record)


def _counted_lines(rows: Iterator[tuple[str, int, Callable[[], int]]], record: Record) -> Iterator[Line]:
    yield HEAD, True
    for what, count, tried in rows:
        held = record.once(what, tried)
        yield _row(what, str(count), str(held)), held == count


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _line(kind: str, tally: Tally) -> str:
    counts = " | ".join(f"{tally.counts[outcome]:,}" for outcome in OUTCOMES)
    return f"| {kind} | {tally.files:,} | {counts} | {len(tally.faults)} | {tally.slowest:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000, help="damaged files")
    parser.add_argument("--kills", type=int, default=50, help="kills, of all commands together")
    parser.add_argument(
        "--trials", type=int, default=20, help="of each kind with a training; a fifth for signals and clocks"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("damaged", "files", "training", "pipeline"))
    parser.add_argument("--record", type=Path, help="keep what is found in this file; the same run goes on from it")
    parser.add_argument("--row", action="append", default=[], help="a kind of file or a command; may be repeated")
    given = parser.parse_args()
    if given.row and given.only not in ("damaged", "files"):
        parser.error("--row goes with --only damaged and --only files")
    held = True
    settings = {name: value for name, value in vars(given).items() if name not in ("record", "only", "row")}
    for line, line_held in tables(given, Record(given.record, settings)):
        print(line, flush=True)
        held &= line_held
    sys.exit(not held)


if __name__ == "__main__":
    main()
