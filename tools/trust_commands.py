"""The commands that write, how `trust_files` calls them, and the small inputs that it calls them with."""

from __future__ import annotations

import codecs
import json
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from imagpose.data.reid_people import render_reid_people
from imagpose.data.rendered import prepare_people
from imagpose.evaluation.study.build import StudySettings, build_study
from imagpose.people.render_set import render_set
from trust_networks import save_official, tiny_pipeline
from trust_trainings import TRAININGS, make_trainings

LOADED = ("data.folder", "data.rendered", "evaluation.images", "serving.demo", "serving.generate", "serving.poses")
"""What commands import when they begin; loaded once, before children are forked."""


@dataclass(frozen=True)
class Command:
    """A command that writes.

    Attributes:
        name: of the command; behind " to " what it writes, where that is said by its arguments.
        arguments: with ``{out}`` for what it writes and ``{inputs}`` for the folder of `make_inputs`.
        theirs: names in its folder at which somebody's file must survive.
        varying: patterns of files that hold times or names of folders, or have times in their own names, so that two runs
            differ.
        few: it is tried only a few times, for it is slow or like another.
        overwrites: whether it has ``--overwrite``.
        one_file: it writes one file into a folder that is there.
    """

    name: str
    arguments: str
    theirs: tuple[str, ...]
    varying: tuple[str, ...] = ()
    few: bool = False
    overwrites: bool = False
    one_file: bool = False

    def given(self, inputs: Path, out: Path) -> list[str]:
        words = f"{self.name.partition(' to ')[0]} {self.arguments}"
        return [part.format(inputs=inputs, out=out) for part in words.split()]


_PEOPLE = "--seed 2000100 --count 3 --views 2 --size 64x48 --workers 1 --out {out}"
_MOVES = (
    "--source {inputs}/2000000/0.png --poses {inputs}/2000000/0.json --poses {inputs}/2000000/1.json --between 4 --steps 1"
    " --model {inputs}/.model --overlap 1"
)
_TABLE = "{inputs}/.table.csv --model {inputs}/.model --steps 1"
_METHODS = "--real {inputs}/2000000 --method a={inputs}/2000000 --method b={inputs}/2000001"
_RECORDS = tuple(f"pictures/{part}/{number}/result.json" for number, part in enumerate(("5f", "6b")))
_CROWD = "--train 2 --test 2 --views 2 --workers 1"
_REPORT = ("summary.json", "report.html", "parts/*")
_REQUEST = "--source {inputs}/2000000/0.png --pose {inputs}/2000000/1.json --pose {inputs}/2000000/0.json"
COMMANDS = (
    Command("people", _PEOPLE, ("notes.txt", "2000101/notes.txt", "2000102/0.png", "x.partial")),
    Command(
        "prepare people", _PEOPLE, ("notes.txt", "test-00000-of-00001.parquet", "info.json", "preparing/notes.txt"),
    ),
    Command(
        "prepare folder", "--pictures {inputs} --workers 1 --out {out}", ("notes.txt", "index.parquet", "x.partial")
    ),
    Command(
        "generate", f"{_REQUEST} --model {{inputs}}/.model --steps 2 --out {{out}}",
        ("notes.txt", "target-7.png", "result.json"), ("result.json",), overwrites=True,
    ),
    Command(
        "generate --photos", "{inputs} --pose walk-01 --model {inputs}/.model --steps 2 --out {out}",
        ("2000001/notes.txt",), ("2000000/result.json", "2000001/result.json"),
        overwrites=True,
    ),
    Command(
        "requests export", f"{_REQUEST} --size 64x48 --out {{out}}", ("notes.txt", "person/request.json"),
        overwrites=True,
    ),
    Command(
        "evaluate images", "--generated {inputs}/2000000 --reference {inputs}/2000000 --workers 1 --out {out}",
        ("notes.txt", "summary.json", "parts/notes.txt"), ("summary.json", "report.html"),
    ),
    Command(
        "demo", "--model {inputs}/.model --steps 1 --out {out}", ("notes.txt", "index.html", "t1/target-0.png"),
        ("index.html",), few=True, overwrites=True,
    ),
    Command("poses detect", "{inputs}/2000000/0.png --out {out}", ("0.json",), few=True, overwrites=True),
    *(
        Command(
            f"{'reid train' if name == 'reid' else f'train {name}'}",
            f"--config {{inputs}}/.trainings/{name}.yaml --resume latest output={{out}}", ("weights/notes.txt",),
            ("checkpoints/*", "tensorboard/*", "progress.csv", "weights/training.json"), few=True,
        )
        for name in TRAININGS
    ),
    Command("train export", "--run {inputs}/.run --out {out}", ("notes.txt",), overwrites=True),
    Command(
        "convert official",
        "--unet {inputs}/.official/files/denoising_unet-0.pth --pose {inputs}/.official/files/pose_guider-0.pth"
        " --patch {inputs}/.official/files/patch-0.pth --base {inputs}/.official/base --out {out}",
        ("notes.txt",), few=True,
    ),
    Command(
        "convert to-official", "--model {inputs}/.official/model --out {out}", ("patch-0.pth",), few=True,
    ),
    Command(
        "animate", f"{_MOVES} --out {{out}}", ("frame-000002.png", "frame-000003.png", "result.json", "notes.txt", ".lock"),
        ("result.json",), overwrites=True,
    ),
    Command(
        "animate to a film", f"{_MOVES} --out {{out}}/a.gif", ("a.gif", "a.gif.json", "a.gif.frames/frame-000002.png"),
        ("a.gif.json",), one_file=True,
    ),
    Command(
        "bulk", f"{_TABLE} --out {{out}}", ("pictures/notes.txt", "failed.csv", "settings.json", "notes.txt"), _RECORDS
    ),
    Command(
        "bulk to Parquet", f"{_TABLE} --format parquet --out {{out}}",
        ("pictures-00000.parquet", "pictures-00001.parquet", "pictures-00001.parquet.txt"), ("pictures-00000.parquet",),
    ),
    Command(
        "evaluate model",
        "--model {inputs}/.model --data {inputs}/.data --scenario T1 --steps 1 --limit 2 --workers 1 --out {out}",
        ("pictures/notes.txt", "parts/notes.txt", "report.html"), _REPORT, few=True,
    ),
    Command(
        "evaluate people", "--model {inputs}/.model --identities 1 --steps 1 --workers 1 --out {out}",
        ("pictures/notes.txt", "people/notes.txt", "pairs.csv", "report.html"), _REPORT, few=True,
    ),
    Command(
        "evaluate judges", "--data {inputs}/.data --people 2 --out {out}/a.json", ("a.json",), few=True,
        one_file=True,
    ),
    Command(
        "reproduce table1", "--model {inputs}/.model --data {inputs}/.data --limit 2 --steps 1 --out {out}",
        ("table1.md",), ("table1.md", "table1.png", "*summary.json", "*report.html", "*/parts/*"), few=True,
    ),
    Command(
        "evaluate requests", "--data {inputs}/.data --scenario T1 --out {out}", ("requests.json", "notes.txt"),
        overwrites=True,
    ),
    Command(
        "evaluate import", "--from pcdms --pictures {inputs}/.made --data {inputs}/.data --out {out}", ("notes.txt",),
        overwrites=True,
    ),
    Command(
        "study score", "--key {inputs}/.study/key.json {inputs}/.sheet.json --out {out}", ("report.md", "notes.txt"),
        few=True, overwrites=True,
    ),
    Command("study build", f"{_METHODS} --real-fake 1 --side-by-side 1 --seed 3 --out {{out}}", ("key.json",)),
    Command(
        "prepare reid",
        r"--pattern (\d+)_c(\d) --train {inputs}/.reid/bounding_box_train --query {inputs}/.reid/query"
        " --gallery {inputs}/.reid/bounding_box_test --out {out}",
        ("names.csv", "query/notes.txt"), overwrites=True,
    ),
    Command(
        "prepare market1501",
        "--root {inputs}/.reid --train-annotations {inputs}/.reid/market-annotation-train.csv --workers 1 --out {out}",
        ("notes.txt", "info.json", "pairs-train.csv"), few=True,
    ),
    Command(
        "prepare deepfashion",
        "--pictures {inputs}/.fashion --lists {inputs}/.fashion --annotations {inputs}/.fashion/key-points.csv --workers 1"
        " --size 64x48 --out {out}",
        ("notes.txt", "info.json", "pairs-test.csv"), few=True,
    ),
    Command(
        "reid evaluate", "--data {inputs}/.reid --network identity --out {out}", ("result.json", "notes.txt"),
        few=True, overwrites=True,
    ),
    Command("reid people", f"{_CROWD} --out {{out}}", ("query/notes.txt", "notes.txt"), overwrites=True),
    Command(
        "reid augment",
        "--data {inputs}/.reid --annotations {inputs}/.reid/market-annotation-train.csv --model {inputs}/.model --steps 1"
        " --size 32x16 --per-identity 3 --out {out}",
        ("query/notes.txt", "manifest.csv", "augment.part.csv", "augment.json", "rejected.csv", "settings.json"),
    ),
    Command("poses draw", "{inputs}/2000000/0.json --out {out}/a.png", ("a.png", "notes.txt"), one_file=True),
    Command("poses convert", "{inputs}/2000000/0.json {out}/a.json", ("a.json", "notes.txt"), one_file=True),
    Command("poses list", "walk-* --sheet {out}/a.png", ("a.png", "notes.txt"), one_file=True),
)  # fmt: skip


def make_inputs(folder: Path) -> Path:
    """Pictures and poses of two people; hidden beside them a small model and a run's folder."""
    for name in LOADED:
        import_module(f"imagpose.{name}")
    codecs.lookup("utf-8-sig")  # of the interpreter's files, which nobody may not be able to read
    render_set(2_000_000, 2, 2, 64, 48, folder, 1)
    tiny_pipeline().save_pretrained(folder / ".model")
    shutil.copytree(folder / ".model", folder / ".run" / "weights")
    save_official(folder / ".official")
    prepare_people(2_000_000, 2, 5, 64, 48, folder / ".data", workers=1)
    render_reid_people(folder / ".reid", 2, 2, 2, 1)
    (folder / ".made").mkdir()
    shutil.copy(folder / "2000000" / "1.png", folder / ".made" / "2000000_0_to_2000000_1.png")
    rows = [f"{number},2000000/{number}.png,2000001/{number}.json" for number in range(2)]
    (folder / ".table.csv").write_text("\n".join(["id,sources,poses", *rows]) + "\n")
    _make_fashion(folder / ".fashion", folder / "2000000")
    _make_study(folder)
    make_trainings(folder / ".trainings")
    return folder


def _make_fashion(folder: Path, views: Path) -> None:
    """Two pictures of a garment to learn and two of another to test, with the names, lists and key points of the field."""
    folder.mkdir()
    lines = ["name:keypoints_y:keypoints_x"]
    for number, split in enumerate(("train", "test")):
        names = [f"fashionWOMENDressesid0000000{number}01_{side}.jpg" for side in ("1front", "3back")]
        for view, name in enumerate(names):
            shutil.copy(views / f"{view}.png", folder / name)
            lines.append(f"{name}: {list(range(20, 200, 10))}: {list(range(20, 164, 8))}")
        (folder / f"{split}.lst").write_text("\n".join(names) + "\n")
    (folder / "key-points.csv").write_text("\n".join(lines) + "\n")


def _make_study(folder: Path) -> None:
    """A study of two methods, and what a participant answered."""
    methods = {name: folder / f"200000{number}" for number, name in enumerate("ab")}
    build_study(folder / "2000000", methods, folder / ".study", StudySettings(1, 1, 3))
    key = json.loads((folder / ".study" / "key.json").read_text())
    answers = {number: item.get("answer", 0) for number, item in key["items"].items()}
    (folder / ".sheet.json").write_text(json.dumps({"study": key["study"], "participant": "p", "answers": answers}))
