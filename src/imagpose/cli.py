"""The command line: one thin command per verb; torch is imported only by the commands that need it."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from imagpose.cli_reproduce import reproduce
from imagpose.version import __version__

app = typer.Typer(
    name="imagpose",
    help="Pictures of one person in new poses, from any number of photos (IMAGPose).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
train = typer.Typer(help="Train the four stages and the judges of evaluation; export what ships.", no_args_is_help=True)
app.add_typer(train, name="train")
evaluate = typer.Typer(help="Measure models and folders of pictures.", no_args_is_help=True)
app.add_typer(evaluate, name="evaluate")
convert = typer.Typer(help="The published code's checkpoints to our folders, and back.", no_args_is_help=True)
app.add_typer(convert, name="convert")
study = typer.Typer(help="A blind user study: the questionnaire, and its scores (R2G, G2R, Jab).", no_args_is_help=True)
app.add_typer(study, name="study")
prepare = typer.Typer(help="Make data sets for training and evaluation; check them.", no_args_is_help=True)
app.add_typer(prepare, name="prepare")
app.add_typer(reproduce, name="reproduce")

Model = Annotated[str, typer.Option(help="'mini', the folder of a saved pipeline, or a Hub id.")]
Steps = Annotated[int, typer.Option(help="DDIM steps.")]
Guidance = Annotated[float, typer.Option(help="Guidance scale; 1 switches guidance off.")]
Seed = Annotated[int, typer.Option(help="Seed: the same seed gives the same pictures.")]
Protocol = Annotated[str, typer.Option(help="clean, field or clean,field; see docs/evaluation.md.")]
Config = Annotated[Path, typer.Option(help="YAML configuration, see configs/.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="key=value replacements, for example steps=1000 data.identities=512.", metavar="[KEY=VALUE]..."
    ),
]
Resume = Annotated[
    str | None, typer.Option(help="'latest' (from the start, where there is none), or the folder of a checkpoint.")
]
StopAfter = Annotated[str | None, typer.Option(help="Save and stop after this time, for example 50m or 2h.")]
Dataset = Annotated[Path, typer.Option("--out", help="Folder of the data set; the same command continues in it.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first picture that would be skipped.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; default: all cores.")]
Detector = Annotated[
    str | None,
    typer.Option("--detect", metavar="cpu|cuda", help="Measure poses of photographs, on this device (extra pose)."),
]
Detect = Annotated[
    str | None, typer.Option(metavar="cpu|cuda", help="Find key points in the pictures, on this device (extra pose).")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"imagpose {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


@app.command(epilog="Example: imagpose generate --source a.jpg --pose walk.json --pose wave.json --out pictures")
def generate(
    out: Annotated[Path, typer.Option(help="Folder for target-0.png, ..., sheet.png and result.json.")],
    source: Annotated[
        list[Path] | None, typer.Option(help="Photo of the person, at least one; repeat for several.")
    ] = None,
    pose: Annotated[
        list[Path] | None,
        typer.Option(
            help="Target pose, at least one: OpenPose JSON, 18-line txt, or a rendered skeleton; repeat for several."
        ),
    ] = None,
    source_pose: Annotated[
        list[Path] | None, typer.Option(help="Poses of the sources, one for each in the same order (optional).")
    ] = None,
    model: Model = "mini",
    scenario: Annotated[str | None, typer.Option(help="T1, T2, T3 or star; default: any number to any number.")] = None,
    grid: Annotated[str | None, typer.Option(help="Rows x columns of the joint canvas, default 2x2.")] = None,
    steps: Steps = 20,
    guidance: Guidance = 2.0,
    seed: Seed = 0,
) -> None:
    """Generate one picture per pose, in the order of the poses."""
    from imagpose.serving.generate import generate_files

    files = generate_files(
        source or (), pose or (), source_pose or (), out=out, model=model, scenario=scenario, grid=grid, steps=steps,
        guidance=guidance, seed=seed,
    )  # fmt: skip
    for file in files:
        typer.echo(file)


@app.command(epilog="Example: imagpose demo --out demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the page and the pictures.")] = Path("demo"),
    model: Model = "mini",
    steps: Steps = 20,
    guidance: Guidance = 2.0,
    seed: Seed = 0,
) -> None:
    """Show T1, T2, T3, IMAGPose* and six views in one pass on held-out people, as one HTML page."""
    from imagpose.serving.demo import run_demo

    typer.echo(run_demo(out, model, steps, guidance, seed))


@app.command(epilog="Example: imagpose people --seed 100 --count 20 --views 8 --size 256x176 --out people")
def people(
    out: Annotated[Path, typer.Option(help="Folder for <seed>/<k>.png, <k>.json and <k>_mask.png.")],
    seed: Annotated[int, typer.Option(help="Seed of the first person.")] = 0,
    count: Annotated[int, typer.Option(help="Number of people.")] = 1,
    views: Annotated[int, typer.Option(help="Views of each person.")] = 8,
    size: Annotated[str, typer.Option(help="Height x width in pixels.")] = "256x176",
    workers: Workers = None,
) -> None:
    """Render synthetic people: clothed adults in many poses, with key points and masks; continues where it stopped."""
    from imagpose.people.render_set import render_set

    rendered = render_set(seed, count, views, *_size(size), out, workers)
    others = ", the others were complete" if rendered < count else ""
    typer.echo(f"{rendered} of {count} people rendered{others}: {out}")


@app.command(epilog="Example: imagpose poses --picture dance.jpg --picture jump.jpg --out poses")
def poses(
    out: Annotated[Path, typer.Option(help="Folder for <name of the picture>.json, OpenPose JSON.")],
    picture: Annotated[list[Path] | None, typer.Option(help="Picture of a person; repeat for several.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Find the pose of the person in each picture, to be given to generate (extra pose)."""
    from imagpose.serving.poses import detect_files

    for file in detect_files(picture or (), out, device):
        typer.echo(file)


@train.command(epilog="Example: imagpose train autoencoder --config configs/mini/autoencoder.yaml --resume latest")
def autoencoder(
    config: Config, overrides: Overrides = None, resume: Resume = None, stop_after: StopAfter = None
) -> None:
    """Stage 1: the KL autoencoder."""
    from imagpose.training.autoencoder import train_autoencoder

    _train(train_autoencoder, config, overrides, resume, stop_after)


@train.command(epilog="Example: imagpose train encoder --config configs/mini/encoder.yaml")
def encoder(config: Config, overrides: Overrides = None, resume: Resume = None, stop_after: StopAfter = None) -> None:
    """Stage 2: the image encoder, by telling people apart."""
    from imagpose.training.encoder import train_encoder

    _train(train_encoder, config, overrides, resume, stop_after)


@train.command(
    epilog="Example: imagpose train denoiser --config configs/mini/denoiser.yaml --stop-after 3h steps=20000"
)
def denoiser(
    config: Config,
    overrides: Overrides = None,
    resume: Resume = None,
    stop_after: StopAfter = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print sizes, parameters, data, steps and memory; do nothing.")
    ] = False,
) -> None:
    """Stage 3: UNet, pose encoder and feature tokens."""
    if dry_run:
        from imagpose.training.plan import plan_denoiser

        typer.echo(plan_denoiser(config, overrides))
        return
    from imagpose.training.denoiser import train_denoiser

    _train(train_denoiser, config, overrides, resume, stop_after)


@train.command(epilog="Example: imagpose train pose-estimator --config configs/mini/pose_estimator.yaml")
def pose_estimator(
    config: Config, overrides: Overrides = None, resume: Resume = None, stop_after: StopAfter = None
) -> None:
    """The network that evaluation finds key points with."""
    from imagpose.training.judges import train_pose_estimator

    _train(train_pose_estimator, config, overrides, resume, stop_after)


@train.command(epilog="Example: imagpose train silhouette --config configs/mini/silhouette.yaml")
def silhouette(
    config: Config, overrides: Overrides = None, resume: Resume = None, stop_after: StopAfter = None
) -> None:
    """The network that evaluation finds silhouettes with."""
    from imagpose.training.judges import train_silhouette

    _train(train_silhouette, config, overrides, resume, stop_after)


@train.command(epilog="Example: imagpose train identity --config configs/mini/identity.yaml")
def identity(config: Config, overrides: Overrides = None, resume: Resume = None, stop_after: StopAfter = None) -> None:
    """The network that evaluation tells people apart with."""
    from imagpose.training.judges import train_identity

    _train(train_identity, config, overrides, resume, stop_after)


@train.command(epilog="Example: imagpose train decoder --config configs/mini/decoder.yaml")
def decoder(config: Config, overrides: Overrides = None, resume: Resume = None, stop_after: StopAfter = None) -> None:
    """Stage 4: the VAE's decoder, on what the denoiser generates."""
    from imagpose.training.decoder import train_decoder

    _train(train_decoder, config, overrides, resume, stop_after)


@train.command(epilog="Example: imagpose train export --run runs/mini/denoiser --out mini")
def export(
    run: Annotated[Path, typer.Option(help="Output folder of the denoiser's run.")],
    out: Annotated[Path, typer.Option(help="Folder for the pipeline.")],
    dtype: Annotated[str, typer.Option(help="fp16 or bf16.")] = "fp16",
) -> None:
    """Write the trained pipeline in half precision, in files of at most 15 MB."""
    from imagpose.training.export import export_pipeline

    if dtype not in ("fp16", "bf16"):
        raise ValueError(f"dtype is {dtype!r}; fp16 or bf16 expected")
    for name, size in export_pipeline(run, out, dtype).items():  # type: ignore[arg-type]
        typer.echo(f"{name}: {size / 1e6:.1f} MB")


@evaluate.command("people", epilog="Example: imagpose evaluate people --identities 100 --out evaluation")
def evaluate_people(
    out: Annotated[Path, typer.Option(help="Folder for summary.json, table.md, pairs.json and rows.png.")],
    model: Model = "mini",
    identities: Annotated[int, typer.Option(help="Number of held-out people.")] = 100,
    steps: Steps = 20,
    guidance: Guidance = 2.0,
    seed: Seed = 0,
) -> None:
    """Measure a model on held-out synthetic people, beside copying the source and a mean-colour oracle."""
    from imagpose.evaluation.protocol import evaluate_model

    typer.echo(evaluate_model(out, model=model, identities=identities, steps=steps, guidance=guidance, seed=seed))


@app.command(epilog="Example: imagpose cache --config configs/deepfashion_256_sd15.yaml")
def cache(config: Config, overrides: Overrides = None) -> None:
    """Fill the caches of a denoiser's configuration: latents, image tokens, skeletons; continues where it stopped."""
    from imagpose.training.denoiser import cache_denoiser

    for folder in cache_denoiser(config, overrides):
        typer.echo(f"{folder} is complete")


@app.command(epilog="Example: imagpose models sd15-dinov2-g sd15-dinov2-g:B3 --batch-size 8")
def models(
    names: Annotated[
        list[str] | None, typer.Argument(help="Presets, default: all.", metavar="[PRESET]...", show_default=False)
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Canvases per device.")] = 4,
    size: Annotated[str, typer.Option(help="Height x width of a view in pixels.")] = "256x176",
) -> None:
    """List the presets: parameters in millions by part, and the memory that training takes."""
    from imagpose.models.table import size_table

    typer.echo(size_table(names or (), batch_size, *_size(size)))


@convert.command(
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
    """Make a model folder of the published code's checkpoints."""
    from imagpose.convert import from_official

    from_official(unet, pose, patch, base, out, motion, image_encoder, vae, *_size(size))
    typer.echo(out)


@convert.command("to-official", epilog="Example: imagpose convert to-official --model model --out checkpoints")
def convert_to_official(
    model: Annotated[Path, typer.Option(help="Folder of a pipeline of the published code's kind.")],
    out: Annotated[Path, typer.Option(help="Folder for the four files; must not exist.")],
) -> None:
    """Make checkpoints for the published code of a model trained here (preset 'official')."""
    from imagpose.convert import to_official

    for file in to_official(model, out):
        typer.echo(file)


@prepare.command("folder", epilog="Example: imagpose prepare folder --pictures people --out data/people --size 256x176")
def prepare_folder(
    pictures: Annotated[
        Path, typer.Option(help="Folder with one folder per identity: pictures, beside each its pose (.json or .txt).")
    ],
    out: Dataset,
    size: Annotated[
        str | None,
        typer.Option(help="Height x width that views are brought to, edges replicated; default: as they are."),
    ] = None,
    test_fraction: Annotated[float, typer.Option(help="Share of the identities that becomes split test.")] = 0.0,
    detect: Detect = None,
    strict: Strict = False,
    workers: Workers = None,
) -> None:
    """Make a data set of a folder of identities."""
    from imagpose.data import folder

    view_size = None if size is None else _size(size)
    info = folder.prepare_folder(
        pictures, out, size=view_size, test_fraction=test_fraction, detect=detect, strict=strict, workers=workers
    )
    typer.echo(f"{out}: {info.summary()}")


@prepare.command(
    "people",
    epilog="Example: imagpose prepare people --seed 0 --count 1000 --views 8 --size 256x176 --out data/people",
)
def prepare_people(
    out: Dataset,
    seed: Annotated[int, typer.Option(help="Seed of the first person; it decides the split.")] = 0,
    count: Annotated[int, typer.Option(help="Number of people.")] = 1,
    views: Annotated[int, typer.Option(help="Views of each person.")] = 8,
    size: Annotated[str, typer.Option(help="Height x width in pixels.")] = "256x176",
    test_people: Annotated[int, typer.Option(help="People of the test split besides, to measure models on.")] = 0,
    workers: Workers = None,
) -> None:
    """Render synthetic people into a data set, with masks."""
    from imagpose.data import rendered

    info = rendered.prepare_people(seed, count, views, *_size(size), out, test_people=test_people, workers=workers)
    typer.echo(f"{out}: {info.summary()}")


@prepare.command(
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
    """Make a data set of DeepFashion In-shop."""
    from imagpose.data.counts import counts_table
    from imagpose.data.deepfashion import prepare_deepfashion

    frame = keypoint_frame or ("256x176" if annotations else "256x256")
    info, counts = prepare_deepfashion(
        pictures, lists, out, annotations=annotations or (), poses=poses, detect=detect, keypoint_frame=_size(frame),
        fit=fit, size=_size(size), pairs=pairs or (), strict=strict, workers=workers,
    )  # fmt: skip
    typer.echo(f"{out}: {info.summary()}")
    Console().print(counts_table(counts))


@prepare.command(
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
    """Make a data set of Market-1501."""
    from imagpose.data.counts import counts_table
    from imagpose.data.market1501 import prepare_market1501

    info, counts = prepare_market1501(
        root, out, train_annotations=train_annotations, test_annotations=test_annotations, detect=detect, size=_size(size),
        strict=strict, workers=workers,
    )  # fmt: skip
    typer.echo(f"{out}: {info.summary()}")
    Console().print(counts_table(counts))


@prepare.command("verify", epilog="Example: imagpose prepare verify --dataset data/people")
def prepare_verify(dataset: Annotated[Path, typer.Option(help="Folder of a finished data set.")]) -> None:
    """Check the checksums of all files of a data set."""
    from imagpose.data.info import verify_dataset

    typer.echo(f"{dataset}: all files are as they were made; {verify_dataset(dataset).summary()}")


@evaluate.command(
    "model", epilog="Example: imagpose evaluate model --data data/people --scenario T1,T3 --seeds 3 --out evaluation"
)
def evaluate_model(
    data: Annotated[Path, typer.Option(help="Data set of imagpose prepare, with a split test.")],
    out: Annotated[Path, typer.Option(help="Folder for summary.json, pairs.parquet, report.html and the pictures.")],
    model: Model = "mini",
    scenario: Annotated[str, typer.Option(help="Some of T1,T2,T3,star.")] = "T1",
    pairs: Annotated[
        Path | None, typer.Option(help="CSV source,target; default: pairs-test.csv of the data set, or all pairs.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Samples per pair.")] = 1,
    protocol: Protocol = "clean,field",
    steps: Steps = 20,
    guidance: Guidance = 2.0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many pairs of the list, always the same ones.")
    ] = None,
    detect: Detector = None,
    workers: Workers = None,
) -> None:
    """Measure a model on a data set's test split, beside copying the source and the autoencoder alone."""
    from imagpose.evaluation.model import Sampling, evaluate_on_dataset

    table = evaluate_on_dataset(
        out, model, data, tuple(scenario.split(",")), pairs, seeds, tuple(protocol.split(",")),
        Sampling(steps, guidance), workers, limit=limit, detect=detect,
    )  # fmt: skip
    if table:
        typer.echo(f"{table}\n\n{out / 'report.html'}")


@evaluate.command(
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
    workers: Workers = None,
) -> None:
    """Measure any method's folder of pictures: SSIM, PSNR, LPIPS, FID, as defined and as the field computed them."""
    from imagpose.evaluation.images import evaluate_images

    table = evaluate_images(
        generated, reference, out, train, masks, tuple(protocol.split(",")), workers, data=data, detect=detect
    )
    typer.echo(f"{table}\n\n{out / 'report.html'}")


@study.command(
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
        int | None, typer.Option(help="Of all orders, to make a study again. It tells the answers: default is random.")
    ] = None,
) -> None:
    """Make a blind questionnaire: a page that works from a file, the answer key apart."""
    from imagpose.evaluation.study.build import StudySettings, build_study
    from imagpose.evaluation.study.files import read_key

    methods: dict[str, Path] = {}
    for text in method:
        name, separator, folder = text.partition("=")
        if not (name and separator and folder) or name in methods:
            raise ValueError(f"--method {text!r}: NAME=FOLDER expected, each name once")
        methods[name] = Path(folder)
    settings = StudySettings(real_fake, side_by_side, seed)
    typer.echo(build_study(real, methods, out, settings, sources, skeletons))
    key = out / "key.json"
    typer.echo(f"{key} (not for participants), seed {read_key(key).seed}")


@study.command(epilog="Example: imagpose study score --key study/key.json --out scores answers/*.json")
def score(
    key: Annotated[Path, typer.Option(help="key.json of the study.")],
    out: Annotated[Path, typer.Option(help="Folder for summary.json and report.md.")],
    sheets: Annotated[list[Path], typer.Argument(help="Files that the participants saved.")],
) -> None:
    """Score the participants' sheets."""
    from imagpose.evaluation.study.score import score_study

    score_study(key, sheets, out)
    typer.echo((out / "report.md").read_text(encoding="utf-8"))


def _size(text: str) -> tuple[int, int]:
    """Height and width of a text such as 256x176."""
    height, separator, width = text.lower().partition("x")
    if not (separator and height.isdecimal() and width.isdecimal()):
        raise ValueError(f"size is {text!r}; height x width expected, for example 256x176")
    return int(height), int(width)


def _train(stage: Any, config: Path, overrides: list[str] | None, resume: str | None, stop_after: str | None) -> None:
    from imagpose.training.config import parse_duration

    outcome = stage(config, overrides, resume, None if stop_after is None else parse_duration(stop_after))
    measures = ", ".join(f"{name} {value:.4g}" for name, value in outcome.validation.items())
    typer.echo(f"{outcome.reason} at step {outcome.step}{': ' if measures else ''}{measures}")


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    if issubclass(category, UserWarning):
        Console(stderr=True).print(f"[yellow]note:[/] {escape(str(message))}", highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; bad input ends with one line on stderr and exit code 2."""
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    try:
        app()
    except (ValueError, OSError, FloatingPointError) as error:
        text = " ".join(str(error).split())
        Console(stderr=True).print(f"[red]error:[/] {escape(text)}", highlight=False, soft_wrap=True)
        sys.exit(2)
