"""`imagpose reid`: a thin command per step of enlarging a re-identification set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagpose.cli.options import Config, Overrides, Overwrite, Workers
from imagpose.cli.train import Resume, StopAfter, run_trainer

app = typer.Typer(
    help="Re-identification: train a strong baseline, measure it, enlarge its training set with generated pictures.",
    no_args_is_help=True,
)

Layout = Annotated[Path, typer.Option(help="Folder in Market-1501's layout: bounding_box_train, query, ...")]
Network = Annotated[
    str, typer.Option(help="Folder of a network (<run>/weights), or identity: the shipped one, for rendered people.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: the GPU where there is one.")]


@app.command(
    epilog="Example: imagpose reid train --config configs/reid/small.yaml data=reid-people output=runs/reid/standard"
)
def train(config: Config, overrides: Overrides = None, resume: Resume = None, stop_after: StopAfter = None) -> None:
    """Train a network that tells people apart (BoT: BNNeck, label smoothing, hardest triplets)."""
    from imagpose.training.reid import train_reid

    run_trainer(train_reid, config, overrides, resume, stop_after)


@app.command(epilog="Example: imagpose reid evaluate --data reid-people --network runs/reid/standard/weights")
def evaluate(
    data: Layout,
    network: Network,
    out: Annotated[
        Path | None, typer.Option(help="Folder for result.json and queries.csv; default: the table is printed only.")
    ] = None,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Rank-1 and mAP of a set's queries in its gallery."""
    from imagpose.evaluation.reid.evaluate import evaluate_reid, open_embedder, write_result
    from imagpose.io import check_replaceable

    if out is not None:
        check_replaceable(out, overwrite)
    result = evaluate_reid(data, open_embedder(network, device))
    typer.echo(f"{result.table()}\n\n{result.counts()}")
    if out is not None:
        write_result(result, out, {"data": str(data), "network": network}, overwrite)


@app.command(epilog="Example: imagpose reid people --out reid-people")
def people(
    out: Annotated[Path, typer.Option(help="Folder of the set.")],
    train: Annotated[int, typer.Option(help="People to train on.")] = 300,
    test: Annotated[int, typer.Option(help="People of queries and gallery.")] = 200,
    views: Annotated[int, typer.Option(help="Pictures of a person by each of the four cameras.")] = 4,
    workers: Workers = None,
    overwrite: Overwrite = False,
) -> None:
    """Render people as a set in Market-1501's layout: 128x64, four cameras, with key points."""
    from imagpose.data.reid_people import render_reid_people

    typer.echo(f"{out}: {render_reid_people(out, train, test, views, workers, overwrite):,} pictures")
