"""Pages of pictures: what stands where, taken from the folders that it comes from; nobody twice, nothing made twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.rendered import prepare_people
from imagpose.evaluation.reproduce import figures
from imagpose.evaluation.reproduce.measuring import Measuring
from imagpose.pipeline.sampling import Sampling
from imagpose.sheets import Block, draw_blocks

pytest.importorskip("matplotlib")

HEIGHT, WIDTH, VIEWS = 64, 48, 8


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("figures") / "people"
    prepare_people(0, 1, VIEWS, HEIGHT, WIDTH, folder, test_people=3, workers=1)
    return folder


class Plain:
    """Answers request number n with pictures of the grey 10 n, counting poses."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, list[int]]] = []

    def to(self, device):
        return self

    def set_progress_bar_config(self, **_): ...

    def __call__(self, sources, target_poses, **settings):
        counts = [len(poses) for poses in target_poses]
        self.calls.append((len(sources[0]), counts))
        grey = 10 * len(self.calls)
        return ([[Image.new("RGB", (WIDTH, HEIGHT), (grey, grey, grey))] * count for count in counts],)


@pytest.fixture
def plain(monkeypatch) -> Plain:
    model = Plain()
    monkeypatch.setattr(figures, "load_pipeline", lambda *_: model)
    return model


@pytest.fixture
def drawn(monkeypatch) -> list[list[Block]]:
    """The blocks of each page that is drawn."""
    pages: list[list[Block]] = []

    def draw(blocks):
        pages.append(list(blocks))
        return draw_blocks(blocks)

    monkeypatch.setattr(figures, "draw_blocks", draw)
    return pages


def measuring(out: Path, data: Path) -> Measuring:
    return Measuring(out, data, Sampling(2, 2.0), None, "imagpose reproduce x")


def same(one: Image.Image | None, other: Image.Image) -> bool:
    return one is not None and np.array_equal(np.asarray(one), np.asarray(other))


def test_figure_5_shows_each_method_its_own_picture_of_the_pair(tmp_path, data, plain, drawn) -> None:
    other = tmp_path / "other"
    for number, identity in enumerate(PersonDataset(data, "test").identities):
        (other / identity).mkdir(parents=True)
        for source in range(VIEWS):
            for target in range(VIEWS):
                Image.new("RGB", (WIDTH, HEIGHT), (number, source, target)).save(
                    other / identity / f"{source}_to_{target}.png"
                )
    (tmp_path / "pairs.csv").write_text("source,target\n" + "\n".join(
        f"{identity}/1,{identity}/{5 + number}" for number, identity in enumerate(PersonDataset(data, "test").identities)
    ))  # fmt: skip
    out = tmp_path / "out"
    assert figures.figure5(measuring(out, data), "mini", {"Other": other}, 2, tmp_path / "pairs.csv") == "figure5.png"
    [[block]] = drawn
    assert block.head == ["source", "pose", "Other", "IMAGPose", "truth"]
    dataset = PersonDataset(data, "test")
    assert len(block.rows) == 2 and plain.calls == [(1, [1, 1])]
    for number, (source, _, theirs, ours, truth) in enumerate(block.rows):
        views = {own.view: own.decode() for own in dataset.views(number)}
        assert same(source, views["1"]) and same(truth, views[str(5 + number)])
        assert theirs.getpixel((0, 0)) == (number, 1, 5 + number) and ours.getpixel((0, 0)) == (10, 10, 10)
    page = (out / "figure5.md").read_text()
    assert "![Figure 5: beside other methods](figure5.png)" in page and "    imagpose reproduce x\n" in page
    figures.figure5(measuring(out, data), "mini", {"Other": other}, 2, tmp_path / "pairs.csv")
    assert len(plain.calls) == 1  # what is there is not generated again
    shutil.rmtree(other / dataset.identities[0])
    with pytest.raises(ValueError, match="has no picture of"):
        figures.figure5(measuring(out, data), "mini", {"Other": other}, 2, tmp_path / "pairs.csv")


def test_figure_9_has_the_same_people_in_all_scenarios(tmp_path, data, plain, drawn) -> None:
    figures.figure9(measuring(tmp_path, data), "mini", 2)
    [blocks] = drawn
    assert [len(block.head) for block in blocks] == [4, 4, 6, 4] and [len(block.rows) for block in blocks] == [
        2,
        2,
        2,
        6,
    ]
    assert [calls for _, calls in plain.calls] == [[1, 1], [1, 1], [1, 1], [3, 3]]
    assert [number for number, _ in plain.calls] == [1, 1, 3, 1]
    dataset = PersonDataset(data, "test")
    who = [
        [
            next(name for name in dataset.identities if any(same(row[0], own.decode()) for own in dataset.views(name)))
            for row in block.rows[:: len(block.rows) // 2]
        ]
        for block in blocks
    ]
    assert all(own == who[0] for own in who) and len(set(who[0])) == 2


@pytest.mark.parametrize(("item", "columns"), [("figure10", [7]), ("figure12", [4, 4, 6])])
def test_requests_of_several_sources_and_poses(tmp_path, data, plain, drawn, item, columns) -> None:
    getattr(figures, item)(measuring(tmp_path, data), "mini", 3)
    [blocks] = drawn
    assert [len(block.head) for block in blocks] == columns
    assert all(len(block.rows) == 9 for block in blocks)
    with Image.open(tmp_path / f"{item}.png") as picture:
        assert picture.height > 9 * HEIGHT


@pytest.mark.parametrize("item", ["figure9", "figure10", "figure12"])
def test_requests_that_ask_for_fewer_poses_are_not_shown(tmp_path, data, plain, drawn, item, monkeypatch) -> None:
    """Seven targets make canvases of 3, 3 and 1, and requests of 6 and 1; the list begins with those left over."""
    monkeypatch.setattr(figures, "sample_pairs", lambda pairs, _: list(reversed(pairs)))
    getattr(figures, item)(measuring(tmp_path, data), "mini", 3)
    [blocks] = drawn
    assert {len(row) for block in blocks for row in block.rows} == {len(block.head) for block in blocks}
    assert all(len(block.rows) % 3 == 0 for block in blocks)  # three people
