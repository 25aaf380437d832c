"""Reading by identity and as stored, whatever the shards' sizes."""

from __future__ import annotations

import json
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


def test_a_stream_is_every_view_once_as_stored(folder: Path) -> None:
    assert names(PersonDataset(folder, "train").stream()) == EVERY
    few = names(PersonDataset(folder, "train", min_views=4).stream())
    assert few == [view for view in EVERY if view[0] in ("3", "5")]


def test_a_person_needs_only_its_own_shard(tmp_path: Path) -> None:
    write_dataset(tmp_path, small_people(COUNTS), make_small, {}, workers=1, views_per_shard=4)
    train = PersonDataset(tmp_path)
    for number in (0, 4):
        (tmp_path / f"train-{number:05d}-of-00005.parquet").unlink()
    assert [names(train.views(number)) for number in ("3", "4", "5")] == [
        [view for view in EVERY if view[0] == number] for number in ("3", "4", "5")
    ]


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


def test_an_index_that_counts_otherwise_is_refused(tmp_path: Path) -> None:
    write_dataset(tmp_path, small_people(COUNTS), make_small, {}, workers=1)
    index = pq.read_table(tmp_path / "index.parquet")
    pq.write_table(index.slice(1), tmp_path / "index.parquet")
    info = json.loads((tmp_path / "info.json").read_text())
    info["index"]["bytes"] = (tmp_path / "index.parquet").stat().st_size
    (tmp_path / "info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="counts other identities or pictures"):
        PersonDataset(tmp_path)
