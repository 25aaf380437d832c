"""`imagpose convert`: the published code's checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagpose.cli.options import parse_size

app = typer.Typer(help="Convert the published code's checkpoints to our folders, and back.", no_args_is_help=True)


@app.command(
    "official",
    epilog="Example: imagpose convert official --unet denoising_unet-50001.pth --pose pose_guider-50001.pth"
    " --patch patch-50001.pth --base stable-diffusion-v1-5 --out model",
)
def convert_official(
    unet: Annotated[Path, typer.Option(help="denoising_unet-*.pth.")],
    pose: Annotated[Path, typer.Option(help="pose_guider-*.pth.")],
    patch: Annotated[Path, typer.Option(help="patch-*.pth.")],
    base: Annotated[str, typer.Option(help="Folder or Hub id of the Stable Diffusion that was fine-tuned.")],
    out: Annotated[Path, typer.Option(help="Folder for the pipeline; must not exist.")],
    motion: Annotated[
        Path | None, typer.Option(help="motion_module-*.pth, where the denoising UNet's file has no motion modules.")
    ] = None,
    image_encoder: Annotated[
        str | None,
        typer.Option(help="Folder or Hub id; default: image_encoder in the base's folder, else facebook/dinov2-base."),
    ] = None,
    vae: Annotated[str | None, typer.Option(help="Folder or Hub id of a VAE in place of the base's.")] = None,
    size: Annotated[str, typer.Option(help="Height x width of a view in training.")] = "512x512",
) -> None:
    """Make a model folder from the published code's checkpoints."""
    from imagpose.pipeline.convert import from_official

    from_official(unet, pose, patch, base, out, motion, image_encoder, vae, *parse_size(size))
    typer.echo(out)


@app.command("to-official", epilog="Example: imagpose convert to-official --model model --out checkpoints")
def convert_to_official(
    model: Annotated[Path, typer.Option(help="Folder of a pipeline of the published code's kind.")],
    out: Annotated[Path, typer.Option(help="Folder for the four files; must not exist.")],
) -> None:
    """Make checkpoints for the published code from a model trained here (preset 'official')."""
    from imagpose.pipeline.convert import to_official

    for file in to_official(model, out):
        typer.echo(file)
