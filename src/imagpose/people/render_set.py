"""Renders many identities on all cores: in memory, or into a folder, for `imagpose people`.

Such a folder holds `<seed>/<k>.png`, `<seed>/<k>.json` (OpenPose JSON) and `<seed>/<k>_mask.png` per view, and
`<seed>/set.json`, written last, which marks the identity as complete and says what its views show.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from imagpose.io import partial_file, write_json
from imagpose.people.camera import sample_view_specs
from imagpose.people.identity import make_identity
from imagpose.people.scene import View, render_view
from imagpose.people.world import RENDERER, check_style, find_world
from imagpose.pose import write_openpose_json
from imagpose.workers import in_order

__all__ = ["check_numbers", "iterate_views", "render_identity", "render_set"]

_MARK = "set.json"


def iterate_views(
    seeds: Iterable[int],
    views: int,
    height: int,
    width: int,
    workers: int | None = None,
    world: str = "studio",
) -> Iterator[tuple[int, list[View]]]:
    """Render identities in memory, in the order of the seeds, whatever the number of workers.

    Args:
        seeds: identity seeds.
        views: views per identity, at least 1.
        height, width: pixels of a view.
        workers: processes; None for one per core, 1 renders in this process.
        world: see `camera.sample_view_specs`.

    Yields:
        The seed and its views.
    """
    work = partial(render_identity, views=views, height=height, width=width, world=world)
    yield from in_order(work, seeds, workers)


def render_identity(
    seed: int, views: int, height: int, width: int, world: str = "studio", style: str | None = None
) -> tuple[int, list[View]]:
    """The seed and the first `views` views of its identity, see `camera.sample_view_specs`."""
    identity = make_identity(seed)
    return seed, [render_view(identity, spec, height, width) for spec in sample_view_specs(seed, views, world, style)]


def check_numbers(first_seed: int, count: int, views: int, height: int, width: int) -> None:
    """Of `count` people from `first_seed` on, `views` of each, height x width pixels.

    Raises:
        ValueError: one is out of its range; the message names it and what would be right.
    """
    if first_seed < 0 or count < 1 or views < 1:
        raise ValueError(f"seed {first_seed}, count {count}, views {views}: seed must be >= 0, count and views >= 1")
    if min(height, width) < 16:
        raise ValueError(f"size is {height}x{width}; each side must be at least 16 pixels")


def render_set(
    first_seed: int,
    count: int,
    views: int,
    height: int,
    width: int,
    out: Path | str,
    workers: int | None = None,
    *,
    world: str = "studio",
    style: str | None = None,
) -> int:
    """Render identities `first_seed` .. `first_seed + count - 1` into a folder, with a progress bar.

    An identity whose files are complete is left as it is, so a run that was broken off continues where it stopped.

    Args:
        first_seed, count: which identities, both at least 0 and 1.
        views: views per identity, at least 1.
        height, width: pixels of a view, at least 16.
        out: the folder; made where it is missing.
        workers: processes; None for one per core.
        world, style: see `camera.sample_view_specs`.

    Returns:
        The number of identities rendered (the others were complete).

    Raises:
        ValueError: a number is out of its range, no such world or style, or the folder holds views of another size,
            world or style, or of another renderer.
    """
    check_numbers(first_seed, count, views, height, width)
    folder = Path(out)
    seeds = range(first_seed, first_seed + count)
    drawn = find_world(world).style if style is None else lambda _: check_style(style)
    wanted: dict[str, int | str] = {"height": height, "width": width, "world": world, "renderer": RENDERER}
    missing = [s for s in seeds if not _is_complete(folder / str(s), views, {**wanted, "style": drawn(s)})]
    folder.mkdir(parents=True, exist_ok=True)
    write = partial(_write_identity, views=views, height=height, width=width, folder=folder, world=world, style=style)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task("people", total=count, completed=count - len(missing), rate="")
        started = time.perf_counter()
        for done, _ in enumerate(in_order(write, missing, workers), 1):
            speed = done * views / (time.perf_counter() - started)  # rich's own counts the bursts in which they come
            progress.update(task, advance=1, rate=f"{speed:.1f} views/s")
    return len(missing)


def _write_identity(seed: int, views: int, height: int, width: int, folder: Path, world: str, style: str | None) -> int:
    target = folder / str(seed)
    target.mkdir(parents=True, exist_ok=True)
    _, rendered = render_identity(seed, views, height, width, world, style)
    for number, view in enumerate(rendered):
        _save_picture(Image.fromarray(view.picture), target / f"{number}.png")
        _save_picture(Image.fromarray(view.foreground).convert("L"), target / f"{number}_mask.png")
        write_openpose_json(view.pose, target / f"{number}.json")
    described = [
        {"yaw": round(view.spec.yaw, 2), "kind": view.kind, "framing": view.spec.camera.framing} for view in rendered
    ]
    look = {"height": height, "width": width, "world": world, "style": rendered[0].spec.style}
    mark = {"seed": seed, **look, "renderer": RENDERER, "views": described}
    write_json(target / _MARK, mark)
    return seed


def _save_picture(picture: Image.Image, path: Path) -> None:
    with partial_file(path) as partial:
        picture.save(partial, format="PNG")


def _is_complete(folder: Path, views: int, wanted: dict[str, int | str]) -> bool:
    """Whether a folder holds at least `views` views of an identity.

    Raises:
        ValueError: it holds views of another size, world or style, or of another renderer, than wanted.
    """
    try:
        mark = json.loads((folder / _MARK).read_text())
        there, found = {name: mark.get(name) for name in wanted}, len(mark["views"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    if there != wanted:
        look = "{height}x{width}, world {world}, style {style}, renderer {renderer}"
        held, asked = (look.format(**values) for values in (there, wanted))
        raise ValueError(f"{folder} holds views of {held}, not {asked}: choose another folder")
    names = (f"{number}{end}" for number in range(views) for end in (".png", "_mask.png", ".json"))
    return found >= views and all((folder / name).is_file() for name in names)
