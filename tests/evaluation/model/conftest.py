"""Data sets, a known pipeline, and a run of the evaluation."""

import json

import pytest
from model_pieces import (
    PAIRS,
    PEOPLE,
    StandInPipeline,
    make_person,
    make_styled,
    measure,
)

from imagpose.data.pairs import write_pairs
from imagpose.data.prepare import write_dataset
from imagpose.evaluation import model as evaluation
from imagpose.pipeline.sampling import Sampling


@pytest.fixture
def data(tmp_path):
    write_dataset(tmp_path / "data", PEOPLE, make_person, {}, workers=1)
    write_pairs(PAIRS, tmp_path / "data" / "pairs-test.csv")
    return tmp_path / "data"


@pytest.fixture
def styled(tmp_path):
    write_dataset(tmp_path / "styled", PEOPLE, make_styled, {}, workers=1)
    write_pairs(PAIRS, tmp_path / "styled" / "pairs-test.csv")
    return tmp_path / "styled"


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    folder = tmp_path / "known"
    folder.mkdir()
    (folder / "model_index.json").write_text("{}")
    pipeline = StandInPipeline()
    monkeypatch.setattr(evaluation, "load_pipeline", lambda *_: pipeline)
    return pipeline


@pytest.fixture
def run(tmp_path, data, pipeline):
    """The tables and the summary of a run."""

    def evaluate(out="out", **changes):
        table = measure(tmp_path / out, tmp_path / "known", data, **{"sampling": Sampling(3, 1.5), **changes})
        evaluate.out = tmp_path / out
        return table, json.loads((tmp_path / out / "summary.json").read_text())

    return evaluate
