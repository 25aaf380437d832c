"""`imagpose poses`: files of key points looked at, drawn, converted; poses found in photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagpose.cli.options import parse_size, with_reading

if TYPE_CHECKING:
    from imagpose.pose import PoseOptions

app = typer.Typer(help="Poses: what a file holds, drawn, converted; found in photos.", no_args_is_help=True)

PoseFiles = Annotated[list[Path], typer.Argument(help="Files of key points, or drawn skeletons.", metavar="FILE...")]
PoseFile = Annotated[Path, typer.Argument(help="File of key points, or a drawn skeleton.", metavar="FILE")]


@app.command(epilog="Example: imagpose poses show dance.json --pose-frame 768x512")
@with_reading
def show(reading: PoseOptions, files: PoseFiles) -> None:
    """Print what is read from files: format, units, frame, person, joints."""
    from imagpose.serving.poses import show_file

    for file in files:
        for line in show_file(file, reading):
            typer.echo(line)


@app.command(epilog="Example: imagpose poses draw dance.json --out skeleton.png --size 768x512")
@with_reading
def draw(
    reading: PoseOptions,
    file: PoseFile,
    out: Annotated[Path, typer.Option(help="Picture to write, .png; of several poses <name>-1.png, ...")],
    size: Annotated[str | None, typer.Option(help="Height x width in pixels; default: the pose's frame.")] = None,
    controlnet: Annotated[
        bool, typer.Option("--controlnet", help="Sticks of 4 pixels at any size and sharp edges, as ControlNet draws.")
    ] = False,
) -> None:
    """Draw the skeleton of each pose in a file."""
    from imagpose.serving.poses import draw_file

    for picture in draw_file(file, out, None if size is None else parse_size(size), controlnet, reading):
        typer.echo(picture)


@app.command(epilog="Example: imagpose poses convert results.json dance.json --pose-frame 1080x1920")
@with_reading
def convert(
    reading: PoseOptions,
    file: PoseFile,
    out: Annotated[
        Path, typer.Argument(help="OpenPose JSON to write; of several poses a list of frames.", metavar="OUT")
    ],
) -> None:
    """Write the poses of a file of any kind as OpenPose JSON."""
    from imagpose.serving.poses import convert_file

    typer.echo(convert_file(file, out, reading))


@app.command(epilog="Example: imagpose poses detect dance.jpg jump.jpg --out poses")
def detect(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures of a person each.", metavar="PICTURE...")],
    out: Annotated[Path, typer.Option(help="Folder for <name of the picture>.json, OpenPose JSON.")],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Find the pose of the person in each picture, to be given to generate (extra pose)."""
    from imagpose.serving.poses import detect_files

    for file in detect_files(pictures, out, device):
        typer.echo(file)
