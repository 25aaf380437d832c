"""Lists of (source, target) pairs: the field's files read, the field's rule, and what we write.

The rule: pictures on which both shoulders and both hips are found; within an identity all ordered pairs of two.
Source: facts about the field's scripts; on the public annotations of Market-1501 it gives the published pairs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np

from imagpose.data.info import read_info
from imagpose.data.shards import keypoints_of, naming_damage, open_shard
from imagpose.io import partial_file

ViewPair = tuple[str, str]
"""Names of a source and of a target, "<identity>/<view>" in our own files."""

FOUR_JOINTS = (2, 5, 8, 11)
"""Right and left shoulder, right and left hip."""
_HEADER = ["source", "target"]


def pairs_by_rule(pictures: Iterable[tuple[str, str, np.ndarray]]) -> list[ViewPair]:
    """All ordered pairs of two pictures of an identity that show the four joints.

    Args:
        pictures: identity, name and key points (18, 3) of each; identities count in the order in which they first come.
    """
    groups: dict[str, list[str]] = {}
    for identity, name, keypoints in pictures:
        if (keypoints[list(FOUR_JOINTS), 2] > 0).all():
            groups.setdefault(identity, []).append(name)
    return [pair for names in groups.values() for pair in permutations(names, 2)]


def pairs_of_dataset(folder: Path | str, split: str) -> list[ViewPair]:
    """`pairs_by_rule` of what a data set has stored; names are "<identity>/<view>"; no picture is read."""
    return pairs_by_rule(_stored_poses(Path(folder), split))


def stored_pairs(pairs: Iterable[ViewPair], folder: Path | str, split: str) -> list[ViewPair]:
    """Those of the pairs, named "<identity>/<view>", of which a data set has stored both views."""
    stored = {name for _, name, _ in _stored_poses(Path(folder), split)}
    return [pair for pair in pairs if stored.issuperset(pair)]


def _stored_poses(folder: Path, split: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """Identity, name and key points of every picture of a split, in the order of the shards; no picture is read."""
    for info in read_info(folder).shards:
        if info.split == split:
            shard = open_shard(folder / info.file)
            with naming_damage(folder / info.file):
                table = shard.read(columns=["identity", "view", "keypoints"])
                points = keypoints_of(table)
            for identity, view, keypoints in zip(
                table["identity"].to_pylist(), table["view"].to_pylist(), points, strict=True
            ):
                yield identity, f"{identity}/{view}", keypoints


def sample_pairs(pairs: Sequence[ViewPair], count: int) -> list[ViewPair]:
    """`count` of the pairs, those that ``pandas.DataFrame.sample(n=count, random_state=0)`` takes, in its order.

    Raises:
        ValueError: there are fewer.
    """
    if count > len(pairs):
        raise ValueError(f"{count:,} pairs asked for, there are {len(pairs):,}")
    chosen = np.random.RandomState(0).choice(len(pairs), size=count, replace=False)
    return [pairs[index] for index in chosen]


def read_pairs(path: Path | str, name_of: Callable[[str], str | None]) -> list[ViewPair]:
    """Pairs of a list file of the field.

    A .csv has the columns ``from,to``. A .txt has lines of names divided by commas: the first is the target, every other one
    a source of a pair of its own (PIDM's README says the opposite of what its code does).

    Args:
        path: the file.
        name_of: from a name in the file to ours; None where it is no name of the data set.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another ending, header or line; the message names the line.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".txt"):
        raise ValueError(f"{path}: a list of pairs is a .csv (from,to) or a .txt (target first), not {path.suffix!r}")
    pairs: list[ViewPair] = []
    for number, source, target in _columns(path, "from", "to") if path.suffix == ".csv" else _target_first(path):
        names = name_of(source), name_of(target)
        if names[0] is None or names[1] is None:
            raise ValueError(f"{path}, line {number}: {source if names[0] is None else target!r} is no picture's name")
        pairs.append((names[0], names[1]))
    return pairs


def read_view_pairs(path: Path) -> list[ViewPair]:
    """Our own list, as `write_pairs` writes it; each pair once.

    Raises:
        FileNotFoundError, ValueError: no such file, other columns, a line without both, or no pair.
    """
    pairs = dict.fromkeys((source, target) for _, source, target in _columns(path, *_HEADER))
    if not pairs:
        raise ValueError(f"{path} holds no pair")
    return list(pairs)


def _columns(path: Path, source: str, target: str) -> Iterator[tuple[int, str, str]]:
    """Number of the line, source and target of each line of a CSV file with these two columns."""
    (_, head), *lines = _lines(path) or [(1, [])]
    if not {source, target} <= set(head):
        raise ValueError(f"{path}: the first line must have the columns {source} and {target}")
    places = head.index(source), head.index(target)
    for number, cells in lines:
        if len(cells) <= max(places):
            raise ValueError(f"{path}, line {number}: {source} and {target} expected")
        yield number, cells[places[0]], cells[places[1]]


def _target_first(path: Path) -> Iterator[tuple[int, str, str]]:
    """Number of the line, source and target, for each source of a line."""
    for number, (target, *sources) in _lines(path):
        if not sources:
            raise ValueError(f"{path}, line {number}: target and sources expected")
        yield from ((number, source, target) for source in sources)


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """The lines of a list that are not empty, with their numbers, cut at the commas."""
    if not path.is_file():
        raise FileNotFoundError(f"list of pairs not found: {path}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a text file ({error})") from None
    return [(number, row) for number, row in enumerate(rows, 1) if any(row)]


def write_pairs(pairs: Iterable[ViewPair], path: Path) -> None:
    """Write our own list: a CSV with the columns ``source,target``.

    Raises:
        ValueError: there is another list, which may be somebody's own.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_HEADER)
    writer.writerows(pairs)
    written = text.getvalue().encode()
    if path.exists() and path.read_bytes() != written:
        raise ValueError(f"{path} exists and is another list than would be written: move it away")
    with partial_file(path) as partial:
        partial.write_bytes(written)
