"""`imagpose generate`: pictures of one person, or of many, in poses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagpose.cli.options import Model, parse_size, with_reading, with_sampling

if TYPE_CHECKING:
    from imagpose.pipeline.sampling import Sampling
    from imagpose.pose import PoseOptions

_MANY, _CHOICE, _PLACE = "Many pictures", "Choosing", "Model and files"


@with_sampling
@with_reading
def generate(
    sampling: Sampling,
    reading: PoseOptions,
    out: Annotated[Path, typer.Option(help="Folder for <pose>.png, ..., sheet.png and result.json; new, or empty.")],
    source: Annotated[
        list[Path] | None, typer.Option(help="Photo of the person, at least one; repeat for several.")
    ] = None,
    pose: Annotated[
        list[str] | None,
        typer.Option(
            help="Target poses, at least one: a file of any usual kind, a folder of them, a pattern in quotes"
            ' ("dance/*.json"), or names of the library (walk-03, "walk-*"); repeat for several.'
        ),
    ] = None,
    source_pose: Annotated[
        list[Path] | None, typer.Option(help="Poses of the sources, one for each in the same order (optional).")
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(
            help="In place of --source: a folder with a folder of photos for each person; continues where it stopped.",
            rich_help_panel=_MANY,
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Height x width of the pictures; default: the model's views.")
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Pictures of each pose, with seeds that follow one another.", rich_help_panel=_MANY)
    ] = 1,
    anchor: Annotated[
        bool,
        typer.Option(
            "--anchor", help="Good pictures of the first canvas become sources of the others.", rich_help_panel=_MANY
        ),
    ] = False,
    keep_best: Annotated[
        bool,
        typer.Option("--keep-best", help="Of the samples, keep the one with the best score.", rich_help_panel=_CHOICE),
    ] = False,
    min_score: Annotated[
        float | None, typer.Option(help="Mark pictures with less, from 0 to 1.", rich_help_panel=_CHOICE)
    ] = None,
    background: Annotated[
        str, typer.Option(help="keep, transparent, or a colour such as #ffffff, behind the person.")
    ] = "keep",
    mask: Annotated[
        list[Path] | None,
        typer.Option(help="With --background: white where a source shows the person, one for each source (optional)."),
    ] = None,
    no_crop: Annotated[
        bool, typer.Option("--no-crop", help="Take photos whole, instead of framing them around the person.")
    ] = False,
    model: Model = "mini",
    scenario: Annotated[str | None, typer.Option(help="T1, T2, T3 or star; default: any number to any number.")] = None,
    grid: Annotated[
        str | None, typer.Option(help="Rows x columns of the joint canvas, or auto, which fits it; default 2x2.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cuda, cuda:1, mps or cpu; default: a GPU if there is one.", rich_help_panel=_PLACE),
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16; default fp32.", rich_help_panel=_PLACE)] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace results that this command wrote for another request.", rich_help_panel=_PLACE
        ),
    ] = False,
    c2pa_certificate: Annotated[
        Path | None,
        typer.Option(
            help="Your certificate and its chain (PEM): sign by C2PA (extra provenance).", rich_help_panel=_PLACE
        ),
    ] = None,
    c2pa_key: Annotated[
        Path | None, typer.Option(help="The certificate's private key (PEM, no password).", rich_help_panel=_PLACE)
    ] = None,
) -> None:
    """Generate one picture per pose, named after the poses."""
    from imagpose.provenance import Signature
    from imagpose.serving.generate import generate as generate_one
    from imagpose.serving.many import generate_people

    if (c2pa_certificate is None) != (c2pa_key is None):
        raise ValueError("a signature needs both --c2pa-certificate and --c2pa-key")
    signature = None if c2pa_certificate is None or c2pa_key is None else Signature(c2pa_certificate, c2pa_key)
    options: dict[str, Any] = {
        "out": out, "model": model, "reading": reading, "device": device, "dtype": dtype, "overwrite": overwrite,
        "signature": signature, "scenario": scenario, "grid": grid, "size": None if size is None else parse_size(size),
        "samples": samples, "keep_best": keep_best, "min_score": min_score, "anchor": anchor, "background": background,
        "crop": not no_crop, "sampling": sampling,
    }  # fmt: skip
    if photos is None:
        files = generate_one(source or (), pose or (), source_pose or (), masks=mask or (), **options).files
    else:
        if source or source_pose or mask:
            raise ValueError("--photos stands in place of --source, --source-pose and --mask: leave them out")
        files = [file for own in generate_people(photos, pose or (), **options).values() for file in own]
    for file in files:
        typer.echo(file)
