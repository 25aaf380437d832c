"""`imagpose prepare people`: synthetic people rendered straight into a data set, with masks. Source: own."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PIL import Image

from imagpose.data.info import DatasetInfo
from imagpose.data.prepare import Made, Person, write_dataset
from imagpose.data.records import make_record
from imagpose.people.render_set import check_numbers, render_identity
from imagpose.people.splits import TEST_SEEDS, split_of
from imagpose.people.world import RENDERER, check_style, find_world


def prepare_people(
    first_seed: int, count: int, views: int, height: int, width: int, out: Path | str, *, test_people: int = 0,
    world: str = "studio", style: str | None = None, workers: int | None = None,
) -> DatasetInfo:  # fmt: skip
    """Render identities `first_seed` .. `first_seed + count - 1`, and people of the test split, into a data set.

    The split of an identity is that of its seed (`people.splits.split_of`), so that what is trained on and what is
    judged on stay apart.

    Args:
        first_seed, count: which identities, at least 0 and 1.
        views: views per identity, at least 1.
        height, width: pixels of a view, at least 16.
        out: folder of the data set.
        test_people: how many of the first people of the test split are rendered too; the others cannot be of it then.
        world, style: see `people.camera.sample_view_specs`.
        workers: see `write_dataset`.

    Raises:
        ValueError: a number is out of its range, no such world or style, or as `write_dataset`, which refuses to go on with
            what another renderer began.
        OSError: as `write_dataset`.
    """
    check_numbers(first_seed, count, views, height, width)
    if not 0 <= test_people <= len(TEST_SEEDS):
        raise ValueError(f"test people is {test_people:,}; 0 to {len(TEST_SEEDS):,} expected")
    own, test = range(first_seed, first_seed + count), TEST_SEEDS[:test_people]
    if test_people and "test" in (split_of(own[0]), split_of(own[-1])):
        raise ValueError(f"seed {first_seed} with count {count} is of the test split itself; leave test people out")
    seeds = [*own, *test]
    people = [Person(str(seed), split_of(seed), tuple(range(views))) for seed in seeds]
    settings = {
        "command": "people", "seed": first_seed, "count": count, "views": views, "size": (height, width),
        "world": find_world(world).name, "renderer": RENDERER,
    }  # fmt: skip
    if style is not None:
        settings["style"] = check_style(style)
    if test_people:
        settings["test_people"] = test_people
    render = partial(_render, height=height, width=width, world=world, style=style)
    return write_dataset(out, people, render, settings, workers=workers)


def _render(person: Person, height: int, width: int, world: str, style: str | None) -> Made:
    _, views = render_identity(int(person.identity), len(person.views), height, width, world, style)
    records = [
        make_record(
            Image.fromarray(view.picture),
            view.pose,
            identity=person.identity,
            view=str(number),
            split=person.split,
            source_file=f"{person.identity}/{number}.png",
            mask=Image.fromarray(view.foreground).convert("L"),
            style=view.spec.style,
            parts=view.parts,
        )
        for number, view in enumerate(views)
    ]
    return records, []
