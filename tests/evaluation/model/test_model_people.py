"""`imagpose evaluate people`: who is rendered, which pairs are asked for, and what is refused before anything is made."""

import csv

import pytest

from imagpose.data.dataset import PersonDataset
from imagpose.evaluation import model as evaluation
from imagpose.evaluation.model import evaluate_on_people
from imagpose.people import TEST_SEEDS, sample_view_specs
from imagpose.pipeline.sampling import Sampling


@pytest.fixture
def model(tmp_path):
    """A folder that says in which size its model works."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model_index.json").write_text('{"_class_name": "IMAGPosePipeline", "view_height": 64, "view_width": 48}')
    return str(folder)


def test_what_is_measured(model, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(evaluation, "evaluate_model", lambda *given: calls.append(given) or "table")
    out = tmp_path / "out"
    assert evaluate_on_people(out, model, 2, Sampling(3, 1.5), workers=1) == "table"
    ((folder, asked, how),) = calls
    assert (folder, asked.model, asked.data, asked.scenarios) == (out, model, out / "people", ("T1", "T3"))
    assert asked.sampling == Sampling(3, 1.5) and how.workers == 1
    dataset = PersonDataset(out / "people", "test")
    assert list(dataset.identities) == [str(seed) for seed in TEST_SEEDS[:2]]
    assert {(own.height, own.width) for own in dataset.stream()} == {(64, 48)}
    with asked.pairs.open(newline="") as file:
        pairs = [(row["source"].split("/"), row["target"].split("/")) for row in csv.DictReader(file)]
    assert len(pairs) == 8
    for seed in TEST_SEEDS[:2]:
        specs = sample_view_specs(seed, 8)
        own = [(int(source[1]), int(target[1])) for source, target in pairs if source[0] == target[0] == str(seed)]
        facing = [round(specs[target].yaw / 90) % 4 for _, target in own]
        assert sorted(facing) == [0, 1, 2, 3]
        assert {round(specs[source].yaw / 90) % 4 for source, _ in own} == {0}  # from the front


@pytest.mark.parametrize(
    ("identities", "sampling", "message"),
    [
        (0, Sampling(), "identities is 0"),
        (1_000_001, Sampling(), "identities is 1000001"),
    ],
)
def test_bad_settings_write_nothing(model, tmp_path, identities, sampling, message):
    with pytest.raises(ValueError, match=message):
        evaluate_on_people(tmp_path / "out", model, identities, sampling)
    assert not (tmp_path / "out").exists()
