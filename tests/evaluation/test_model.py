"""`imagpose evaluate model` with a pipeline whose pictures are known beforehand."""

import json
import re

import numpy as np
import pyarrow.parquet
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from typer.testing import CliRunner

from imagpose.cli.evaluate import app
from imagpose.data.dataset import PersonDataset
from imagpose.data.pairs import write_pairs
from imagpose.data.prepare import Person, write_dataset
from imagpose.data.records import make_record
from imagpose.data.rendered import prepare_people
from imagpose.evaluation import model as evaluation
from imagpose.evaluation.model import evaluate_on_dataset
from imagpose.evaluation.model_pictures import colour_parts
from imagpose.evaluation.networks import Needs, Network, Networks
from imagpose.metrics.colour import part_colour_errors
from imagpose.metrics.detail import detail_correlation, gradient_energy
from imagpose.metrics.perceptual import feature_distance
from imagpose.metrics.pixels import psnr, ssim
from imagpose.metrics.statistics import bootstrap_mean
from imagpose.models.latents import decode_latents, encode_latents
from imagpose.pipeline.sampling import Sampling
from imagpose.pixels import pictures_to_signed
from imagpose.pose import Pose
from imagpose.views import ViewGrid

HEIGHT, WIDTH = 42, 36  # the height is no multiple of what the autoencoder below halves to
ABSENT = Networks(Needs("needs L: pip install"), Needs("needs F"), Needs("needs I"))
PEOPLE = [
    Person("ann", "test", ("a", "b", "c?", "d", "e")), Person("bo", "test", ("x", "y", "z")),
    Person("cyril", "train", ("t", "u", "v")),
]  # fmt: skip
PAIRS = [("ann/a", "ann/b"), ("ann/a", "ann/c?"), ("bo/x", "bo/y")]


def picture(identity, number, height=HEIGHT, width=WIDTH):
    rng = np.random.default_rng([len(identity), number])
    coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3)).astype(np.uint8)
    return coarse.repeat(4, 0).repeat(4, 1)[:height, :width]


def make_person(person):
    """Views whose first joint says which they are: x is the length of the identity's name, y the view's number."""
    records = []
    for number, view in enumerate(person.views):
        points = np.stack([np.arange(18) + len(person.identity), np.full(18, number), np.ones(18)], 1)
        mask = Image.new("L", (WIDTH, HEIGHT))
        mask.paste(255, (4, 4, 20, 30 + number))
        settings = {"identity": person.identity, "view": view, "split": person.split, "source_file": view}
        own = Image.fromarray(picture(person.identity, number))
        records.append(make_record(own, Pose(points, WIDTH, HEIGHT), mask=mask, **settings))
    return records, []


class StandInPipeline:
    """Returns the view whose pose is asked for, the darker the more its noise says; keeps what it was asked."""

    dtype = torch.float32

    def __init__(self):
        torch.manual_seed(0)
        self.vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(4, 4, 4), norm_num_groups=2, latent_channels=4,
        ).eval()  # fmt: skip
        self.calls = []

    def to(self, device):
        return self

    def set_progress_bar_config(self, **_):
        pass

    def __call__(self, sources, target_poses, source_poses, **settings):
        self.calls.append({"sources": sources, "poses": target_poses, "source_poses": source_poses, **settings})
        darker = [int(torch.randint(5, 60, (1,), generator=own)) for own in settings["generator"]]
        return ([[shifted(pose, own) for pose in poses] for poses, own in zip(target_poses, darker, strict=True)],)


def shifted(pose, darker):
    number, identity = int(pose.keypoints[0, 1]), "x" * int(pose.keypoints[0, 0])
    return Image.fromarray((picture(identity, number).astype(int) - darker).clip(0, 255).astype(np.uint8))


@pytest.fixture
def data(tmp_path):
    write_dataset(tmp_path / "data", PEOPLE, make_person, {}, workers=1)
    write_pairs(PAIRS, tmp_path / "data" / "pairs-test.csv")
    return tmp_path / "data"


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
        settings = {"workers": 1, "networks": ABSENT, "sampling": Sampling(3, 1.5), **changes}
        table = evaluate_on_dataset(tmp_path / out, str(tmp_path / "known"), data, **settings)
        evaluate.out = tmp_path / out
        return table, json.loads((tmp_path / out / "summary.json").read_text())

    return evaluate


def read(path):
    return np.asarray(Image.open(path))


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


def test_the_shares_of_processes_make_the_whole(run, data, pipeline, tmp_path):
    run()
    planned = evaluation._plan(data, ("T1",), None, 1, Sampling(3, 1.5))
    for process in (1, 0):
        pictures = evaluation.Pictures(tmp_path / "shared")
        evaluation._generate(pipeline, planned, pictures, process, 2)
        assert len(list((tmp_path / "shared").rglob("*.png"))) == (1 if process else 3)
    for path in (tmp_path / "shared/T1").rglob("*.png"):
        other = tmp_path / "out/pictures/T1" / path.relative_to(tmp_path / "shared/T1")
        assert path.read_bytes() == other.read_bytes()


def test_page_and_table(run, tmp_path):
    run(scenarios=("T1", "star"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "http" not in page
    assert page.count("<h2>") == 6 and "<h2>star: Worst by SSIM, clean</h2>" in page
    assert page.count("<span>source</span>") == page.count("<span>generated</span>") == 6
    table = pyarrow.parquet.read_table(tmp_path / "out" / "pairs.parquet").to_pydict()
    assert table["method"] == [
        name for name in ("copy of the source", "autoencoder alone", "T1", "star") for _ in PAIRS
    ]  # fmt: skip
    assert table["name"][0] == "ann/a to ann/b"


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
        ({"pairs": "nowhere.csv"}, "nowhere.csv"),
    ],
)
def test_bad_settings_write_nothing(run, tmp_path, changes, message):
    with pytest.raises((ValueError, OSError), match=message):
        run(**changes)
    assert not (tmp_path / "out").exists()


def test_all_pairs_by_the_rule_where_there_is_no_list(run, data):
    (data / "pairs-test.csv").unlink()
    _, summary = run()
    assert summary["methods"]["T1"]["pairs"] == 5 * 4 + 3 * 2


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
    table = evaluate_on_dataset(
        tmp_path / "out", str(tmp_path / "known"), data, ("T1", "T3"), workers=1, networks=ABSENT, protocols=("clean",),
        limit=6,
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


def make_styled(person):
    """As `make_person`, with a part map (skin above tops) and, of one person, another style."""
    records = []
    for plain in make_person(person)[0]:
        parts = np.where(plain.foreground(), np.where(np.arange(HEIGHT)[:, None] < 18, 1, 3), 0).astype(np.uint8)
        style = "toon" if person.identity == "bo" else "photographic"
        settings = {"identity": plain.identity, "view": plain.view, "split": plain.split, "source_file": plain.view}
        mask = Image.fromarray(plain.foreground()).convert("L")
        records.append(make_record(plain.decode(), plain.pose, mask=mask, style=style, parts=parts, **settings))
    return records, []


@pytest.fixture
def styled(tmp_path):
    write_dataset(tmp_path / "styled", PEOPLE, make_styled, {}, workers=1)
    write_pairs(PAIRS, tmp_path / "styled" / "pairs-test.csv")
    return tmp_path / "styled"


def rows_of(summary, method, style=None):
    """Clean rows of first samples by key."""
    found = summary["methods"][method]
    rows = found["rows"] if style is None else found["styles"][style]
    return {row["key"]: row for row in rows if row["protocol"] == "clean" and row["best_of"] == 1}


def test_measures_of_the_person_are_those_of_the_arrays(pipeline, styled, tmp_path):
    table = evaluate_on_dataset(
        tmp_path / "out", str(tmp_path / "known"), styled, workers=1, networks=ABSENT, sampling=Sampling(3, 1.5),
        protocols=("clean",),
    )  # fmt: skip
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


def test_what_a_data_set_lacks_is_said(run):
    _, summary = run(networks=Networks(*[Needs("needs X")] * 4))
    rows = rows_of(summary, "T1")
    assert rows["gradient_ratio"]["value"] > 0  # there are masks
    assert rows["colour"]["needs"] == "needs part maps of the references: a data set of imagpose prepare people"
    assert rows["features_over_copy"]["needs"] == "needs X"
    assert summary["methods"]["T1"]["styles"] == {} and "mean colours" not in summary["methods"]


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


def test_captions_have_ratios_of_one_picture(run):
    run(protocols=("clean",))
    values = pyarrow.parquet.read_table(run.out / "pairs.parquet").to_pydict()
    ratios = [one / other for one, other in zip(values["clean_gradient"], values["clean_gradient_real"], strict=True)]
    page = (run.out / "report.html").read_text()
    found = re.findall(r"gradient energy ([0-9.]+)", page)
    assert found and set(found) <= {f"{ratio:.3f}" for ratio in ratios}


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
