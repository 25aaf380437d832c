"""The commands, one thin function per verb; torch is imported only by those that need it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagpose.cli import (
    animate,
    bulk,
    convert,
    evaluate,
    generate,
    poses,
    prepare,
    reid,
    reproduce,
    requests,
    study,
    train,
    web,
)
from imagpose.cli.failures import DEBUG
from imagpose.cli.options import (
    Config,
    Model,
    Overrides,
    Overwrite,
    Style,
    Workers,
    World,
    parse_size,
    with_sampling,
)
from imagpose.version import __version__

if TYPE_CHECKING:
    from imagpose.pipeline.sampling import Sampling

app = typer.Typer(
    name="imagpose",
    help="Pictures of one person in new poses, from any number of photos (IMAGPose).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(convert.app, name="convert")
app.add_typer(study.app, name="study")
app.add_typer(poses.app, name="poses")
app.add_typer(prepare.app, name="prepare")
app.add_typer(reproduce.app, name="reproduce")
app.add_typer(reid.app, name="reid")
app.add_typer(requests.app, name="requests")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"imagpose {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Show the traceback of a failure; may stand behind the command too.")
    ] = False,
) -> None:
    del version, debug


app.command(epilog="Example: imagpose generate --source a.jpg --pose walk-03 --pose wave.json --out pictures")(
    generate.generate
)
app.command(epilog="Example: imagpose animate --source a.jpg --poses dance.json --out dance.mp4")(animate.animate)
app.command(epilog="Example: imagpose bulk requests.csv --out results --workers 4")(bulk.bulk)
app.command(epilog="Example: imagpose web --port 7860")(web.web)


@app.command(epilog="Example: imagpose check walk-03.png --json")
def check(
    pictures: Annotated[list[Path], typer.Argument(help="PNG, JPEG, WebP, MP4 or GIF files.", metavar="PICTURE...")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of lines.")] = False,
    pixels: Annotated[
        bool, typer.Option("--pixels", help="Also look for our invisible mark in pictures (extra watermark).")
    ] = False,
) -> None:
    """Say what picture files tell about their origin; the exit code is 1 if one is not marked as generated."""
    from imagpose.provenance import read_marks

    found = [(picture, read_marks(picture, pixels)) for picture in pictures]
    if as_json:
        records = [{"file": str(file), "generated": marks.generated, **asdict(marks)} for file, marks in found]
        typer.echo(json.dumps(records, indent=1))
    else:
        for file, marks in found:
            typer.echo(f"{file}: {'; '.join(marks.lines())}")
    if not all(marks.generated for _, marks in found):
        raise typer.Exit(1)


@app.command(epilog="Example: imagpose demo --out demo")
@with_sampling
def demo(
    sampling: Sampling,
    out: Annotated[Path, typer.Option(help="Folder for the page and the pictures.")] = Path("demo"),
    model: Model = "mini",
    overwrite: Overwrite = False,
) -> None:
    """Show T1, T2, T3, IMAGPose* and six views in one pass on held-out people, as one HTML page."""
    from imagpose.serving.demo import run_demo

    typer.echo(run_demo(out, model, sampling, overwrite))


@app.command(epilog="Example: imagpose people --seed 100 --count 20 --views 8 --size 256x176 --out people")
def people(
    out: Annotated[Path, typer.Option(help="Folder for <seed>/<k>.png, <k>.json and <k>_mask.png.")],
    seed: Annotated[int, typer.Option(help="Seed of the first person.")] = 0,
    count: Annotated[int, typer.Option(help="Number of people.")] = 1,
    views: Annotated[int, typer.Option(help="Views of each person.")] = 8,
    size: Annotated[str, typer.Option(help="Height x width in pixels.")] = "256x176",
    world: World = "studio",
    style: Style = None,
    workers: Workers = None,
) -> None:
    """Render synthetic people: clothed adults in many poses, with key points and masks; continues where it stopped."""
    from imagpose.people.render_set import render_set

    rendered = render_set(seed, count, views, *parse_size(size), out, workers, world=world, style=style)
    others = ", the others were complete" if rendered < count else ""
    typer.echo(f"{rendered} of {count} people rendered{others}: {out}")


@app.command(epilog="Example: imagpose cache --config configs/deepfashion_256_sd15.yaml")
def cache(config: Config, overrides: Overrides = None) -> None:
    """Fill the caches of a denoiser's configuration: latents, image tokens, skeletons; continues where it stopped."""
    from imagpose.training.denoiser import cache_denoiser

    for folder in cache_denoiser(config, overrides):
        typer.echo(f"{folder} is complete")


@app.command(epilog="Example: imagpose models sd15-dinov2-g sd15-dinov2-g:B3")
def models(
    names: Annotated[
        list[str] | None, typer.Argument(help="Presets, default: all.", metavar="[PRESET]...", show_default=False)
    ] = None,
) -> None:
    """List the presets and their parameters, in millions by part."""
    from imagpose.models.sizes import size_table

    typer.echo(size_table(names or ()))
