"""`imagpose evaluate`: models and folders of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagpose.cli.options import DETECTORS, Model, Overwrite, Workers, with_sampling

if TYPE_CHECKING:
    from imagpose.pipeline.sampling import Sampling

app = typer.Typer(help="Measure models and folders of pictures.", no_args_is_help=True)

Data = Annotated[Path, typer.Option(help="Data set of imagpose prepare, with a split test.")]
Pairs = Annotated[
    Path | None, typer.Option(help="CSV source,target; default: pairs-test.csv of the data set, or all pairs.")
]
Limit = Annotated[int | None, typer.Option(min=1, help="At most this many pairs of the list, always the same ones.")]
Protocol = Annotated[str, typer.Option(help="clean, field or clean,field; see docs/evaluation.md.")]
Detector = Annotated[
    str | None,
    typer.Option("--detect", metavar="DETECTOR", help=f"Measure poses, of photographs too: {DETECTORS}."),
]
IdentityNetwork = Annotated[
    str | None,
    typer.Option(help="Judge identity, of photographs too, by a result of reid train or a vision transformer."),
]


@app.command("people", epilog="Example: imagpose evaluate people --identities 100 --out evaluation")
@with_sampling
def evaluate_people(
    sampling: Sampling,
    out: Annotated[Path, typer.Option(help="Folder for the rendered people and what evaluate model writes.")],
    model: Model = "mini",
    identities: Annotated[int, typer.Option(help="Number of held-out people.")] = 100,
    workers: Workers = None,
) -> None:
    """Render held-out synthetic people and measure a model on them: evaluate model with T1 and T3."""
    from imagpose.evaluation.model import evaluate_on_people

    _show(evaluate_on_people(out, model, identities, sampling, workers), out)


@app.command(
    "model", epilog="Example: imagpose evaluate model --data data/people --request 1:8 --grid 3x3 --out evaluation"
)
@with_sampling
def model_on_data(
    sampling: Sampling,
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for summary.json, pairs.parquet, report.html and the pictures.")],
    model: Model = "mini",
    scenario: Annotated[
        str | None, typer.Option(help="Some of T1,T2,T3,star; default: T1, or none beside --request.")
    ] = None,
    request: Annotated[
        list[str] | None,
        typer.Option(metavar="S:T", help="Sources and targets of a request, for example 1:8; several are allowed."),
    ] = None,
    grid: Annotated[
        str, typer.Option(help="Rows x columns of a canvas; several, such as 2x2,3x3, take turns.")
    ] = "2x2",
    pairs: Pairs = None,
    seeds: Annotated[int, typer.Option(help="Samples per pair.")] = 1,
    protocol: Protocol = "clean,field",
    limit: Limit = None,
    detect: Detector = None,
    identity_network: IdentityNetwork = None,
    workers: Workers = None,
) -> None:
    """Measure a model on a data set's test split, beside copying the source and the autoencoder alone."""
    from imagpose.evaluation.measure import MeasureSettings
    from imagpose.evaluation.model import evaluate_model
    from imagpose.evaluation.model_requests import ModelEvaluation
    from imagpose.views import ViewGrid

    scenarios = (scenario or ("" if request else "T1")).split(",")
    asked = ModelEvaluation(
        model, data, (*(scenarios if any(scenarios) else ()), *(request or ())), [*map(ViewGrid.parse, grid.split(","))],
        pairs, limit, seeds, sampling,
    )  # fmt: skip
    settings = MeasureSettings(tuple(protocol.split(",")), workers, detect=detect, identity_network=identity_network)
    _show(evaluate_model(out, asked, settings), out)


@app.command(epilog="Example: imagpose evaluate judges --data data/people --people 100")
def judges(
    data: Annotated[Path, typer.Option(help="Data set of imagpose prepare people, with a split test.")],
    people: Annotated[int, typer.Option(help="How many of its test people.")] = 100,
    out: Annotated[Path | None, typer.Option(help="JSON file for the numbers.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """What every measure gives on real pictures, and on the same blurred or halved: quality is what falls."""
    from imagpose.evaluation.blur_check import check_measures

    typer.echo(check_measures(data, people, out, overwrite))


@app.command(
    epilog="Example: imagpose evaluate images --generated mine --reference test --train train --out evaluation"
)
def images(
    generated: Annotated[Path, typer.Option(help="Folder of generated pictures; a_0.png, a_1.png are samples of a.")],
    reference: Annotated[Path, typer.Option(help="Folder of true pictures; the same names, any ending.")],
    out: Annotated[Path, typer.Option(help="Folder for summary.json, pairs.parquet and report.html.")],
    train: Annotated[Path | None, typer.Option(help="Folder of training pictures, for FID.")] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of the references' masks, white where the person is.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Data set with the references: pose; of rendered people also silhouette and identity."),
    ] = None,
    protocol: Protocol = "clean,field",
    detect: Detector = None,
    identity_network: IdentityNetwork = None,
    workers: Workers = None,
) -> None:
    """Measure any method's folder of pictures: SSIM, PSNR, LPIPS, FID, as defined and as the field computed them."""
    from imagpose.evaluation.images import ImageFolders, evaluate_images
    from imagpose.evaluation.measure import MeasureSettings

    folders = ImageFolders(generated, reference, train, masks, data)
    settings = MeasureSettings(tuple(protocol.split(",")), workers, detect=detect, identity_network=identity_network)
    _show(evaluate_images(folders, out, settings), out)


@app.command(
    "import", epilog="Example: imagpose evaluate import --from pidm --pictures PIDM --data data/deepfashion --out pidm"
)
def import_archive(
    archive: Annotated[str, typer.Option("--from", help="Whose names: pidm, cfld, pcdms; flat for SOURCE_to_TARGET.")],
    pictures: Annotated[Path, typer.Option(help="The unpacked archive.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="New folder for IDENTITY/SOURCE_to_TARGET.png.")],
    overwrite: Overwrite = False,
) -> None:
    """Give another method's published pictures the names that reproduce table1 --baseline expects."""
    from imagpose.evaluation.exchange import import_pictures

    typer.echo(import_pictures(pictures, archive, data, out, overwrite))


@app.command(
    "requests", epilog="Example: imagpose evaluate requests --data data/people --scenario T1,T3 --out requests"
)
def requests(
    data: Data,
    out: Annotated[Path, typer.Option(help="New folder for requests.json, pictures, skeletons and poses.")],
    scenario: Annotated[str, typer.Option(help="Some of T1,T2,T3,star and S:T.")] = "T1",
    pairs: Pairs = None,
    limit: Limit = None,
    overwrite: Overwrite = False,
) -> None:
    """Write what evaluate model asks a model for, so that another method can answer it."""
    from imagpose.evaluation.exchange import write_requests
    from imagpose.evaluation.model_requests import ModelEvaluation

    asked = ModelEvaluation("", data, tuple(scenario.split(",")), pairs=pairs, limit=limit)
    typer.echo(f"{write_requests(asked, out, overwrite)} requests: {out / 'requests.json'}")


def _show(table: str, out: Path) -> None:
    if table:  # of several processes the first one measures
        typer.echo(f"{table}\n\n{out / 'report.html'}")
