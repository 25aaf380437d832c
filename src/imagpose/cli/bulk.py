"""`imagpose bulk`: a table of requests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagpose.cli.generate import Device
from imagpose.cli.options import Model, option, with_reading, with_settings

if TYPE_CHECKING:
    from imagpose.pose import PoseOptions
    from imagpose.serving.bulk import BulkReport
    from imagpose.serving.bulk.engines import Engine
    from imagpose.serving.settings import GenerateSettings


_JOB, _WORKERS = "The job", "Workers"
_COLUMNS = "Parquet, CSV or JSON lines with the columns id, sources, poses; source_poses, seed, options as needed."
Table = Annotated[Path, typer.Argument(help=_COLUMNS, metavar="REQUESTS")]
Out = Annotated[Path | None, option(help="Folder of the results; an unfinished job continues there.", panel=_JOB)]
Check = Annotated[bool, option("--check", help="Read everything that the table names, and stop.", panel=_JOB)]
Form = Annotated[str, option("--format", help="files, or parquet with the pictures in it.", panel=_JOB)]
Alone = Annotated[
    bool, option("--alone", help="Give each request a pass of its own: exactly the bytes of generate.", panel=_JOB)
]
Scored = Annotated[bool, option("--scores", help="Score every picture, as generate does; takes time.", panel=_JOB)]
Retries = Annotated[
    int, option(help="Further tries, each alone, of what a worker failed at; at least one.", panel=_JOB, min=0)
]
Anew = Annotated[bool, option("--overwrite", help="Answer changed requests anew.", panel=_JOB)]
Dtype = Annotated[
    str | None, option(help="fp32, bf16 or fp16; default fp32, the same on every machine.", panel="Model and files")
]
BackendName = Annotated[
    str, option("--backend", help="torch, compile or openvino (extra openvino).", panel="Model and files")
]
EngineName = Annotated[str, option(help="local or ray (extra bulk).", panel=_WORKERS)]
Models = Annotated[
    int, option(help="Models at work at once: processes, or Ray's actors.", panel=_WORKERS, min=1, max=1024)
]
Address = Annotated[
    str | None, option(help="Address of a Ray cluster, or auto for this machine's; default: start one.", panel=_WORKERS)
]
Cpus = Annotated[
    float | None, option(help="Ray's cores for each worker; default: half a core.", panel=_WORKERS, min=0.01)
]
Gpus = Annotated[
    float | None,
    option(help="Ray's GPUs for each worker; default: 1 if the cluster has any.", panel=_WORKERS, min=0),
]


@with_settings
@with_reading
def bulk(
    settings: GenerateSettings,
    reading: PoseOptions,
    requests: Table,
    out: Out = None,
    check: Check = False,
    form: Form = "files",
    alone: Alone = False,
    scores: Scored = False,
    retries: Retries = 2,
    overwrite: Anew = False,
    engine: EngineName = "local",
    workers: Models = 1,
    address: Address = None,
    worker_cpus: Cpus = None,
    worker_gpus: Gpus = None,
    model: Model = "mini",
    device: Device = None,
    dtype: Dtype = None,
    backend: BackendName = "torch",
) -> None:
    """Answer a table of requests, resumable by their ids; the other options hold where a row does not say otherwise.

    The exit code is 1 if requests failed; failed.csv says which, and why.
    """
    from imagpose.serving.bulk import check_bulk, run_bulk

    common: dict[str, Any] = {"model": model, "settings": settings, "reading": reading, "dtype": dtype}
    if check:
        _say_checked(check_bulk(requests, workers=workers, **common))
    elif out is None:
        raise ValueError("--out is missing, the folder for the results: only --check does without it")
    else:
        done = run_bulk(
            requests, out, form=form, engine=_engine(engine, workers, address, worker_cpus, worker_gpus), alone=alone,
            scored=scores, retries=retries, device=device, backend=backend, overwrite=overwrite, **common,
        )  # fmt: skip
        _say_done(out, done)


def _say_checked(failed: dict[str, str]) -> None:
    for own_id, reason in failed.items():
        typer.echo(f"{own_id}: {reason}")
    rows = "1 row" if len(failed) == 1 else f"{len(failed):,} rows"
    typer.echo(f"{rows} cannot be answered" if failed else "every row can be answered", err=True)
    if failed:
        raise typer.Exit(1)


def _say_done(out: Path, done: BulkReport) -> None:
    note = f"; {len(done.failed):,} failed, see {out / 'failed.csv'}" if done.failed else ""
    typer.echo(f"{out}: {len(done.made):,} made, {len(done.kept):,} were there{note}")
    if done.failed:
        raise typer.Exit(1)


def _engine(name: str, workers: int, address: str | None, cpus: float | None, gpus: float | None) -> Engine:
    from imagpose.serving.bulk.engines import ENGINES, LocalEngine, RayEngine

    if name not in ENGINES:
        raise ValueError(f"engine {name!r}: one of {', '.join(ENGINES)} expected")
    if name == "ray":
        return RayEngine(workers, address, cpus, gpus)
    if (address, cpus, gpus) != (None, None, None):
        raise ValueError("--address, --worker-cpus and --worker-gpus belong to --engine ray")
    return LocalEngine(workers)
