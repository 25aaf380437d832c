"""Jobs on this machine: exact, resumable, none stopped by one request."""

import csv
import json
import shutil
import subprocess
from functools import partial

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from bulk_stand_in import FAILING_SEED, STAND_IN, StandIn, write_table
from imagpose.cli.commands import app
from imagpose.io import read_json
from imagpose.provenance import read_marks
from imagpose.serving.bulk import BulkRequest, run_bulk
from imagpose.serving.bulk.requests import Batch, Defaults, Task
from imagpose.serving.bulk.store import ParquetStore
from imagpose.serving.bulk.worker import BulkWorker, WorkerSettings
from imagpose.serving.generate import generate
from imagpose.serving.settings import GenerateSettings


@pytest.fixture(autouse=True)
def no_detector(monkeypatch):
    monkeypatch.setattr("imagpose.serving.framing._detector", lambda: None)


def pictures_of(out, form):
    """Bytes of the pixels by id and name; every pair is there once."""
    found = []
    if form == "files":
        for file in out.glob("pictures/*/*/result.json"):
            found += [(file.parent.name, own["file"], file.parent / own["file"]) for own in read_json(file)["outputs"]]
    else:
        for part in out.glob("pictures-*.parquet"):
            for row in pyarrow.parquet.read_table(part).to_pylist():
                found.append((row["id"], f"{row['name']}.png", pyarrow.BufferReader(row["picture"])))
    assert len({own[:2] for own in found}) == len(found)
    opened = {}
    for own_id, name, file in found:
        with Image.open(file) as picture:
            opened[own_id, name] = np.asarray(picture).tobytes()
    return opened


def failures(out):
    if not (out / "failed.csv").exists():
        return {}
    with (out / "failed.csv").open(newline="") as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def stand_in_job(table, out, model=None, **options):
    opened = model or StandIn()
    return run_bulk(table, out, model=STAND_IN, open_model=lambda: opened, **options), opened


def test_a_request_has_the_same_bits_in_any_company_place_and_run(pipeline, picture, pose, tmp_path):
    """UNet, VAE, tokens and skeletons of the tiny pipeline; requests of one canvas, alike and not, and of two."""
    rows = [BulkRequest(f"r{number}", [picture(number)], [pose(number)], seed=number) for number in range(6)]
    rows += [
        BulkRequest(f"s{number}", [picture(number), picture(9)], [pose(number)] * 2, seed=3) for number in range(3)
    ]
    rows += [BulkRequest("two", [picture(1)], [pose(number) for number in range(4)], seed=4)]
    settings = GenerateSettings.of({"steps": 2})
    run = partial(run_bulk, model=pipeline, settings=settings)
    first = run(rows, tmp_path / "first")
    assert not first.failed and len(first.made) == 10
    run(rows[::-1], tmp_path / "second")
    for number in (3, 8, 0):
        run([rows[number]], tmp_path / "third")
    whole = pictures_of(tmp_path / "first", "files")
    assert len(whole) == 16 and len(set(whole.values())) >= 12
    assert pictures_of(tmp_path / "second", "files") == whole
    assert pictures_of(tmp_path / "third", "files").items() <= whole.items()
    record = read_json(next((tmp_path / "first").glob("pictures/*/r0/result.json")))
    pins = {"device": "cpu", "dtype": "float32", "canvases_at_once": 4, "requests_at_once": 4, "threads": 1}
    assert {name: record[name] for name in pins} == pins


def test_alone_a_request_has_the_bytes_of_generate(pipeline, picture, pose, tmp_path):
    threads = torch.get_num_threads()
    rows = [BulkRequest(f"r{number}", [picture(number)], [pose(number), pose(7)], seed=number) for number in range(2)]
    run_bulk(
        rows, tmp_path / "out", model=pipeline, settings=GenerateSettings.of({"steps": 2}), alone=True, scored=True
    )
    torch.set_num_threads(1)
    try:
        expected = generate(picture(1), [pose(1), pose(7)], model=pipeline, steps=2, seed=1, out=tmp_path / "one")
    finally:
        torch.set_num_threads(threads)
    (made,) = (tmp_path / "out").glob("pictures/*/r1")
    for file in expected.files[:2]:
        assert (made / file.name).read_bytes() == file.read_bytes()
    assert read_marks(made / "pose.png").seed == 1
    own, theirs = read_json(made / "result.json"), expected.record
    assert own["outputs"] == json.loads(json.dumps(theirs["outputs"])) and own["request"] == theirs["request"]


@pytest.mark.parametrize("form", ["files", "parquet"])
def test_a_second_run_makes_what_is_missing_and_a_changed_request_only_when_asked(tmp_path, form):
    table, out = write_table(tmp_path, 30), tmp_path / "out"
    rows = table.read_text().splitlines(keepends=True)
    table.write_text("".join(rows[:11]))
    report, _ = stand_in_job(table, out, form=form)
    assert (len(report.made), report.kept, report.failed) == (10, [], {})
    first = pictures_of(out, form)

    table.write_text("".join(rows).replace("r000003,sources/3.png", "r000003,sources/2.png"))
    report, model = stand_in_job(table, out, form=form)
    assert (len(report.made), len(report.kept)) == (20, 9) and set(model.seeds) == set(range(10, 30))
    assert list(report.failed) == ["r000003"] == list(failures(out)) and "--overwrite" in failures(out)["r000003"]
    assert pictures_of(out, form).items() >= first.items()

    report, model = stand_in_job(table, out, form=form, overwrite=True)
    assert (report.made, len(report.kept), report.failed) == (["r000003"], 29, {}) and set(model.seeds) == {3}
    assert not (out / "failed.csv").exists()
    now = pictures_of(out, form)
    assert len(now) == 30 and {key for key in first if first[key] != now[key]} == {
        key for key in first if key[0] == "r000003"
    }
    stand_in_job(table, tmp_path / "again", form=form)
    assert pictures_of(tmp_path / "again", form) == now


def test_failed_requests_are_in_a_table_and_stop_nothing(tmp_path):
    table, out = write_table(tmp_path, 9), tmp_path / "out"
    text = table.read_text().replace("r000004,sources/0.png", "r000004,sources/9.png")
    table.write_text(text.replace(",2\n", f",{FAILING_SEED}\n"))
    report, _ = stand_in_job(table, out, retries=2)
    assert failures(out) == report.failed and set(report.failed) == {"r000002", "r000004"}
    assert "RuntimeError" in report.failed["r000002"] and "9.png" in report.failed["r000004"]
    assert len(report.made) == 7 == len(pictures_of(out, "files"))

    table.write_text(text.replace("sources/9.png", "sources/0.png"))  # both are put right
    report, _ = stand_in_job(table, out)
    assert sorted(report.made) == ["r000002", "r000004"] and not failures(out)


def test_one_of_a_pass_whose_pictures_overflow_fails_alone(tmp_path):
    class Overflowing(StandIn):
        def __call__(self, generator, **given):
            if 2 in [own.initial_seed() for own in generator]:
                raise FloatingPointError("not a number")
            return super().__call__(generator=generator, **given)

    report, _ = stand_in_job(write_table(tmp_path, 4), tmp_path / "out", Overflowing())
    assert report.failed == {"r000002": "not a number"} and report.made == ["r000000", "r000001", "r000003"]


def test_what_cannot_be_read_is_not_tried_again(tmp_path):
    worker = BulkWorker(WorkerSettings(StandIn, Defaults(GenerateSettings(), None, STAND_IN, None)))
    task = Task(BulkRequest("a", [tmp_path / "gone.png"], ["walk-01"]), "")
    (answer,) = worker.answer(Batch([task], 1))
    assert "gone.png" in answer.failed and not answer.again


def test_a_request_that_fails_by_chance_is_tried_again(tmp_path):
    class Shaky(StandIn):
        calls = 0

        def __call__(self, **given):
            self.calls += 1
            if self.calls < 3:
                raise RuntimeError("out of luck")
            return super().__call__(**given)

    table = write_table(tmp_path, 2)
    report, _ = stand_in_job(table, tmp_path / "out", Shaky())  # both together, then each alone
    assert sorted(report.made) == ["r000000", "r000001"] and not report.failed
    report, _ = stand_in_job(table, tmp_path / "none", Shaky(), retries=0)
    assert len(report.failed) == 1  # one more try, since it may have been another's fault


def test_no_more_is_tried_than_was_asked_for(tmp_path):
    class Broken(StandIn):
        calls = 0

        def __call__(self, **given):
            self.calls += 1
            raise RuntimeError("out of luck")

    model = Broken()
    report, _ = stand_in_job(write_table(tmp_path, 1), tmp_path / "out", model, retries=3)
    assert list(report.failed) == ["r000000"] and model.calls == 1 + 3


def test_what_all_results_have_in_common_cannot_change(tmp_path):
    table, out = write_table(tmp_path, 2), tmp_path / "out"
    stand_in_job(table, out)
    for options, name in (
        ({"form": "parquet"}, "format"),
        ({"alone": True}, "requests_at_once"),
        ({"dtype": "bf16"}, "dtype"),
    ):
        with pytest.raises(ValueError, match=name):
            stand_in_job(table, out, **options)
    (tmp_path / "theirs" / "pictures").mkdir(parents=True)
    with pytest.raises(ValueError, match="not written by this command"):
        stand_in_job(table, tmp_path / "theirs")


def test_of_rows_that_a_killed_overwrite_left_twice_the_later_count(tmp_path):
    table, out = write_table(tmp_path, 4), tmp_path / "out"
    stand_in_job(table, out, form="parquet")
    part = out / "pictures-00000.parquet"
    rows = pyarrow.parquet.read_table(part)
    newer = rows.slice(1, 1).set_column(rows.schema.get_field_index("request"), "request", [["newer"]])
    pyarrow.parquet.write_table(newer, out / "pictures-00001.parquet")
    found = ParquetStore(out).found()
    assert found["r000001"] == "newer" and len(found) == 4
    assert sorted(pyarrow.parquet.read_table(part)["id"].to_pylist()) == ["r000000", "r000002", "r000003"]
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(part), out / "pictures-00002.parquet")
    assert len(ParquetStore(out).found()) == 4 and not part.exists()


def test_what_killed_jobs_left_beside_their_results_is_gone_after_a_run(tmp_path):
    """Of a first result: before the renaming and after it; of an overwritten one: between the two, and after them."""
    table, out = write_table(tmp_path, 4), tmp_path / "out"
    stand_in_job(table, out)
    first = pictures_of(out, "files")
    dead = subprocess.Popen(["true"])
    dead.wait()
    for name, rooms in (("r000000", "new"), ("r000001", ""), ("r000002", "new old"), ("r000003", "old")):
        (folder,) = out.glob(f"pictures/*/{name}")
        room = folder.parent / f".{name}-{dead.pid}-abc_d3fg.partial"
        room.mkdir()
        (room / ".lock").touch()
        for own in rooms.split():
            shutil.copytree(folder, room / own)
        if name in ("r000000", "r000002"):
            shutil.rmtree(folder)
    report, _ = stand_in_job(table, out)
    assert report.made == ["r000000"] and len(report.kept) == 3 and not report.failed
    assert pictures_of(out, "files") == first and not list(out.rglob("*.partial"))


def test_a_damaged_part_is_named(tmp_path):
    table, out = write_table(tmp_path, 2), tmp_path / "out"
    stand_in_job(table, out, form="parquet")
    part = out / "pictures-00000.parquet"
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"pictures-00000\.parquet: not a Parquet file that can be read"):
        stand_in_job(table, out, form="parquet")


def test_a_part_that_a_killed_job_left_half_is_gone_after_a_run(tmp_path):
    table, out = write_table(tmp_path, 2), tmp_path / "out"
    stand_in_job(table, out, form="parquet")
    (out / "pictures-00001.parquet.12.partial").write_bytes(b"half")
    stand_in_job(table, out, form="parquet")
    assert not list(out.glob("*.partial")) and pictures_of(out, "parquet")


@pytest.mark.parametrize("name", ["pictures-00003.parquet", "failed.csv", "pictures"])
def test_a_folder_with_somebodys_files_is_no_jobs(tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(ValueError, match=f"{name} exists and was not written by this command"):
        stand_in_job(write_table(tmp_path, 2), out, form="parquet")
    assert [file.name for file in out.iterdir()] == [name] and (out / name).read_text() == "mine"


def test_files_of_others_where_a_result_belongs_are_kept_and_that_request_alone_fails(tmp_path):
    table, out = write_table(tmp_path, 3), tmp_path / "out"
    stand_in_job(table, out)
    (folder,) = out.glob("pictures/*/r000001")
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        report, _ = stand_in_job(table, out, overwrite=overwrite)
        assert report.kept == ["r000000", "r000002"] and list(report.failed) == ["r000001"] == list(failures(out))
        assert [own.name for own in folder.iterdir()] == ["notes.txt"]
    shutil.rmtree(folder)
    report, _ = stand_in_job(table, out)
    assert report.made == ["r000001"] and not report.failed


def test_a_photo_that_changes_after_the_check_is_not_answered_for_another(tmp_path):
    table, out = write_table(tmp_path, 4), tmp_path / "out"

    class Late(StandIn):
        def set_progress_bar_config(self, **_):
            Image.new("RGB", (32, 64)).save(tmp_path / "sources" / "1.png")

    report, _ = stand_in_job(table, out, Late())
    assert list(report.failed) == ["r000001"] and "changed since" in report.failed["r000001"]


def test_the_command_checks_answers_and_says_what_failed(pipeline, tmp_path):
    """From files, by a model's folder; a bad row is named, and the exit code is 1."""
    pipeline.save_pretrained(tmp_path / "tiny")
    table = write_table(tmp_path, 3)
    words = ["bulk", str(table), "--model", str(tmp_path / "tiny"), "--steps", "1", "--device", "cpu"]
    run = CliRunner().invoke
    assert run(app, [*words, "--check"]).exit_code == 0
    with table.open("a") as file:
        file.write("bad,sources/9.png,walk-01,1\n")
    checked = run(app, [*words, "--check"])
    assert checked.exit_code == 1 and "bad: " in checked.output and not (tmp_path / "out").exists()
    done = run(app, [*words, "--out", str(tmp_path / "out"), "--format", "parquet"])
    assert done.exit_code == 1 and "3 made, 0 were there; 1 failed" in done.output.replace("\n", " ")
    assert len(pictures_of(tmp_path / "out", "parquet")) == 3 and list(failures(tmp_path / "out")) == ["bad"]
    row = pyarrow.parquet.read_table(tmp_path / "out" / "pictures-00000.parquet").to_pylist()[0]
    assert row["score"] is None and json.loads(row["record"])["id"] == row["id"] == "r000000"
    (tmp_path / "one.png").write_bytes(row["picture"])
    assert read_marks(tmp_path / "one.png").model == "tiny"
