"""The paper's two limitations, judged: more than four views on a canvas (`views`), and other styles (`styles`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.pairs import write_pairs
from imagpose.data.prepare import Made, Person, write_dataset
from imagpose.data.records import identity_of
from imagpose.data.rendered import prepare_people
from imagpose.devices import process_state
from imagpose.evaluation.model import COPY
from imagpose.evaluation.model_pictures import Pictures
from imagpose.evaluation.model_requests import DatasetRequest, ModelEvaluation, TooFewViewsError, ask, method_name
from imagpose.evaluation.reproduce.claims import Claim
from imagpose.evaluation.reproduce.figures import generate_pictures
from imagpose.evaluation.reproduce.measured import Measured, read_measured, real_pictures, seconds_per_picture
from imagpose.evaluation.reproduce.measuring import Measuring, evaluation_name, model_text
from imagpose.evaluation.reproduce.page import ResultPage
from imagpose.judges.identity import embed_people
from imagpose.models.folder import resolve_model
from imagpose.people.splits import TEST_SEEDS
from imagpose.people.world import HELD_OUT_STYLE, STYLE_NAMES, WORLDS
from imagpose.pictures import load_picture
from imagpose.pipeline.loading import load_pipeline
from imagpose.pose import draw_skeleton
from imagpose.sheets import Block, draw_blocks
from imagpose.views import ViewGrid

_LAYOUTS = (("1:1", "1x2"), ("1:3", "2x2"), ("1:8", "3x3"), ("4:5", "3x3"), ("1:11", "3x4"))
"""Sources and targets on one canvas; the last is larger than any grid that mini is trained on."""
_BASE = "1:3"
_CONSISTENCY = 8  # requests of each layout
_TIMED = 3
_ALONE = ViewGrid(1, 2)
_PHOTOGRAPHIC = STYLE_NAMES[0]
_MIXED = "toon"
_SOURCES, _TARGETS = 3, 3  # views of a person: those to be given, then those to be generated


def views(measuring: Measuring, model: str) -> str:
    """Quality per view, agreement of the outputs and time against the number of views on a canvas.

    Layouts that the data set's people have too few views for are left out, and the page says so.

    Returns:
        The table, Markdown; empty in other processes than the first.

    Raises:
        ValueError, OSError: see `evaluate_model`; matplotlib is missing, or nobody has four views.
    """
    measuring.start("views")
    possible = {layout: requests for layout in _LAYOUTS if (requests := _requests(measuring, model, *layout))}
    if (_BASE, "2x2") not in possible:
        raise ValueError(f"{measuring.data}: people of at least 4 views expected, 12 for all layouts")
    folders = {
        (request, grid): measuring.evaluate(
            f"{evaluation_name(model)}-{request.replace(':', 'to')}-{grid}",
            model,
            (request,),
            grid=ViewGrid.parse(grid),
        )
        for request, grid in possible
    }
    if not process_state().is_main_process:
        return ""
    seconds = _seconds(measuring, model, possible)
    lines = []
    for (request, grid), requests in possible.items():
        together, alone, real = _distances(measuring, model, requests[:_CONSISTENCY])
        facts = {
            "views": str(ViewGrid.parse(grid).num_views),
            "distance among outputs": together,
            "among independent passes": alone,
            "among real views": real,
            "seconds per picture": f"{seconds[request]:.3f}",
        }
        method = method_name(request, ViewGrid.parse(grid))
        lines.append(read_measured(folders[request, grid], method, _layout_name(request, grid), facts))
    names = [line.name for line in lines]
    base = _layout_name(_BASE, "2x2")
    left_out = [_layout_name(*layout) for layout in _LAYOUTS if layout not in possible]
    setting = [model_text(model), measuring.of_model(model).sampling_text]
    setting += [f"Left out, as the people have too few views: {', '.join(left_out)}."] if left_out else []
    return measuring.write(
        ResultPage(
            "views",
            "Limitation 1: more than four views",
            "The paper's canvas holds four views at most. Here one model works on other grids; 3x4 is larger than any that"
            " mini is trained on. *Distance* is one less the cosine between the identity judge's vectors of"
            f" two pictures, a mean over the outputs of a request and over {_CONSISTENCY} requests; it is small where they"
            " show one person. Independent passes generate the same poses one by one.",
            setting,
            [*lines, real_pictures(lines[0])],
            [Claim(name, base, "alike") for name in names if name != base],
        )
    )


def _layout_name(request: str, grid: str) -> str:
    sources, targets = request.split(":")
    return f"{sources} to {targets}, {grid}"


def _requests(measuring: Measuring, model: str, request: str, grid: str) -> list[DatasetRequest]:
    """Those of a layout; none where nobody has enough views."""
    asked = ModelEvaluation(model, measuring.data, (request,), (ViewGrid.parse(grid),), limit=measuring.limit)
    try:
        (own,) = ask(asked).requests.values()
    except TooFewViewsError:
        return []
    return own


def _seconds(
    measuring: Measuring, model: str, possible: dict[tuple[str, str], list[DatasetRequest]]
) -> dict[str, float]:
    """Median seconds per generated picture of each layout, the layouts by turns."""
    sampling = measuring.of_model(model).sampling
    count = min(_TIMED, *(len(own) for own in possible.values()))
    pipeline = load_pipeline(model, sampling.scheduler, None, "fp32", "torch").to(process_state().device)
    timed = {request: own[:count] for (request, _), own in possible.items()}
    found = seconds_per_picture(pipeline, timed, PersonDataset(measuring.data, "test"), [sampling])
    return {request: float(np.median(own)) for (request, _), own in found.items()}


def _distances(measuring: Measuring, model: str, requests: Sequence[DatasetRequest]) -> tuple[str, str, str]:
    """Mean distances among a request's outputs, among the same poses generated alone, and among the real views."""
    several = [request for request in requests if len(request.targets) > 1]
    if not several:
        return "", "", ""
    dataset = PersonDataset(measuring.data, "test")
    alone = [
        DatasetRequest("1:1", request.sources[:1], (target,), grid=_ALONE)
        for request in several
        for target in request.targets
    ]
    pictures = generate_pictures(measuring, model, [*several, *alone], dataset)
    single = DatasetRequest("1:1", ("",), ("",), grid=_ALONE).name
    found: list[list[float]] = []
    for request in several:
        records = dataset.by_name(identity_of(request.sources[0]))
        kinds = [
            [load_picture(pictures.generated(request.name, pair, 0)) for pair in request.pairs],
            [load_picture(pictures.generated(single, pair, 0)) for pair in request.pairs],
            [records[target].decode() for target in request.targets],
        ]
        found.append([_spread(own) for own in kinds])
    together, by_itself, real = (f"{value:.3f}" for value in np.mean(found, axis=0))
    return together, by_itself, real


def _spread(pictures: Sequence[Image.Image]) -> float:
    """Mean distance of all pairs of pictures."""
    vectors = embed_people(np.stack([np.asarray(own) for own in pictures]))
    return float(np.mean([1 - one @ other for one, other in combinations(vectors, 2)]))


def styles(measuring: Measuring, model: str, people: int, workers: int | None = None) -> str:
    """The same people, poses and cameras in every style; and a source in one style beside sources in another.

    Args:
        measuring: its `data` is where the people of each style are rendered, in folders of the styles' names.
        people: of the test split.

    Returns:
        The table, Markdown; empty in other processes than the first.

    Raises:
        ValueError, OSError: see `prepare_people` and `evaluate_model`; matplotlib is missing.
    """
    from imagpose.pipeline import IMAGPosePipeline

    photographic = replace(measuring, data=measuring.data / _PHOTOGRAPHIC)
    photographic.start("styles")
    config = IMAGPosePipeline.load_config(resolve_model(model))
    size = config["view_height"], config["view_width"]
    for style in STYLE_NAMES:
        folder = measuring.data / style
        prepare_people(TEST_SEEDS[0], people, _SOURCES + _TARGETS, *size, folder, style=style, workers=workers)
    _mix(measuring.data / _MIXED, measuring.data / _PHOTOGRAPHIC, measuring.data / "mixed")
    who = [str(seed) for seed in TEST_SEEDS[:people]]
    pairs = [(f"{own}/0", f"{own}/{_SOURCES + target}") for own in who for target in range(_TARGETS)]
    for name in (*STYLE_NAMES, "mixed"):
        write_pairs(pairs, measuring.data / name / "pairs-test.csv")
    shown, lines = {}, []
    for name in (*STYLE_NAMES, "mixed"):
        own = replace(measuring, data=measuring.data / name)
        folder = own.evaluate(f"{evaluation_name(model)}-{name}", model, ("T1", "T3"))
        shown[name] = folder
        if process_state().is_main_process:
            lines += _style_lines(folder, name)
    if not process_state().is_main_process:
        return ""
    drawn = [style for style in STYLE_NAMES if style != _PHOTOGRAPHIC]
    claims = [Claim(f"{style}, T1", f"{_PHOTOGRAPHIC}, T1", "alike") for style in drawn]
    claims += [Claim(f"{style}, T1", f"{style}, copied") for style in STYLE_NAMES]
    claims.append(Claim(_mixed_name("T3"), f"{_PHOTOGRAPHIC}, T3", "alike"))
    return photographic.write(
        ResultPage(
            "styles",
            "Limitation 2: other styles",
            "The paper says that its model, trained on photographs, does not generalise to other styles. Here the same"
            f" people are rendered in five; no world that mini is trained on has {HELD_OUT_STYLE}. A source in a style, and"
            f" targets in the same style (T1, T3); then a first source in {_MIXED} with two further sources and targets"
            " that are photographic (T3), and that source alone (T1).",
            [model_text(model), measuring.of_model(model).sampling_text],
            [*lines, real_pictures(lines[0])],
            claims,
        ),
        lambda path: _style_figure(shown, measuring.data).save(path, format="PNG"),
    )


def _mixed_name(scenario: str) -> str:
    return f"{_MIXED} among {_PHOTOGRAPHIC}, {scenario}"


def _style_lines(folder: Path, style: str) -> list[Measured]:
    own = _MIXED if style == "mixed" else style
    facts = {"in the world studio": "yes" if own in WORLDS["studio"].styles else "no"}
    if style == "mixed":
        return [read_measured(folder, scenario, _mixed_name(scenario), facts) for scenario in ("T1", "T3")]
    names = {COPY: "copied", "T1": "T1", "T3": "T3"}
    return [read_measured(folder, method, f"{style}, {name}", facts) for method, name in names.items()]


def _mix(first: Path, others: Path, out: Path) -> None:
    """A data set whose view 0 comes from one data set, and all other views of the same people from another."""
    dataset = PersonDataset(others, "test")
    people = [
        Person(name, "test", tuple(range(count)))
        for name, count in zip(dataset.identities, dataset.view_counts.tolist(), strict=True)
    ]
    settings = {**dataset.info.settings, "style": f"{first.name} among {others.name}"}
    write_dataset(out, people, partial(_mixed_views, first=first, others=others), settings, workers=1)


def _mixed_views(person: Person, first: Path, others: Path) -> Made:
    one, *_ = PersonDataset(first, "test").views(person.identity)
    return [one, *PersonDataset(others, "test").views(person.identity)[1:]], []


def _drawn(dataset: PersonDataset, pictures: Pictures) -> list[tuple[str, str]]:
    """Person and target view of pairs that were drawn, the first of each person: `--limit` leaves some out."""
    targets = [str(_SOURCES + number) for number in range(_TARGETS)]
    found: dict[str, str] = {}
    for identity in dataset.identities:
        for target in targets:
            if pictures.generated("T1", (f"{identity}/0", f"{identity}/{target}"), 0).is_file():
                found.setdefault(identity, target)
    return list(found.items())


def _style_figure(folders: dict[str, Path], data: Path) -> Image.Image:
    """Of each style two people: source, pose, output and truth."""
    blocks = []
    for style, folder in folders.items():
        dataset, pictures = PersonDataset(data / style, "test"), Pictures(folder / "pictures")
        rows = []
        for identity, target in _drawn(dataset, pictures)[:2]:
            records = {own.view: own for own in dataset.views(identity)}
            pair = (f"{identity}/0", f"{identity}/{target}")
            outputs = [load_picture(pictures.generated(scenario, pair, 0)) for scenario in ("T1", "T3")]
            truth = records[target]
            rows.append([records["0"].decode(), draw_skeleton(truth.pose), *outputs, truth.decode()])
        head = ["source", "pose", "T1", "T3", "truth"]
        title = f"{_MIXED} among {_PHOTOGRAPHIC}: the first source is the one shown" if style == "mixed" else style
        blocks.append(Block(title, head, rows))
    return draw_blocks(blocks)
