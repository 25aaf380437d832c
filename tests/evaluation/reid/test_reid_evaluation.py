"""A network measured on a set: counts, intervals, files, the command."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image
from reid_pieces import colour_set, middle_colour
from typer.testing import CliRunner

from imagpose.cli.commands import app
from imagpose.data.reid import FOLDERS, list_pictures, market_name
from imagpose.evaluation.reid.evaluate import evaluate_reid, open_embedder, write_result
from imagpose.judges.reid import ReidNetwork


def test_people_are_found_by_their_colour_and_files_say_so(tmp_path):
    root = colour_set(tmp_path / "set")
    lonely = root / FOLDERS["query"] / market_name(99, 1, 1)
    lonely.write_bytes(next((root / FOLDERS["query"]).iterdir()).read_bytes())
    result = evaluate_reid(root, middle_colour)
    measures = result.measures()
    assert measures["rank1"].mean == measures["map"].mean == 1.0
    assert result.counts() == "8 of 9 queries count; 16 pictures in the gallery."
    write_result(result, tmp_path / "out", {"network": "colour"})
    stored = json.loads((tmp_path / "out" / "result.json").read_text())
    assert stored["measures"]["rank1"]["mean"] == 1.0 and (stored["queries"], stored["counted"]) == (9, 8)
    rows = list(csv.DictReader((tmp_path / "out" / "queries.csv").open()))
    assert [row["rank"] for row in rows if row["identity"] == "99"] == ["0"] and len(rows) == 9
    with pytest.raises(ValueError, match="--overwrite"):
        write_result(result, tmp_path / "out", {})


def test_features_may_be_changed_before_ranking(tmp_path):
    root = colour_set(tmp_path / "set")

    def turned(part, pictures, features):
        return features if part == "query" else np.roll(features, len(pictures) // 4, axis=0)

    assert evaluate_reid(root, middle_colour, turned).measures()["rank1"].mean < 0.5


def test_the_command_prints_a_table_and_names_what_is_missing(tmp_path):
    root, network = colour_set(tmp_path / "set"), tmp_path / "network"
    network.mkdir()
    ReidNetwork("resnet18-half", 64, 32).eval().save(network)
    found = CliRunner().invoke(app, ["reid", "evaluate", "--data", str(root), "--network", str(network)])
    assert found.exit_code == 0 and "| rank-1 |" in found.stdout and "8 of 8 queries count" in found.stdout
    for wrong, said in (
        (("--enrich", "face"), "enrich is 'face'"),
        (("--enrich", "query", "--weight", "2"), "weight is 2"),
        (("--enrich", "query"), "key points are needed, in one way: --annotations"),
        (
            ("--enrich", "query", "--annotations", str(root / "market-annotation-train.csv")),
            "no picture of .*query has",
        ),
    ):
        refused = CliRunner().invoke(app, ["reid", "evaluate", "--data", str(root), "--network", "nowhere", *wrong])
        assert isinstance(refused.exception, ValueError) and re.search(said, str(refused.exception))
    with pytest.raises(FileNotFoundError, match="no re-identification network"):
        open_embedder(str(tmp_path))
    assert open_embedder("identity")([Image.new("RGB", (64, 128))]).shape == (1, 128)


def test_what_is_enriched_and_by_which_key_points_stands_in_the_result(tmp_path, monkeypatch):
    root, points = colour_set(tmp_path / "set"), tmp_path / "query.csv"
    head, first, *_ = (root / "market-annotation-train.csv").read_text().splitlines()
    names = [own.file.name for own in list_pictures(root, "query")]
    points.write_text("\n".join([head, *(":".join([name, *first.split(":")[1:]]) for name in names[1:])]) + "\n")
    draw = lambda drawings: [[own.source] * len(own.poses) for own in drawings]  # noqa: E731
    monkeypatch.setattr("imagpose.evaluation.reid.drawing.open_drawing", lambda *_, **settings: draw)
    asked = ["--enrich", "query", "--annotations", str(points), "--size", "128x64", "--out", str(tmp_path / "out")]
    found = CliRunner().invoke(app, ["reid", "evaluate", "--data", str(root), "--network", "identity", *asked])
    assert found.exit_code == 0 and "query: 7 pictures with key points are turned" in found.stderr, found.output
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["enrich"], result["annotations"], result["detect"]) == ("query", [str(points)], None)
    assert (result["size"], result["weight"], result["model"]) == ("128x64", "0.3", "mini")
