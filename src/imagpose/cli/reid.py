"""`imagpose reid`: a thin command per step of enlarging a re-identification set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagpose.cli.options import Config, Detect, Model, Overrides, Overwrite, Workers, maybe_size, with_sampling
from imagpose.cli.train import Resume, StopAfter, run_trainer

if TYPE_CHECKING:
    from imagpose.pipeline.sampling import Sampling

app = typer.Typer(
    help="Re-identification: train a strong baseline, measure it, enlarge its training set with generated pictures.",
    no_args_is_help=True,
)

Layout = Annotated[Path, typer.Option(help="Folder in Market-1501's layout: bounding_box_train, query, ...")]
Network = Annotated[
    str, typer.Option(help="Folder of a network (<run>/weights), or identity: the shipped one, for rendered people.")
]
ViewSize = Annotated[
    str | None, typer.Option("--size", help="Height x width of the views in the model; default: that of the pictures.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: the GPU where there is one.")]
_WEIGHT = 0.3  # of `evaluate`
_NOT_ENRICHED = (
    "--annotations, --detect, --weight, --model, --size and the options of sampling belong to --enrich: leave them out"
)


@app.command(
    epilog="Example: imagpose reid train --config configs/reid/small.yaml data=reid-people output=runs/reid/standard"
)
def train(config: Config, overrides: Overrides = None, resume: Resume = None, stop_after: StopAfter = None) -> None:
    """Train a network that tells people apart (BoT: BNNeck, label smoothing, hardest triplets)."""
    from imagpose.training.reid import train_reid

    run_trainer(train_reid, config, overrides, resume, stop_after)


@app.command(epilog="Example: imagpose reid evaluate --data reid-people --network runs/reid/standard/weights")
@with_sampling
def evaluate(
    sampling: Sampling,
    data: Layout,
    network: Network,
    out: Annotated[
        Path | None, typer.Option(help="Folder for result.json and queries.csv; default: the table is printed only.")
    ] = None,
    enrich: Annotated[
        str | None,
        typer.Option(help="query, gallery or query,gallery: these pictures are also turned into 8 standard poses."),
    ] = None,
    annotations: Annotated[
        list[Path] | None,
        typer.Option(help="Key points of these pictures: CSV of the field; repeat for several. With --enrich."),
    ] = None,
    detect: Detect = None,
    weight: Annotated[
        float | None, typer.Option(help="Weight of the generated pictures' mean feature, with --enrich; default 0.3.")
    ] = None,
    model: Model = "mini",
    size: ViewSize = None,
    device: Device = None,
    overwrite: Overwrite = False,
) -> None:
    """Rank-1 and mAP of a set's queries in its gallery."""
    from imagpose.data.reid import list_pictures
    from imagpose.evaluation.reid.drawing import find_poses, open_drawing, size_of
    from imagpose.evaluation.reid.enrich import check_enriching, enriching
    from imagpose.evaluation.reid.evaluate import evaluate_reid, open_embedder, write_result
    from imagpose.outputs import check_replaceable
    from imagpose.pipeline.sampling import Sampling

    if out is not None:
        check_replaceable(out, overwrite)
    asked = (annotations, detect, weight, model, size, sampling)
    if enrich is None and asked != (None, None, None, "mini", None, Sampling()):
        raise ValueError(_NOT_ENRICHED)
    weight = _WEIGHT if weight is None else weight
    change, poses = None, {}
    settings: dict[str, Any] = {"data": str(data), "network": network}
    if enrich is not None:
        check_enriching(enrich.split(","), weight)
        poses = {part: find_poses(list_pictures(data, part), annotations or [], detect) for part in enrich.split(",")}
    embed = open_embedder(network, device)
    if enrich is not None:
        draw = open_drawing(model, sampling, maybe_size(size) or size_of(list_pictures(data, "query")), device=device)
        change = enriching(draw, embed, poses, weight, sampling.seed)
        for part, own in poses.items():
            typer.echo(f"{part}: {len(own):,} pictures with key points are turned", err=True)
        settings |= {
            "enrich": enrich, "annotations": [str(file) for file in annotations or []], "detect": detect,
            "weight": str(weight), "model": model, "size": size, "sampling": str(sampling),
        }  # fmt: skip
    result = evaluate_reid(data, embed, change)
    typer.echo(f"{result.table()}\n\n{result.counts()}")
    if out is not None:
        write_result(result, out, settings, overwrite)


@app.command(
    epilog="Example: imagpose reid augment --data reid-people"
    " --annotations reid-people/market-annotation-train.csv --subset 0.4 --out reid-enlarged"
)
@with_sampling
def augment(
    sampling: Sampling,
    data: Layout,
    out: Annotated[Path, typer.Option(help="Folder of the enlarged set; the same command continues in it.")],
    annotations: Annotated[
        Path | None, typer.Option(help="Key points of the training pictures: CSV of the field.")
    ] = None,
    detect: Detect = None,
    model: Model = "mini",
    size: ViewSize = None,
    subset: Annotated[float, typer.Option(help="Share of the real pictures that is used, by --seed.")] = 1.0,
    per_identity: Annotated[
        int | None, typer.Option(min=1, help="Generated pictures of each person; default: fill to the full set.")
    ] = None,
    camera: Annotated[
        str,
        typer.Option(
            help="source, donor or new: a generated picture has its source's label, the pose donor's, or a new one."
        ),
    ] = "source",
    network: Annotated[
        str | None,
        typer.Option(help="Folder of a network, or identity: refuses pictures that look like somebody else."),
    ] = None,
    min_identity: Annotated[
        float | None, typer.Option(help="Least cosine to the person's nearest real picture; needs --network.")
    ] = None,
    min_pose: Annotated[
        float | None, typer.Option(help="Least share of key points that are where they were asked for.")
    ] = None,
    seen: Annotated[
        str, typer.Option(help="Whom the generator was trained on: unknown, none, all, subset, or a data set's folder.")
    ] = "unknown",
    fit_bodies: Annotated[
        bool, typer.Option("--retarget/--no-retarget", help="Fit poses to the body in the source.")
    ] = True,
    device: Device = None,
) -> None:
    """Enlarge a set: every person in poses of others, as a folder in Market-1501's layout with manifest.csv."""
    from imagpose.evaluation.reid.augment import augment_with_model
    from imagpose.evaluation.reid.gate import Augmentation

    asked = Augmentation(subset, sampling.seed, per_identity, camera, min_identity, min_pose)
    report = augment_with_model(
        data, out, asked, sampling, model=model, size=maybe_size(size), annotations=annotations,
        detect=detect, network=network, seen=seen, fit_bodies=fit_bodies, device=device,
    )  # fmt: skip
    typer.echo(f"{out}: {report['generated']:,} generated beside {report['real']:,} real pictures")
    typer.echo(f"rejected: {report['rejected']['identity']:,} for identity, {report['rejected']['pose']:,} for pose")
    auc = report["auc_real_or_generated"]
    typer.echo(
        "AUC of real against generated: " + ("too few people" if auc is None else f"{auc:.3f} (0.5: not told apart)")
    )


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
