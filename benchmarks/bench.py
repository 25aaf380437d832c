"""What this machine makes of the package, in one table: the UNet, rendering, a training step, the training loop, the first
picture; each beside its reference, measured in turns in one run.

python benchmarks/bench.py [--out bench.json] [--preset mini] [--threads N] [--only TEXT]

The ratio says how many times as fast ours is. The error is the norm of the difference over that of the reference's output,
where both give the same thing. Every row is printed, and written into the JSON file, as soon as it is known; a section that
fails says why, and the next one begins. Sizes are small, so that all takes a few minutes; `unet_speed.py`,
`render_speed.py`, `training_step.py`, `training_loop.py` and `first_picture.py` measure longer, and more.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from imagpose.workers import default_to_one_thread, usable_cores

_ENVIRONMENT = dict(os.environ)
_THREADS = int(_ENVIRONMENT.get("OMP_NUM_THREADS") or usable_cores())
default_to_one_thread()  # of the processes that render; torch is told its number below

import torch

import first_picture
import render_speed
import training_loop
import training_step
import unet_speed
from imagpose.io import error_line, write_json
from imagpose.models import exported
from imagpose.views import ViewGrid
from random_networks import build, make_inputs

_SIZE = (256, 192)
_HEAD = ("what", "ours", "reference", "unit", "ratio", "error", "threads", "dtype", "the reference")


@dataclass(frozen=True)
class Row:
    """A comparison.

    Attributes:
        what: is measured.
        ours, reference: of the unit.
        unit: "s" (less is better), or a rate.
        reference_is: what ours is compared with.
        threads: of the processor.
        dtype: of what computes.
        error: of ours against the reference; None where they do not give the same thing.
    """

    what: str
    ours: float
    reference: float
    unit: str
    reference_is: str
    threads: int
    dtype: str
    error: float | None = None

    @property
    def ratio(self) -> float:
        """How many times as fast ours is."""
        return self.reference / self.ours if self.unit == "s" else self.ours / self.reference

    def line(self) -> str:
        """Of a table in Markdown."""
        error = "" if self.error is None else f"{self.error:.1e}"
        numbers = (f"{self.ours:.3g}", f"{self.reference:.3g}", self.unit, f"{self.ratio:.2f}", error)
        return f"| {' | '.join((self.what, *numbers, str(self.threads), self.dtype, self.reference_is))} |"


def unet(preset: str, threads: int) -> Iterator[Row]:
    """A call of the UNet for a canvas and its null branch, in every way but compiled, which takes minutes to compile."""
    torch.set_num_threads(threads)
    with torch.no_grad():
        network = build(preset).unet.requires_grad_(False)
        inputs = make_inputs(network, 2, *_SIZE)
        for name, way in unet_speed.WAYS.items():
            if name == "compiled" or (name.startswith("openvino") and not exported.is_installed()):
                continue
            with way(network, inputs) as run:
                ours, reference, error = unet_speed.compare(run, unet_speed.plain(network, inputs), rounds=3)
            dtype = "bf16" if "bf16" in name else "fp32"
            yield Row(f"UNet of {preset}, {name}", ours, reference, "s", "eager, fp32", threads, dtype, error)


def rendering(preset: str, threads: int) -> Iterator[Row]:
    """Views of synthetic people by as many processes as others have threads."""
    _, reference = render_speed.measure(12, 8, *_SIZE, 1)
    ours = reference if threads == 1 else render_speed.measure(12, 8, *_SIZE, threads)[1]
    yield Row("rendering people", ours, reference, "views/s", "one process", threads, "fp32")


def step(preset: str, threads: int) -> Iterator[Row]:
    """A training step of mini, batch 1."""
    torch.set_num_threads(threads)
    plain, trained = training_step.PLAIN, training_step.TRAINED
    variants = {name: training_step.VARIANTS[name] for name in (plain, trained, "bf16 weights", "fp32")}
    steps = {name: training_step.prepare(own, 1, ViewGrid(2, 2), *_SIZE)[0] for name, own in variants.items()}
    walls = {name: wall for name, (_, wall) in training_step.measure(steps, rounds=1).items()}
    for name, own in variants.items():
        if name != plain:
            what = f"training step, {name}"
            yield Row(what, 1 / walls[name], 1 / walls[plain], "canvases/s", "plain step, autocast", threads, own.dtype)


def loop(preset: str, threads: int) -> Iterator[Row]:
    """The denoiser's training loop, whose data are read from a cache."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # bars
        rates, _ = training_loop.measure(Path(folder), steps=4, batch=4, identities=8)
    ours, reference = rates.values()
    yield Row("training loop", ours, reference, "canvases/s", "pictures encoded in every step", threads, "autocast")


def first(preset: str, threads: int) -> Iterator[Row]:
    """A cold start of `imagpose generate`; one before those that count brings its files into memory."""
    environment = {**_ENVIRONMENT, "OMP_NUM_THREADS": str(threads)}
    turns = [
        (name, first_picture.run("mini", *first_picture.WAYS[name], environment)[0])
        for name in ("as it is", "float32", "as it is")
    ]
    ways = dict(turns[1:])
    yield Row("first picture, cold start", ways["as it is"], ways["float32"], "s", "--dtype fp32", threads, "auto")


SECTIONS: dict[str, Callable[[str, int], Iterator[Row]]] = {
    "unet": unet,
    "rendering": rendering,
    "step": step,
    "loop": loop,
    "first": first,
}


def machine() -> dict[str, Any]:
    """What the numbers are of."""
    return {
        "processor": _processor(),
        "cores": usable_cores(),
        "load": round(os.getloadavg()[0], 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    parser.add_argument("--preset", default="mini", help="of the UNet; official is Stable Diffusion's size")
    parser.add_argument("--threads", type=int, default=_THREADS, help="default: OMP_NUM_THREADS, else all cores")
    parser.add_argument("--only", default="", help=f"sections whose name contains this: {', '.join(SECTIONS)}")
    given = parser.parse_args()
    record: dict[str, Any] = {"machine": machine(), "rows": [], "failed": {}}
    print(", ".join(f"{name} {value}" for name, value in record["machine"].items()) + "\n")
    print(f"| {' | '.join(_HEAD)} |\n| --- | ---: | ---: | --- | ---: | ---: | ---: | --- | --- |", flush=True)
    for name, section in SECTIONS.items():
        if given.only not in name:
            continue
        try:
            for row in section(given.preset, given.threads):
                print(row.line(), flush=True)
                record["rows"].append({**asdict(row), "ratio": row.ratio})
                write_json(given.out, record)
        except Exception as failure:  # of compilers and extras, of any class
            record["failed"][name] = error_line(f"{type(failure).__name__}: {failure}", 200)
            print(f"| {name}: {record['failed'][name]} |{' |' * (len(_HEAD) - 1)}", flush=True)
        write_json(given.out, record)


if __name__ == "__main__":
    main()
