"""Stage 1 on the pictures of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.prepare import Person, write_dataset
from imagpose.data.records import ViewRecord, make_record
from imagpose.pose import Pose
from imagpose.training.autoencoder import AutoencoderConfig, AutoencoderStage, train_autoencoder

HEIGHT, WIDTH = 64, 32
COUNTS = (3, 1, 2)
HEAD = (16, 12)  # x, y of the nose; the neck is 8 pixels below


def record(identity: str, view: int, split: str) -> ViewRecord:
    """A picture whose colour says who and which, with stripes; views of even numbers have a mask."""
    points = np.zeros((18, 3), np.float32)
    points[0], points[1] = (*HEAD, 1), (HEAD[0], HEAD[1] + 8, 1)
    picture, mask = (
        Image.new("RGB", (WIDTH, HEIGHT), (40 * int(identity), 60 * view, 200)),
        Image.new("L", (WIDTH, HEIGHT)),
    )
    for top in range(8, 56, 8):
        picture.paste((230, 230, 30), (8, top, 24, top + 4))
    mask.paste(255, (8, 4, 24, 60))
    return make_record(
        picture, Pose(points, WIDTH, HEIGHT), identity=identity, view=str(view), split=split,
        source_file=f"{identity}/{view}.png", mask=mask if view % 2 == 0 else None,
    )  # fmt: skip


def make(person: Person) -> Any:
    return [record(person.identity, view, person.split) for view in person.views], []


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stored") / "data"
    people = [Person(str(number), "train", tuple(range(count))) for number, count in enumerate(COUNTS)]
    write_dataset(folder, [*people, Person("5", "test", (0, 1))], make, {}, workers=1)
    return folder


@pytest.fixture
def values(run_values: dict, data: Path) -> dict:
    stored = {"dataset": str(data), "height": HEIGHT, "width": WIDTH}
    model = {"block_out_channels": [8, 12], "latent_channels": 6, "norm_num_groups": 2}
    return run_values | {
        "data": stored, "validation": stored | {"split": "test"}, "model": model, "crop_size": 32, "reduced_fraction": 0,
        "person_weight": 4.0, "head_weight": 10.0,
    }  # fmt: skip


def test_each_picture_comes_as_often_as_any_other_with_its_own_mask_and_head(values: dict, data: Path) -> None:
    views = AutoencoderStage(AutoencoderConfig.model_validate(values)).cache
    numbers = np.arange(views.num_identities)
    assert (views.num_identities, views.num_views) == (sum(COUNTS), 1)
    names = views.names(numbers, 0 * numbers)
    assert sorted(names) == sorted(f"{own}/{view}" for own, count in enumerate(COUNTS) for view in range(count))
    assert [name.split("/")[1] for name in names] == [
        "0",
        "0",
        "0",
        "1",
        "1",
        "2",
    ]  # everybody once before anybody twice
    dataset = PersonDataset(data, "train")
    for number, name in enumerate(names):
        person, view = name.split("/")
        stored = dataset.views(person)[int(view)]
        pixels = np.asarray(stored.decode()).transpose(2, 0, 1) / 127.5 - 1
        one = np.array([number]), np.array([0])
        assert np.abs(views.pixels(*one)[0].numpy() - pixels).max() < 1e-6
        known = stored.foreground()
        assert np.array_equal(views.foreground(*one)[0], np.ones((HEIGHT, WIDTH), bool) if known is None else known)
        assert np.array_equal(views.get("keypoints", *one)[0], stored.keypoints)


def test_a_whole_picture_without_a_mask_counts_as_the_person(values: dict) -> None:
    stage = AutoencoderStage(AutoencoderConfig.model_validate(values))
    names = stage.cache.names(np.arange(6), np.zeros(6))
    weights = stage._weights(np.arange(6), np.zeros(6, int)).numpy()
    for name, own in zip(names, weights, strict=True):
        assert own[HEAD[1], HEAD[0]] == 10 and own[40, 16] == 4
        assert own[40, 2] == (1 if int(name[-1]) % 2 == 0 else 4)


def test_a_run_on_a_data_set_learns_and_resumes_exactly(write_config, values: dict, tmp_path: Path) -> None:
    values = values | {"steps": 8, "learning_rate": 3e-3, "workers": 1}
    whole = train_autoencoder(write_config(values | {"output": str(tmp_path / "whole")}, "whole.yaml"))
    assert whole.losses[-1] < whole.losses[0] and whole.validation["psnr"] > 3
    train_autoencoder(write_config(values), stop_after=1e-9)
    assert train_autoencoder(write_config(values), resume="latest").losses == whole.losses[1:]


def test_people_of_both_parts_and_options_of_other_stages_are_refused(write_config, values: dict, data: Path) -> None:
    config = write_config(values)
    for overrides, said in (
        (["validation.split=train"], "validation shows the people of data"),
        (["data.cache=somewhere"], "data.cache: unknown key"),
        (["data.split=nobody"], "no split 'nobody'"),
        (["data.dataset=nowhere"], "nowhere holds no finished data set"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            train_autoencoder(config, overrides)
    assert not (config.parent / "run").exists()
