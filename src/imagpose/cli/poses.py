"""`imagpose poses`: a library; files of key points looked at, drawn, converted; poses found in photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagpose.cli.options import DETECTORS, ControlNet, Overwrite, maybe_size, with_reading

if TYPE_CHECKING:
    from imagpose.pose import PoseOptions

app = typer.Typer(
    help="List a library of poses; show, draw and convert pose files; find poses in photos.", no_args_is_help=True
)

PoseFiles = Annotated[list[Path], typer.Argument(help="Files of key points, or drawn skeletons.", metavar="FILE...")]
PoseFile = Annotated[Path, typer.Argument(help="File of key points, or a drawn skeleton.", metavar="FILE")]


@app.command("list", epilog='Example: imagpose poses list "walk-*" --sheet poses.png')
def list_(
    patterns: Annotated[
        list[str] | None, typer.Argument(help='Names, or patterns such as "walk-*"; default: all.', metavar="[NAME]...")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Picture to write, .png, with all of them drawn.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """List the poses that come with the package; generate takes their names."""
    from imagpose.serving.poses import list_poses

    for pose in list_poses(patterns or (), sheet, overwrite):
        typer.echo(f"{pose.name:<10} {pose.text}; {pose.view}")


@app.command(epilog="Example: imagpose poses show dance.json --pose-frame 768x512")
@with_reading
def show(reading: PoseOptions, files: PoseFiles) -> None:
    """Print what is read from files: format, units, frame, person, joints."""
    from imagpose.pose import read_pose_file

    for file in files:
        for line in read_pose_file(file, reading).lines():
            typer.echo(line)


@app.command(epilog="Example: imagpose poses draw dance.json --out skeleton.png --size 768x512")
@with_reading
def draw(
    reading: PoseOptions,
    file: PoseFile,
    out: Annotated[Path, typer.Option(help="Picture to write, .png; of several poses <name>-1.png, ...")],
    size: Annotated[str | None, typer.Option(help="Height x width in pixels; default: the pose's frame.")] = None,
    controlnet: ControlNet = False,
    overwrite: Overwrite = False,
) -> None:
    """Draw the skeleton of each pose in a file."""
    from imagpose.serving.poses import draw_file

    for picture in draw_file(file, out, maybe_size(size), controlnet, reading, overwrite):
        typer.echo(picture)


@app.command(epilog="Example: imagpose poses convert results.json dance.json --pose-frame 1080x1920")
@with_reading
def convert(
    reading: PoseOptions,
    file: PoseFile,
    out: Annotated[
        Path, typer.Argument(help="OpenPose JSON to write; of several poses a list of frames.", metavar="OUT")
    ],
    overwrite: Overwrite = False,
) -> None:
    """Write the poses of a file of any kind as OpenPose JSON."""
    from imagpose.serving.poses import convert_file

    typer.echo(convert_file(file, out, reading, overwrite))


@app.command(epilog="Example: imagpose poses detect dance.jpg jump.jpg --out poses")
def detect(
    pictures: Annotated[
        list[Path], typer.Argument(help="Pictures of people, or folders of them.", metavar="PICTURE...")
    ],
    out: Annotated[Path, typer.Option(help="Folder for <name of the picture>.json, OpenPose JSON.")] = Path("poses"),
    detector: Annotated[str, typer.Option(help=f"{DETECTORS}.")] = "mediapipe",
    crops: Annotated[
        bool,
        typer.Option(
            "--crops", help="Each picture is one person's crop (re-identification): take it whole, look for nobody."
        ),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Find the poses of the people in pictures, to be given to generate."""
    from imagpose.serving.detection import UNUSABLE, detect_files

    found = detect_files(pictures, out, detector, crops=crops, overwrite=overwrite)
    if not crops:
        for file in found.files:
            typer.echo(file)
        return
    usable, total = len(found.files), len(found.files) + len(found.unusable)
    others = f"; the others are listed in {out / UNUSABLE}" if found.unusable else ""
    typer.echo(f"{out}: {usable:,} of {total:,} crops are usable ({usable / total:.1%}){others}")


@app.command(epilog="Example: imagpose poses setup")
def setup() -> None:
    """Fetch the pose networks of detector mediapipe from the package index (36 MB, once)."""
    from imagpose.pose.blazepose_files import install

    for file in install():
        typer.echo(file)
