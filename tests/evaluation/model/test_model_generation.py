"""What `imagpose evaluate model` asks of a pipeline, keeps, continues and refuses."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from model_pieces import (
    ABSENT,
    HEIGHT,
    PAIRS,
    WIDTH,
    make_person,
    measure,
    picture,
    read,
    rows_of,
)
from PIL import Image
from typer.testing import CliRunner

from imagpose.cli.evaluate import app
from imagpose.data.pairs import write_pairs
from imagpose.data.prepare import Person, write_dataset
from imagpose.data.rendered import prepare_people
from imagpose.evaluation import model as evaluation
from imagpose.evaluation.model_requests import ModelEvaluation, ask
from imagpose.evaluation.networks import Network, Networks
from imagpose.models.autoencoder import decode_latents, encode_latents
from imagpose.pipeline.sampling import Sampling
from imagpose.pixels import pictures_to_signed
from imagpose.views import ViewGrid


def test_what_is_asked_of_the_pipeline(run, pipeline, tmp_path):
    run(scenarios=("T1", "T3", "star"), seeds=2)
    assert [call["scenario"] for call in pipeline.calls] == ["T1", "T1", "T3", "T3", "star", "star"]
    t1, again, t3, _, star, _ = pipeline.calls
    assert (t1["num_inference_steps"], t1["guidance_scale"], t1["height"], t1["width"]) == (3, 1.5, HEIGHT, WIDTH)
    joints = [[tuple(pose.keypoints[0, :2]) for pose in poses] for poses in t1["poses"]]
    assert joints == [[(3, 1)], [(3, 2)], [(2, 1)]]  # ann/b, ann/c?, bo/y
    np.testing.assert_array_equal(np.asarray(t1["sources"][2][0]), picture("bo", 0))
    assert [pose.keypoints[0, 1] for pose in t3["source_poses"][0]] == [0, 2, 3]  # a, then c? and d, for b is asked for
    assert len(t3["poses"]) == 2  # bo has too few views
    assert [[pose.keypoints[0, 1] for pose in poses] for poses in star["poses"]] == [[1, 2, 3], [1, 2]]
    # Of star's pictures those are kept that the list of pairs has.
    kept = sorted(
        path.relative_to(tmp_path / "out/pictures/star") for path in (tmp_path / "out").glob("*/star/*/*_0.png")
    )
    assert [str(path) for path in kept] == ["ann/a_to_b_0.png", "ann/a_to_c%3F_0.png", "bo/x_to_y_0.png"]
    seeds = [generator.initial_seed() for call in (t1, again, t3, star) for generator in call["generator"]]
    assert len(set(seeds)) == len(seeds)


def test_requests_of_any_size_on_any_grid(run, pipeline, tmp_path):
    _, summary = run(scenarios=("T1", "2:2"), grids=(ViewGrid(2, 2), ViewGrid(1, 3)), protocols=("clean",))
    asked = [(call["scenario"], str(call["grid"]), len(call["sources"])) for call in pipeline.calls]
    assert asked == [("T1", "2x2", 3), (None, "2x2", 1), ("T1", "1x3", 3), (None, "1x3", 1)]
    for call in pipeline.calls[1::2]:
        joints = [[tuple(pose.keypoints[0, :2]) for pose in poses] for poses in call["poses"]]
        assert joints == [[(3, 1), (3, 2)]]  # ann/b and ann/c?; bo has three views
        np.testing.assert_array_equal(np.asarray(call["sources"][0][1]), picture("ann", 3))
    assert list(summary["methods"])[2:] == ["T1", "2:2", "T1 on 1x3", "2:2 on 1x3"]
    assert [summary["methods"][name]["pairs"] for name in ("T1", "2:2", "2:2 on 1x3")] == [3, 2, 2]
    assert summary["settings"]["left_out"] == {"T1": 0, "2:2": 1, "T1 on 1x3": 0, "2:2 on 1x3": 1}
    made = sorted(str(path.relative_to(tmp_path / "out/pictures")) for path in (tmp_path / "out").glob("*/2%3A2*/*/*"))
    assert made == [
        f"2%3A2{grid}/ann/a_to_{view}_0.png" for grid in (" on 1x3", "") for view in ("b", "c%3F")
    ]  # fmt: skip
    seeds = {call["generator"][0].initial_seed() for call in pipeline.calls}
    assert len(seeds) == 4


def test_all_pairs_by_the_rule_where_there_is_no_list(run, data):
    (data / "pairs-test.csv").unlink()
    _, summary = run()
    assert summary["methods"]["T1"]["pairs"] == 5 * 4 + 3 * 2


def test_a_limit_takes_the_same_pairs_again(run, tmp_path):
    names = []
    for out in ("one", "two"):
        run(out, limit=2)
        names.append(sorted(path.name for path in (tmp_path / out / "pictures" / "T1").rglob("*.png")))
    assert names[0] == names[1] and len(names[0]) == 2
    _, summary = run("all", limit=100)
    assert summary["settings"]["pairs"] == len(PAIRS)
    with pytest.raises(ValueError, match="limit is 0"):
        run("none", limit=0)


def test_the_autoencoder_alone_is_a_line(run, pipeline, tmp_path):
    run()
    pixels = pictures_to_signed([Image.fromarray(picture("ann", 1))])
    padded = torch.nn.functional.pad(pixels, (0, 0, 1, 1), mode="replicate")  # to a multiple of 4
    with torch.no_grad():
        decoded = decode_latents(pipeline.vae, encode_latents(pipeline.vae, padded))
    decoded = decoded[:, :, 1:-1]
    expected = ((decoded[0].clamp(-1, 1) + 1) * 127.5).round().byte().movedim(0, -1).numpy()
    np.testing.assert_array_equal(read(tmp_path / "out/pictures/autoencoder/ann/b.png"), expected)


def test_training_pictures_are_written_where_a_network_wants_them(run, tmp_path):
    run("without")
    assert not (tmp_path / "without/pictures/train").exists()
    features = Network(lambda pixels: pixels.float().mean((2, 3)), "mean colour")
    _, summary = run("with", networks=Networks(ABSENT.lpips, features, ABSENT.field_inception))
    assert sorted(path.name for path in (tmp_path / "with/pictures/train/cyril").iterdir()) == [
        "t.png",
        "u.png",
        "v.png",
    ]
    rows = {(row["protocol"], row["key"]): row for row in summary["methods"]["T1"]["rows"]}
    assert rows["clean", "fid_train"]["value"] > 0 and rows["field", "fid_train"]["needs"] == "needs I"


def test_a_run_continues_and_refuses_another_ones_folder(run, pipeline, tmp_path):
    first, _ = run(seeds=2)
    pictures = tmp_path / "out" / "pictures"
    lost, kept = pictures / "T1/bo/x_to_y_1.png", pictures / "T1/ann/a_to_b_1.png"
    before, time = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    pipeline.calls.clear()
    assert run(seeds=2)[0] == first
    assert len(pipeline.calls) == 1 and len(pipeline.calls[0]["poses"]) == 1  # only what was missing
    assert lost.read_bytes() == before and kept.stat().st_mtime_ns == time  # and the same again
    run(scenarios=("T1", "T2"), seeds=1)  # more of the same run
    for changes, message in (
        ({"sampling": Sampling(4, 1.5)}, "steps differ"), ({"pairs": tmp_path / "few.csv"}, "pairs differ"),
    ):  # fmt: skip
        write_pairs(PAIRS[:2], tmp_path / "few.csv")
        with pytest.raises(ValueError, match=f"out holds results of other settings .*{message}"):
            run(**changes)
    (tmp_path / "known" / "weights").write_text("other")
    with pytest.raises(ValueError, match="model differ"):
        run()


def test_the_packaged_model_is_the_same_wherever_the_package_lies(data, pipeline, tmp_path, monkeypatch):
    """Its name and its weights tell, neither their place nor the times of their files."""
    for place, content in (("one", "weights"), ("two", "weights"), ("three", "others")):
        weights = tmp_path / place / "mini" / "unet" / "weights.bin"
        weights.parent.mkdir(parents=True)
        weights.write_text(content)
        (tmp_path / place / "mini" / "model_index.json").write_text("{}")
        (tmp_path / place / "mini" / "README.md").write_text(place)

    def evaluated(place):
        monkeypatch.setattr("imagpose.models.folder.WEIGHTS_ROOT", tmp_path / place)
        return measure(tmp_path / "out", "mini", data, sampling=Sampling(3, 1.5))

    first = evaluated("one")
    pipeline.calls.clear()
    os.utime(tmp_path / "two" / "mini" / "unet" / "weights.bin", (0, 0))
    assert evaluated("two") == first and not pipeline.calls
    with pytest.raises(ValueError, match="model differ"):
        evaluated("three")


def test_the_shares_of_processes_make_the_whole(run, data, pipeline, tmp_path):
    run()
    asked = ModelEvaluation("known", data, sampling=Sampling(3, 1.5))
    for process in (1, 0):
        pictures = evaluation.Pictures(tmp_path / "shared")
        evaluation._generate(pipeline, asked, ask(asked), pictures, (process, 2))
        assert len(list((tmp_path / "shared").rglob("*.png"))) == (1 if process else 3)
    for path in (tmp_path / "shared/T1").rglob("*.png"):
        other = tmp_path / "out/pictures/T1" / path.relative_to(tmp_path / "shared/T1")
        assert path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenarios": ("T1", "T5")}, "scenario 'T5'"),
        ({"scenarios": ()}, "some of T1,T2,T3,star"),
        ({"scenarios": ("T1", "T1")}, "each once"),
        ({"scenarios": ("1-8",)}, r"scenario '1-8': .* or sources:targets, for example 1:8"),
        ({"scenarios": ("0:2",)}, "scenario '0:2'"),
        ({"scenarios": ("5:9",)}, "scenario 5:9: no pair of the list can be asked for"),
        ({"grids": ()}, "grid is ''"),
        ({"grids": (ViewGrid(2, 2), ViewGrid(2, 2))}, "grid is '2x2,2x2'; .* each once"),
        ({"grids": (ViewGrid(1, 1),)}, "at least 2 views"),
        ({"seeds": 0}, "seeds is 0"),
        ({"protocols": ("old",)}, "protocol is 'old'"),
        ({"pairs": Path("nowhere.csv")}, "nowhere.csv"),
    ],
)
def test_bad_settings_write_nothing(run, tmp_path, changes, message):
    with pytest.raises((ValueError, OSError), match=message):
        run(**changes)
    assert not (tmp_path / "out").exists()


def test_mini_is_asked_for_eight_poses_on_nine_slots(tmp_path):
    prepare_people(2_500_100, 1, 9, 128, 96, tmp_path / "people", workers=1)
    settings = ["--data", str(tmp_path / "people"), "--limit", "1", "--steps", "1", "--workers", "1"]
    outcome = CliRunner().invoke(
        app,
        [
            "model",
            *settings,
            "--request",
            "1:8",
            "--grid",
            "3x3",
            "--protocol",
            "clean",
            "--out",
            str(tmp_path / "out"),
        ],
    )
    assert outcome.exit_code == 0, outcome.output
    assert "| 1:8 on 3x3 |" in outcome.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["methods"]["1:8 on 3x3"]["pairs"] == 8 and "T1" not in summary["methods"]
    rows = rows_of(summary, "1:8 on 3x3")
    for key in (
        "gradient_ratio",
        "detail",
        "features_over_copy",
        "features_over_autoencoder",
        "colour",
        "iou",
        "pck_relative",
    ):
        assert rows[key]["count"] == 8 and np.isfinite(rows[key]["value"]), key
    assert len(list((tmp_path / "out" / "pictures" / "1%3A8 on 3x3").rglob("*.png"))) == 8


def test_long_names_of_any_script(tmp_path, pipeline):
    """Two people and views whose names fill a file's name by themselves, and differ at their ends only."""
    people = [
        Person(f"{'ก' * 80}{end}", "test", tuple(f"{'名' * 80}{number}" for number in range(3))) for end in ("1", "22")
    ]
    write_dataset(tmp_path / "data", people, make_person, {}, workers=1)
    pairs = [
        (f"{own.identity}/{own.views[0]}", f"{own.identity}/{target}") for own in people for target in own.views[1:]
    ]
    write_pairs(pairs, tmp_path / "data" / "pairs-test.csv")
    table = measure(tmp_path / "out", tmp_path / "known", tmp_path / "data", protocols=("clean",))
    made = sorted((tmp_path / "out/pictures/T1").rglob("*.png"))
    assert len(made) == 4 == len({file.read_bytes() for file in made})
    assert max(len(file.name.encode()) for file in (tmp_path / "out").rglob("*")) < 240
    stored = [read(file) for file in (tmp_path / "out/pictures/views").rglob("*.png")]
    for own in people:
        for number in range(3):
            wanted = picture(own.identity, number)
            assert sum(np.array_equal(wanted, found) for found in stored) == 1
    pipeline.calls.clear()
    assert measure(tmp_path / "out", tmp_path / "known", tmp_path / "data", protocols=("clean",)) == table
    assert not pipeline.calls
    asked = ModelEvaluation("known", tmp_path / "data", others={"theirs": tmp_path / "out/pictures/T1"})
    found = evaluation._find_others(asked.others, ask(asked))["theirs"]
    assert len(set(found)) == 4


def test_names_that_point_elsewhere_stay_in_the_folder():
    pictures = evaluation.Pictures(Path("out"))
    assert pictures.view("../..").parts == ("out", "views", "%2E%2E", "%2E%2E.png")
