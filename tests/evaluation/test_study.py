"""The user study: blindness of the questionnaire, scores against values counted by hand, the page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from imagpose.evaluation.study.build import StudySettings, build_study
from imagpose.evaluation.study.score import score_study, wilson_interval

SMALL = StudySettings(real_fake=3, side_by_side=4, seed=1)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Six places; the picture of a folder has a colour of its own, a size of its own, and says who made it."""
    made = {}
    for number, name in enumerate(("real", "ours", "theirs", "third", "sources")):
        folder = made[name] = tmp_path / name
        folder.mkdir()
        for place in range(6):
            text = PngImagePlugin.PngInfo()
            text.add_text("Software", f"made by {name}")
            colour = (40 * number, 30 * place, 100)
            Image.new("RGB", (24 + number, 32), colour).save(folder / f"place-{place}.png", pnginfo=text)
    return made


@pytest.fixture
def study(folders: dict[str, Path], tmp_path: Path) -> Path:
    methods = {name: folders[name] for name in ("ours", "theirs", "third")}
    build_study(folders["real"], methods, tmp_path / "study", SMALL, sources=folders["sources"])
    return tmp_path / "study"


def questions_of(study: Path) -> list[dict]:
    page = (study / "questionnaire" / "index.html").read_text()
    found = re.search(r"^const study = (.*);$", page, re.MULTILINE)
    assert found
    return json.loads(found[1])["questions"]


def key_of(study: Path) -> dict:
    return json.loads((study / "key.json").read_text())


def test_questions_and_key_agree_with_the_pictures(study: Path) -> None:
    key, questions = key_of(study), questions_of(study)
    colours = {"real": 0, "ours": 40, "theirs": 80, "third": 120}
    assert len(questions) == 6 + 4 and set(key["items"]) == {question["id"] for question in questions}
    assert sorted(item["answer"] for item in key["items"].values() if item["kind"] == "real_fake") == (
        ["generated"] * 3 + ["real"] * 3
    )

    def pixel(file: str) -> tuple:
        return Image.open(study / "questionnaire" / file).getpixel((5, 5))

    for question in questions:
        item = key["items"][question["id"]]
        place = int(item["name"].removeprefix("place-"))
        if item["kind"] == "real_fake":
            maker = "real" if item["answer"] == "real" else "ours"
            assert pixel(question["picture"]) == (colours[maker], 30 * place, 100)
        else:
            assert [pixel(file) for file in question["candidates"]] == [
                (colours[method], 30 * place, 100) for method in item["methods"]
            ]
            assert pixel(question["source"]) == (160, 30 * place, 100)
    names = {
        kind: [i["name"] for i in key["items"].values() if i.get("answer") == kind] for kind in ("real", "generated")
    }
    assert not set(names["real"]) & set(names["generated"])


def test_nothing_tells_the_answer(study: Path) -> None:
    page = (study / "questionnaire" / "index.html").read_text()
    for word in ("ours", "theirs", "place-", "real_fake", "http:", "https:"):
        assert word not in page
    sizes = set()
    for path in (study / "questionnaire" / "pictures").iterdir():
        with Image.open(path) as picture:
            assert not picture.info
            sizes.add(picture.size)
        assert re.fullmatch(r"[0-9a-f]{20}\.png", path.name) and path.stat().st_mtime == 0
    assert sizes == {(24, 32)}
    assert not (study / "questionnaire" / "key.json").exists()


def test_the_seed_decides_the_study(folders: dict[str, Path], tmp_path: Path) -> None:
    methods = {name: folders[name] for name in ("ours", "theirs")}
    pages = [
        build_study(folders["real"], methods, tmp_path / name, StudySettings(3, 4, seed)).read_text()
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    ]
    assert pages[0] == pages[1] != pages[2]


def test_each_method_stands_equally_often_first(folders: dict[str, Path], tmp_path: Path) -> None:
    methods = {name: folders[name] for name in ("ours", "theirs", "third")}
    build_study(folders["real"], methods, tmp_path / "s", StudySettings(1, 6, 0))
    firsts = [item["methods"][0] for item in key_of(tmp_path / "s")["items"].values() if item["kind"] == "side_by_side"]
    assert sorted(firsts) == sorted([*methods, *methods])


def test_bad_input_is_refused_and_nothing_is_written(folders: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "study"
    with pytest.raises(ValueError, match="6 pictures have the same name in all folders; 40 are needed"):
        build_study(folders["real"], {"ours": folders["ours"]}, out)
    with pytest.raises(ValueError, match="at least one method"):
        build_study(folders["real"], {}, out, SMALL)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        build_study(folders["real"], {"ours": tmp_path / "nowhere"}, out, SMALL)
    with pytest.raises(ValueError, match="at least 1"):
        build_study(folders["real"], {"ours": folders["ours"]}, out, StudySettings(0, 1))
    for path in folders["ours"].iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(ValueError):
        build_study(folders["real"], {"ours": folders["ours"]}, out, SMALL)
    assert not out.exists() and not (tmp_path / "study.partial").exists()
    out.mkdir()
    with pytest.raises(ValueError, match="exists"):
        build_study(folders["real"], {"ours": folders["ours"]}, out, SMALL)


def answers_of(key: dict, wrong: int, best: str) -> dict:
    """All real or generated answers right but the first `wrong` of each kind; always `best` in the sets."""
    answers: dict = {}
    left = {"real": wrong, "generated": wrong}
    for item, question in key["items"].items():
        if question["kind"] == "side_by_side":
            answers[item] = question["methods"].index(best)
            continue
        truth = question["answer"]
        answers[item] = truth if left[truth] == 0 else {"real": "generated", "generated": "real"}[truth]
        left[truth] = max(0, left[truth] - 1)
    return answers


def sheet(folder: Path, study: str, participant: str, answers: dict) -> Path:
    path = folder / f"answers-{participant}.json"
    path.write_text(json.dumps({"study": study, "participant": participant, "answers": answers}))
    return path


def test_scores_are_those_counted_by_hand(study: Path, tmp_path: Path) -> None:
    key = key_of(study)
    sheets = [
        sheet(tmp_path, key["study"], "a", answers_of(key, 0, "ours")),
        sheet(tmp_path, key["study"], "b", answers_of(key, 2, "ours")),
        sheet(tmp_path, key["study"], "c", answers_of(key, 1, "third")),
    ]
    result = score_study(study / "key.json", sheets, tmp_path / "scores")
    means = {name: rate.mean for name, rate in result.rates.items()}
    assert means == pytest.approx({"R2G": 1 / 3, "G2R": 1 / 3, "Jab ours": 2 / 3, "Jab theirs": 0, "Jab third": 1 / 3})
    assert result.chance == pytest.approx(1 / 3) and result.participants == 3
    assert result.rates["R2G"].low <= 1 / 3 <= result.rates["R2G"].high
    assert "Jab of 33.3%" in (tmp_path / "scores" / "report.md").read_text()


def test_sheets_that_do_not_count_are_named(study: Path, tmp_path: Path) -> None:
    key = key_of(study)
    good = answers_of(key, 1, "ours")
    item = next(iter(good))
    (tmp_path / "broken.json").write_text("{")
    cases = {
        "twice": sheet(tmp_path, key["study"], "a", good).rename(tmp_path / "first.json"),
        "was counted already": sheet(tmp_path, key["study"], "a", answers_of(key, 2, "ours")),
        "the same answers as participant 'a'": sheet(tmp_path, key["study"], "copy", good),
        "incomplete: 1 of 10": sheet(tmp_path, key["study"], "d", {k: v for k, v in good.items() if k != item}),
        "another study": sheet(tmp_path, "other", "e", good),
        "does not have": sheet(tmp_path, key["study"], "f", good | {"made up": 1}),
        "is none of": sheet(tmp_path, key["study"], "g", good | {item: "maybe"}),
        "no participant": sheet(tmp_path, key["study"], " ", good),
        "not a sheet": tmp_path / "broken.json",
    }
    result = score_study(study / "key.json", list(cases.values()), tmp_path / "scores")
    assert result.participants == 1
    for reason, path in list(cases.items())[1:]:
        assert reason in result.refused[str(path)]
    with pytest.raises(ValueError, match="no sheet counts"):
        score_study(study / "key.json", [tmp_path / "broken.json"], tmp_path / "other")
    with pytest.raises(ValueError, match="not the key"):
        score_study(tmp_path / "broken.json", [], tmp_path / "other")


def test_wilson_interval_against_the_textbook() -> None:
    """8 of 10: 0.4902 to 0.9433 (Newcombe, 1998, method 3)."""
    interval = wilson_interval(8, 10)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.4902, 0.9433)
    assert wilson_interval(0, 5).low == 0.0 and np.isclose(wilson_interval(5, 5).high, 1.0)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_takes_answers_in_a_real_browser(study: Path, tmp_path: Path) -> None:
    """A script inside of a copy of the page answers everything as a participant would, by clicks and keys."""
    page = study / "questionnaire" / "index.html"
    script = """<script>
    addEventListener("load", () => {
      byId("code").value = "p 1"; byId("begin").requestSubmit();
      for (let guard = 0; !byId("question").hidden && guard < 99; guard++) {
        if (byId("next").disabled) {
          if (byId("single").hidden) document.querySelector("#choices button").click();
          else document.dispatchEvent(new KeyboardEvent("keydown", { key: "2" }));
        }
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
      }
      const loaded = [...document.images].filter((image) => image.complete && image.naturalWidth > 0).length;
      document.body.dataset.sheet = byId("text").value;
      document.body.dataset.state = byId("state").textContent + " " + byId("save").disabled + " " + loaded;
    });
    </script></body>"""
    test_page = page.with_name("test.html")
    test_page.write_text(page.read_text().replace("</body>", script))
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=8000", "--dump-dom", test_page.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    import html

    found = re.search(r'data-sheet="([^"]*)"', dom)
    state = re.search(r'data-state="([^"]*)"', dom)
    assert found and state and state[1].startswith("All questions are answered. Please save the file. false")
    answers = tmp_path / "answers.json"
    answers.write_text(html.unescape(found[1]))
    result = score_study(study / "key.json", [answers], tmp_path / "scores")
    assert result.rates["R2G"].mean == 1.0 and result.rates["G2R"].mean == 0.0
    assert list(result.rows) == ["p 1"]
