"""`imagpose study`: the user study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagpose.cli.options import Overwrite, parse_named

app = typer.Typer(help="A blind user study: the questionnaire, and its scores (R2G, G2R, Jab).", no_args_is_help=True)


@app.command(
    epilog="Example: imagpose study build --real test --method ours=mine --method pidm=pidm --sources sources --out study"
)
def build(
    real: Annotated[Path, typer.Option(help="Folder of true pictures.")],
    method: Annotated[
        list[str],
        typer.Option(help="NAME=FOLDER of generated pictures of the same names; the first is judged alone too."),
    ],
    out: Annotated[Path, typer.Option(help="New folder: questionnaire/ for the participants, key.json for you.")],
    sources: Annotated[Path | None, typer.Option(help="Folder of source pictures, shown with each set.")] = None,
    skeletons: Annotated[Path | None, typer.Option(help="Folder of drawn poses, shown with each set.")] = None,
    real_fake: Annotated[int, typer.Option(help="Real pictures, and as many generated ones, judged one by one.")] = 40,
    side_by_side: Annotated[int, typer.Option(help="Sets of which the best is chosen.")] = 40,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of all orders, to make a study again. It gives the answers away; default: random."),
    ] = None,
) -> None:
    """Make a blind questionnaire: a page that works from a file, the answer key apart."""
    from imagpose.evaluation.study.build import StudySettings, build_study
    from imagpose.evaluation.study.files import read_key

    methods = {name: Path(folder) for name, folder in parse_named(method, "--method").items()}
    settings = StudySettings(real_fake, side_by_side, seed)
    typer.echo(build_study(real, methods, out, settings, sources, skeletons))
    key = out / "key.json"
    typer.echo(f"{key} (not for participants), seed {read_key(key).seed}")


@app.command(epilog="Example: imagpose study score --key study/key.json --out scores answers/*.json")
def score(
    key: Annotated[Path, typer.Option(help="key.json of the study.")],
    out: Annotated[Path, typer.Option(help="Folder for summary.json and report.md.")],
    sheets: Annotated[list[Path], typer.Argument(help="Files that the participants saved.")],
    overwrite: Overwrite = False,
) -> None:
    """Score the participants' sheets."""
    from imagpose.evaluation.study.score import score_study

    score_study(key, sheets, out, overwrite)
    typer.echo((out / "report.md").read_text(encoding="utf-8"))
