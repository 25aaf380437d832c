"""`imagpose prepare`: a thin command per data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from imagpose.cli.options import Detect, Overwrite, Style, Workers, World, maybe_size, parse_size

app = typer.Typer(help="Make data sets for training and evaluation; check them.", no_args_is_help=True)

Dataset = Annotated[Path, typer.Option("--out", help="Folder of the data set; the same command continues in it.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first picture that would be skipped.")]


@app.command("folder", epilog="Example: imagpose prepare folder --pictures people --out data/people --size 256x176")
def prepare_folder(
    pictures: Annotated[
        Path, typer.Option(help="Folder with one folder per identity: pictures, beside each its pose (.json or .txt).")
    ],
    out: Dataset,
    size: Annotated[
        str | None,
        typer.Option(help="Height x width that views are brought to, edges replicated; default: as they are."),
    ] = None,
    test_fraction: Annotated[float, typer.Option(help="Share of the identities that goes into the split test.")] = 0.0,
    detect: Detect = None,
    strict: Strict = False,
    workers: Workers = None,
) -> None:
    """Make a data set from a folder of identities."""
    from imagpose.data import folder

    info = folder.prepare_folder(
        pictures, out, size=maybe_size(size), test_fraction=test_fraction, detect=detect, strict=strict, workers=workers
    )
    typer.echo(f"{out}: {info.summary()}")


@app.command(
    "people",
    epilog="Example: imagpose prepare people --seed 0 --count 1000 --views 8 --size 256x176 --out data/people",
)
def prepare_people(
    out: Dataset,
    seed: Annotated[int, typer.Option(help="Seed of the first person; it decides the split.")] = 0,
    count: Annotated[int, typer.Option(help="Number of people.")] = 1,
    views: Annotated[int, typer.Option(help="Views of each person.")] = 8,
    size: Annotated[str, typer.Option(help="Height x width in pixels.")] = "256x176",
    test_people: Annotated[int, typer.Option(help="Further people, in the test split, to measure models on.")] = 0,
    world: World = "studio",
    style: Style = None,
    workers: Workers = None,
) -> None:
    """Render synthetic people into a data set, with masks."""
    from imagpose.data import rendered

    info = rendered.prepare_people(
        seed, count, views, *parse_size(size), out, test_people=test_people, world=world, style=style, workers=workers
    )
    typer.echo(f"{out}: {info.summary()}")


@app.command(
    epilog="Example: imagpose prepare deepfashion --pictures Img/img_highres --lists lists"
    " --annotations fasion-annotation-train.csv --annotations fasion-annotation-test.csv --out data/deepfashion"
)
def deepfashion(
    pictures: Annotated[Path, typer.Option(help="Raw tree (above MEN/ and WOMEN/) or folder of flat names.")],
    lists: Annotated[Path, typer.Option(help="Folder with train.lst and test.lst.")],
    out: Dataset,
    annotations: Annotated[
        list[Path] | None, typer.Option(help="Key points: a CSV of the field (y first); repeat for several.")
    ] = None,
    poses: Annotated[Path | None, typer.Option(help="Key points: PIDM's folder of txt files, instead of CSVs.")] = None,
    detect: Detect = None,
    keypoint_frame: Annotated[
        str | None, typer.Option(help="Frame of the key points: 256x176 (default for CSVs) or 256x256 (for txt).")
    ] = None,
    fit: Annotated[
        str, typer.Option(help="resize (pictures of img_highres) or crop (256x256 pictures of img).")
    ] = "resize",
    size: Annotated[str, typer.Option(help="Height x width of the views: 256x176 or 512x352 in papers.")] = "256x176",
    pairs: Annotated[
        list[Path] | None,
        typer.Option(
            help="The field's list of pairs, .csv (from,to) or .txt (target first); default: four-joint rule."
        ),
    ] = None,
    strict: Strict = False,
    workers: Workers = None,
) -> None:
    """Make a data set from DeepFashion In-shop."""
    from imagpose.data.counts import counts_table
    from imagpose.data.deepfashion import prepare_deepfashion

    if detect is not None and keypoint_frame is not None:
        raise ValueError("--keypoint-frame belongs to annotated key points; detected ones have their pictures' frame")
    frame = keypoint_frame or ("256x176" if annotations else "256x256")
    info, counts = prepare_deepfashion(
        pictures, lists, out, annotations=annotations or (), poses=poses, detect=detect, keypoint_frame=parse_size(frame),
        fit=fit, size=parse_size(size), pairs=pairs or (), strict=strict, workers=workers,
    )  # fmt: skip
    typer.echo(f"{out}: {info.summary()}")
    Console().print(counts_table(counts))


@app.command(
    epilog="Example: imagpose prepare market1501 --root Market-1501-v15.09.15"
    " --train-annotations market-annotation-train.csv --out data/market1501"
)
def market1501(
    root: Annotated[Path, typer.Option(help="Folder with bounding_box_train and bounding_box_test.")],
    out: Dataset,
    train_annotations: Annotated[
        Path | None, typer.Option(help="Key points of the training pictures: CSV of the field.")
    ] = None,
    test_annotations: Annotated[
        Path | None, typer.Option(help="Key points of the test pictures; without them only train is made.")
    ] = None,
    detect: Detect = None,
    size: Annotated[str, typer.Option(help="Height x width of the views.")] = "128x64",
    strict: Strict = False,
    workers: Workers = None,
) -> None:
    """Make a data set from Market-1501."""
    from imagpose.data.counts import counts_table
    from imagpose.data.market1501 import prepare_market1501

    info, counts = prepare_market1501(
        root, out, train_annotations=train_annotations, test_annotations=test_annotations, detect=detect,
        size=parse_size(size), strict=strict, workers=workers,
    )  # fmt: skip
    typer.echo(f"{out}: {info.summary()}")
    Console().print(counts_table(counts))


@app.command(
    epilog=r"Example: imagpose prepare reid --pattern '(\d+)_c(\d)' --train train --query query --gallery gallery --out set"
)
def reid(
    pattern: Annotated[
        str, typer.Option(help="Regular expression of the names: one group says who, the other which camera.")
    ],
    train: Annotated[Path, typer.Option(help="Folder of the training pictures, inner folders too.")],
    query: Annotated[Path, typer.Option(help="Folder of the queries.")],
    gallery: Annotated[Path, typer.Option(help="Folder of the gallery.")],
    out: Annotated[Path, typer.Option(help="Folder of the set.")],
    overwrite: Overwrite = False,
) -> None:
    """Lay a re-identification set out as Market-1501 is, for imagpose reid and for other programs."""
    from imagpose.data.reid_layout import lay_out

    for line in lay_out(pattern, train, query, gallery, out, overwrite).lines():
        typer.echo(line)


@app.command("check", epilog="Example: imagpose prepare check data/people")
def prepare_check(dataset: Annotated[Path, typer.Argument(help="Folder of a finished data set.")]) -> None:
    """Check a data set: the checksums of all files, and every stored view."""
    from imagpose.data.dataset import check_dataset

    typer.echo(f"{dataset}: all files and views are as they were made; {check_dataset(dataset).summary()}")
