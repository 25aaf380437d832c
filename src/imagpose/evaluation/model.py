"""Measures a model on the test split of a prepared data set: the paper's scenarios and requests of any size, any grid.

Behind `imagpose evaluate model`: generates (`model_pictures`), measures (`measure`), reports (`model_report`); and behind
`imagpose evaluate people`, which renders the data set first.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, track

from imagpose.data.dataset import PersonDataset
from imagpose.data.info import read_info
from imagpose.data.pairs import write_pairs
from imagpose.data.records import identity_of
from imagpose.data.rendered import prepare_people
from imagpose.devices import process_state
from imagpose.evaluation.folders import ComparedPair, check_sizes
from imagpose.evaluation.judging import JudgedPairs
from imagpose.evaluation.measure import MeasureSettings, Yardstick, measure_pairs
from imagpose.evaluation.model_pictures import (
    MEAN_COLOURS,
    Pictures,
    draw_mean_colours,
    find_made,
    generate,
    reconstruct,
)
from imagpose.evaluation.model_report import Method, write_model_report
from imagpose.evaluation.model_requests import Asked, ModelEvaluation, ask, model_mark
from imagpose.evaluation.networks import Needs, Networks, find_networks
from imagpose.evaluation.recognition import open_views
from imagpose.evaluation.report import check_report_folder
from imagpose.evaluation.store import ValueStore
from imagpose.io import clear_partial_files, locked_folder
from imagpose.models.folder import resolve_model
from imagpose.outputs import check_free_space, claim_folder
from imagpose.people.splits import TEST_SEEDS
from imagpose.pipeline.loading import load_pipeline, settled_sampling
from imagpose.pipeline.sampling import Sampling

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

COPY, AUTOENCODER = "copy of the source", "autoencoder alone"
"""Methods without a model, as reports name them."""

_TRAIN = "train"
_VIEWS = (
    8  # of a rendered person: four to choose sources from, view 0 from the front, then four to generate, a side each
)
_Given = tuple[tuple[str, ...], str]  # the sources and the target of a pair


def evaluate_model(out: Path, evaluation: ModelEvaluation, settings: MeasureSettings | None = None) -> str:
    """Writes `summary.json`, `pairs.parquet`, `report.html` and the pictures into the folder `out`.

    Pictures and values that are there are not made again; a folder is for one model, data set, list of pairs and
    sampling. Started by `torchrun`, the processes share the generation; the first one measures.

    Returns:
        The tables, Markdown; empty in other processes than the first.

    Raises:
        ValueError, OSError: something is not legal, not there, or does not fit what the folder holds.
    """
    started = time.perf_counter()
    settings = settings or MeasureSettings()
    check_report_folder(out)
    resolve_model(evaluation.model)
    evaluation = replace(evaluation, sampling=settled_sampling(evaluation.sampling, evaluation.model))
    asked = ask(evaluation)
    theirs = _find_others(evaluation.others, asked)
    views = open_views(evaluation.data, settings.detect, settings.identity_network)
    check_free_space(out, _missing_bytes(out, asked, evaluation.seeds))
    state = process_state()
    with locked_folder(out) if state.is_main_process else nullcontext():
        _claim(out, evaluation, asked)
        if state.num_processes == 1:  # else another one of this call may be writing
            clear_partial_files(out)
        pictures = Pictures(out / "pictures")
        size, styles = _store_views(asked, pictures)
        compared = _compared(evaluation.seeds, asked, pictures, theirs, styles)
        for name in theirs:
            check_sizes(compared[name].pairs, resizing="clean" not in settings.protocols)
        pipeline = load_pipeline(evaluation.model, evaluation.sampling.scheduler, None, "fp32", "torch")
        pipeline = pipeline.to(state.device)
        _generate(pipeline, evaluation, asked, pictures, (state.process_index, state.num_processes))
        state.wait_for_everyone()
        if not state.is_main_process:
            return ""
        if MEAN_COLOURS in compared:
            draw_mean_colours(asked.pairs, pictures)
        reconstruct(pipeline, list(dict.fromkeys(target for _, target in asked.measured)), pictures)

        networks = settings.networks or find_networks()
        train = _store_train(evaluation.data, pictures) if _wants_train(settings.protocols, networks) else None
        store = ValueStore(out / "parts", settings.workers)
        yardstick = Yardstick(settings.protocols, store, networks, {size}, train)
        methods = []
        for name, own in compared.items():
            judged = views if isinstance(views, Needs) else JudgedPairs(views, own.targets, own.sources)
            measures = measure_pairs(own.pairs, judged, yardstick)
            methods.append(Method(name, own.pairs, measures, pictured=name in asked.requests or name in theirs))
        sampling = evaluation.sampling
        decisive = {
            "model": evaluation.model, "data": str(evaluation.data), "pairs": len(asked.pairs), "seeds": evaluation.seeds,
            "left_out": asked.left_out,
            "judges": None if isinstance(views, Needs) or "clean" not in settings.protocols else views.note,
            "sampling": str(sampling), **asdict(sampling), "dtype": str(pipeline.vae.dtype).removeprefix("torch."),
        }  # fmt: skip
        return write_model_report(out, decisive, settings.protocols, methods, time.perf_counter() - started)


def _missing_bytes(out: Path, asked: Asked, seeds: int) -> int:
    """What the pictures that are to be written take at least: PNG needs about a quarter of a rendered person's bytes."""
    first = asked.dataset.views(identity_of(asked.pairs[0][0]))[0]
    views = len({name for pair in asked.measured for name in pair})
    generated = sum(len(own.targets) for requests in asked.requests.values() for own in requests)
    needed = (2 * views + seeds * generated) * first.height * first.width * 3 // 4
    return max(0, needed - sum(file.stat().st_size for file in (out / "pictures").rglob("*.png")))


def evaluate_on_people(out: Path, model: str, identities: int, sampling: Sampling, workers: int | None = None) -> str:
    """Render the first people of the test split into ``<out>/people``, in the model's size, and measure the model there.

    Of every person the front view is given (in T3 two further views besides) and four others are asked for: one each
    from the front, from behind and from both sides.

    Args:
        out, model, sampling: see `evaluate_model`; the same command continues.
        identities: number of people.
        workers: processes that render and measure; None for one per core.

    Returns:
        The tables, Markdown.

    Raises:
        ValueError, OSError: see `evaluate_model` and `prepare_people`.
    """
    from imagpose.pipeline import IMAGPosePipeline

    if not 1 <= identities <= len(TEST_SEEDS):
        raise ValueError(f"identities is {identities}; 1 to {len(TEST_SEEDS):,} expected")
    config = IMAGPosePipeline.load_config(resolve_model(model))
    if not {"view_height", "view_width"} <= config.keys():
        raise ValueError(f"model {model} does not say view_height and view_width: it is no IMAGPose pipeline")
    data, pairs = out / "people", out / "pairs.csv"
    wanted = [(f"{seed}/0", f"{seed}/{view}") for seed in TEST_SEEDS[:identities] for view in range(4, _VIEWS)]
    check_report_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    write_pairs(wanted, pairs)  # refuses another list before anything is rendered
    size = config["view_height"], config["view_width"]
    prepare_people(TEST_SEEDS[0], identities, _VIEWS, *size, data, workers=workers)
    asked = ModelEvaluation(model, data, ("T1", "T3"), pairs=pairs, sampling=sampling)
    return evaluate_model(out, asked, MeasureSettings(workers=workers))


def _find_others(others: Mapping[str, Path], asked: Asked) -> dict[str, list[Path]]:
    """Per other method, its picture of every pair."""
    for name in others:
        if name in (COPY, AUTOENCODER, MEAN_COLOURS, *asked.requests):
            raise ValueError(f"method {name!r}: the name of what is measured anyway; choose another")
    return {name: find_made(folder, asked.pairs) for name, folder in others.items()}


def _claim(out: Path, evaluation: ModelEvaluation, asked: Asked) -> None:
    """Marks the folder as this run's, or sees that it is.

    Raises:
        ValueError: it holds another run's pictures.
    """
    mine = {
        "model": model_mark(evaluation.model),
        "data": asked.dataset.info.fingerprint,
        "pairs": hashlib.sha256(repr(asked.pairs).encode()).hexdigest(),
        "sampling": asdict(evaluation.sampling),
    }
    claim_folder(out, mine, {"sampling": asdict(Sampling())})


def _generate(
    pipeline: IMAGPosePipeline, evaluation: ModelEvaluation, asked: Asked, pictures: Pictures, share: tuple[int, int]
) -> None:
    """The pictures of one process of several; `share` is its number and how many there are."""
    process, processes = share
    pipeline.set_progress_bar_config(disable=True)
    for scenario, requests in asked.requests.items():
        own = requests[process::processes]
        for number in range(evaluation.seeds):
            with Progress(console=Console(stderr=True), disable=process > 0) as progress:
                task = progress.add_task(f"{scenario}, sample {number + 1} of {evaluation.seeds}", total=len(own))
                for done in generate(pipeline, own, asked.dataset, pictures, number, evaluation.sampling):
                    progress.advance(task, done)


def _store_views(asked: Asked, pictures: Pictures) -> tuple[tuple[int, int], dict[str, str | None]]:
    """Writes all views of the pairs; gives their width and height, and the style of each.

    Raises:
        ValueError: they have several sizes.
    """
    wanted = {name for pair in asked.measured for name in pair}
    sizes: set[tuple[int, int]] = set()
    styles: dict[str, str | None] = {}
    for identity in dict.fromkeys(identity_of(name) for name in wanted):
        records = [own for own in asked.dataset.views(identity) if own.name in wanted]
        sizes |= {(record.width, record.height) for record in records}
        styles |= {own.name: own.style for own in records}
        pictures.store_views(records)
    if len(sizes) > 1:
        shown = ", ".join(f"{width}x{height}" for width, height in sorted(sizes)[:3])
        raise ValueError(f"views of several sizes ({shown}, width x height): prepare the data set with --size")
    return sizes.pop(), styles


def _store_train(data: Path, pictures: Pictures) -> list[Path] | None:
    """Writes the training pictures, if the data set has any."""
    if _TRAIN not in read_info(data).splits:
        return None
    files = []
    dataset = PersonDataset(data, _TRAIN)
    for record in track(
        dataset.stream(), "training pictures", dataset.info.splits[_TRAIN].pictures, console=Console(stderr=True)
    ):
        pictures.store_views([record], _TRAIN)
        files.append(pictures.view(record.name, _TRAIN))
    return files


def _wants_train(protocols: Sequence[str], networks: Networks) -> bool:
    used = {"clean": networks.fid, "field": networks.field_inception}
    return any(not isinstance(used[protocol], Needs) for protocol in protocols)


@dataclass(frozen=True)
class _Compared:
    """What a method made, and of which views: per pair, the target and what was given."""

    pairs: list[ComparedPair]
    targets: list[str]
    sources: list[tuple[str, ...]]


def _compared(
    seeds: int,
    asked: Asked,
    pictures: Pictures,
    theirs: Mapping[str, list[Path]],
    styles: Mapping[str, str | None],
) -> dict[str, _Compared]:
    """What is compared, per method; `theirs` has a file for every pair, `styles` each view's."""
    alone: list[_Given] = [((source,), target) for source, target in asked.pairs]
    copies = [[pictures.view(source)] for source, _ in asked.pairs]
    decoded = [[pictures.view(target, "autoencoder")] for _, target in asked.pairs]
    without = {COPY: copies, AUTOENCODER: decoded}
    if all(pictures.view(name, "parts").is_file() for pair in asked.pairs for name in pair):
        without[MEAN_COLOURS] = [[pictures.generated(MEAN_COLOURS, pair, 0)] for pair in asked.pairs]
    methods = {name: _method(alone, made, pictures, styles) for name, made in without.items()}
    for scenario, requests in asked.requests.items():
        given: list[_Given] = [(request.sources, target) for request in requests for target in request.targets]
        made = [
            [pictures.generated(scenario, (sources[0], target), number) for number in range(seeds)]
            for sources, target in given
        ]
        methods[scenario] = _method(given, made, pictures, styles)
    others = {name: _method(alone, [[file] for file in files], pictures, styles) for name, files in theirs.items()}
    return methods | others


def _method(
    given: list[_Given], made: list[list[Path]], pictures: Pictures, styles: Mapping[str, str | None]
) -> _Compared:
    def known(target: str, kind: str) -> Path | None:
        file = pictures.view(target, kind)
        return file if file.is_file() else None

    pairs = [
        ComparedPair(
            f"{sources[0]} to {target}",
            tuple(files),
            pictures.view(target),
            known(target, "masks"),
            known(target, "parts"),
            pictures.view(sources[0]),
            pictures.view(target, "autoencoder"),
            identity_of(target),
            styles[target],
        )
        for (sources, target), files in zip(given, made, strict=True)
    ]
    return _Compared(pairs, [target for _, target in given], [sources for sources, _ in given])
