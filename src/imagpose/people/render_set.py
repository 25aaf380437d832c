"""Renders many identities on all cores: in memory, or into a folder, for `imagpose people`.

Such a folder holds `<seed>/<k>.png`, `<seed>/<k>.json` (OpenPose JSON) and `<seed>/<k>_mask.png` per view, and
`<seed>/set.json`, which marks the identity's folder as ours and says what its views show. A `<seed>` appears when it is
complete.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from imagpose.io import clear_all_left_overs, locked_folder, partial_folder, read_json, write_json
from imagpose.outputs import check_output_folder
from imagpose.people.camera import sample_view_specs
from imagpose.people.identity import make_identity
from imagpose.people.scene import View, render_view
from imagpose.people.world import RENDERER, check_style, find_world
from imagpose.pose import write_openpose_json
from imagpose.provenance import save_rendered
from imagpose.workers import in_order

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
            world or style, or of another renderer, or what this has not written.
        OSError: another process writes the folder, or it cannot be written.
    """
    check_numbers(first_seed, count, views, height, width)
    folder = Path(out)
    seeds = range(first_seed, first_seed + count)
    drawn = find_world(world).style if style is None else lambda _: check_style(style)
    wanted: dict[str, int | str] = {"height": height, "width": width, "world": world, "renderer": RENDERER}
    check_output_folder(folder)
    with locked_folder(folder):
        clear_all_left_overs(folder)
        missing = [s for s in seeds if not _is_complete(folder / str(s), views, {**wanted, "style": drawn(s)})]
        write = partial(
            _write_identity, views=views, height=height, width=width, folder=folder, world=world, style=style
        )
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
        )
        with Progress(*columns, TimeRemainingColumn()) as progress:
            task = progress.add_task("people", total=count, completed=count - len(missing), rate="")
            started = time.perf_counter()
            for done, _ in enumerate(in_order(write, missing, workers), 1):
                # Not rich's own speed, which is that of the bursts in which they come.
                speed = done * views / (time.perf_counter() - started)
                progress.update(task, advance=1, rate=f"{speed:.1f} views/s")
    return len(missing)


def _write_identity(seed: int, views: int, height: int, width: int, folder: Path, world: str, style: str | None) -> int:
    _, rendered = render_identity(seed, views, height, width, world, style)
    described = [
        {"yaw": round(view.spec.yaw, 2), "kind": view.kind, "framing": view.spec.camera.framing} for view in rendered
    ]
    look = {"height": height, "width": width, "world": world, "style": rendered[0].spec.style}
    with partial_folder(folder / str(seed), replace=True) as target:  # `_is_complete` has looked at what is there
        for number, view in enumerate(rendered):
            save_rendered(Image.fromarray(view.picture), target / f"{number}.png")
            Image.fromarray(view.foreground).convert("L").save(target / f"{number}_mask.png")
            write_openpose_json(view.pose, target / f"{number}.json")
        write_json(target / _MARK, {"seed": seed, **look, "renderer": RENDERER, "views": described})
    return seed


def _is_complete(folder: Path, views: int, wanted: dict[str, int | str]) -> bool:
    """Whether a folder holds at least `views` views of an identity; if not, it may be replaced.

    Raises:
        ValueError: it holds views of another size, world or style, or of another renderer, than wanted; or there is
            something that this has not written, or a link, which is not replaced.
    """
    if not os.path.lexists(folder):
        return False
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    try:
        mark = read_json(folder / _MARK)
        held, found = {name: mark.get(name) for name in wanted}, len(mark["views"])
    except (OSError, ValueError, KeyError, TypeError):
        if folder.is_dir() and not folder.is_symlink() and not there:
            return False
        raise ValueError(f"{folder} exists and was not written by this command: choose another folder") from None
    if held != wanted:
        look = "{height}x{width}, world {world}, style {style}, renderer {renderer}"
        texts = (look.format(**values) for values in (held, wanted))
        raise ValueError(f"{folder} holds views of {', not '.join(texts)}: choose another folder")
    if found >= views and _names(views) <= there:
        return True
    if others := sorted(there - _names(found)):
        raise ValueError(f"{folder} holds {others[0]}, which this command did not write: choose another folder")
    if folder.is_symlink():
        raise ValueError(f"{folder} is a link to a person who is not complete: remove it, or choose another folder")
    return False


def _names(views: int) -> set[str]:
    """Files of an identity."""
    return {_MARK, *(f"{number}{end}" for number in range(views) for end in (".png", "_mask.png", ".json"))}
