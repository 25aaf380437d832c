"""What evaluations, studies and result pages write: whole or not at all, and never over what others wrote."""

from __future__ import annotations

import errno
import json
import resource
import shutil
from collections import namedtuple
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from imagpose.evaluation import model
from imagpose.evaluation.blur_check import check_measures
from imagpose.evaluation.images import ImageFolders, evaluate_images
from imagpose.evaluation.measure import MeasureSettings
from imagpose.evaluation.model import evaluate_model, evaluate_on_people
from imagpose.evaluation.model_requests import ModelEvaluation
from imagpose.evaluation.networks import Needs, Networks
from imagpose.evaluation.reproduce import items
from imagpose.evaluation.reproduce.measuring import Measuring
from imagpose.evaluation.study.build import StudySettings, build_study
from imagpose.evaluation.study.score import score_study
from imagpose.pipeline.sampling import Sampling

REPORT = ("pairs.parquet", "report.html", "summary.json")
ABSENT = Networks(Needs("needs L"), Needs("needs F"), Needs("needs I"), Needs("needs E"))


@pytest.fixture
def folders(tmp_path: Path) -> ImageFolders:
    rng = np.random.default_rng(0)
    for name in ("generated", "reference"):
        (tmp_path / name).mkdir()
        for number in range(4):
            pixels = rng.integers(0, 256, (48, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return ImageFolders(tmp_path / "generated", tmp_path / "reference")


def evaluate(folders: ImageFolders, out: Path) -> str:
    return evaluate_images(folders, out, MeasureSettings(workers=1, networks=ABSENT))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def files_at_most(size: int):
    """Writing more than `size` bytes to a file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", [*REPORT, "parts", "settings.json"])
def test_a_report_is_not_written_over_what_others_wrote(folders: ImageFolders, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(ValueError, match="was not written by this command|holds results of other settings"):
        evaluate(folders, out)
    assert files_of(out).pop(name) == b"mine" and set(files_of(out)) <= {name, ".lock"}


def test_a_rerun_is_equal_and_leaves_other_files_alone(folders: ImageFolders, tmp_path: Path) -> None:
    out = tmp_path / "out"
    table = evaluate(folders, out)
    (out / "notes.txt").write_text("mine")
    before = files_of(out)
    (out / "parts" / "features-0.npy.12.partial").write_text("what a killed process left")
    assert evaluate(folders, out) == table
    after = files_of(out)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {"summary.json"}  # the seconds
    (tmp_path / "other").mkdir()
    shutil.copytree(folders.generated, tmp_path / "others")
    with pytest.raises(ValueError, match="generated differ"):
        evaluate(ImageFolders(tmp_path / "others", folders.reference), out)
    assert files_of(out) == after


def test_a_full_disk_leaves_no_half_report(folders: ImageFolders, tmp_path: Path) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    table = evaluate(folders, whole)
    largest = max((whole / name).stat().st_size for name in REPORT)
    with files_at_most(largest - 1), pytest.raises(OSError) as failure:
        evaluate(folders, out)
    assert failure.value.errno == errno.EFBIG
    assert not any((out / name).exists() for name in REPORT) and not list(tmp_path.rglob("*.partial*"))
    assert evaluate(folders, out) == table
    assert pyarrow.parquet.read_table(out / "pairs.parquet").equals(pyarrow.parquet.read_table(whole / "pairs.parquet"))
    ours, theirs = (json.loads((own / "summary.json").read_text()) | {"seconds": 0} for own in (out, whole))
    assert ours == theirs and (out / "report.html").read_bytes() == (whole / "report.html").read_bytes()


def model_folder(tmp_path: Path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model_index.json").write_text('{"_class_name": "IMAGPosePipeline", "view_height": 64, "view_width": 48}')
    return str(folder)


def people(tmp_path: Path) -> Callable[[], str]:
    model = model_folder(tmp_path)
    return lambda: evaluate_on_people(tmp_path / "out", model, 1, Sampling(1, 1.0), workers=1)


def test_the_disk_is_looked_at_before_the_work(folders: ImageFolders, tmp_path: Path, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    for work in (lambda: evaluate(folders, tmp_path / "out"), people(tmp_path)):
        with pytest.raises(OSError, match=r"about 10 MB will be written, and 1 MB are free: .*out") as failure:
            work()
        assert failure.value.errno == errno.ENOSPC and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("summary.json", "was not written by this command"),
        ("pictures", "was not written by this command"),
        ("pairs.csv", "is another list"),
    ],
)
def test_people_are_rendered_after_the_folder_was_looked_at(tmp_path: Path, monkeypatch, name: str, text: str) -> None:
    monkeypatch.setattr(model, "prepare_people", lambda *_, **__: pytest.fail("rendered"))
    work = people(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(ValueError, match=text):
        work()
    assert files_of(tmp_path / "out") == {name: b"mine"}


def test_a_model_is_not_measured_into_others_pictures(tmp_path: Path) -> None:
    (tmp_path / "out" / "pictures").mkdir(parents=True)
    with pytest.raises(ValueError, match="pictures exists and was not written by this command"):
        evaluate_model(tmp_path / "out", ModelEvaluation("mini", tmp_path / "nowhere"))
    assert not files_of(tmp_path / "out")


def test_the_numbers_of_the_judges_do_not_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "judges.json").write_text("mine")
    with pytest.raises(ValueError, match="exists: choose another name, or replace it with --overwrite"):
        check_measures(tmp_path / "nowhere", out=tmp_path / "judges.json")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        check_measures(tmp_path / "nowhere", out=tmp_path / "judges.json", overwrite=True)
    assert (tmp_path / "judges.json").read_text() == "mine"


def test_scores_replace_only_scores(folders: ImageFolders, tmp_path: Path) -> None:
    methods = {"ours": folders.generated, "theirs": folders.generated}
    build_study(folders.reference, methods, tmp_path / "study", StudySettings(0, 2, seed=1))
    key = json.loads((tmp_path / "study" / "key.json").read_text())
    sheet = {"study": key["study"], "participant": "p", "answers": dict.fromkeys(key["items"], 0)}
    (tmp_path / "sheet.json").write_text(json.dumps(sheet))

    def score(**how: bool) -> None:
        score_study(tmp_path / "study" / "key.json", [tmp_path / "sheet.json"], tmp_path / "scores", **how)

    score()
    with pytest.raises(ValueError, match="--overwrite"):
        score()
    score(overwrite=True)
    (tmp_path / "scores" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds notes\.txt"):
        score(overwrite=True)
    assert (tmp_path / "scores" / "notes.txt").read_text() == "mine"


def measuring(out: Path) -> Measuring:
    return Measuring(out, out.parent / "nowhere", Sampling(1, 1.0), None, "imagpose x")


@pytest.mark.parametrize("name", ["figure7.md", "figure7.png"])
def test_a_page_is_not_written_over_what_others_wrote(tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(ValueError, match="was not written by this command"):
        items.figure7(measuring(tmp_path / "out"), "mini")
    assert files_of(tmp_path / "out") == {name: b"mine"}
