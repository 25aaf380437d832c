"""From a list of pairs to what is asked of a model in each scenario of the paper, and in requests of any S and T.

A pair names a source and a target, both "<identity>/<view>" of a prepared data set.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from imagpose.data.dataset import PersonDataset
from imagpose.data.pairs import ViewPair, pairs_of_dataset, read_view_pairs, sample_pairs
from imagpose.data.records import identity_of
from imagpose.evaluation.folders import refuse
from imagpose.evaluation.judging import SPLIT
from imagpose.io import file_digest, read_json
from imagpose.models.appearance_flow import APPEARANCE_FLOW_WEIGHTS
from imagpose.models.folder import model_name, resolve_model
from imagpose.pipeline.sampling import Sampling
from imagpose.views import SCENARIOS, ViewGrid

PAPER_GRID = ViewGrid(2, 2)


class TooFewViewsError(ValueError):
    """A scenario in which no pair of a list can be asked for."""


@dataclass(frozen=True)
class DatasetRequest:
    """One call of the pipeline.

    Attributes:
        scenario: "T1", "T2", "T3", "star", or "S:T".
        sources: views that are given; the first is the pairs' source.
        targets: views whose poses are asked for, one per picture.
        companions: views whose poses are generated on the same canvas besides; their pictures are not kept.
        grid: of the canvases.
    """

    scenario: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    companions: tuple[str, ...] = ()
    grid: ViewGrid = PAPER_GRID

    @property
    def name(self) -> str:
        """Of the scenario and its grid, as reports have it."""
        return method_name(self.scenario, self.grid)

    @property
    def plan_scenario(self) -> str | None:
        """What `views.plan` is told; None for a request "S:T"."""
        return self.scenario if self.scenario in SCENARIOS else None

    @property
    def poses(self) -> tuple[str, ...]:
        """The views of all poses that are generated, targets first."""
        return (*self.targets, *self.companions)

    @property
    def pairs(self) -> list[ViewPair]:
        """The pairs that the request answers."""
        return [(self.sources[0], target) for target in self.targets]

    def seed(self, number: int) -> int:
        """Seed of the request's noise for the seed `number` of a run: its own, whatever else is generated beside it."""
        text = repr((number, self.name, self.sources, self.targets))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def method_name(scenario: str, grid: ViewGrid) -> str:
    """A scenario on a grid, which is named unless it is the paper's."""
    return scenario if grid == PAPER_GRID else f"{scenario} on {grid}"


def model_mark(model: str) -> list[str]:
    """What tells a model's results from those of another: its name and a digest of its files, wherever they lie.

    Its card and hidden files do not count; the package's appearance flow does where the model's masked slots show warped
    views. Of a model on the Hub no file is looked at, and the digest is empty.

    Raises:
        ValueError, OSError: see `resolve_model`; a file cannot be read.
    """
    folder, digest = Path(resolve_model(model)), hashlib.sha256()
    if not folder.is_dir():
        return [model, ""]
    files = {path.relative_to(folder): path for path in sorted(folder.rglob("*"))}
    if read_json(folder / "model_index.json").get("masked_views") == "warped":
        files[Path(APPEARANCE_FLOW_WEIGHTS.name)] = APPEARANCE_FLOW_WEIGHTS
    for place, path in files.items():
        name = place.as_posix()
        if path.is_file() and name != "README.md" and not any(part.startswith(".") for part in place.parts):
            stat = path.stat()
            digest.update(f"{name} {_file_digest(path, stat.st_size, stat.st_mtime_ns)}\n".encode())
    return [model_name(model), digest.hexdigest()]


@cache
def _file_digest(path: Path, size: int, changed: int) -> str:
    """SHA-256 of a file as it is now: evaluations and pages ask for that of gigabytes many times in one process."""
    return file_digest(path)


@dataclass(frozen=True)
class ModelEvaluation:
    """Which pictures of a model are measured.

    Attributes:
        model: `"mini"`, the folder of a saved pipeline, or a Hub id.
        data: a data set of `imagpose prepare` with a split "test".
        scenarios: of "T1", "T2", "T3", "star" and "S:T", see `requests_of_pairs`.
        grids: each scenario is asked for on each of them.
        pairs: CSV with the columns `source,target`; None: `pairs-test.csv` of the data set, or else all pairs by the
            field's rule.
        limit: at most so many pairs of the list, always the same ones (`sample_pairs`), in the list's order.
        seeds: number of samples per pair, each of its own noise.
        sampling: of all pictures.
        others: pictures of other methods, by name: folders with "<identity>/<source>_to_<target>.png" for every pair.

    Raises:
        ValueError: a number out of its range, no scenario or grid, or one that is there twice.
    """

    model: str
    data: Path
    scenarios: Sequence[str] = ("T1",)
    grids: Sequence[ViewGrid] = (PAPER_GRID,)
    pairs: Path | None = None
    limit: int | None = None
    seeds: int = 1
    sampling: Sampling = field(default_factory=Sampling)
    others: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= 1000:
            raise ValueError(f"seeds is {self.seeds}; 1 to 1000 expected")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit}; at least 1 expected")
        if not self.scenarios or len(set(self.scenarios)) < len(self.scenarios):
            text = "some of T1,T2,T3,star expected, or sources:targets, each once"
            raise ValueError(f"scenario is {','.join(self.scenarios)!r}; {text}")
        few = not self.grids or min(grid.num_views for grid in self.grids) < 2
        if few or len(set(self.grids)) < len(self.grids):
            text = "grids of at least 2 views expected, each once"
            raise ValueError(f"grid is {','.join(map(str, self.grids))!r}; {text}")


@dataclass(frozen=True)
class Asked:
    """What a model is asked for.

    Attributes:
        dataset: the views.
        pairs: of the list.
        requests: per method, a scenario on a grid.
        left_out: per method, how many pairs of the list it leaves out.
    """

    dataset: PersonDataset
    pairs: list[ViewPair]
    requests: dict[str, list[DatasetRequest]]
    left_out: dict[str, int]

    @property
    def measured(self) -> list[ViewPair]:
        """All pairs that something is measured of: those of the list, and what requests of any size add."""
        asked = [pair for requests in self.requests.values() for request in requests for pair in request.pairs]
        return list(dict.fromkeys([*self.pairs, *asked]))


def ask(evaluation: ModelEvaluation) -> Asked:
    """The requests of every scenario on every grid.

    Raises:
        FileNotFoundError, ValueError: no such data set or list, pairs that do not fit the data set, an unknown scenario,
            or one that no pair of the list can be asked for in (`TooFewViewsError`).
    """
    dataset = PersonDataset(evaluation.data, SPLIT)
    views = {identity: list(dataset.by_name(identity)) for identity in dataset.identities}
    listed = _listed_pairs(evaluation)
    check_pairs(listed, views)
    if evaluation.limit is not None and evaluation.limit < len(listed):
        chosen = set(sample_pairs(listed, evaluation.limit))
        listed = [pair for pair in listed if pair in chosen]
    found = {
        method_name(scenario, grid): requests_of_pairs(scenario, listed, views, grid)
        for grid in evaluation.grids
        for scenario in evaluation.scenarios
    }
    for name, (own, _) in found.items():
        if not own:
            raise TooFewViewsError(
                f"scenario {name}: no pair of the list can be asked for, its identities have too few views"
            )
    requests = {name: own for name, (own, _) in found.items()}
    return Asked(dataset, listed, requests, {name: left for name, (_, left) in found.items()})


def _listed_pairs(evaluation: ModelEvaluation) -> list[ViewPair]:
    own = evaluation.data / f"pairs-{SPLIT}.csv"
    if evaluation.pairs is not None or own.is_file():
        return read_view_pairs(evaluation.pairs or own)
    if not (listed := pairs_of_dataset(evaluation.data, SPLIT)):
        text = "show shoulders and hips; give a list of pairs"
        raise ValueError(f"{evaluation.data}: no two views of one person in {SPLIT} {text}")
    return listed


def check_pairs(pairs: Sequence[ViewPair], views: Mapping[str, Sequence[str]]) -> None:
    """Sees that every pair is of two views of one identity.

    Args:
        views: names "<identity>/<view>" per identity.

    Raises:
        ValueError: pairs that are not; the message has their number and the first of them.
    """
    known = {name for names in views.values() for name in names}
    strange = [name for pair in pairs for name in pair if name not in known]
    refuse(list(dict.fromkeys(strange)), "views of the list of pairs that the data set's test split does not have")
    mixed = [f"{source} to {target}" for source, target in pairs if identity_of(source) != identity_of(target)]
    refuse(mixed, "pairs of two identities")


def requests_of_pairs(
    scenario: str, pairs: Sequence[ViewPair], views: Mapping[str, Sequence[str]], grid: ViewGrid = PAPER_GRID
) -> tuple[list[DatasetRequest], int]:
    """What is asked of the model for a list of pairs, on canvases of V slots.

    T1 and T2 take one pair each. T3 adds the first V - 2 other views of the identity, in the data set's order, that are
    not the target. `star` asks for V - 1 targets of one source at a time, in the order of the list; where the list has
    fewer, the first other views of the identity keep them company, so that V - 1 poses share the canvas. "S:T" asks for
    T targets of one source at a time, given S - 1 further views; where the list has fewer, other views of the identity
    become targets too, whether or not they are on the list.

    Returns:
        The requests, and the number of pairs of the list left out: those whose identity has too few views.

    Raises:
        ValueError: an unknown scenario.
    """
    counts = re.fullmatch(r"([1-9][0-9]{0,2}):([1-9][0-9]{0,2})", scenario)
    if scenario not in SCENARIOS and counts is None:
        text = f"{', '.join(SCENARIOS)} expected, or sources:targets, for example 1:8"
        raise ValueError(f"scenario {scenario!r}: {text}")
    if scenario in ("T1", "T2"):
        return [DatasetRequest(scenario, (source,), (target,), grid=grid) for source, target in pairs], 0
    if scenario == "T3":
        requests = [_three_sources(pair, views[identity_of(pair[0])], grid) for pair in pairs]
        return [own for own in requests if own], sum(own is None for own in requests)
    targets: dict[str, list[str]] = {}
    for source, target in pairs:
        targets.setdefault(source, []).append(target)
    if counts is None:
        chunks = [(source, own) for source, listed in targets.items() for own in _chunks(listed, grid.num_views - 1)]
        return [_star_request(source, own, views[identity_of(source)], grid) for source, own in chunks], 0
    asked = int(counts[1]), int(counts[2])
    own = [
        _sized_requests(source, listed, views[identity_of(source)], asked, grid) for source, listed in targets.items()
    ]
    return [request for requests, _ in own for request in requests], sum(left_out for _, left_out in own)


def _chunks(values: Sequence[str], size: int) -> list[Sequence[str]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def _three_sources(pair: ViewPair, views: Sequence[str], grid: ViewGrid) -> DatasetRequest | None:
    """T3 of a pair; None where the identity has too few views."""
    source, target = pair
    others = [name for name in views if name not in pair][: grid.num_views - 2]
    return DatasetRequest("T3", (source, *others), (target,), grid=grid) if len(others) == grid.num_views - 2 else None


def _star_request(source: str, targets: Sequence[str], views: Sequence[str], grid: ViewGrid) -> DatasetRequest:
    others = [name for name in views if name not in (source, *targets)]
    return DatasetRequest("star", (source,), tuple(targets), tuple(others[: grid.num_views - 1 - len(targets)]), grid)


def _sized_requests(
    source: str, listed: Sequence[str], views: Sequence[str], asked: tuple[int, int], grid: ViewGrid
) -> tuple[list[DatasetRequest], int]:
    """Requests of S sources and T targets for the listed targets of a source, and how many of these are left out.

    No target is asked for twice: where the last chunk is filled with listed views, they are companions.
    """
    num_sources, num_targets = asked
    requests, left_out = [], 0
    for chunk in _chunks(listed, num_targets):
        others = [name for name in views if name not in (source, *chunk)]
        further, rest = others[: num_sources - 1], others[num_sources - 1 :]
        free = [name for name in rest if name not in listed]
        filling = [*free, *(name for name in rest if name in listed)][: num_targets - len(chunk)]
        if len(further) < num_sources - 1 or len(chunk) + len(filling) < num_targets:
            left_out += len(chunk)
            continue
        new = tuple(name for name in filling if name not in listed)
        companions = tuple(name for name in filling if name not in new)
        name = f"{num_sources}:{num_targets}"
        requests.append(DatasetRequest(name, (source, *further), (*chunk, *new), companions, grid))
    return requests, left_out
