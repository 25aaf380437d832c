"""How many views of synthetic people are rendered per second, on one core and on all.

python benchmarks/render_speed.py [--identities 24] [--views 8] [--size 256x192] [--workers 1 2]
"""

from __future__ import annotations

import argparse
import os
import time

from imagpose.workers import default_to_one_thread

default_to_one_thread()  # before numpy starts its threads; the workers have one each

from imagpose.people.render_set import iterate_views
from imagpose.people.splits import RESERVED_FROM

_FIRST_SEED = 5_000_000  # in no split
assert _FIRST_SEED < RESERVED_FROM


def measure(identities: int, views: int, height: int, width: int, workers: int) -> tuple[float, float]:
    """Views per second of wall-clock time, and the same without the start of the processes."""
    start = time.perf_counter()
    first = None
    for _ in iterate_views(range(_FIRST_SEED, _FIRST_SEED + identities), views, height, width, workers):
        first = first or time.perf_counter()
    end = time.perf_counter()
    assert first is not None
    return identities * views / (end - start), (identities - 1) * views / (end - first)


def main() -> None:
    """Print one line per number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=24)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--size", default="256x192", help="height x width in pixels")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    arguments = parser.parse_args()
    height, width = (int(side) for side in arguments.size.split("x"))
    for workers in arguments.workers:
        whole, steady = measure(arguments.identities, arguments.views, height, width, workers)
        print(f"{height}x{width}, {workers} worker(s): {steady:.1f} views/s, {whole:.1f} with start-up", flush=True)


if __name__ == "__main__":
    main()
