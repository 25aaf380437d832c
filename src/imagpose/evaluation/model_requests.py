"""From a list of pairs to what is asked of a model in each scenario.

A pair names a source and a target, both "<identity>/<view>" of a prepared data set.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagpose.data.pairs import Pair as ViewPair
from imagpose.evaluation.folders import refuse
from imagpose.views import SCENARIOS

__all__ = ["STAR_POSES", "Request", "check_pairs", "plan_requests", "read_view_pairs"]

STAR_POSES = 3  # poses of one request of IMAGPose*, on the paper's grid
_SOURCES = 3  # different sources of T3


@dataclass(frozen=True)
class Request:
    """One call of the pipeline.

    Attributes:
        scenario: "T1", "T2", "T3" or "star".
        sources: views that are given; the first is the pairs' source.
        targets: views whose poses are asked for, one per picture.
        companions: views whose poses are generated on the same canvas besides; their pictures are not kept.
    """

    scenario: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    companions: tuple[str, ...] = ()

    @property
    def poses(self) -> tuple[str, ...]:
        """The views of all poses that are generated, targets first."""
        return (*self.targets, *self.companions)

    @property
    def pairs(self) -> list[ViewPair]:
        """The pairs that the request answers."""
        return [(self.sources[0], target) for target in self.targets]

    def seed(self, number: int) -> int:
        """Seed of the request's noise in the run `number`: its own, whatever else is generated beside it."""
        text = repr((number, self.scenario, self.sources, self.targets))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def read_view_pairs(path: Path) -> list[ViewPair]:
    """The pairs of a CSV file with the columns `source,target`, as `imagpose prepare` writes it; each pair once.

    Raises:
        FileNotFoundError, ValueError: no such file, other columns, or no pair.
    """
    if not path.is_file():
        raise FileNotFoundError(f"list of pairs not found: {path}")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if not {"source", "target"} <= set(reader.fieldnames or ()):
                raise ValueError(f"{path}: the first line must have the columns source and target")
            rows = [(row["source"], row["target"]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a text file ({error})") from None
    if not rows:
        raise ValueError(f"{path} holds no pair")
    return list(dict.fromkeys(rows))


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
    mixed = [f"{source} to {target}" for source, target in pairs if _identity(source) != _identity(target)]
    refuse(mixed, "pairs of two identities")


def plan_requests(
    scenario: str, pairs: Sequence[ViewPair], views: Mapping[str, Sequence[str]]
) -> tuple[list[Request], int]:
    """What is asked of the model for a list of pairs.

    T1 and T2 take one pair each. T3 adds the first two other views of the identity, in the data set's order, that are
    not the target. `star` asks for three targets of one source at a time, in the order of the list; where the list has
    fewer, the first other views of the identity keep them company, so that three poses share the canvas.

    Returns:
        The requests, and the number of pairs left out: those of T3 whose identity has too few views.

    Raises:
        ValueError: an unknown scenario.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"scenario {scenario!r}: {', '.join(SCENARIOS)} expected")
    if scenario == "star":
        targets: dict[str, list[str]] = {}
        for source, target in pairs:
            targets.setdefault(source, []).append(target)
        chunks = [
            (source, own[i : i + STAR_POSES]) for source, own in targets.items() for i in range(0, len(own), STAR_POSES)
        ]
        return [_star_request(source, own, views[_identity(source)]) for source, own in chunks], 0
    if scenario != "T3":
        return [Request(scenario, (source,), (target,)) for source, target in pairs], 0
    requests = []
    for source, target in pairs:
        others = [name for name in views[_identity(source)] if name not in (source, target)]
        if len(others) >= _SOURCES - 1:
            requests.append(Request(scenario, (source, *others[: _SOURCES - 1]), (target,)))
    return requests, len(pairs) - len(requests)


def _star_request(source: str, targets: Sequence[str], views: Sequence[str]) -> Request:
    others = [name for name in views if name not in (source, *targets)]
    return Request("star", (source,), tuple(targets), tuple(others[: STAR_POSES - len(targets)]))


def _identity(name: str) -> str:
    return name.rpartition("/")[0]
