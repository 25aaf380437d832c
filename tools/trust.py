"""The long form of tests/trust: files damaged by chance, kills, full disks; prints the tables of docs/trust.md.

python tools/trust.py --files 20000 --kills 50

About an hour on one core. `--only` takes one of the three: `damaged` files, `files` that commands write (`trust_files`),
`training` (`trust_training`). The exit code is 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import sys
import tempfile
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import trust_files
import trust_samples
import trust_training
from trust_damage import Sample, Tally, damage, damages, one_byte

BYTES = 200  # files of each kind with one byte changed
COMMANDS = 400  # damaged files given to commands
DAMAGED_HEAD = """\
| kind of file | damaged files | refused | read the same | read otherwise | faults | slowest, s |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |"""
HEAD = """
| what was tried | times | held |
| --- | ---: | ---: |"""
OUTCOMES = ("refused", "equal", "another")


def damaged(folder: Path, files: int, seed: int, only: list[str]) -> Iterator[tuple[str, Tally]]:
    """A line for each kind of file: `BYTES` files with one changed byte, and a share of `files` with any damage.

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
    for kind in only or kinds:
        own, tally = kinds[kind], Tally()
        for number, sample in enumerate(own):
            share = BYTES // len(own) + (number < BYTES % len(own))
            tally += damage(sample, share, seed, one_byte)
            if sample.kind not in slow:
                tally += damage(sample, each, seed + 1)
        yield kind, tally


def commanded(folder: Path, seed: int) -> Iterator[tuple[str, Tally]]:
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
    yield "pictures and poses, given to commands", tally


def tables(given: argparse.Namespace) -> Iterator[tuple[str, bool]]:
    """Lines of the tables, and whether what each says held."""
    if given.only in (None, "damaged"):
        yield DAMAGED_HEAD, True
        total = Tally()
        with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as other:
            to_commands = () if given.kind else commanded(Path(other), given.seed)
            for kind, tally in chain(damaged(Path(place), given.files, given.seed, given.kind), to_commands):
                yield _line(kind, tally), not tally.faults
                total += tally
        if not given.kind:
            yield _line("all", total), not total.faults
        yield from ((f"    {fault}", False) for fault in total.faults)
    others = {
        "files": lambda: trust_files.rows(given.kills, given.seed),
        "training": lambda: trust_training.rows(given.trials),
    }
    for name, rows in others.items():
        if given.only in (None, name):
            yield HEAD, True
            yield from ((f"| {what} | {tried} | {held} |", tried == held) for what, tried, held in rows())


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
    parser.add_argument("--only", choices=("damaged", "files", "training"))
    parser.add_argument("--kind", action="append", default=[], help="of damaged files, a row's name; may be repeated")
    given = parser.parse_args()
    if given.kind and given.only != "damaged":
        parser.error("--kind goes with --only damaged")
    held = True
    for line, line_held in tables(given):
        print(line, flush=True)
        held &= line_held
    sys.exit(not held)


if __name__ == "__main__":
    main()
