"""`imagpose reproduce`: a thin command per table and figure of the paper."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagpose.cli.options import Model, Workers, parse_named, with_sampling

if TYPE_CHECKING:
    from imagpose.evaluation.reproduce.measuring import Measuring
    from imagpose.evaluation.reproduce.training_runs import TrainingRuns
    from imagpose.pipeline.sampling import Sampling

app = typer.Typer(
    help="Make the paper's tables and figures anew, on any prepared data set; see docs/reproduce.md.",
    no_args_is_help=True,
)

Data = Annotated[Path, typer.Option(help="Data set of imagpose prepare with the splits train and test.")]
Out = Annotated[Path, typer.Option(help="Folder of page, plot, runs and pictures; the same command continues in it.")]
Config = Annotated[
    Path, typer.Option(help="YAML of a denoiser whose data is a data set, for example configs/reproduce.yaml.")
]
Budget = Annotated[int, typer.Option(min=1, help="Optimiser steps of every variant.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many test pairs, always the same ones.")]
Rows = Annotated[int, typer.Option(min=1, help="People that are shown.")]
Baselines = Annotated[
    list[str] | None,
    typer.Option(help="NAME=FOLDER with IDENTITY/SOURCE_to_TARGET.png of the pairs; repeat for several."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="key=value replacements in the configuration.", metavar="[KEY=VALUE]...", show_default=False),
]


@app.command(
    epilog="Example: imagpose reproduce table1 --data data/deepfashion --model model --baseline CFLD=cfld --out results"
)
@with_sampling
def table1(
    sampling: Sampling,
    data: Data,
    out: Out,
    model: Model = "mini",
    baseline: Baselines = None,
    limit: Limit = None,
) -> None:
    """A model beside other methods' folders of pictures."""
    from imagpose.evaluation.reproduce import items

    baselines = {name: Path(folder) for name, folder in parse_named(baseline, "--baseline").items()}
    _show(items.table1(_measuring(data, out, sampling, limit), model, baselines), out, "table1")


@app.command(
    epilog="Example: imagpose reproduce table2 --data data/people --config configs/reproduce.yaml --budget 2000 --out out"
)
@with_sampling
def table2(
    sampling: Sampling,
    data: Data,
    config: Config,
    budget: Budget,
    out: Out,
    overrides: Overrides = None,
    limit: Limit = None,
) -> None:
    """What each module adds: B0 to B4 and the whole model, trained alike."""
    from imagpose.evaluation.reproduce import items

    runs = _runs(out, data, config, budget, overrides)
    _show(items.table2(_measuring(data, out, sampling, limit), runs), out, "table2")


@app.command(
    epilog="Example: imagpose reproduce table3 --data data/people --config configs/reproduce.yaml --budget 2000"
    " --image-encoder small=runs/small/weights --image-encoder large=runs/large/weights --out results"
)
@with_sampling
def table3(
    sampling: Sampling,
    data: Data,
    config: Config,
    budget: Budget,
    out: Out,
    preset: Annotated[
        list[str] | None, typer.Option(help="A base and image encoder, see imagpose models; repeat for several.")
    ] = None,
    image_encoder: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FOLDER (or Hub id) for the configuration's preset; repeat for several."),
    ] = None,
    overrides: Overrides = None,
    limit: Limit = None,
) -> None:
    """Other bases and image encoders, trained alike."""
    from imagpose.evaluation.reproduce import items

    runs = _runs(out, data, config, budget, overrides)
    encoders = parse_named(image_encoder, "--image-encoder")
    measuring = _measuring(data, out, sampling, limit)
    _show(items.table3(measuring, runs, preset or (), encoders), out, "table3")


@app.command(
    epilog="Example: imagpose reproduce table4 --data reid-people --config configs/reid/small.yaml"
    " --finetune configs/reid/generator.yaml --out runs/table4"
)
@with_sampling
def table4(
    sampling: Sampling,
    data: Annotated[Path, typer.Option(help="Folder in Market-1501's layout, see imagpose reid people.")],
    config: Annotated[Path, typer.Option(help="YAML of imagpose reid train, for example configs/reid/small.yaml.")],
    out: Out,
    overrides: Overrides = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Key points of the training pictures; default: the CSV in the set.")
    ] = None,
    model: Model = "mini",
    finetune: Annotated[
        Path | None,
        typer.Option(
            help="YAML of a denoiser that is trained on the set first, and then generates in place of --model."
        ),
    ] = None,
    generator_per_subset: Annotated[
        bool, typer.Option("--generator-per-subset", help="Train it on each subset alone: no picture leaks in.")
    ] = False,
    subset: Annotated[
        list[float] | None, typer.Option(help="Shares of the real pictures; default: 0.2, 0.4, 0.6 and 0.8.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions, each with other subsets, pictures and networks.")] = 3,
) -> None:
    """Re-identification with few real pictures: as they are, repeated, and filled up with generated ones."""
    from imagpose.evaluation.reproduce.table4 import Table4, make_table4

    shares = {"shares": tuple(subset)} if subset else {}
    asked = Table4(
        out, data, config, sampling, shlex.join(["imagpose", *sys.argv[1:]]), annotations, model, finetune,
        generator_per_subset, seeds=seeds, overrides=tuple(overrides or ()), **shares,
    )  # fmt: skip
    _show(make_table4(asked), out, "table4")


@app.command(
    epilog="Example: imagpose reproduce table7 --data data/people --config configs/reproduce.yaml --budget 2000 --out out"
)
@with_sampling
def table7(
    sampling: Sampling,
    data: Data,
    config: Config,
    budget: Budget,
    out: Out,
    overrides: Overrides = None,
    limit: Limit = None,
) -> None:
    """The joint canvas against views along the batch axis (M1), trained alike."""
    from imagpose.evaluation.reproduce import items

    runs = _runs(out, data, config, budget, overrides)
    _show(items.table7(_measuring(data, out, sampling, limit), runs), out, "table7")


@app.command(epilog="Example: imagpose reproduce figure7 --data data/people --model mini --out results")
@with_sampling
def figure7(sampling: Sampling, data: Data, out: Out, model: Model = "mini", limit: Limit = None) -> None:
    """One model in its four scenarios: T1, T2, T3 and IMAGPose*."""
    from imagpose.evaluation.reproduce import items

    _show(items.figure7(_measuring(data, out, sampling, limit), model), out, "figure7")


@app.command(epilog="Example: imagpose reproduce figure8 --data data/people --model mini --steps 5,10,20 --out results")
@with_sampling
def figure8(
    sampling: Sampling,
    data: Data,
    out: Out,
    model: Model = "mini",
    steps: Annotated[str, typer.Option(help="Numbers of DDIM steps.")] = "5,10,20,50",
    limit: Limit = None,
    requests: Annotated[int, typer.Option(min=1, help="Calls that are timed per setting.")] = 5,
) -> None:
    """Seconds per distinct picture against quality."""
    from imagpose.evaluation.reproduce import items

    numbers = [int(text) if text.strip().isdecimal() else 0 for text in steps.split(",")]
    if min(numbers) < 1 or len(set(numbers)) < len(numbers):
        raise ValueError(f"steps is {steps!r}; whole numbers from 1, each once, expected, for example 5,10,20")
    measuring = _measuring(data, out, sampling, limit)
    _show(items.figure8(measuring, model, numbers, requests), out, "figure8")


@app.command(
    epilog="Example: imagpose reproduce figure5 --data data/deepfashion --model model --baseline CFLD=cfld --out results"
)
@with_sampling
def figure5(
    sampling: Sampling,
    data: Data,
    out: Out,
    model: Model = "mini",
    baseline: Baselines = None,
    rows: Rows = 6,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV source,target whose first rows are shown; default: a fixed choice.")
    ] = None,
) -> None:
    """Rows of source, pose, other methods, ours and the truth."""
    from imagpose.evaluation.reproduce import figures

    others = {name: Path(folder) for name, folder in parse_named(baseline, "--baseline").items()}
    _show(figures.figure5(_measuring(data, out, sampling, None), model, others, rows, pairs), out, "figure5")


@app.command(epilog="Example: imagpose reproduce figure9 --data data/people --out results")
@with_sampling
def figure9(sampling: Sampling, data: Data, out: Out, model: Model = "mini", rows: Rows = 2) -> None:
    """The same people in the four scenarios, as pictures."""
    from imagpose.evaluation.reproduce import figures

    _show(figures.figure9(_measuring(data, out, sampling, None), model, rows), out, "figure9")


@app.command(epilog="Example: imagpose reproduce figure10 --data data/people --out results")
@with_sampling
def figure10(sampling: Sampling, data: Data, out: Out, model: Model = "mini", rows: Rows = 4) -> None:
    """More people, one source and six poses each, as pictures."""
    from imagpose.evaluation.reproduce import figures

    _show(figures.figure10(_measuring(data, out, sampling, None), model, rows), out, "figure10")


@app.command(epilog="Example: imagpose reproduce figure12 --data data/people --out results")
@with_sampling
def figure12(sampling: Sampling, data: Data, out: Out, model: Model = "mini", rows: Rows = 2) -> None:
    """Several sources and several poses, as pictures."""
    from imagpose.evaluation.reproduce import figures

    _show(figures.figure12(_measuring(data, out, sampling, None), model, rows), out, "figure12")


@app.command(epilog="Example: imagpose reproduce views --data data/people --limit 24 --out results")
@with_sampling
def views(sampling: Sampling, data: Data, out: Out, model: Model = "mini", limit: Limit = None) -> None:
    """Limitation 1: quality, agreement and time for 2 to 12 views on a canvas; needs people of 12 views."""
    from imagpose.evaluation.reproduce import limitations

    _show(limitations.views(_measuring(data, out, sampling, limit), model), out, "views")


@app.command(epilog="Example: imagpose reproduce styles --people 12 --limit 24 --out results")
@with_sampling
def styles(
    sampling: Sampling,
    out: Out,
    model: Model = "mini",
    people: Annotated[int, typer.Option(min=1, help="Test people, rendered in every style.")] = 12,
    limit: Limit = None,
    workers: Workers = None,
) -> None:
    """Limitation 2: the same people in five styles, and sources of two styles together."""
    from imagpose.evaluation.reproduce import limitations

    _show(limitations.styles(_measuring(out / "people", out, sampling, limit), model, people, workers), out, "styles")


@app.command(
    "all",
    epilog="Example: imagpose reproduce all --data data/people --config configs/reproduce.yaml --budget 2000 --out all",
)
@with_sampling
def everything(
    sampling: Sampling,
    data: Data,
    out: Out,
    model: Model = "mini",
    baseline: Baselines = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML of a denoiser, for Tables 2, 3 and 7; none leaves them out.")
    ] = None,
    budget: Annotated[int | None, typer.Option(min=1, help="Optimiser steps of every variant.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How often the variants are trained.")] = 3,
    preset: Annotated[
        list[str] | None, typer.Option(help="A line of Table 3: base and image encoder; repeat for several.")
    ] = None,
    image_encoder: Annotated[
        list[str] | None, typer.Option(help="A line of Table 3: NAME=FOLDER (or Hub id); repeat for several.")
    ] = None,
    overrides: Overrides = None,
    limit: Limit = None,
) -> None:
    """Every table and figure that the data allow, resumable, with one report of all verdicts."""
    from imagpose.evaluation.reproduce.everything import Everything, reproduce_all

    given = Everything(
        _measuring(data, out, sampling, limit), model,
        {name: Path(folder) for name, folder in parse_named(baseline, "--baseline").items()},
        config, budget, tuple(overrides or ()), seeds, tuple(preset or ()), parse_named(image_encoder, "--image-encoder"),
    )  # fmt: skip
    _show(reproduce_all(given, lambda line: typer.echo(line, err=True)), out, "report")


def _measuring(data: Path, out: Path, sampling: Sampling, limit: int | None) -> Measuring:
    from imagpose.evaluation.reproduce.measuring import Measuring

    command = shlex.join(["imagpose", *sys.argv[1:]])
    return Measuring(out, data, sampling, limit, command)


def _runs(out: Path, data: Path, config: Path, budget: int, overrides: list[str] | None) -> TrainingRuns:
    from imagpose.evaluation.reproduce.training_runs import TrainingRuns

    return TrainingRuns(out, data, config, budget, tuple(overrides or ()))


def _show(table: str, out: Path, item: str) -> None:
    if table:
        typer.echo(f"{table}\n\n{out / f'{item}.md'}")
