"""Seconds from a cold start to the first picture of `imagpose generate`, and where they go.

python benchmarks/first_picture.py [--model mini] [--rounds 3]

Every run is a process of its own, the ways take turns, medians count. A run before them leaves compiled Python, as an
installed package has it, and files in memory. `load`, `generate` and `score` are those of `result.json`; the rest is
Python's start and end, imports, and writing. `processor` is the time of all threads, which a busy machine lengthens less.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from imagpose.serving.demo import PEOPLE_FOLDER

_PYTHONS_OWN = (
    "import gc; gc.set_threshold = gc.disable = gc.freeze = lambda *_: None; from imagpose.cli import main; main()"
)
WAYS: dict[str, tuple[list[str], list[str]]] = {
    "as it is": (["-m", "imagpose"], []),
    "float32": (["-m", "imagpose"], ["--dtype", "fp32"]),
    "garbage collected as Python does": (["-c", _PYTHONS_OWN], []),
}
_PARTS = ("load", "generate", "score")


def run(model: str, start: list[str], options: list[str], environment: Mapping[str, str] = os.environ) -> list[float]:
    """Seconds of a whole process, of the parts, of the rest, and of the processor; in an environment."""
    person = PEOPLE_FOLDER / "2000003"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        command = [sys.executable, *start, "generate", "--model", model, "--out", str(out)]
        command += ["--source", str(person / "0.png"), "--pose", str(person / "1.json"), *options]
        compiled = {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}
        begun, used = time.perf_counter(), _processor_seconds()
        subprocess.run(command, check=True, capture_output=True, env=compiled)
        whole, used = time.perf_counter() - begun, _processor_seconds() - used
        parts = [float(json.loads((out / "result.json").read_text())["seconds"][name]) for name in _PARTS]
    return [whole, *parts, whole - sum(parts), used]


def _processor_seconds() -> float:
    """Of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print a line per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    seconds: dict[str, list[list[float]]] = {name: [] for name in WAYS}
    run(given.model, *WAYS["as it is"])
    for _ in range(given.rounds):
        for name, way in WAYS.items():
            seconds[name].append(run(given.model, *way))
    print("| way | first picture, s |", " | ".join(_PARTS), "| the rest | processor |")
    print("| --- | ---: |", " | ".join(["---:"] * len(_PARTS)), "| ---: | ---: |")
    for name, own in seconds.items():
        medians = [statistics.median(column) for column in zip(*own, strict=True)]
        print(f"| {name} |", " | ".join(f"{value:.2f}" for value in medians), "|")


if __name__ == "__main__":
    main()
