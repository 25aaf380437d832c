"""The questionnaire of the user study: blind, and as the key says."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from study_pieces import SIZE, SMALL, answers_of, files_of, key_of, methods_of, seen, sheet, shown_by

from imagpose.evaluation.study.build import StudySettings, build_study
from imagpose.evaluation.study.score import score_study


def test_questions_and_key_agree_with_the_pictures(study: Path) -> None:
    key, questions = key_of(study), shown_by(study)["questions"]
    assert list(key["items"]) == [str(number) for number in range(1, 11)] and len(questions) == 6 + 4
    assert [item["kind"] for item in key["items"].values()] == ["single"] * 6 + ["set"] * 4
    assert Counter(item.get("answer") for item in key["items"].values()) == {"real": 3, "generated": 3, None: 4}
    for question, item in zip(questions, key["items"].values(), strict=True):
        if item["kind"] == "single":
            maker = "real" if item["answer"] == "real" else "ours"
            assert seen(study / "questionnaire" / question["picture"]) == (maker, item["name"])
        else:
            candidates = [seen(study / "questionnaire" / file) for file in question["candidates"]]
            assert candidates == [(method, item["name"]) for method in item["methods"]]
            assert seen(study / "questionnaire" / question["source"]) == ("sources", item["name"])
    names = [item["name"] for item in key["items"].values()]
    assert len(set(names)) == len(names) == 10  # as many as there are: no picture helps with another question


def test_pictures_come_up_again_only_where_there_are_too_few(folders: dict[str, Path], tmp_path: Path) -> None:
    settings = StudySettings(real_fake=5, side_by_side=8)
    build_study(folders["real"], methods_of(folders, "ours", "theirs"), tmp_path / "study", settings)
    items = list(key_of(tmp_path / "study")["items"].values())
    assert len({item["name"] for item in items if item["kind"] == "single"}) == 10
    assert len({item["name"] for item in items if item["kind"] == "set"}) == 8


def test_nothing_tells_the_answer(folders: dict[str, Path], tmp_path: Path) -> None:
    """Real pictures are noisy and generated ones flat, so that equal encoding alone would give larger and smaller files."""
    rng = np.random.default_rng(0)
    for path in folders["real"].iterdir():
        noise = Image.fromarray(rng.integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8))
        noise.save(path.with_suffix(".jpg"), comment="made by real", icc_profile=b"made by real", dpi=(300, 300))
        path.unlink()
    build_study(folders["real"], methods_of(folders, "ours", "theirs"), tmp_path / "study", SMALL, folders["sources"])
    shown, file = shown_by(tmp_path / "study"), re.compile(r"pictures/[0-9a-f]{20}\.jpg")
    assert shown.keys() == {"study", "questions"}
    for question in shown["questions"]:
        values = [*question.pop("candidates", []), *question.values()]
        assert question.keys() in ({"picture"}, {"source"}) and all(map(file.fullmatch, values))
    assert "http" not in (tmp_path / "study" / "questionnaire" / "index.html").read_text()
    pictures = sorted((tmp_path / "study" / "questionnaire" / "pictures").iterdir())
    assert len(pictures) == 6 + 4 * 3
    traits = set()
    for path in pictures:
        with Image.open(path) as picture:
            tables = json.dumps(picture.quantization)
            traits.add((picture.format, picture.size, str(sorted(picture.info.items())), tables, path.stat().st_mtime))
        traits.add(path.stat().st_size)
        assert re.fullmatch(r"[0-9a-f]{20}\.jpg", path.name) and b"made by" not in path.read_bytes()
    assert len(traits) == 2  # one tuple and one number of bytes
    assert sorted(path.name for path in (tmp_path / "study" / "questionnaire").iterdir()) == ["index.html", "pictures"]


def test_pictures_stay_what_they_were(folders: dict[str, Path], tmp_path: Path) -> None:
    """Even stripes of colour, one pixel wide, come through within two levels of 255 on average."""
    pixels = np.full((32, 24, 3), (200, 60, 60), np.uint8)
    pixels[:, ::2] = (60, 60, 200)
    for path in folders["real"].iterdir():
        Image.fromarray(pixels).save(path)
    build_study(folders["real"], methods_of(folders, "ours"), tmp_path / "study", StudySettings(4, 0))
    number = next(number for number, item in key_of(tmp_path / "study")["items"].items() if item["answer"] == "real")
    shown = shown_by(tmp_path / "study")["questions"][int(number) - 1]["picture"]
    with Image.open(tmp_path / "study" / "questionnaire" / shown) as picture:
        assert np.abs(np.asarray(picture).astype(int) - pixels).mean() < 2


def test_real_and_generated_pictures_are_mixed(folders: dict[str, Path], tmp_path: Path) -> None:
    """The first of six pictures is a real one about every second time; 6 to 24 of 30 have a probability above 0.999."""
    first = []
    for seed in range(30):
        build_study(folders["real"], methods_of(folders, "ours"), tmp_path / f"{seed}", StudySettings(3, 0, seed))
        first.append(key_of(tmp_path / f"{seed}")["items"]["1"]["answer"])
    assert 6 <= first.count("real") <= 24


def test_the_seed_is_random_and_makes_the_study_again(folders: dict[str, Path], tmp_path: Path) -> None:
    methods, sizes = methods_of(folders, "ours", "theirs"), {"real_fake": 3, "side_by_side": 4}
    for name in ("a", "b"):
        build_study(folders["real"], methods, tmp_path / name, StudySettings(**sizes))
    seeds = [key_of(tmp_path / name)["seed"] for name in ("a", "b")]
    assert seeds[0] != seeds[1] and min(seeds) > 2**32  # not to be found by trying
    assert key_of(tmp_path / "a")["items"] != key_of(tmp_path / "b")["items"]
    build_study(folders["real"], methods, tmp_path / "again", StudySettings(**sizes, seed=seeds[0]))
    assert files_of(tmp_path / "again") == files_of(tmp_path / "a")


def test_the_name_of_the_study_covers_all_that_is_shown(folders: dict[str, Path], tmp_path: Path) -> None:
    def build(name: str, *methods: str, settings: StudySettings = SMALL) -> str:
        build_study(folders["real"], methods_of(folders, *methods), tmp_path / name, settings, folders["sources"])
        return key_of(tmp_path / name)["study"]

    folders["renamed"] = folders["ours"]
    first = build("first", "ours", "theirs")
    assert shown_by(tmp_path / "first")["study"] == first == build("same", "ours", "theirs")
    others = {
        build("subject", "theirs", "ours"),
        build("renamed", "renamed", "theirs"),
        build("seed", "ours", "theirs", settings=StudySettings(3, 4, seed=2)),
        build("fewer", "ours", "theirs", settings=StudySettings(3, 3, seed=1)),
    }
    for folder in ("sources", "real"):
        name = next(item["name"] for item in key_of(tmp_path / "first")["items"].values() if (
            item["kind"] == ("set" if folder == "sources" else "single") and item.get("answer") != "generated"
        ))  # fmt: skip
        with Image.open(folders[folder] / f"{name}.png") as opened:
            changed = opened.copy()
        changed.paste((255, 255, 255), (10, 10, 14, 14))
        changed.save(folders[folder] / f"{name}.png")
        others.add(build(f"changed {folder}", "ours", "theirs"))
    assert len(others | {first}) == 7
    answers = sheet(tmp_path, first, "a", answers_of(key_of(tmp_path / "first"), 0, "ours"))
    with pytest.raises(ValueError, match="another study"):
        score_study(tmp_path / "changed real" / "key.json", [answers], tmp_path / "scores")


@pytest.mark.parametrize(("sets", "count"), [(9, 3), (7, 3), (10, 4), (2, 5), (5, 2)])
def test_each_method_stands_equally_often_at_each_place(tmp_path: Path, sets: int, count: int) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for place in range(10):
        Image.new("RGB", SIZE).save(folder / f"{place}.png")
    methods = {f"method {number}": folder for number in range(count)}
    orders = set()
    for seed in range(5):
        build_study(folder, methods, tmp_path / f"{seed}", StudySettings(0, sets, seed))
        rows = [item["methods"] for item in key_of(tmp_path / f"{seed}")["items"].values()]
        orders.add(str(rows))
        for place in range(count):
            often = Counter(row[place] for row in rows)
            assert {often[method] for method in methods} <= {sets // count, -(-sets // count)}
    assert len(orders) > 1


def test_bad_input_is_refused_and_nothing_is_written(folders: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "study"
    two = methods_of(folders, "ours", "theirs")

    def refused(match: str, methods: dict[str, Path] = two, settings: StudySettings = SMALL) -> None:
        with pytest.raises((ValueError, FileNotFoundError), match=match):
            build_study(folders["real"], methods, out, settings)
        assert not list(tmp_path.glob("*study*"))

    refused("10 pictures have the same name in all folders; 40 are needed", settings=StudySettings())
    refused("at least one method", methods={})
    refused("at least two methods", methods=methods_of(folders, "ours"))
    refused("nowhere", methods={"ours": tmp_path / "nowhere", "theirs": folders["theirs"]})
    refused("one of them at least 1", settings=StudySettings(0, 0))
    refused("at least 0", settings=StudySettings(-1, 3))
    refused("the seed is -1; at least 0 expected", settings=StudySettings(3, 3, -1))
    Image.new("RGB", (30, 32)).save(folders["theirs"] / "place-4.png")
    everything = StudySettings(5, 10, 0)
    refused(r"different sizes: 1 \(.*place-4.png: 30x32 \(width x height\), not 24x32\)", settings=everything)
    (folders["theirs"] / "place-4.png").write_bytes(b"no picture")
    refused("place-4.png: not a picture", settings=everything)
    out.mkdir()
    with pytest.raises(ValueError, match="exists"):
        build_study(folders["real"], two, out, SMALL)
