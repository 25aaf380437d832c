"""`imagpose reproduce`: equal budgets, numbers that are the evaluation's, speed."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Dinov2Config

from imagpose.data.dataset import PersonDataset
from imagpose.data.rendered import prepare_people
from imagpose.evaluation import judging
from imagpose.evaluation import model as evaluation
from imagpose.evaluation.model_requests import DatasetRequest, ModelEvaluation, ask
from imagpose.evaluation.networks import Needs, Networks
from imagpose.evaluation.reproduce import items, measured, training_runs
from imagpose.evaluation.reproduce.measuring import Measuring, evaluation_name
from imagpose.evaluation.reproduce.training_runs import TrainingRuns
from imagpose.models.folder import WEIGHTS_ROOT
from imagpose.models.presets import IMAGE_ENCODERS
from imagpose.pipeline.sampling import Sampling

pytest.importorskip("matplotlib")

HEIGHT, WIDTH, VIEWS = 64, 48, 4
UNET = {
    "block_out_channels": [16, 16, 16, 16],
    "cross_attention_dim": 16,
    "norm_num_groups": 4,
    "attention_head_dim": 2,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("reproduce") / "people"
    prepare_people(0, 2, VIEWS, HEIGHT, WIDTH, folder, test_people=2, workers=1)
    return folder


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    values = {
        "output": "unused", "preset": "mini", "unet": UNET, "precision": "fp32", "threads": 1,
        "data": {"dataset": "unused", "height": HEIGHT, "width": WIDTH}, "steps": 999, "batch_size": 2,
    }  # fmt: skip
    file = tmp_path_factory.mktemp("config") / "denoiser.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def scenario_requests(
    data: Path, scenarios: tuple[str, ...], limit: int | None = None
) -> dict[str, list[DatasetRequest]]:
    return ask(ModelEvaluation("mini", data, scenarios, limit=limit)).requests


def measuring(out: Path, data: Path, **changes) -> Measuring:
    return Measuring(
        **{"out": out, "data": data, "sampling": Sampling(2, 2.0), "limit": 3, "command": "imagpose x"} | changes
    )


class Copying:
    """Returns its first source; keeps what it was asked."""

    def __init__(self, vae) -> None:
        self.vae = vae
        self.calls: list[dict] = []

    def to(self, device):
        return self

    def set_progress_bar_config(self, **_): ...

    def __call__(self, sources, target_poses, **settings):
        self.calls.append({"targets": [len(poses) for poses in target_poses], **settings})
        return ([[own[0]] * len(poses) for own, poses in zip(sources, target_poses, strict=True)],)


@pytest.fixture(scope="module")
def vae():
    from imagpose.pipeline import IMAGPosePipeline

    return IMAGPosePipeline.from_pretrained("mini").vae


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch) -> None:
    """No networks of published metrics, and judges that see the same in every picture: the pages are tested, not these."""
    monkeypatch.setattr(evaluation, "find_networks", lambda: Networks(*[Needs("needs it")] * 4))
    monkeypatch.setattr(judging, "find_keypoints", lambda own: np.zeros((len(own), 18, 3), np.float32))
    monkeypatch.setattr(judging, "find_foreground", lambda own: np.ones(own.shape[:3], bool))
    monkeypatch.setattr(judging, "embed_people", lambda own: np.eye(128, dtype=np.float32)[[0] * len(own)])


@pytest.fixture
def copying(monkeypatch, vae) -> Copying:
    pipeline = Copying(vae)
    for module in (evaluation, items):
        monkeypatch.setattr(module, "load_pipeline", lambda *_: pipeline)
    return pipeline


def test_a_named_preset_with_another_encoder_is_refused_before_anything_is_trained(tmp_path, data, config) -> None:
    """Table 3's lines are named by presets: `image_encoder` for all of them would mislabel all but one."""
    Dinov2Config(**IMAGE_ENCODERS["dinov2-b"].config).save_pretrained(tmp_path / "encoder")
    changes = (f"image_encoder={tmp_path / 'encoder'}", "unet={}")
    runs = TrainingRuns(tmp_path / "out", data, config, 2, changes)
    with pytest.raises(ValueError, match="preset sd15-dinov2-g has DINOv2-G; image_encoder .*encoder is DINOv2-B"):
        items.table3(measuring(tmp_path / "out", data), runs, ["sd15-dinov2-b", "sd15-dinov2-g"], {})
    assert not (tmp_path / "out" / "runs").exists()


def test_a_named_preset_with_another_base_is_refused_before_anything_is_trained(tmp_path, data, config) -> None:
    sizes = {"block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2, "cross_attention_dim": 1024}
    (tmp_path / "base" / "unet").mkdir(parents=True)
    (tmp_path / "base" / "unet" / "config.json").write_text(json.dumps(sizes))
    runs = TrainingRuns(tmp_path / "out", data, config, 2, (f"base={tmp_path / 'base'}", "unet={}"))
    with pytest.raises(ValueError, match="preset sd15-dinov2-b has SD1.5; base .*base is SD2.1"):
        items.table3(measuring(tmp_path / "out", data), runs, ["sd15-dinov2-b", "sd21-dinov2-b"], {})
    assert not (tmp_path / "out" / "runs").exists()


def test_variants_have_equal_budgets_and_the_page_has_the_evaluations_numbers(tmp_path, data, config) -> None:
    out, precision = tmp_path / "out", "bf16"
    runs = TrainingRuns(out, data, config, 2, (f"precision={precision}",))
    table = items.table7(measuring(out, data), runs)
    weights = {name: out / "runs" / name / "weights" for name in ("M1", "IMAGPose")}
    assert {json.loads((own / "training.json").read_text())["step"] for own in weights.values()} == {2}
    assert json.loads((weights["M1"] / "unet" / "config.json").read_text())["view_layout"] == "batch"
    page = (out / "table7.md").read_text()
    assert table in page
    for name in weights:
        summary = json.loads((out / f"evaluations/{name}-star-2-2-3/summary.json").read_text())
        row = next(
            own for own in summary["methods"]["star"]["rows"] if (own["protocol"], own["key"]) == ("clean", "ssim")
        )
        assert re.search(rf"^\| {name} \| [\d.]+ M \| {row['value']:.4f} \|", table, re.MULTILINE)
    assert "| IMAGPose against M1 | better | 3 | 1 |" in page
    assert f"2 canvases per process, in {precision}, learning rate" in page and "pictures generated in float32" in page
    assert "rendered people, 64x48 (train 8 pictures of 2 people, test 8 pictures of 2 people)" in page
    assert "    imagpose x\n" in page
    with Image.open(out / "table7.png") as plot:
        assert len(np.unique(np.asarray(plot.convert("L")))) > 10

    stamps = {file: file.stat().st_mtime_ns for own in weights.values() for file in own.rglob("*.safetensors")}
    for mark in (out / "settings.json", *out.glob("evaluations/*/settings.json")):  # of a version with fewer settings
        values = json.loads(mark.read_text())
        for name in ("noise_offset_scope", "skip_nonfinite_steps", "overfit"):
            values.get("config", {name: None}).pop(name)
        for name in ("guidance_every", "features_every"):
            values.get("config", values)["sampling"].pop(name)
        mark.write_text(json.dumps(values))
    assert items.table7(measuring(out, data), runs) == table
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps

    found = items.schedules(measuring(out, data), TrainingRuns(out, data, config, 2, (f"precision={precision}",)))
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps  # Table 7's own model is one of the two
    for name, schedule in (("IMAGPose", "scaled_linear"), ("linear", "linear")):
        own = out / "runs" / name / "weights" / "scheduler" / "scheduler_config.json"
        assert json.loads(own.read_text())["beta_schedule"] == schedule
        summary = json.loads((out / f"evaluations/{name}-T1-2-2-3/summary.json").read_text())
        row = next(o for o in summary["methods"]["T1"]["rows"] if (o["protocol"], o["key"]) == ("clean", "ssim"))
        assert re.search(rf"^\| {name} \| [\d.]+ M \| {row['value']:.4f} \|", found, re.MULTILINE)
    page = (out / "schedules.md").read_text()
    assert "IMAGPose has scaled_linear here" in page and "| IMAGPose against linear | alike | 3 | 1 |" in page
    runs = TrainingRuns(out, data, config, 2, (f"precision={precision}",))
    encoder = str(WEIGHTS_ROOT / "mini" / "image_encoder")
    with pytest.raises(ValueError, match=r"runs/linear holds results of other settings \(overrides differ\)"):
        items.table3(measuring(out, data), runs, [], {"linear": encoder, "other": encoder})

    for runs, words in (
        (TrainingRuns(out, data, config, 3, ("precision=bf16",)), "steps differ"),
        (TrainingRuns(out, data, config, 2, ("precision=bf16", "learning_rate=1.0")), "learning_rate differ"),
    ):
        with pytest.raises(ValueError, match=words):
            items.table7(measuring(out, data), runs)


def test_an_image_encoder_is_known_by_its_files(tmp_path, data, config) -> None:
    """One trained anew in its place is another; the same in another place is none. An untrained run has none yet."""
    runs, encoder, moved = TrainingRuns(tmp_path / "out", data, config, 2), tmp_path / "encoder", tmp_path / "moved"
    shutil.copytree(WEIGHTS_ROOT / "mini" / "image_encoder", encoder)
    runs.open({"small": ["preset=mini", f"image_encoder={encoder}"]})
    (encoder / "preprocessor_config.json").write_text("{}")
    runs.open({"small": ["preset=mini", f"image_encoder={encoder}"]})
    for name in ("small", "M1"):
        (tmp_path / "out" / "runs" / name / "checkpoints" / "step-00000001").mkdir(parents=True)
    shutil.copytree(encoder, moved)
    runs.open({"small": ["preset=mini", f"image_encoder={moved}"]})
    weights = load_file(encoder / "model.safetensors")
    save_file({name: weight + 1 for name, weight in weights.items()}, encoder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"runs/small holds results of other settings \(image_encoder differ\)"):
        runs.open({"small": ["preset=mini", f"image_encoder={encoder}"]})
    runs.open({"M1": ["preset=mini:M1"]})
    with pytest.raises(ValueError, match=r"runs/M1 holds results of other settings \(image_encoder differ\)"):
        replace(runs, overrides=(f"image_encoder={encoder}",)).open({"M1": ["preset=mini:M1"]})


def test_networks_that_variants_share_are_read_once(tmp_path, data, config, monkeypatch) -> None:
    read = []
    monkeypatch.setattr(training_runs, "fingerprint", lambda files: read.append(files) or "digest")
    TrainingRuns(tmp_path / "out", data, config, 2).open({name: [f"preset=mini:{name}"] for name in ("B0", "M1")})
    assert read and len(read) == len(set(read))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("initial=mini",), "initial is set"),
        (("preset=B3",), "preset B3 is an ablation"),
        (
            ("data={folder: x, first_seed: 0, identities: 4, views: 4, block: 4, height: 64, width: 48}",),
            "data must name a data set",
        ),
    ],
)
def test_configurations_that_do_not_fit_are_refused_before_anything_is_made(
    tmp_path, data, config, overrides, words
) -> None:
    with pytest.raises(ValueError, match=words):
        items.table2(measuring(tmp_path / "out", data), TrainingRuns(tmp_path / "out", data, config, 2, overrides))
    assert not (tmp_path / "out").exists()


def test_table_3_wants_two_variants_and_plain_names(tmp_path, data, config) -> None:
    runs = TrainingRuns(tmp_path, data, config, 2)
    with pytest.raises(ValueError, match="at least two variants"):
        items.table3(measuring(tmp_path, data), runs, [], {"one": "mini"})
    with pytest.raises(ValueError, match="'a/b'"):
        items.table3(measuring(tmp_path, data), runs, [], {"a/b": "mini", "c": "mini"})


def test_other_methods_folders_stand_in_table_1(tmp_path, data, copying) -> None:
    requests = scenario_requests(data, ("T1",), 3)["T1"]
    truths = {f"{own.identity}/{own.view}": own.decode() for own in PersonDataset(data, "test").stream()}
    for request in requests:
        (source, target) = request.pairs[0]
        file = tmp_path / "perfect" / f"{source}_to_{target.rpartition('/')[2]}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        truths[target].save(file)
    items.table1(measuring(tmp_path / "out", data), "mini", {"perfect": tmp_path / "perfect"})
    page = (tmp_path / "out" / "table1.md").read_text()
    lines = {line.split(" | ")[0]: line.split(" | ") for line in page.splitlines() if line.startswith("| ")}
    assert lines["| perfect"][1:3] == ["1.0000", "60.000"]
    assert lines["| IMAGPose"][1:] == lines["| copy of the source"][1:]
    assert "| IMAGPose against perfect | better | 3 | 1 |" in page
    assert "holds" not in page.partition("| IMAGPose against perfect")[2]  # one person decides nothing

    again = items.table1(
        measuring(tmp_path / "again", data),
        "mini",
        {"perfect": tmp_path / "perfect", "copy": tmp_path / "out/evaluations/mini-2-2-3/pictures/T1"},
    )
    scores = {line.split(" | ")[0]: line.split(" | ")[1:] for line in again.splitlines()}
    assert scores["| copy"] == scores["| copy of the source"]

    file.unlink()
    with pytest.raises(ValueError, match=r"pairs that .*perfect has no picture of: 1 \("):
        items.table1(measuring(tmp_path / "other", data), "mini", {"perfect": tmp_path / "perfect"})
    with pytest.raises(ValueError, match="'T1': the name of what is measured anyway"):
        items.table1(measuring(tmp_path / "other", data), "mini", {"T1": tmp_path / "perfect"})
    assert not (tmp_path / "other").exists()


def test_a_models_evaluations_are_named_by_its_content(tmp_path, monkeypatch) -> None:
    for place, content in (("here", "a"), ("there", "a"), ("elsewhere", "b")):
        weights = tmp_path / place / "model" / "unet" / "weights.bin"
        weights.parent.mkdir(parents=True)
        weights.write_text(content)
        (tmp_path / place / "model" / "model_index.json").write_text("{}")
    here, there, elsewhere = (evaluation_name(str(tmp_path / own / "model")) for own in ("here", "there", "elsewhere"))
    assert re.fullmatch("model-[0-9a-f]{8}", here) and here == there != elsewhere
    (tmp_path / "here" / "model" / "unet" / "weights.bin").write_text("b and more")
    assert evaluation_name(str(tmp_path / "here" / "model")) not in (here, elsewhere)
    (tmp_path / "there" / "model" / "unet" / ".DS_Store").write_text("a file browser's")
    assert evaluation_name(str(tmp_path / "there" / "model")) == there
    monkeypatch.chdir(tmp_path / "there")
    assert evaluation_name("model") == there
    assert [evaluation_name(own) for own in ("mini", "owner/name")] == ["mini", "owner--name"]


def test_figure_7_compares_the_scenarios_on_shared_pairs(tmp_path, data, copying) -> None:
    items.table1(measuring(tmp_path, data), "mini", {})
    before = len(copying.calls)
    table = items.figure7(measuring(tmp_path, data), "mini")
    assert {call["scenario"] for call in copying.calls[before:]} == {"T2", "T3"}  # the others are Table 1's
    names = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert names == ["T1", "T2", "T3", "IMAGPose*", "real test pictures"]
    page = (tmp_path / "figure7.md").read_text()
    assert re.search(r"Model: mini, digest [0-9a-f]{12}\. ", page) and f"\n{date.today():%Y-%m-%d}; " in page
    # A copy is the same picture in all scenarios, but of one person that is no evidence.
    assert "| T2 against T1 | better | 3 | 1 | +0.000 not decided" in page
    assert "| T3 against T2 | better | 3 | 1 | +0.000 not decided" in page


def test_seconds_are_those_of_a_call_divided_by_its_pictures(data, monkeypatch, copying) -> None:
    clock = [0.0]
    monkeypatch.setattr(measured.time, "perf_counter", lambda: clock[0])

    def slow(pipeline, requests, dataset, number, sampling):
        copying.calls.append({"request": requests, "steps": sampling.steps})
        # The first call of a setting is slow; afterwards a call takes as long as its steps.
        clock[0] += sampling.steps * (100 if len(copying.calls) <= 4 else 1)
        return []

    monkeypatch.setattr(measured, "answer_requests", slow)
    requested = scenario_requests(data, ("T1", "star"))
    asked = {
        "T1": requested["T1"][:2],
        "star": [request for request in requested["star"] if len(request.poses) == 3][:2],
    }
    found = measured.seconds_per_picture(copying, asked, PersonDataset(data, "test"), [Sampling(6), Sampling(12)])
    assert {key: seconds.tolist() for key, seconds in found.items()} == {
        ("T1", Sampling(6)): [6.0, 6.0], ("T1", Sampling(12)): [12.0, 12.0],
        ("star", Sampling(6)): [2.0, 2.0], ("star", Sampling(12)): [4.0, 4.0],
    }  # fmt: skip


def test_figure_8_has_a_line_per_setting(tmp_path, data, copying) -> None:
    table = items.figure8(measuring(tmp_path, data, limit=None), "mini", [1, 2], 1)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert [row[:2] for row in rows] == [
        ["T1, 1 steps", "1"], ["T1, 2 steps", "2"], ["IMAGPose*, 1 steps", "1"], ["IMAGPose*, 2 steps", "2"],
    ]  # fmt: skip
    assert rows[1][3] == "1.00"
    assert {call["num_inference_steps"] for call in copying.calls} == {1, 2}
    with pytest.raises(ValueError, match="99 requests are to be timed; the pairs make"):
        items.figure8(measuring(tmp_path, data), "mini", [1], 99)


def test_only_the_first_process_times(tmp_path, data, copying, monkeypatch) -> None:
    class Second:
        is_main_process = False

        def __init__(self, **_) -> None: ...

        def wait_for_everyone(self) -> None: ...

    monkeypatch.setattr(items, "process_state", Second)
    monkeypatch.setattr(items, "seconds_per_picture", lambda *_: pytest.fail("timed beside the first process"))
    assert items.figure8(measuring(tmp_path, data, limit=None), "mini", [1], 1) == ""


def test_a_missing_ssim_is_no_point_at_zero(tmp_path, data, copying, monkeypatch) -> None:
    read, drawn = items.read_measured, []
    without = {"T1, 1 steps"}
    monkeypatch.setattr(
        items, "read_measured", lambda folder, method, name, facts: replace(
            own := read(folder, method, name, facts), rows={} if name in without else own.rows
        ),
    )  # fmt: skip
    monkeypatch.setattr(items, "draw_speed", lambda path, points: drawn.extend(points))
    items.figure8(measuring(tmp_path, data, limit=None), "mini", [1], 1)
    assert [name for name, *_ in drawn] == ["IMAGPose*"] and drawn[0][3] > 0
