"""Measures a model on the test split of a prepared data set: the paper's scenarios and requests of any size, any grid.

Behind `imagpose evaluate model`: generates (`model_pictures`), measures (`measure`), reports (`model_report`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import accelerate
import torch
from rich.console import Console
from rich.progress import Progress, track

from imagpose.data.dataset import PersonDataset
from imagpose.data.info import read_info
from imagpose.data.pairs import Pair as ViewPair
from imagpose.data.pairs import pairs_of_dataset, sample_pairs
from imagpose.evaluation.folders import Pair, check_sizes
from imagpose.evaluation.images import check_settings
from imagpose.evaluation.judging import JudgedPairs, open_judged_views
from imagpose.evaluation.measure import Yardstick, measure_pairs
from imagpose.evaluation.model_pictures import (
    MEAN_COLOURS,
    Pictures,
    draw_mean_colours,
    find_made,
    generate,
    reconstruct,
)
from imagpose.evaluation.model_report import Method, write_model_report
from imagpose.evaluation.model_requests import (
    PAPER_GRID,
    Request,
    check_pairs,
    method_name,
    plan_requests,
    read_view_pairs,
)
from imagpose.evaluation.networks import Needs, Networks, find_networks
from imagpose.evaluation.rows import PROTOCOLS
from imagpose.evaluation.store import ValueStore
from imagpose.io import claim_folder
from imagpose.model_folder import resolve_model
from imagpose.pipeline.sampling import Sampling, load_pipeline
from imagpose.views import ViewGrid

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

__all__ = ["evaluate_on_dataset", "scenario_requests"]

_SPLIT, _TRAIN = "test", "train"
_COPY, _AUTOENCODER = "copy of the source", "autoencoder alone"
_Asked = tuple[tuple[str, ...], str]  # the sources and the target of a pair


@dataclass(frozen=True)
class _Run:
    """What is generated: the pairs, and per scenario and grid the requests and how many pairs they leave out."""

    dataset: PersonDataset
    pairs: list[ViewPair]
    requests: dict[str, list[Request]]
    left_out: dict[str, int]
    seeds: int
    sampling: Sampling

    @property
    def measured(self) -> list[ViewPair]:
        """All pairs that something is measured of: those of the list, and what requests of any size add."""
        asked = [pair for requests in self.requests.values() for request in requests for pair in request.pairs]
        return list(dict.fromkeys([*self.pairs, *asked]))


def evaluate_on_dataset(
    out: Path | str,
    model: str,
    data: Path | str,
    scenarios: Sequence[str] = ("T1",),
    pairs: Path | str | None = None,
    seeds: int = 1,
    protocols: Sequence[str] = PROTOCOLS,
    sampling: Sampling | None = None,
    workers: int | None = None,
    networks: Networks | None = None,
    limit: int | None = None,
    others: Mapping[str, Path] | None = None,
    detect: str | None = None,
    grids: Sequence[ViewGrid] = (PAPER_GRID,),
) -> str:
    """Writes `summary.json`, `pairs.parquet`, `report.html` and the pictures into a folder.

    Pictures and values that are there are not made again. Started by `torchrun`, the processes share the
    generation; the first one measures.

    Args:
        out: the folder; one model, data set, list of pairs and sampling per folder.
        model: `"mini"`, the folder of a saved pipeline, or a Hub id.
        data: a data set of `imagpose prepare` with a split "test".
        scenarios: of "T1", "T2", "T3", "star" and "S:T", see `plan_requests`.
        pairs: CSV with the columns `source,target`; `pairs-test.csv` of the data set, or all pairs by the field's
            rule, if not given.
        seeds: number of samples per pair, each of its own noise.
        protocols, workers, networks: see `evaluate_images`.
        limit: at most so many pairs of the list, always the same ones (`sample_pairs`), in the list's order.
        others: pictures of other methods, by name: folders with "<identity>/<source>_to_<target>.png" for every pair.
        detect: "cpu" or "cuda": pose is measured in photographs too, see `open_judged_views`.
        grids: each scenario is asked for on each of them.

    Returns:
        The tables, Markdown; empty in other processes than the first.

    Raises:
        ValueError, OSError: something is not legal, not there, or does not fit what the folder holds.
    """
    started = time.perf_counter()
    out, data, sampling = Path(out), Path(data), sampling or Sampling()
    check_settings(out, protocols, workers)
    if not 1 <= seeds <= 1000:
        raise ValueError(f"seeds is {seeds}; 1 to 1000 expected")
    resolved = resolve_model(model)
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; at least 1 expected")
    run = _plan(data, scenarios, pairs, seeds, sampling, limit, grids)
    theirs = _find_others(others or {}, run)
    views = open_judged_views(data, detect)
    _claim(out, resolved, run)

    pictures = Pictures(out / "pictures")
    size, styles = _store_views(run, pictures)
    methods_compared = _compared(run, pictures, theirs, styles)
    for name in theirs:
        check_sizes(methods_compared[name].pairs, resizing="clean" not in protocols)
    # The first processes to be ready wait for the last, which may take hours.
    state = accelerate.PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(hours=24))
    pipeline = load_pipeline(model, sampling.scheduler).to(state.device)
    _generate(pipeline, run, pictures, state.process_index, state.num_processes)
    state.wait_for_everyone()
    if not state.is_main_process:
        return ""
    networks = networks or find_networks()
    if MEAN_COLOURS in methods_compared:
        draw_mean_colours(run.pairs, pictures)
    reconstruct(pipeline, list(dict.fromkeys(target for _, target in run.measured)), pictures)
    train = _store_train(data, pictures) if _wants_train(protocols, networks) else None
    yardstick = Yardstick(protocols, ValueStore(out / "parts", workers), networks, {size}, train)
    methods = []
    for name, compared in methods_compared.items():
        own = compared.pairs
        judged = views if isinstance(views, Needs) else JudgedPairs(views, compared.targets, compared.sources)
        measures = measure_pairs(own, judged, yardstick)
        methods.append(Method(name, own, measures, pictured=name in run.requests or name in theirs))
    settings = {
        "model": model, "data": str(data), "pairs": len(run.pairs), "seeds": seeds, "left_out": run.left_out,
        "judges": None if isinstance(views, Needs) or "clean" not in protocols else views.note,
        "sampling": str(sampling), **asdict(sampling), "dtype": str(pipeline.dtype).removeprefix("torch."),
    }  # fmt: skip
    return write_model_report(out, settings, protocols, methods, time.perf_counter() - started)


def scenario_requests(data: Path, scenarios: Sequence[str], limit: int | None = None) -> dict[str, list[Request]]:
    """What `evaluate_on_dataset` asks of a model in each scenario; arguments and errors as there."""
    return _plan(data, scenarios, None, 1, Sampling(), limit).requests


def _plan(
    data: Path,
    scenarios: Sequence[str],
    pairs: Path | str | None,
    seeds: int,
    sampling: Sampling,
    limit: int | None = None,
    grids: Sequence[ViewGrid] = (PAPER_GRID,),
) -> _Run:
    if not scenarios or len(set(scenarios)) < len(scenarios):
        text = "some of T1,T2,T3,star expected, or sources:targets, each once"
        raise ValueError(f"scenario is {','.join(scenarios)!r}; {text}")
    if not grids or len(set(grids)) < len(grids) or min(grid.num_views for grid in grids) < 2:
        raise ValueError(f"grid is {','.join(map(str, grids))!r}; grids of at least 2 views expected, each once")
    dataset = PersonDataset(data, _SPLIT)
    views = {
        identity: [f"{identity}/{record.view}" for record in dataset.views(identity)] for identity in dataset.identities
    }
    file = data / f"pairs-{_SPLIT}.csv" if pairs is None else Path(pairs)
    listed = pairs_of_dataset(data, _SPLIT) if pairs is None and not file.is_file() else read_view_pairs(file)
    if not listed:
        raise ValueError(
            f"{data}: no two views of one person in {_SPLIT} show shoulders and hips; give a list of pairs"
        )
    check_pairs(listed, views)
    if limit is not None and limit < len(listed):
        chosen = set(sample_pairs(listed, limit))
        listed = [pair for pair in listed if pair in chosen]
    planned = {
        method_name(scenario, grid): plan_requests(scenario, listed, views, grid)
        for grid in grids
        for scenario in scenarios
    }
    empty = [scenario for scenario, (requests, _) in planned.items() if not requests]
    if empty:
        raise ValueError(
            f"scenario {empty[0]}: no pair of the list can be asked for, its identities have too few views"
        )
    requests = {scenario: own for scenario, (own, _) in planned.items()}
    return _Run(dataset, listed, requests, {name: left for name, (_, left) in planned.items()}, seeds, sampling)


def _find_others(others: Mapping[str, Path], run: _Run) -> dict[str, list[Path]]:
    """Per other method, its picture of every pair."""
    for name in others:
        if name in (_COPY, _AUTOENCODER, MEAN_COLOURS, *run.requests):
            raise ValueError(f"method {name!r}: the name of what is measured anyway; choose another")
    return {name: find_made(folder, run.pairs) for name, folder in others.items()}


def _claim(out: Path, model: str, run: _Run) -> None:
    """Marks the folder as this run's, or sees that it is.

    Raises:
        ValueError: it holds another run's pictures.
    """
    folder = Path(model)
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    weights = [(str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    mine = {
        "model": [model, hashlib.sha256(repr(weights).encode()).hexdigest()],
        "data": run.dataset.info.fingerprint,
        "pairs": hashlib.sha256(repr(run.pairs).encode()).hexdigest(),
        "sampling": asdict(run.sampling),
    }
    claim_folder(out, mine)


def _generate(pipeline: IMAGPosePipeline, run: _Run, pictures: Pictures, process: int, processes: int) -> None:
    """This process's share of all pictures."""
    pipeline.set_progress_bar_config(disable=True)
    for scenario, requests in run.requests.items():
        own = requests[process::processes]
        for number in range(run.seeds):
            with Progress(console=Console(stderr=True), disable=process > 0) as progress:
                task = progress.add_task(f"{scenario}, sample {number + 1} of {run.seeds}", total=len(own))
                for done in generate(pipeline, own, run.dataset, pictures, number, run.sampling):
                    progress.advance(task, done)


def _store_views(run: _Run, pictures: Pictures) -> tuple[tuple[int, int], dict[str, str | None]]:
    """Writes all views of the pairs; gives their width and height, and the style of each.

    Raises:
        ValueError: they have several sizes.
    """
    wanted = {name for pair in run.measured for name in pair}
    sizes: set[tuple[int, int]] = set()
    styles: dict[str, str | None] = {}
    for identity in dict.fromkeys(name.rpartition("/")[0] for name in wanted):
        records = [own for own in run.dataset.views(identity) if f"{own.identity}/{own.view}" in wanted]
        sizes |= {(record.width, record.height) for record in records}
        styles |= {f"{own.identity}/{own.view}": own.style for own in records}
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
        files.append(pictures.view(f"{record.identity}/{record.view}", _TRAIN))
    return files


def _wants_train(protocols: Sequence[str], networks: Networks) -> bool:
    used = {"clean": networks.fid, "field": networks.field_inception}
    return any(not isinstance(used[protocol], Needs) for protocol in protocols)


@dataclass(frozen=True)
class _Compared:
    """What a method made, and of which views: per pair, the target and what was given."""

    pairs: list[Pair]
    targets: list[str]
    sources: list[tuple[str, ...]]


def _compared(
    run: _Run, pictures: Pictures, theirs: Mapping[str, list[Path]], styles: Mapping[str, str | None]
) -> dict[str, _Compared]:
    """What is compared, per method; `theirs` has a file for every pair, `styles` each view's."""
    alone: list[_Asked] = [((source,), target) for source, target in run.pairs]
    copies = [[pictures.view(source)] for source, _ in run.pairs]
    decoded = [[pictures.view(target, "autoencoder")] for _, target in run.pairs]
    without = {_COPY: copies, _AUTOENCODER: decoded}
    if all(pictures.view(name, "parts").is_file() for pair in run.pairs for name in pair):
        without[MEAN_COLOURS] = [[pictures.generated(MEAN_COLOURS, pair, 0)] for pair in run.pairs]
    methods = {name: _method(alone, made, pictures, styles) for name, made in without.items()}
    for scenario, requests in run.requests.items():
        asked: list[_Asked] = [(request.sources, target) for request in requests for target in request.targets]
        made = [
            [pictures.generated(scenario, (sources[0], target), number) for number in range(run.seeds)]
            for sources, target in asked
        ]
        methods[scenario] = _method(asked, made, pictures, styles)
    others = {name: _method(alone, [[file] for file in files], pictures, styles) for name, files in theirs.items()}
    return methods | others


def _method(
    asked: list[_Asked], made: list[list[Path]], pictures: Pictures, styles: Mapping[str, str | None]
) -> _Compared:
    def known(target: str, kind: str) -> Path | None:
        file = pictures.view(target, kind)
        return file if file.is_file() else None

    pairs = [
        Pair(
            f"{sources[0]} to {target}",
            tuple(files),
            pictures.view(target),
            known(target, "masks"),
            known(target, "parts"),
            pictures.view(sources[0]),
            pictures.view(target, "autoencoder"),
            target.rpartition("/")[0],
            styles[target],
        )
        for (sources, target), files in zip(asked, made, strict=True)
    ]
    return _Compared(pairs, [target for _, target in asked], [sources for sources, _ in asked])
