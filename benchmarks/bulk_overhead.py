"""What a bulk job costs beside the model: a stand-in that takes a fixed time answers a table, with 1, 2 and 4 workers.

    python benchmarks/bulk_overhead.py --requests 400 --seconds 0.05

Prints for each engine and number of workers: requests a second, and the overhead, which is the time of a request at one
worker beyond the stand-in's own. The stand-in sleeps, so more workers than cores are no lie about the engine; what they
compute beside it (photos decoded, PNG written) shares the cores. Starting the workers is not counted: the clock runs from
the first answer to the last. Also prints the time that checking a row takes, scoring a picture, and the least that any
program would need: to decode the photo and write the picture.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from PIL import Image

from bulk_stand_in import STAND_IN, StandIn, engine_of, stand_in_picture, write_table
from imagpose.pictures import load_picture
from imagpose.pose.library import library
from imagpose.serving.bulk import BulkRequest, read_table
from imagpose.serving.bulk.requests import Checked, Defaults, Task, check_rows, form_batches
from imagpose.serving.bulk.store import open_store
from imagpose.serving.bulk.worker import WorkerSettings
from imagpose.serving.demo import PEOPLE_FOLDER
from imagpose.serving.framing import largest_person
from imagpose.serving.scores import score_pictures
from imagpose.serving.settings import GenerateSettings

_TOGETHER = 4


def measure(table: Path, out: Path, engine: str, workers: int, seconds: float, form: str) -> float:
    """Requests a second from the first answer on."""
    rows = [row for row in read_table(table) if isinstance(row, BulkRequest)]
    defaults = Defaults(GenerateSettings(), None, STAND_IN, None)
    checked = [own for own in check_rows(rows, defaults) if isinstance(own, Checked)]
    tasks = [(Task(row, own.digest), own.shape) for row, own in zip(rows, checked, strict=True)]
    place = engine_of(engine, workers)
    place.open("cpu", None)
    out.mkdir(parents=True)
    store = open_store(out, form)
    store.found()
    answered, first = 0, None
    try:
        batches = form_batches(tasks, _TOGETHER)
        for answers in place.answers(WorkerSettings(partial(StandIn, seconds), defaults), batches, alone=False):
            for answer in answers:
                assert answer.failed is None, answer.failed
                store.add(answer, replace=False)
            if first is None:
                first = time.perf_counter()
            else:
                answered += len(answers)
        store.close()
        assert first is not None
        return answered / (time.perf_counter() - first)
    finally:
        place.close()


def single_costs(table: Path) -> Iterator[tuple[str, float]]:
    """Name and seconds of what happens to each row or picture."""
    rows = read_table(table)
    defaults = Defaults(GenerateSettings(), None, STAND_IN, None)
    check_rows(rows[:8], defaults)
    started = time.perf_counter()
    check_rows(rows, defaults)
    yield "checking a row", (time.perf_counter() - started) / len(rows)
    poses = [next(iter(library().values())).pose]
    started = time.perf_counter()
    for number in range(len(rows)):
        with Image.open(table.parent / "sources" / f"{number % 4}.png") as file:
            picture = file.convert("RGB")
        stand_in_picture([picture], poses[0], number, picture.height, picture.width).save(table.parent / "alone.png")
    alone = (time.perf_counter() - started) / len(rows)
    yield "nothing but a photo decoded and a picture written", alone
    photos = [load_picture(file) for file in PEOPLE_FOLDER.glob("*/*.png")]
    largest_person(picture)
    started = time.perf_counter()
    for photo in photos:
        largest_person(photo)
    yield "the person found in a new photo", (time.perf_counter() - started) / len(photos)
    score_pictures([picture], poses, [picture])
    started = time.perf_counter()
    for _ in range(5):
        score_pictures([picture], poses, [picture])
    yield "scoring a picture (--scores)", (time.perf_counter() - started) / 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--engines", nargs="+", default=["local", "ray"])
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--format", default="files")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imagpose-bulk-") as folder:
        table = write_table(Path(folder), given.requests, (256, 176))
        print(f"{given.requests} requests, one picture of 256x176 each, {given.seconds:g} s each in the stand-in")
        for name, seconds in single_costs(table):
            print(f"{name}: {1000 * seconds:.1f} ms")
        for engine in given.engines:
            for workers in given.workers:
                rate = measure(
                    table, Path(folder) / f"{engine}-{workers}", engine, workers, given.seconds, given.format
                )
                overhead = workers / rate - given.seconds
                print(
                    f"{engine}, {workers} workers: {rate:.1f} requests/s, {rate / workers:.1f} a worker,"
                    f" overhead {1000 * overhead:.1f} ms a request"
                )


if __name__ == "__main__":
    main()
