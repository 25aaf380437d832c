"""`imagpose reproduce`: equal budgets, numbers that are the evaluation's, order statements, speed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.info import DatasetInfo
from imagpose.data.rendered import prepare_people
from imagpose.evaluation import model as evaluation
from imagpose.evaluation.model import scenario_requests
from imagpose.evaluation.reproduce import items, speed
from imagpose.evaluation.reproduce.claims import Claim, claim_table
from imagpose.evaluation.reproduce.measured import Measured, result_table
from imagpose.evaluation.reproduce.page import ResultPage, markdown, write_page
from imagpose.evaluation.reproduce.published import published_table_1
from imagpose.evaluation.reproduce.training_runs import TrainingRuns
from imagpose.evaluation.rows import METRICS, Row
from imagpose.pipeline.sampling import Sampling

pytest.importorskip("matplotlib")

HEIGHT, WIDTH, VIEWS = 64, 48, 4
UNET = {"block_out_channels": [16, 16, 16], "cross_attention_dim": 16, "norm_num_groups": 4, "attention_head_dim": 2}


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


def measuring(out: Path, data: Path, **changes) -> items.Measuring:
    return items.Measuring(
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


@pytest.fixture
def copying(monkeypatch) -> Copying:
    from imagpose.pipeline import IMAGPosePipeline

    pipeline = Copying(IMAGPosePipeline.from_pretrained("mini").vae)
    for module in (evaluation, items):
        monkeypatch.setattr(module, "load_pipeline", lambda *_: pipeline)
    return pipeline


def test_variants_have_equal_budgets_and_the_page_has_the_evaluations_numbers(tmp_path, data, config) -> None:
    out = tmp_path / "out"
    table = items.table7(measuring(out, data), TrainingRuns(out, data, config, 2))
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
    assert "| IMAGPose against M1 | better | 3 |" in page
    assert "rendered people, 64x48 (train 8 pictures of 2 people, test 8 pictures of 2 people)" in page
    assert "    imagpose x\n" in page
    with Image.open(out / "table7.png") as plot:
        assert len(np.unique(np.asarray(plot.convert("L")))) > 10

    stamps = {file: file.stat().st_mtime_ns for own in weights.values() for file in own.rglob("*.safetensors")}
    assert items.table7(measuring(out, data), TrainingRuns(out, data, config, 2)) == table
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps
    for runs, words in (
        (TrainingRuns(out, data, config, 3), "steps differ"),
        (TrainingRuns(out, data, config, 2, ("learning_rate=1.0",)), "learning_rate differ"),
    ):
        with pytest.raises(ValueError, match=words):
            items.table7(measuring(out, data), runs)


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
    assert "| IMAGPose against perfect | better | 3 |" in page and "the other way round" in page

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


def test_figure_7_compares_the_scenarios_on_shared_pairs(tmp_path, data, copying) -> None:
    items.table1(measuring(tmp_path, data), "mini", {})
    before = len(copying.calls)
    table = items.figure7(measuring(tmp_path, data), "mini")
    assert {call["scenario"] for call in copying.calls[before:]} == {"T2", "T3"}  # the others are Table 1's
    names = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert names == ["T1", "T2", "T3", "IMAGPose*", "real test pictures"]
    page = (tmp_path / "figure7.md").read_text()
    # A copy is the same picture in all scenarios.
    assert "| T2 against T1 | alike | 3 | +0.000 [+0.000, +0.000] as expected" in page
    assert "| T3 against T1 | better | 3 | +0.000 [+0.000, +0.000] not told apart" in page


def test_seconds_are_those_of_a_call_divided_by_its_pictures(data, monkeypatch, copying) -> None:
    clock = [0.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: clock[0])

    def slow(pipeline, requests, dataset, number, sampling):
        copying.calls.append({"request": requests, "steps": sampling.steps})
        # The first call of a setting is slow; afterwards a call takes as long as its steps.
        clock[0] += sampling.steps * (100 if len(copying.calls) <= 4 else 1)
        return []

    monkeypatch.setattr(speed, "answer_requests", slow)
    planned = scenario_requests(data, ("T1", "star"))
    asked = {
        "T1": planned["T1"][:2],
        "star": [request for request in planned["star"] if len(request.poses) == 3][:2],
    }
    found = speed.seconds_per_picture(copying, asked, PersonDataset(data, "test"), [Sampling(6), Sampling(12)])
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


def line(name: str, ssim: list[float], lpips: list[float] | None = None) -> Measured:
    values = {"clean_ssim": {f"pair {number}": value for number, value in enumerate(ssim)}}
    if lpips:
        values["clean_lpips"] = {f"pair {number}": value for number, value in enumerate(lpips)}
    metric = METRICS["clean"][0]
    row = Row("clean", "ssim", metric.name, metric.definition, True, 1, len(ssim), float(np.mean(ssim)))
    return Measured(name, {("clean", "ssim"): row}, values)


def test_verdicts() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.4, 0.6, 40)
    lines = {
        "base": line("base", base.tolist(), base.tolist()),
        "higher": line("higher", (base + 0.1).tolist(), (base + 0.1).tolist()),
        "noisy": line("noisy", (base + np.tile([0.1, -0.1], 20)).tolist()),
    }
    claims = [Claim("higher", "base"), Claim("base", "higher"), Claim("noisy", "base"), Claim("noisy", "base", "alike"),
              Claim("higher", "base", "alike")]  # fmt: skip
    head, *rows = claim_table(claims, lines)
    assert head == ["", "expected", "pairs", "SSIM ↑", "LPIPS (AlexNet) ↓"]
    ssim, lpips = ([row[column].rpartition("] ")[2] for row in rows] for column in (3, 4))
    assert ssim == ["as expected", "the other way round", "not told apart", "as expected", "differ"]
    assert lpips == ["the other way round", "as expected", "", "", "differ"]  # lower LPIPS is better
    assert rows[0][3].startswith("+0.100 [+0.100, +0.100]") and rows[0][2] == "40"


def test_pairs_that_only_one_line_has_are_not_compared() -> None:
    short = Measured("short", {}, {"clean_ssim": {"pair 1": 0.9, "pair 7": 0.0}})
    _, row = claim_table([Claim("short", "long")], {"short": short, "long": line("long", [0.1, 0.4, 0.7])})
    assert row[2:] == ["1", "+0.500 [+0.500, +0.500] as expected"]


def info(command: str, size: tuple[int, int]) -> DatasetInfo:
    nothing = {"file": "index.parquet", "bytes": 0, "sha256": ""}
    splits = {"test": {"pictures": 1, "identities": 1}}
    return DatasetInfo.model_validate(
        {"format": "imagpose views", "version": 1, "settings": {"command": command, "size": list(size)}, "plan": "",
         "pictures": 1, "identities": 1, "skipped": 0, "splits": splits, "shards": [], "index": nothing}
    )  # fmt: skip


def test_the_papers_rows_stand_beside_ours_on_the_papers_data_only(tmp_path) -> None:
    def page(data: DatasetInfo) -> str:
        lines = [line("IMAGPose", [0.5])]
        rows = published_table_1(data)
        write_page(tmp_path, ResultPage("table1", "t", "q", ["s."], lines, [], rows, "c"), data)
        return (tmp_path / "table1.md").read_text()

    assert "| IMAGPose | 0.7561 | 0.1284 | 5.874 |" in page(info("deepfashion", (256, 176)))
    assert "| IMAGPose | 0.3282 | 0.2104 | 12.659 |" in page(info("market1501", (128, 64)))
    for other in (info("people", (256, 176)), info("deepfashion", (128, 96))):
        assert "0.7561" not in page(other)


def test_facts_are_columns_and_measures_without_values_are_none() -> None:
    with_fact = Measured("a", {}, {}, {"steps": "3"})
    assert result_table([with_fact, line("b", [0.25])]) == [
        ["", "steps", "SSIM, clean ↑"], ["a", "3", ""], ["b", "", "0.2500"],
    ]  # fmt: skip
    assert markdown([["", "x"], ["a", "1"]]) == "|  | x |\n| --- | ---: |\n| a | 1 |"
