"""Files damaged by chance, and what their readers make of them: refused, read to the same, read to another legal thing.

Anything else is a fault: an error that is no ValueError, OSError or FloatingPointError, one without a text or of several
lines, or a reader that takes longer than `LIMIT`. `trust_samples` has the files and readers.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIMIT = 10.0  # seconds
REFUSALS = (ValueError, OSError, FloatingPointError)
AWKWARD: tuple[Any, ...] = (
    None, True, -1, 0, 1, 3, 2**40, 1e308, -0.5, float("nan"), float("inf"), "", "x", "\u0000", "../x", "9" * 400, [], [[]],
    [None], [1, 2], {}, {"x": 1}, [[[[[[1]]]]]],
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A good file and its reader.

    Attributes:
        kind: of the file, for the table.
        path: where the reader expects it; each damaged content is written there.
        content: of the good file.
        read: gives what two readings are compared by; it looks at `path`.
    """

    kind: str
    path: Path
    content: bytes
    read: Callable[[], Any]


@dataclass
class Tally:
    """What became of the damaged files of a kind."""

    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.counts + other.counts, max(self.slowest, other.slowest), self.faults + other.faults)

    @property
    def files(self) -> int:
        return sum(self.counts.values())

    def record(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"counts": dict(self.counts), "slowest": self.slowest, "faults": self.faults}

    @classmethod
    def of(cls, record: dict[str, Any]) -> Tally:
        """From its `record`."""
        return cls(Counter(record["counts"]), record["slowest"], record["faults"])


class Hang(BaseException):
    """No Exception, so that readers let it pass."""


@contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def one_byte(content: bytes, rng: random.Random) -> bytes:
    """Another value at one place."""
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ rng.randrange(1, 256)]) + content[place + 1 :]


def cut(content: bytes, rng: random.Random) -> bytes:
    """The beginning of the file."""
    return content[: rng.randrange(len(content))]


def moved(content: bytes, rng: random.Random) -> bytes:
    """A piece put in at another place, or taken out."""
    start, length, to = rng.randrange(len(content)), rng.randrange(1, 33), rng.randrange(len(content))
    piece = content[start : start + length]
    return content[:to] + piece + content[to:] if rng.random() < 0.5 else content[:start] + content[start + length :]


def another_value(content: bytes, rng: random.Random) -> bytes:
    """JSON with an awkward value at one place, or without a key."""
    root = [json.loads(content)]
    holder: Any = root
    key: Any = 0
    while rng.random() < 0.85 and isinstance(holder[key], (dict, list)) and holder[key]:
        holder = holder[key]
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    if isinstance(holder, dict) and rng.random() < 0.2:
        del holder[key]
    elif rng.random() < 0.05:
        holder[key] = "DEEP"
        return json.dumps(root[0]).replace('"DEEP"', "[" * 100_000 + "]" * 100_000).encode()
    else:
        holder[key] = rng.choice(AWKWARD)
    return json.dumps(root[0]).encode()


def damages(sample: Sample) -> tuple[Callable[[bytes, random.Random], bytes], ...]:
    """The ways in which a file can be damaged; of text in JSON's form its values too."""
    try:
        json.loads(sample.content)
    except ValueError:
        return one_byte, cut, moved
    return one_byte, cut, moved, another_value, another_value, another_value


def try_damaged(sample: Sample, content: bytes, good: Any) -> tuple[str, float, str]:
    """What the reader makes of a content: outcome, seconds, and the fault where there is one."""
    sample.path.write_bytes(content)
    started, outcome, fault = time.perf_counter(), "", ""
    try:
        with _limited(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = "equal" if sample.read() == good else "another"
    except Hang:
        outcome, fault = "fault", f"longer than {LIMIT:.0f} s"
    except REFUSALS as error:
        outcome, text = "refused", str(error)
        if not text.strip() or "\n" in text.strip() or len(text) > 5000:
            outcome, fault = (
                "fault",
                f"a text of {len(text)} characters, {text.count(chr(10)) + 1} lines: {text[:200]!r}",
            )
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)
        ours = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in place if "imagpose" in frame.filename]
        outcome, fault = "fault", f"{type(error).__name__}: {str(error)[:200]} ({' '.join(ours[-3:])})"
    finally:
        sample.path.write_bytes(sample.content)
    return outcome, time.perf_counter() - started, fault


def damage(
    sample: Sample, number: int, seed: int, only: Callable[[bytes, random.Random], bytes] | None = None
) -> Tally:
    """Read a file damaged in `number` ways, drawn from `seed`, all by `only` where it is given."""
    tally, rng = Tally(), random.Random(f"{sample.kind} {seed}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        good = sample.read()
    ways = damages(sample) if only is None else (only,)
    for index in range(number):
        content = ways[index % len(ways)](sample.content, rng)
        outcome, seconds, fault = try_damaged(sample, content, good)
        tally.counts[outcome] += 1
        tally.slowest = max(tally.slowest, seconds)
        if fault:
            tally.faults.append(
                f"{sample.kind}, file {index} of seed {seed} ({ways[index % len(ways)].__name__}): {fault}"
            )
    return tally


def main() -> None:
    import trust_samples

    parser = argparse.ArgumentParser(description="Damage the files of one maker of trust_samples; print the faults.")
    parser.add_argument("room", choices=trust_samples.MAKERS)
    parser.add_argument("number", type=int, help="damaged files of each")
    parser.add_argument("seed", type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for sample in trust_samples.samples(Path(folder), given.room):
            tally = damage(sample, given.number, given.seed)
            print(f"{sample.kind}: {dict(tally.counts)}, slowest {tally.slowest:.2f} s", flush=True)
            for fault in tally.faults[:12]:
                print("  ", fault)


if __name__ == "__main__":
    main()
