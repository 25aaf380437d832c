"""`imagpose reproduce`: a thin command per table and figure of the paper."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagpose.cli.options import SAMPLING, Model, Workers, parse_named, with_options, with_sampling

if TYPE_CHECKING:
    from imagpose.evaluation.reproduce.measuring import Measuring
    from imagpose.evaluation.reproduce.training_runs import TrainingRuns
    from imagpose.pipeline.sampling import Sampling

app = typer.Typer(
    help="Reproduce the paper's tables and figures on any prepared data set; see docs/reproduce.md.",
    no_args_is_help=True,
)

Data = Annotated[Path, typer.Option(help="Data set of imagpose prepare with the splits train and test.")]
Out = Annotated[Path, typer.Option(help="Folder of page, plot, runs and pictures; the same command continues in it.")]
Config = Annotated[
    Path, typer.Option(help="YAML of a denoiser whose data is a data set, for example configs/reproduce.yaml.")
]
Budget = Annotated[int, typer.Option(min=1, help="Optimiser steps of every variant.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most this many test pairs, always the same ones.")]
Rows = Annotated[int, typer.Option(min=1, help="People that are shown.")]
Baselines = Annotated[
    list[str] | None,
    typer.Option(help="NAME=FOLDER with IDENTITY/SOURCE_to_TARGET.png of the pairs; repeat for several."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="key=value replacements in the configuration.", metavar="[KEY=VALUE]...", show_default=False),
]


def _measuring(out: Path, data: Path | None = None, limit: int | None = None, **sampling: Any) -> Measuring:
    """As asked; without a data set, on the people that the command renders."""
    from imagpose.evaluation.reproduce.measuring import Measuring
    from imagpose.pipeline.sampling import Sampling

    return Measuring(out, data or out / "people", Sampling(**sampling), limit, _command())


def _command() -> str:
    """What was typed, for the page."""
    return shlex.join(["imagpose", *sys.argv[1:]])


def _show(table: str, out: Path, item: str) -> None:
    if table:
        typer.echo(f"{table}\n\n{out / f'{item}.md'}")


_MEASURED = {"data": (Data, inspect.Parameter.empty), "out": (Out, inspect.Parameter.empty), "limit": (Limit, None)}


def _page(
    example: str, name: str | None = None, without: str | None = None
) -> Callable[[Callable[..., str]], Callable[..., None]]:
    """Add a command that writes a page named as the function, and returns the table, which is printed.

    Its argument `measuring` is built from --data, --out, --limit and the options of sampling.

    Args:
        example: a call, from the command's name on.
        name: of the command; None: the function's.
        without: the one of the three options that the command does not have.
    """
    options = {option: own for option, own in {**_MEASURED, **SAMPLING}.items() if option != without}

    def add(command: Callable[..., str]) -> Callable[..., None]:
        @wraps(command)
        def shown(measuring: Measuring, **own: Any) -> None:
            _show(command(measuring, **own), measuring.out, command.__name__)

        whole = with_options(shown, "measuring", options, _measuring)
        return app.command(name, epilog=f"Example: imagpose reproduce {example}")(whole)

    return add


@_page("table1 --data data/deepfashion --model model --baseline CFLD=cfld --out results")
def table1(measuring: Measuring, model: Model = "mini", baseline: Baselines = None) -> str:
    """A model beside other methods' folders of pictures."""
    from imagpose.evaluation.reproduce import items

    return items.table1(measuring, model, _folders(baseline))


@_page("table2 --data data/people --config configs/reproduce.yaml --budget 2000 --out out")
def table2(measuring: Measuring, config: Config, budget: Budget, overrides: Overrides = None) -> str:
    """What each module adds: B0 to B4 and the whole model, trained alike."""
    from imagpose.evaluation.reproduce import items

    return items.table2(measuring, _runs(measuring, config, budget, overrides))


@_page(
    "table3 --data data/people --config configs/reproduce.yaml --budget 2000"
    " --image-encoder small=runs/small/weights --image-encoder large=runs/large/weights --out results"
)
def table3(
    measuring: Measuring,
    config: Config,
    budget: Budget,
    preset: Annotated[
        list[str] | None, typer.Option(help="A base and image encoder, see imagpose models; repeat for several.")
    ] = None,
    image_encoder: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FOLDER (or Hub id) for the configuration's preset; repeat for several."),
    ] = None,
    overrides: Overrides = None,
) -> str:
    """Other bases and image encoders, trained alike."""
    from imagpose.evaluation.reproduce import items

    encoders = parse_named(image_encoder, "--image-encoder")
    return items.table3(measuring, _runs(measuring, config, budget, overrides), preset or (), encoders)


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
        out, data, config, sampling, _command(), annotations, model, finetune,
        generator_per_subset, seeds=seeds, overrides=tuple(overrides or ()), **shares,
    )  # fmt: skip
    _show(make_table4(asked), out, "table4")


@_page("table7 --data data/people --config configs/reproduce.yaml --budget 2000 --out out")
def table7(measuring: Measuring, config: Config, budget: Budget, overrides: Overrides = None) -> str:
    """The joint canvas against views along the batch axis (M1), trained alike."""
    from imagpose.evaluation.reproduce import items

    return items.table7(measuring, _runs(measuring, config, budget, overrides))


@_page("schedules --data data/people --config configs/reproduce.yaml --budget 2000 --out out")
def schedules(measuring: Measuring, config: Config, budget: Budget, overrides: Overrides = None) -> str:
    """Table 6's linear noise schedule against scaled_linear, trained alike."""
    from imagpose.evaluation.reproduce import items

    return items.schedules(measuring, _runs(measuring, config, budget, overrides))


@_page("figure7 --data data/people --model mini --out results")
def figure7(measuring: Measuring, model: Model = "mini") -> str:
    """One model in its four scenarios: T1, T2, T3 and IMAGPose*."""
    from imagpose.evaluation.reproduce import items

    return items.figure7(measuring, model)


@_page("figure8 --data data/people --model mini --steps 5,10,20 --out results")
def figure8(
    measuring: Measuring,
    model: Model = "mini",
    steps: Annotated[str, typer.Option(help="Numbers of DDIM steps.")] = "5,10,20,50",
    requests: Annotated[int, typer.Option(min=1, help="Calls that are timed per setting.")] = 5,
) -> str:
    """Seconds per distinct picture against quality."""
    from imagpose.evaluation.reproduce import items

    numbers = [int(text) if text.strip().isdecimal() else 0 for text in steps.split(",")]
    if min(numbers) < 1 or len(set(numbers)) < len(numbers):
        raise ValueError(f"steps is {steps!r}; whole numbers from 1, each once, expected, for example 5,10,20")
    return items.figure8(measuring, model, numbers, requests)


@_page("figure5 --data data/deepfashion --model model --baseline CFLD=cfld --out results", without="limit")
def figure5(
    measuring: Measuring,
    model: Model = "mini",
    baseline: Baselines = None,
    rows: Rows = 6,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV source,target whose first rows are shown; default: a fixed choice.")
    ] = None,
) -> str:
    """Rows of source, pose, other methods, ours and the truth."""
    from imagpose.evaluation.reproduce import figures

    return figures.figure5(measuring, model, _folders(baseline), rows, pairs)


@_page("figure9 --data data/people --out results", without="limit")
def figure9(measuring: Measuring, model: Model = "mini", rows: Rows = 2) -> str:
    """The same people in the four scenarios, as pictures."""
    from imagpose.evaluation.reproduce import figures

    return figures.figure9(measuring, model, rows)


@_page("figure10 --data data/people --out results", without="limit")
def figure10(measuring: Measuring, model: Model = "mini", rows: Rows = 4) -> str:
    """More people, one source and six poses each, as pictures."""
    from imagpose.evaluation.reproduce import figures

    return figures.figure10(measuring, model, rows)


@_page("figure12 --data data/people --out results", without="limit")
def figure12(measuring: Measuring, model: Model = "mini", rows: Rows = 2) -> str:
    """Several sources and several poses, as pictures."""
    from imagpose.evaluation.reproduce import figures

    return figures.figure12(measuring, model, rows)


@_page("views --data data/people --limit 24 --out results")
def views(measuring: Measuring, model: Model = "mini") -> str:
    """Limitation 1: quality, agreement and time for 2 to 12 views on a canvas; needs people of 12 views."""
    from imagpose.evaluation.reproduce import limitations

    return limitations.views(measuring, model)


@_page("styles --people 12 --limit 24 --out results", without="data")
def styles(
    measuring: Measuring,
    model: Model = "mini",
    people: Annotated[int, typer.Option(min=1, help="Test people, rendered in every style.")] = 12,
    workers: Workers = None,
) -> str:
    """Limitation 2: the same people in five styles, and sources of two styles together."""
    from imagpose.evaluation.reproduce import limitations

    return limitations.styles(measuring, model, people, workers)


@_page("all --data data/people --config configs/reproduce.yaml --budget 2000 --out all", name="all")
def report(
    measuring: Measuring,
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
) -> str:
    """Every table and figure that the data allow, resumable, with one report of all verdicts."""
    from imagpose.evaluation.reproduce.everything import Everything, reproduce_all

    given = Everything(
        measuring, model, _folders(baseline), config, budget, tuple(overrides or ()), seeds, tuple(preset or ()),
        parse_named(image_encoder, "--image-encoder"),
    )  # fmt: skip
    return reproduce_all(given, lambda line: typer.echo(line, err=True))


def _runs(measuring: Measuring, config: Path, budget: int, overrides: list[str] | None) -> TrainingRuns:
    from imagpose.evaluation.reproduce.training_runs import TrainingRuns

    return TrainingRuns(measuring.out, measuring.data, config, budget, tuple(overrides or ()))


def _folders(baselines: list[str] | None) -> dict[str, Path]:
    return {name: Path(folder) for name, folder in parse_named(baselines, "--baseline").items()}
