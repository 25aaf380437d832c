"""The numbers of `imagpose evaluate model` are those of the pictures, arrays and people."""

import json

import numpy as np
import pyarrow.parquet
import pytest
import torch
from model_pieces import (
    PAIRS,
    StandInPipeline,
    measure,
    picture,
    read,
    rows_of,
)
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.rendered import prepare_people
from imagpose.evaluation import model as evaluation
from imagpose.evaluation.model_pictures import colour_parts
from imagpose.evaluation.networks import Needs, Networks
from imagpose.metrics.colour import part_colour_errors
from imagpose.metrics.detail import detail_correlation, gradient_energy
from imagpose.metrics.perceptual import feature_distance
from imagpose.metrics.pixels import psnr, ssim
from imagpose.metrics.statistics import bootstrap_mean
from imagpose.pipeline.sampling import Sampling
from imagpose.pixels import pictures_to_signed
from imagpose.views import ViewGrid


def test_the_numbers_are_those_of_the_files(run, tmp_path):
    table, summary = run(scenarios=("T1", "T3"), seeds=2)
    pictures = tmp_path / "out" / "pictures"
    np.testing.assert_array_equal(read(pictures / "views/ann/c%3F.png"), picture("ann", 2))
    generated = [
        [read(pictures / "T1" / f"{name}_{number}.png") for number in (0, 1)]
        for name in ("ann/a_to_b", "ann/a_to_c%3F", "bo/x_to_y")
    ]
    truth = [picture("ann", 1), picture("ann", 2), picture("bo", 1)]
    sources = [picture("ann", 0), picture("ann", 0), picture("bo", 0)]

    def value(method, key, best_of=1):
        (row,) = (
            row for row in summary["methods"][method]["rows"]
            if (row["protocol"], row["key"], row["best_of"]) == ("clean", key, best_of)
        )  # fmt: skip
        return row["value"]

    expected = [[psnr(own, other) for own in samples] for samples, other in zip(generated, truth, strict=True)]
    assert value("T1", "psnr") == pytest.approx(np.mean(expected, 0)[0])
    assert summary["methods"]["T1"]["means_of_samples"]["clean_psnr"] == pytest.approx(np.mean(expected, 0).tolist())
    best = [np.argmax([ssim(own, other) for own in samples]) for samples, other in zip(generated, truth, strict=True)]
    assert value("T1", "psnr", 2) == pytest.approx(np.mean([own[i] for own, i in zip(expected, best, strict=True)]))
    copied = [psnr(source, other) for source, other in zip(sources, truth, strict=True)]
    assert value("copy of the source", "psnr") == pytest.approx(np.mean(copied))
    assert value("T1", "psnr_mask") > 0  # masks of the data set
    (found,) = (
        own for own in summary["comparisons"] if (own["method"], own["column"]) == ("T1", "clean_psnr")
    )  # fmt: skip
    assert found["difference"]["mean"] == pytest.approx(np.mean(expected, 0)[0] - np.mean(copied))
    assert summary["settings"]["left_out"] == {"T1": 0, "T3": 1} and summary["methods"]["T3"]["pairs"] == 2
    assert any("T3: 1 pairs left out" in note for note in summary["notes"])
    lines = table.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:9]] == [
        "| copy of the source", "| autoencoder alone", "| T1", "| T1, best of 2 by SSIM", "| T3",
        "| T3, best of 2 by SSIM", "| real test pictures",
    ]  # fmt: skip
    assert "| needs L |" in lines[2]


def test_measures_of_the_person_are_those_of_the_arrays(pipeline, styled, tmp_path):
    table = measure(tmp_path / "out", tmp_path / "known", styled, sampling=Sampling(3, 1.5), protocols=("clean",))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    pictures = tmp_path / "out" / "pictures"
    views = {f"{own.identity}/{own.view}": own for own in PersonDataset(styled, "test").stream()}
    expected = []
    for (source, target), name in zip(PAIRS, ("ann/a_to_b", "ann/a_to_c%3F", "bo/x_to_y"), strict=True):
        given, truth = views[source], views[target]
        made, true, mask = read(pictures / "T1" / f"{name}_0.png"), np.asarray(truth.decode()), truth.foreground()
        errors = part_colour_errors(made, true, truth.part_map())
        assert set(errors) == {1, 3}
        pixels = [pictures_to_signed([Image.fromarray(own)]) for own in (made, np.asarray(given.decode()), true)]
        distances = [float(feature_distance(own, pixels[2], torch.from_numpy(mask)[None])) for own in pixels[:2]]
        expected.append(
            [gradient_energy(made, mask), gradient_energy(true, mask), detail_correlation(made, true, mask)]
            + [errors[1], errors[3], *distances]
        )
    of_made, of_true, detail, skin, top, made, copied = np.mean(expected, axis=0)
    rows = rows_of(summary, "T1")
    assert rows["gradient_ratio"]["value"] == pytest.approx(of_made / of_true)
    assert rows["detail"]["value"] == pytest.approx(detail)
    assert rows["colour_skin"]["value"] == pytest.approx(skin) and rows["colour_top"]["value"] == pytest.approx(top)
    assert rows["colour"]["value"] == pytest.approx((skin + top) / 2)
    assert rows["features_over_copy"]["value"] == pytest.approx(made / copied, rel=1e-4)
    assert rows["colour_hair"]["value"] is None and "on 100 pixels" in rows["colour_hair"]["needs"]
    assert rows["pck_relative"]["needs"] == "needs rendered people, or for key points --detect"
    assert rows_of(summary, "copy of the source")["features_over_copy"]["value"] == pytest.approx(1)
    assert rows_of(summary, "autoencoder alone")["features_over_autoencoder"]["value"] == pytest.approx(1)
    drawn = [
        psnr(colour_parts(np.asarray(given.decode()), given.part_map(), truth.part_map()), np.asarray(truth.decode()))
        for given, truth in ([views[name] for name in pair] for pair in PAIRS)
    ]
    assert rows_of(summary, "mean colours")["psnr"]["value"] == pytest.approx(np.mean(drawn))
    assert rows["gradient_ratio"]["count"] == 3 and rows["gradient_ratio"]["low"] < rows["gradient_ratio"]["high"]

    assert set(summary["methods"]["T1"]["styles"]) == {"photographic", "toon"}
    toon = rows_of(summary, "T1", "toon")
    assert toon["detail"]["value"] == pytest.approx(expected[2][2]) and toon["detail"]["count"] == 1
    photographic = rows_of(summary, "T1", "photographic")
    assert photographic["gradient_ratio"]["value"] == pytest.approx(
        (expected[0][0] + expected[1][0]) / (expected[0][1] + expected[1][1])
    )
    whole, person = table.split("\n\n")
    assert whole.startswith("| clean | SSIM") and person.startswith("| clean, the person alone | gradient energy")
    assert [line.split(" | ")[0] for line in person.splitlines()[2:]] == [
        f"| {method}{style}"
        for method in ("copy of the source", "autoencoder alone", "mean colours", "T1")
        for style in ("", ", photographic", ", toon")
    ]


def test_parts_are_filled_with_their_colours_in_the_source():
    picture = np.array([[[10, 0, 0], [20, 0, 0], [0, 40, 0]], [[30, 0, 0], [0, 0, 90], [0, 0, 101]]], np.uint8)
    parts, target = np.array([[0, 0, 1], [0, 2, 2]], np.uint8), np.array([[2, 1], [0, 3], [0, 0]], np.uint8)
    person = [0, 13, 64]  # mean of (0, 40, 0), (0, 0, 90), (0, 0, 101), for part 3, which the source does not show
    expected = [[[0, 0, 96], [0, 40, 0]], [[20, 0, 0], person], [[20, 0, 0], [20, 0, 0]]]
    np.testing.assert_array_equal(colour_parts(picture, parts, target), expected)


def test_views_that_fill_a_request_are_measured(run, tmp_path):
    _, summary = run(scenarios=("1:4",), grids=(ViewGrid(3, 3),), protocols=("clean",))
    assert summary["methods"]["1:4 on 3x3"]["pairs"] == 4 and summary["settings"]["pairs"] == len(PAIRS)
    assert summary["methods"]["copy of the source"]["pairs"] == len(PAIRS)
    assert (tmp_path / "out/pictures/autoencoder/ann/e.png").is_file()
    rows = rows_of(summary, "1:4 on 3x3")
    assert rows["features_over_autoencoder"]["count"] == rows["detail"]["count"] == 4
    (compared,) = (
        own for own in summary["comparisons"] if own["method"] == "1:4 on 3x3" and own["column"] == "clean_psnr"
    )
    assert compared["pairs"] == 2  # those of the list


class TruthfulPipeline(StandInPipeline):
    """Returns the true view of a data set whose pose is asked for."""

    def __init__(self, folder):
        super().__init__()
        self.views = {own.keypoints.tobytes(): own.decode() for own in PersonDataset(folder, "test").stream()}

    def __call__(self, sources, target_poses, source_poses, **settings):
        return ([[self.views[pose.keypoints.tobytes()] for pose in poses] for poses in target_poses],)


def test_rendered_people_are_judged(tmp_path, pipeline, monkeypatch):
    data = tmp_path / "rendered"
    prepare_people(2_500_000, 3, 4, 256, 176, data, workers=1)
    monkeypatch.setattr(evaluation, "load_pipeline", lambda *_: TruthfulPipeline(data))
    table = measure(
        tmp_path / "out", tmp_path / "known", data, scenarios=("T1", "T3"), protocols=("clean",), limit=6,
        networks=Networks(*[Needs("not asked for")] * 4),
    )  # fmt: skip
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    rows = {
        name: {row["key"]: row["value"] for row in method["rows"] if row["best_of"] == 1}
        for name, method in summary["methods"].items()
    }
    for key in ("pck", "oks", "iou", "rank1"):
        assert rows["T1"][key] == rows["T1"][f"{key}_real"] == rows["copy of the source"][f"{key}_real"]
    assert rows["copy of the source"]["pck"] < rows["T1"]["pck"] - 0.2
    assert rows["copy of the source"]["iou"] < rows["T1"]["iou"] - 0.2
    assert "Identity: 12 real views of 3 people are searched." in summary["notes"]
    lines = table.split("\n\n")[0].splitlines()
    head, real = lines[0], lines[-1]
    column = head.split("|").index(" PCK@0.1 ↑ ")
    assert real.startswith("| real test pictures |")
    assert real.split("|")[column].strip().startswith(f"{rows['T1']['pck']:.4f}")
    assert "_real" not in json.dumps([own["column"] for own in summary["comparisons"]])


def test_intervals_are_over_people(run):
    _, summary = run(scenarios=("T1",))
    row = rows_of(summary, "T1")["psnr"]
    values = pyarrow.parquet.read_table(run.out / "pairs.parquet").to_pydict()
    own = np.array(
        [psnr for method, psnr in zip(values["method"], values["clean_psnr"], strict=True) if method == "T1"]
    )
    expected = bootstrap_mean(own, people=np.array(["ann", "ann", "bo"]))
    assert (row["value"], row["low"], row["high"]) == pytest.approx((expected.mean, expected.low, expected.high))
    assert (row["low"], row["high"]) != pytest.approx((bootstrap_mean(own).low, bootstrap_mean(own).high))
    copied = np.array(values["clean_psnr"][:3])
    (found,) = (
        one["difference"] for one in summary["comparisons"] if (one["method"], one["column"]) == ("T1", "clean_psnr")
    )
    wanted = bootstrap_mean(own - copied, people=np.array(["ann", "ann", "bo"]))
    assert (found["low"], found["high"]) == pytest.approx((wanted.low, wanted.high))
