"""More than four views, other styles: what is asked for, from which data, and what stands in which line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.rendered import prepare_people
from imagpose.evaluation import judging
from imagpose.evaluation import model as evaluation
from imagpose.evaluation.model_pictures import Pictures
from imagpose.evaluation.networks import Needs, Networks
from imagpose.evaluation.reproduce import figures, limitations
from imagpose.evaluation.reproduce.measuring import Measuring
from imagpose.pipeline.sampling import Sampling

pytest.importorskip("matplotlib")


class Copying:
    """Returns its first source for every pose; keeps what it was asked."""

    def __init__(self, vae) -> None:
        self.vae = vae
        self.calls: list[tuple[str, int, int]] = []

    def to(self, device):
        return self

    def set_progress_bar_config(self, **_): ...

    def __call__(self, sources, target_poses, grid, height, width, **settings):
        self.calls += [(str(grid), len(own), len(poses)) for own, poses in zip(sources, target_poses, strict=True)]
        return ([[own[0]] * len(poses) for own, poses in zip(sources, target_poses, strict=True)],)


def vectors(pictures: np.ndarray) -> np.ndarray:
    """Stands in for the identity judge: a coarse copy of the picture."""
    coarse = pictures[:, ::8, ::8].reshape(len(pictures), -1).astype(np.float32)
    return coarse / np.linalg.norm(coarse, axis=1, keepdims=True)


@pytest.fixture
def copying(monkeypatch) -> Copying:
    from imagpose.pipeline import IMAGPosePipeline

    model = Copying(IMAGPosePipeline.from_pretrained("mini").vae)
    for module in (evaluation, figures, limitations):
        monkeypatch.setattr(module, "load_pipeline", lambda *_: model)
    monkeypatch.setattr(evaluation, "find_networks", lambda: Networks(*[Needs("needs it")] * 4))
    monkeypatch.setattr(judging, "find_keypoints", lambda own: np.zeros((len(own), 18, 3), np.float32))
    monkeypatch.setattr(judging, "find_foreground", lambda own: np.ones(own.shape[:3], bool))
    for module in (judging, limitations):
        monkeypatch.setattr(module, "embed_people", vectors)
    return model


def measuring(out: Path, data: Path) -> Measuring:
    return Measuring(out, data, Sampling(2, 2.0), 4, "imagpose reproduce x")


def test_layouts_are_measured_timed_and_compared(tmp_path, copying) -> None:
    data = tmp_path / "people"
    prepare_people(0, 1, 6, 64, 48, data, test_people=2, workers=1)
    table = limitations.views(measuring(tmp_path / "out", data), "mini")
    lines = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in table.splitlines()[2:]}
    assert list(lines) == ["1 to 1, 1x2", "1 to 3, 2x2", "real test pictures"]
    page = (tmp_path / "out" / "views.md").read_text()
    assert "too few views: 1 to 8, 3x3, 4 to 5, 3x3, 1 to 11, 3x4." in page
    assert {(grid, targets) for grid, _, targets in copying.calls} == {("1x2", 1), ("2x2", 3)}
    assert lines["1 to 1, 1x2"][1:5] == ["2", "", "", ""]  # one output has nothing to agree with
    count, together, alone, real, seconds = lines["1 to 3, 2x2"][1:6]
    assert (count, together, alone) == ("4", "0.000", "0.000") and float(real) > 0.001 and float(seconds) >= 0
    assert "| 1 to 1, 1x2 against 1 to 3, 2x2 | alike |" in page


def test_people_of_two_views_are_too_few(tmp_path, copying) -> None:
    data = tmp_path / "people"
    prepare_people(0, 1, 2, 64, 48, data, test_people=3, workers=1)
    with pytest.raises(ValueError, match="at least 4 views"):
        limitations.views(measuring(tmp_path / "out", data), "mini")


def test_styles_show_the_same_people_and_mix_their_sources(tmp_path, copying, monkeypatch) -> None:
    monkeypatch.setattr(limitations, "STYLE_NAMES", ("photographic", "toon"))
    data = tmp_path / "out" / "people"
    table = limitations.styles(measuring(tmp_path / "out", data), "mini", 1, workers=1)
    names = [line.split(" | ")[0].strip("| ") for line in table.splitlines()[2:]]
    per_style = [f"{style}, {kind}" for style in ("photographic", "toon") for kind in ("copied", "T1", "T3")]
    assert names == [*per_style, *(f"toon among photographic, {kind}" for kind in ("T1", "T3")), "real test pictures"]
    sets = {name: PersonDataset(data / name, "test") for name in ("photographic", "toon", "mixed")}
    views = {name: [np.asarray(own.decode()) for own in dataset.views(0)] for name, dataset in sets.items()}
    points = [[own.keypoints for own in dataset.views(0)] for dataset in sets.values()]
    assert all(np.array_equal(own, other) for one in points for own, other in zip(points[0], one, strict=True))
    assert np.array_equal(views["mixed"][0], views["toon"][0])
    assert not np.array_equal(views["toon"][0], views["photographic"][0])
    assert all(
        np.array_equal(one, other) for one, other in zip(views["mixed"][1:], views["photographic"][1:], strict=True)
    )
    assert {(sources, targets) for _, sources, targets in copying.calls} == {(1, 1), (3, 1)}
    with Image.open(tmp_path / "out" / "styles.png") as drawn:
        assert drawn.height > 3 * 128


def test_the_figure_of_styles_shows_pairs_that_were_drawn(tmp_path) -> None:
    """A limit leaves pairs out; a person without any has no row."""
    prepare_people(0, 1, 6, 64, 48, tmp_path / "people", test_people=3, workers=1)
    dataset, pictures = PersonDataset(tmp_path / "people", "test"), Pictures(tmp_path / "pictures")
    first, _, third = dataset.identities
    for identity, target in ((first, 5), (first, 4), (third, 3)):
        file = pictures.generated("T1", (f"{identity}/0", f"{identity}/{target}"), 0)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert limitations._drawn(dataset, pictures) == [(first, "4"), (third, "3")]
