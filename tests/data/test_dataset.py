"""Reading by identity, and shard by shard for many processes: each view once, whatever the shards' sizes."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_people import make_small, small_people, small_picture

from imagpose.data import dataset as dataset_module
from imagpose.data.dataset import PersonDataset
from imagpose.data.prepare import write_dataset

COUNTS = [3, 1, 2, 5, 1, 4, 2, 2, 1]  # shards of 4, 7, 6, 4 and 1 views
SHARD_OF = {"0": 0, "1": 0, "2": 1, "3": 1, "4": 2, "5": 2, "6": 3, "7": 3, "8": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set")
    people = [*small_people(COUNTS), *small_people([2, 3], "test", first=20), *small_people([1], "test", first=3)]
    write_dataset(path, people, make_small, {}, workers=1, views_per_shard=4)
    assert len(list(path.glob("train-*.parquet"))) == 5
    return path


def names(views) -> list[tuple[str, str]]:
    return [(view.identity, view.view) for view in views]


EVERY = [(str(identity), str(view)) for identity, count in enumerate(COUNTS) for view in range(count)]


def test_identities_of_a_split(folder: Path) -> None:
    train = PersonDataset(folder, "train")
    assert train.identities == [str(number) for number in range(9)] and len(train) == 9
    assert train.view_counts.tolist() == COUNTS and train.left_out == 0
    assert PersonDataset(folder, "test").identities == ["20", "21", "3"]
    assert len(PersonDataset(folder)) == 12


def test_identities_with_too_few_views_are_left_out(folder: Path) -> None:
    train = PersonDataset(folder, "train", min_views=2)
    assert (train.identities, train.left_out) == (["0", "2", "3", "5", "6", "7"], 3)
    assert train.view_counts.tolist() == [3, 2, 5, 4, 2, 2]
    assert [len(train.views(number)) for number in range(6)] == [3, 2, 5, 4, 2, 2]


def test_views_by_number_and_by_name_in_any_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "_OPEN_SHARDS", 2)
    train = PersonDataset(folder, "train")
    for number in np.random.default_rng(0).integers(0, 9, 40).tolist():
        views = train.views(number)
        assert names(views) == names(train.views(str(number))) == [(str(number), str(k)) for k in range(COUNTS[number])]
        assert np.array_equal(np.asarray(views[-1].decode()), np.asarray(small_picture(100 * number + len(views) - 1)))


def test_a_copy_for_another_process_reads_the_same(folder: Path) -> None:
    train = PersonDataset(folder, "train")
    train.views(3)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # which shares nothing that is open
        assert names(pool.submit(train.views, 3).result()) == names(train.views(3))


@pytest.mark.parametrize("seed", [None, 4])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 9, 13])
def test_no_view_twice_and_none_lost(folder: Path, world_size: int, seed: int | None) -> None:
    shares = [
        names(PersonDataset(folder, "train").stream(rank, world_size, seed=seed, epoch=2)) for rank in range(world_size)
    ]
    assert Counter(view for share in shares for view in share) == Counter(EVERY)
    people = [len({identity for identity, _ in share}) for share in shares]
    assert max(people) - min(people) <= 1
    if seed is None:
        assert [view for share in shares for view in share] == EVERY


def test_shuffled_streams_are_those_of_seed_and_epoch(folder: Path) -> None:
    train = PersonDataset(folder, "train")
    one = names(train.stream(seed=1, epoch=0))
    assert one == names(PersonDataset(folder, "train").stream(seed=1, epoch=0))
    orders = {tuple(names(train.stream(seed=seed, epoch=epoch))) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9 and tuple(EVERY) not in orders
    shards = [SHARD_OF[identity] for identity, _ in one]
    assert sum(a != b for a, b in itertools.pairwise(shards)) == 4  # shards are not mixed
    inside = {
        tuple(identity for identity, view in order if SHARD_OF[identity] == 1 and view == "0") for order in orders
    }
    assert inside == {("2", "3"), ("3", "2")}


def test_a_process_needs_only_the_shards_of_its_run(tmp_path: Path) -> None:
    write_dataset(tmp_path, small_people(COUNTS), make_small, {}, workers=1, views_per_shard=4)
    train = PersonDataset(tmp_path)
    for number in (0, 4):
        (tmp_path / f"train-{number:05d}-of-00005.parquet").unlink()
    assert names(train.stream(1, 3)) == [view for view in EVERY if view[0] in ("3", "4", "5")]


def test_wrong_requests(folder: Path) -> None:
    with pytest.raises(ValueError, match="no split 'validation', only train, test"):
        PersonDataset(folder, "validation")
    with pytest.raises(ValueError, match="no identity of test has 4 views"):
        PersonDataset(folder, "test", min_views=4)
    with pytest.raises(ValueError, match="no identity '77'"):
        PersonDataset(folder).views("77")
    with pytest.raises(ValueError, match="'3' stands in several splits"):
        PersonDataset(folder).views("3")
    assert len(PersonDataset(folder, "test").views("3")) == 1
    for rank in (-1, 2):
        with pytest.raises(ValueError, match=f"rank is {rank}; 0 to 1 expected"):
            next(PersonDataset(folder).stream(rank, 2))


def test_an_index_that_counts_otherwise_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path, small_people(COUNTS), make_small, {}, workers=1)
    index = pq.read_table(tmp_path / "index.parquet")
    pq.write_table(index.slice(1), tmp_path / "index.parquet")
    info = json.loads((tmp_path / "info.json").read_text())
    info["index"]["bytes"] = (tmp_path / "index.parquet").stat().st_size
    (tmp_path / "info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="counts other identities or pictures"):
        PersonDataset(tmp_path)
