"""`imagpose train`: a thin command per stage, per judge, and the export."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagpose.cli.options import Config, Overrides, Overwrite

if TYPE_CHECKING:
    from imagpose.training.log import Outcome
    from imagpose.training.run import Trainer

app = typer.Typer(
    help="Train the stages of a model, adapters, students of few steps and judges; export what ships.",
    no_args_is_help=True,
)

Resume = Annotated[
    str | None, typer.Option(help="'latest' (from the start if there is none), or the folder of a checkpoint.")
]
StopAfter = Annotated[str | None, typer.Option(help="Save and stop after this time, for example 50m or 2h.")]


def _add(name: str, trainer: str, purpose: str, example: str = "") -> None:
    """Add a command that trains and has no options of its own.

    Args:
        trainer: `MODULE.FUNCTION` of `imagpose.training`, imported only when it runs.
        example: what the example of its help has behind the configuration.
    """

    def command(
        config: Config, overrides: Overrides = None, resume: Resume = None, stop_after: StopAfter = None
    ) -> None:
        module, function = trainer.rsplit(".", 1)
        run_trainer(
            getattr(import_module(f"imagpose.training.{module}"), function), config, overrides, resume, stop_after
        )

    example = f"imagpose train {name} --config configs/mini/{name.replace('-', '_')}.yaml{example}"
    app.command(name, help=purpose, epilog=f"Example: {example}")(command)


_add("autoencoder", "autoencoder.train_autoencoder", "Stage 1: the patch autoencoder.", " --resume latest")
_add(
    "autoencoder-finish",
    "autoencoder.train_autoencoder_finish",
    "Last phase of stage 1: the decoder alone, by features and a discriminator; needs the extra 'perceptual'.",
)
_add("encoder", "encoder.train_encoder", "Stage 2: the image encoder, by telling people apart.")


@app.command(epilog="Example: imagpose train denoiser --config configs/mini/denoiser.yaml --stop-after 3h steps=20000")
def denoiser(
    config: Config,
    overrides: Overrides = None,
    resume: Resume = None,
    stop_after: StopAfter = None,
    overfit: Annotated[
        int | None,
        typer.Option(
            min=1, help="Learn this many canvases by heart: if the loss does not reach 0.1, the exit code is 1."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the memory of each part and the days needed, and stop.")
    ] = False,
    gpus: Annotated[int | None, typer.Option(min=1, help="With --dry-run: GPUs of the run; default 1.")] = None,
    rate: Annotated[float | None, typer.Option(help="With --dry-run: canvases/s of a GPU, as measured.")] = None,
) -> None:
    """Stage 3: UNet, pose encoder and feature tokens."""
    if dry_run:
        from imagpose.training.denoiser.dry_run import dry_run as needs

        if overfit is not None:
            raise ValueError("--dry-run says what the whole training needs: leave out --overfit")
        typer.echo(needs(config, overrides, gpus or 1, rate))
        return
    if gpus is not None or rate is not None:
        raise ValueError("--gpus and --rate belong to --dry-run: they change nothing in a training")
    from imagpose.training.denoiser import OVERFIT_LOSS, train_denoiser

    if overfit is None:
        run_trainer(train_denoiser, config, overrides, resume, stop_after)
        return
    overrides = [*(overrides or ()), f"overfit={overfit}", "validation=null"]
    outcome = run_trainer(train_denoiser, config, overrides, resume, stop_after)
    if outcome.reason == "finished" and (last := outcome.losses[-overfit:]):
        loss = sum(last) / len(last)
        reached = loss <= OVERFIT_LOSS
        typer.echo(
            f"overfit: loss {loss:.3f} over the last {len(last)} steps; {OVERFIT_LOSS:g} expected"
            + ("" if reached else ": more steps, or another learning rate; else a network or the data are at fault")
        )
        if not reached:
            raise typer.Exit(1)


_add(
    "lora",
    "denoiser.lora.train_lora",
    "An adapter of a trained denoiser for a few people's photos; needs the extra 'lora'.",
)
_add(
    "fewstep",
    "fewstep.train_fewstep",
    "A student that does in 4, 2 or 1 steps what a trained denoiser does in many, guidance included.",
    " --stop-after 2h",
)
_add(
    "appearance-flow",
    "appearance_flow.train_appearance_flow",
    "The network that warped views are made with: where a photo shows each place of another pose.",
)
_add("pose-estimator", "judges.train_pose_estimator", "The network that evaluation finds key points with.")
_add("silhouette", "judges.train_silhouette", "The network that evaluation finds silhouettes with.")
_add("identity", "judges.train_identity", "The network that evaluation tells people apart with.")


@app.command(epilog="Example: imagpose train export --run runs/mini/denoiser --out mini")
def export(
    run: Annotated[Path, typer.Option(help="Output folder of the denoiser's run.")],
    out: Annotated[Path, typer.Option(help="Folder for the pipeline.")],
    dtype: Annotated[str, typer.Option(help="fp16 or bf16.")] = "fp16",
    overwrite: Overwrite = False,
) -> None:
    """Write the trained pipeline in half precision, in files of at most 15 MB."""
    from imagpose.training.export import export_pipeline

    if dtype not in ("fp16", "bf16"):
        raise ValueError(f"dtype is {dtype!r}; fp16 or bf16 expected")
    for name, size in export_pipeline(run, out, dtype, overwrite=overwrite).items():  # type: ignore[arg-type]
        typer.echo(f"{name}: {size / 1e6:.1f} MB")


def run_trainer(
    trainer: Trainer[Any], config: Path, overrides: list[str] | None, resume: str | None, stop_after: str | None
) -> Outcome:
    """Train, and say in one line how it ended; returns that."""
    from imagpose.training.configs import parse_duration

    try:
        outcome = trainer(config, overrides, resume, None if stop_after is None else parse_duration(stop_after))
    except FloatingPointError as error:  # nothing that was given is at fault for sure: not exit code 2
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    measures = ", ".join(f"{name} {value:.4g}" for name, value in outcome.validation.items())
    skipped = f", {outcome.skipped} skipped" if outcome.skipped else ""
    typer.echo(f"{outcome.reason} at step {outcome.step}{skipped}{': ' if measures else ''}{measures}")
    return outcome
