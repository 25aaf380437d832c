"""`imagpose reid evaluate`: rank-1 and mAP of a network on the queries and the gallery of a set."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagpose.data.reid import ReidPicture, labels_of, list_pictures
from imagpose.devices import choose_device
from imagpose.evaluation.report import markdown_table
from imagpose.io import write_json
from imagpose.judges.identity import embed_people
from imagpose.judges.reid import embed_pictures, load_reid_network, resized
from imagpose.metrics.ranking import Labels, Ranking, rank_gallery
from imagpose.metrics.statistics import Interval, bootstrap_mean
from imagpose.outputs import check_replaceable, result_folder
from imagpose.pictures import load_picture

SHIPPED = "identity"
"""The network that ships with the package and was trained on rendered people; any other name is a folder of `reid train`."""
PLACES = (1, 5, 10)
_SHIPPED_SIZE = (128, 64)
_AT_ONCE = 256

Embed = Callable[[Iterable[Image.Image]], np.ndarray]
"""RGB pictures of any size to features (n, d) of length 1."""


def open_embedder(network: str, device: str | None = None) -> Embed:
    """What tells people apart, by the name or the folder of a network.

    Raises:
        FileNotFoundError, ValueError: see `load_reid_network` and `choose_device`.
    """
    if network == SHIPPED:
        return _embed_shipped
    return partial(embed_pictures, load_reid_network(network).to(choose_device(device)))


def _embed_shipped(pictures: Iterable[Image.Image]) -> np.ndarray:
    return embed_people(np.stack([resized(picture, _SHIPPED_SIZE) for picture in pictures]))


def embed_files(embed: Embed, pictures: Sequence[ReidPicture]) -> np.ndarray:
    """Features (n, d) of pictures, read some at a time."""
    parts = (pictures[start : start + _AT_ONCE] for start in range(0, len(pictures), _AT_ONCE))
    return np.concatenate([embed(load_picture(own.file) for own in part) for part in parts])


@dataclass(frozen=True, eq=False)
class ReidResult:
    """Ranking of all queries.

    Attributes:
        queries: in the ranking's order.
        gallery: number of pictures in it, distractors included, junk not.
        ranking: see `Ranking`.
    """

    queries: Sequence[ReidPicture]
    gallery: int
    ranking: Ranking

    def measures(self) -> dict[str, Interval]:
        """Rank-1, 5 and 10 and mAP with intervals over identities: queries of one person are drawn together."""
        counted = self.ranking.counted
        people = labels_of(self.queries)[0][counted]
        found = {f"rank{place}": self.ranking.ranks[counted] <= place for place in PLACES}
        values = {**found, "map": self.ranking.precisions[counted]}
        return {name: bootstrap_mean(own.astype(np.float64), people) for name, own in values.items()}

    def table(self) -> str:
        """The measures in percent, Markdown."""
        names = {**{f"rank{place}": f"rank-{place}" for place in PLACES}, "map": "mAP"}
        lines = [
            [names[name], f"{100 * own.mean:.1f}", f"{100 * own.low:.1f} to {100 * own.high:.1f}"]
            for name, own in self.measures().items()
        ]
        return markdown_table(["", "%", "95 % over identities"], lines, "---:")

    def counts(self) -> str:
        """What was ranked, one sentence."""
        counted = int(self.ranking.counted.sum())
        return f"{counted:,} of {len(self.queries):,} queries count; {self.gallery:,} pictures in the gallery."


def evaluate_reid(
    root: Path | str, embed: Embed, change: Callable[[str, Sequence[ReidPicture], np.ndarray], np.ndarray] | None = None
) -> ReidResult:
    """Rank the gallery of a set for its queries, see `rank_gallery`.

    Args:
        root: in Market-1501's layout.
        embed: of `open_embedder`.
        change: of "query" or "gallery", its pictures and their features; gives other features, of length 1.

    Raises:
        FileNotFoundError, ValueError: see `list_pictures`; or nothing can be ranked.
    """
    pictures = {part: list_pictures(root, part) for part in ("query", "gallery")}
    features = {part: embed_files(embed, own) for part, own in pictures.items()}
    if change is not None:
        features = {part: change(part, pictures[part], own) for part, own in features.items()}
    labels = {part: Labels(*labels_of(own)) for part, own in pictures.items()}
    ranking = rank_gallery(features["query"], labels["query"], features["gallery"], labels["gallery"])
    return ReidResult(pictures["query"], len(pictures["gallery"]), ranking)


def write_result(result: ReidResult, out: Path, settings: dict[str, Any], overwrite: bool = False) -> None:
    """Write ``result.json`` and ``queries.csv`` (rank and average precision of each) into a folder.

    Raises:
        ValueError: see `outputs.check_replaceable`.
    """
    check_replaceable(out, overwrite)
    measures = {name: {"mean": own.mean, "low": own.low, "high": own.high} for name, own in result.measures().items()}
    with result_folder(out, overwrite) as folder:
        counts = {"queries": len(result.queries), "counted": int(result.ranking.counted.sum())}
        write_json(folder / "result.json", {**settings, **counts, "gallery": result.gallery, "measures": measures})
        with (folder / "queries.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file", "identity", "camera", "rank", "average_precision"])
            for own, rank, value in zip(result.queries, result.ranking.ranks, result.ranking.precisions, strict=True):
                rows.writerow([own.file.name, own.identity, own.camera, int(rank), f"{value:.6f}" if rank else ""])
