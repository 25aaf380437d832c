"""`imagpose prepare people`: synthetic people rendered straight into a data set, with masks. Source: own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PIL import Image

from imagpose.data.info import DatasetInfo
from imagpose.data.prepare import Made, Person, write_dataset
from imagpose.data.records import make_record
from imagpose.people.parallel import render_identity
from imagpose.people.splits import split_of

__all__ = ["prepare_people"]


def prepare_people(
    first_seed: int,
    count: int,
    views: int,
    height: int,
    width: int,
    out: Path | str,
    *,
    workers: int | None = None,
) -> DatasetInfo:
    """Render identities `first_seed` .. `first_seed + count - 1` into a data set.

    The split of an identity is that of its seed (`people.splits.split_of`), so that what is trained on and what is
    judged on stay apart.

    Args:
        first_seed, count: which identities, at least 0 and 1.
        views: views per identity, at least 1.
        height, width: pixels of a view, at least 16.
        out: folder of the data set.
        workers: see `write_dataset`.

    Raises:
        ValueError: a number is out of its range, or as `write_dataset`.
        OSError: as `write_dataset`.
    """
    if first_seed < 0 or count < 1 or views < 1:
        raise ValueError(f"seed {first_seed}, count {count}, views {views}: seed must be >= 0, count and views >= 1")
    if min(height, width) < 16:
        raise ValueError(f"size is {height}x{width}; each side must be at least 16 pixels")
    seeds = range(first_seed, first_seed + count)
    people = [Person(str(seed), split_of(seed), tuple(range(views))) for seed in seeds]
    settings = {"command": "people", "seed": first_seed, "count": count, "views": views, "size": (height, width)}
    return write_dataset(out, people, partial(_render, height=height, width=width), settings, workers=workers)


def _render(person: Person, height: int, width: int) -> Made:
    _, views = render_identity(int(person.identity), len(person.views), height, width)
    records = [
        make_record(
            Image.fromarray(view.picture),
            view.pose,
            identity=person.identity,
            view=str(number),
            split=person.split,
            source_file=f"{person.identity}/{number}.png",
            mask=Image.fromarray(view.foreground).convert("L"),
        )
        for number, view in enumerate(views)
    ]
    return records, []
