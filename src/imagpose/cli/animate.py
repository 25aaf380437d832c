"""`imagpose animate`: a film of a person from photos and a sequence of poses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagpose.cli.generate import (
    Certificate,
    Device,
    Dtype,
    Key,
    Source,
    SourcePose,
    read_signature,
)
from imagpose.cli.options import (
    Model,
    NoCrop,
    Overwrite,
    PixelMark,
    Place,
    Retarget,
    Size,
    maybe_size,
    with_reading,
    with_sampling,
)

if TYPE_CHECKING:
    from imagpose.pipeline.sampling import Sampling
    from imagpose.pose import PoseOptions


@with_sampling
@with_reading
def animate(
    sampling: Sampling,
    reading: PoseOptions,
    poses: Annotated[
        list[str],
        typer.Option(
            help="The sequence: a file of frames, a folder of files, a pattern in quotes, or a clip (.mp4, .mov, .webm, ...;"
            " extras video and pose); repeat to join several."
        ),
    ],
    out: Annotated[Path, typer.Option(help="film.mp4 (extra video), film.gif, or a folder for the frames.")],
    source: Source = None,
    source_pose: SourcePose = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second; default: the clip's, or 25.")] = None,
    between: Annotated[int, typer.Option(help="Poses to put between each two: a few poses make a film.")] = 0,
    smooth: Annotated[str, typer.Option(help="Smoothing of the poses: savgol, one-euro or none.")] = "savgol",
    grid: Annotated[
        str | None, typer.Option(help="Rows x columns of the joint canvas; more frames at once; default 2x2.")
    ] = None,
    overlap: Annotated[int, typer.Option(help="Finished frames on each canvas: the first, then the latest.")] = 1,
    size: Size = None,
    no_crop: NoCrop = False,
    retarget: Retarget = True,
    place: Place = "pose",
    mark: PixelMark = "none",
    model: Model = "mini",
    device: Device = None,
    dtype: Dtype = None,
    backend: Annotated[
        str | None, typer.Option(help="torch, compile or openvino (extra openvino); default torch.")
    ] = None,
    overwrite: Overwrite = False,
    c2pa_certificate: Certificate = None,
    c2pa_key: Key = None,
) -> None:
    """Make a film of a person who moves as a sequence of poses does; goes on where it was stopped."""
    from imagpose.serving.animate import animate as make_film

    done = make_film(
        source or (), poses, source_pose or (), out=out, model=model, reading=reading, device=device, dtype=dtype,
        backend=backend,
        overwrite=overwrite, signature=read_signature(c2pa_certificate, c2pa_key), fps=fps, between=between, smooth=smooth,
        grid=grid, overlap=overlap, size=maybe_size(size), crop=not no_crop, retarget=retarget,
        place=place, mark=mark, sampling=sampling,
    )  # fmt: skip
    frames = "1 frame" if done.num_frames == 1 else f"{done.num_frames} frames"
    typer.echo(f"{done.out}: {frames}, {done.record['fps']:g} a second")
