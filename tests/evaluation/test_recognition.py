"""Identity by a given network: its rank-1 is a plain search through the real views, in photographs too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

from imagpose.data.prepare import Person, write_dataset
from imagpose.data.records import make_record
from imagpose.evaluation.folders import ComparedPair
from imagpose.evaluation.judging import JudgedPairs
from imagpose.evaluation.networks import Needs
from imagpose.evaluation.recognition import RecognisedPeople, open_views
from imagpose.evaluation.store import ValueStore
from imagpose.judges.reid import ReidNetwork, embed_pictures
from imagpose.pose import Pose

PEOPLE, VIEWS, SIZE = 4, 3, (48, 64)


def photograph(person: int, view: int) -> Image.Image:
    """Coarse patches of a person's colour, which vary with the view."""
    rng = np.random.default_rng([person, view])
    colour = np.random.default_rng(person).integers(0, 256, 3)
    patches = np.clip(colour + rng.normal(0, 20, (4, 3, 3)), 0, 255).astype(np.uint8)
    return Image.fromarray(patches).resize(SIZE, Image.Resampling.NEAREST)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recognition") / "data"

    def make(person: Person):
        pose = Pose(np.tile(np.array([20, 20, 1], np.float32), (18, 1)), *SIZE)
        return [
            make_record(
                photograph(int(person.identity), view), pose,
                identity=person.identity, view=str(view), split="test", source_file=f"{view}.png",
            )
            for view in person.views
        ], []  # fmt: skip

    people = [Person(str(number), "test", tuple(range(VIEWS))) for number in range(PEOPLE)]
    write_dataset(folder, people, make, {"command": "folder"}, workers=1)
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
    Dinov2Model(Dinov2Config(**sizes)).save_pretrained(folder)
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    BitImageProcessorPil(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, **half).save_pretrained(
        folder
    )
    return folder


def test_rank1_is_a_plain_search_and_the_rest_is_left_to_the_others(data, network, tmp_path) -> None:
    views = open_views(data, None, str(network))
    assert isinstance(views, RecognisedPeople) and isinstance(views.others, Needs)
    shown = [(0, 1), (1, 2), (3, 2), (2, 2)]  # person and view that the "generated" picture shows, for targets 0/2, ...
    pairs, targets, sources = [], [], []
    for person, own in enumerate(shown):
        made, real = tmp_path / f"made{person}.png", tmp_path / f"real{person}.png"
        photograph(*own).save(made)
        photograph(person, 2).save(real)
        pairs.append(ComparedPair(str(person), (made,), real, None))
        targets.append(f"{person}/2")
        sources.append((f"{person}/0",))
    values = views.judge(pairs, JudgedPairs(views, targets, sources), ValueStore(tmp_path / "parts"))
    everything = [(person, view) for person in range(PEOPLE) for view in range(VIEWS)]
    vectors = views.embed(np.stack([np.asarray(photograph(*own)) for own in everything]))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)

    def expected(queries: list[tuple[int, int]]) -> list[float]:
        found = []
        for person, query in enumerate(queries):
            query_vector = vectors[everything.index(query)]
            searched = [own for own in everything if own not in ((person, 0), (person, 2))]
            nearest = max(searched, key=lambda own: float(query_vector @ vectors[everything.index(own)]))
            found.append(float(nearest[0] == person))
        return found

    assert values["rank1"][:, 0].tolist() == expected(shown)
    assert values["rank1_real"][:, 0].tolist() == expected([(person, 2) for person in range(PEOPLE)])
    assert 0 < np.mean(values["rank1"]) < 1  # two of them show somebody else
    assert all(isinstance(values[key], Needs) for key in ("pck", "oks", "iou"))
    assert f"12 real views of 4 people are searched by {network.name}" in views.note


def test_a_network_of_reid_train_is_taken_too(data, tmp_path) -> None:
    torch.manual_seed(0)
    network = ReidNetwork("resnet18-half", 64, 32).eval()
    network.save(tmp_path)
    views = open_views(data, None, str(tmp_path))
    assert isinstance(views, RecognisedPeople)
    pictures = [photograph(person, 0) for person in range(2)]
    expected = embed_pictures(network, pictures)
    np.testing.assert_allclose(views.embed(np.stack([np.asarray(own) for own in pictures])), expected, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 1e-4


def test_without_a_data_set_nobody_can_be_searched(network) -> None:
    with pytest.raises(ValueError, match=r"name it \(--data\)"):
        open_views(None, None, str(network))
    assert isinstance(open_views(None, None, None), Needs)


def test_what_is_no_network_is_refused(data, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="config.json"):
        open_views(data, None, str(tmp_path))
