"""`imagpose requests`: what generate would do, written down for another engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagpose.cli.generate import Photos, Poses, Source, SourcePose
from imagpose.cli.options import ControlNet, NoCrop, Overwrite, Place, Retarget, parse_size, with_reading

if TYPE_CHECKING:
    from imagpose.pose import PoseOptions

app = typer.Typer(help="Requests for other engines: photos, skeletons, names.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `export` a command of its own: typer would call the group by it otherwise."""


@app.command(epilog='Example: imagpose requests export --source a.jpg --pose "walk-*" --size 1024x704 --out requests')
@with_reading
def export(
    reading: PoseOptions,
    out: Annotated[Path, typer.Option(help="Folder for <person>/request.json, sources, skeletons and poses.")],
    source: Source = None,
    pose: Poses = None,
    source_pose: SourcePose = None,
    photos: Photos = None,
    size: Annotated[str, typer.Option(help="Height x width of sources and skeletons.")] = "768x512",
    no_crop: NoCrop = False,
    retarget: Retarget = True,
    place: Place = "pose",
    controlnet: ControlNet = False,
    overwrite: Overwrite = False,
) -> None:
    """Write sources, skeletons of any size, names and a JSON for each person, without a model."""
    from imagpose.serving.export import export_requests

    if photos is not None and source:
        raise ValueError("--photos stands in place of --source: leave that out")
    files = export_requests(
        {"person": source or []} if photos is None else photos, pose or (), source_pose or (), out=out,
        size=parse_size(size), crop=not no_crop, controlnet=controlnet, retarget=retarget, place=place, reading=reading,
        overwrite=overwrite,
    )  # fmt: skip
    for file in files:
        typer.echo(file)
