"""The user study: blindness of the questionnaire, scores against values counted by hand, the page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from typer.testing import CliRunner

from imagpose.cli import app
from imagpose.evaluation.study.build import StudySettings, build_study
from imagpose.evaluation.study.files import CODE_LENGTH
from imagpose.evaluation.study.score import score_study, wilson_interval

SMALL = StudySettings(real_fake=3, side_by_side=4, seed=1)
SIZE = (24, 32)
MAKERS = ("real", "ours", "theirs", "third", "sources")


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Ten places; the colour of a picture says who made it and which place it shows, and so does its metadata."""
    made = {}
    for number, name in enumerate(MAKERS):
        folder = made[name] = tmp_path / name
        folder.mkdir()
        for place in range(10):
            text = PngImagePlugin.PngInfo()
            text.add_text("Software", f"made by {name}")
            size = SIZE if name != "sources" else (40, 32)
            Image.new("RGB", size, (40 * number, 20 * place, 100)).save(folder / f"place-{place}.png", pnginfo=text)
    return made


def seen(picture: Path) -> tuple[str, str]:
    """Who made a picture of the questionnaire, and its name, from its colour."""
    with Image.open(picture) as opened:
        red, green, _ = opened.convert("RGB").getpixel((12, 16))
    return MAKERS[round(red / 40)], f"place-{round(green / 20)}"


def methods_of(folders: dict[str, Path], *names: str) -> dict[str, Path]:
    return {name: folders[name] for name in names}


@pytest.fixture
def study(folders: dict[str, Path], tmp_path: Path) -> Path:
    methods = methods_of(folders, "ours", "theirs", "third")
    build_study(folders["real"], methods, tmp_path / "study", SMALL, sources=folders["sources"])
    return tmp_path / "study"


def shown_by(study: Path) -> dict:
    page = (study / "questionnaire" / "index.html").read_text()
    found = re.search(r"^const study = (.*);$", page, re.MULTILINE)
    assert found
    return json.loads(found[1])


def key_of(study: Path) -> dict:
    return json.loads((study / "key.json").read_text())


def files_of(study: Path) -> dict[str, bytes]:
    return {
        path.relative_to(study).as_posix(): path.read_bytes() for path in sorted(study.rglob("*")) if path.is_file()
    }


# The questionnaire


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
        assert not out.exists() and not (tmp_path / "study.partial").exists()

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


# The scores


def answers_of(key: dict, wrong: int, best: str) -> dict:
    """All real or generated answers right but the first `wrong` of each kind; always `best` in the sets."""
    answers: dict = {}
    left = {"real": wrong, "generated": wrong}
    for number, item in key["items"].items():
        if item["kind"] == "set":
            answers[number] = item["methods"].index(best)
            continue
        truth = item["answer"]
        answers[number] = truth if left[truth] == 0 else {"real": "generated", "generated": "real"}[truth]
        left[truth] = max(0, left[truth] - 1)
    return answers


def sheet(folder: Path, study: str, participant: object, answers: object, name: str | None = None) -> Path:
    path = folder / f"answers-{name or participant}.json"
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
    assert result.rows["b"] == pytest.approx(
        {"R2G": 2 / 3, "G2R": 2 / 3, "Jab ours": 1, "Jab theirs": 0, "Jab third": 0}
    )
    assert result.chance == pytest.approx(1 / 3) and result.participants == 3
    assert result.rates["R2G"].low <= 1 / 3 <= result.rates["R2G"].high
    report = (tmp_path / "scores" / "report.md").read_text()
    assert "3 of 3 sheets count; a method chosen blindly has a Jab of 33.3%." in report
    assert "| Jab ours | 66.7% | 0.0% to 100.0% |" in report
    assert json.loads((tmp_path / "scores" / "summary.json").read_text())["rates"]["G2R"]["mean"] == pytest.approx(
        1 / 3
    )


def test_a_study_of_one_part_has_the_measures_of_that_part(folders: dict[str, Path], tmp_path: Path) -> None:
    for name, settings, expected in (
        ("singles", StudySettings(4, 0), {"R2G": 0.25, "G2R": 0.25}),
        ("sets", StudySettings(0, 4), {"Jab ours": 1.0, "Jab theirs": 0.0}),
    ):
        methods = methods_of(folders, "ours", "theirs")
        build_study(folders["real"], methods, tmp_path / name, settings)
        key = key_of(tmp_path / name)
        one = sheet(tmp_path, key["study"], "a", answers_of(key, 1, "ours"))
        result = score_study(tmp_path / name / "key.json", [one], tmp_path / f"{name} scores")
        assert {measure: rate.mean for measure, rate in result.rates.items()} == expected
    hits = result.rates["Jab ours"]  # all 4 of 4: Wilson's lower end is n / (n + z^2)
    assert hits.low == pytest.approx(4 / (4 + 1.959964**2)) and hits.high == 1.0


def bad_sheets(folder: Path, key: dict) -> dict[str, Path]:
    """Files that must not count, by what must be said of them."""
    good, study = answers_of(key, 1, "ours"), key["study"]
    single, *_, place = good
    numbers = iter(range(100))

    def changed(answers: object, participant: object = "x", of: str = study) -> Path:
        return sheet(folder, of, participant, answers, f"bad {next(numbers)}")

    def raw(contents: bytes) -> Path:
        path = folder / f"raw {next(numbers)}.json"
        path.write_bytes(contents)
        return path

    whole = json.dumps({"study": study, "participant": "x", "answers": good})
    with (folder / "huge.json").open("wb") as huge:
        huge.truncate(11_000_000)
    return {
        "answer 1.0 is none of 0, 1, 2": changed(good | {place: 1.0}),
        "answer True is none of 0, 1, 2": changed(good | {place: True}),
        "answer -1 is none of": changed(good | {place: -1}),
        "answer 3 is none of": changed(good | {place: 3}),
        "answer None is none of": changed(good | {place: None}),
        "answer nan is none of": changed(good | {place: float("nan")}),
        "answer [0] is none of": changed(good | {place: [0]}),
        "answer 'real' is none of 0": changed(good | {place: "real"}),
        "answer 'maybe' is none of 'real', 'generated'": changed(good | {single: "maybe"}),
        "answer 0 is none of 'real', 'generated'": changed(good | {single: 0}),
        "incomplete: 1 of 10": changed({number: answer for number, answer in good.items() if number != single}),
        "incomplete: 10 of 10": changed({}),
        "another study ('other'; the key is of": changed(good, of="other"),
        "1 answers to questions that the study does not have (first '11')": changed(good | {"11": "real"}),
        "'' is no code": changed(good, ""),
        "'  ' is no code": changed(good, "  "),
        r"'a\nb' is no code": changed(good, "a\nb"),
        "'participant': Input should be a valid string, unable": changed(good, "\ud800"),
        r"(first '\ud800')": changed(good | {"\ud800": 0}),
        f"at most {CODE_LENGTH} characters": changed(good, "x" * (CODE_LENGTH + 1)),
        "'participant': Input should be a valid string": changed(good, 7),
        "'answers': Input should be a valid dictionary": changed(list(good)),
        "'answers': Field required": raw(json.dumps({"study": study, "participant": "x"}).encode()),
        "'participant': Field required": raw(json.dumps({"study": study, "answers": good}).encode()),
        "'study': Field required": raw(json.dumps({"participant": "x", "answers": good}).encode()),
        "valid dictionary or instance of Sheet": raw(b"[]"),
        "not JSON": raw(b"{"),
        "not a text file": raw(b"\xff\xd8\xff\xe0"),
        "nested too deeply": raw(b"[" * 200_000),
        "integer string conversion": raw(b'{"participant": 1' + b"0" * 5000 + b"}"),
        "'participant' stands there twice": raw(whole.replace("{", '{"participant": "y", ', 1).encode()),
        "larger than 10 MB": folder / "huge.json",
        "no such file": folder / "nowhere.json",
    }


def test_sheets_that_do_not_count_are_named(study: Path, tmp_path: Path) -> None:
    key = key_of(study)
    good = sheet(tmp_path, key["study"], "a", answers_of(key, 1, "ours"))
    bad = bad_sheets(tmp_path, key)
    result = score_study(study / "key.json", [*bad.values(), good, tmp_path], tmp_path / "scores")
    assert list(result.rows) == ["a"] and len(result.refused) == len(bad) + 1
    report = (tmp_path / "scores" / "report.md").read_text()
    for reason, path in bad.items():
        assert reason in result.refused[str(path)]
        assert len(result.refused[str(path)].splitlines()) == 1 and f"- {path}: {result.refused[str(path)]}\n" in report
    for path in bad.values():
        with pytest.raises(ValueError, match=r"no sheet of 1 counts; .*json: ."):
            score_study(study / "key.json", [path], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_duplicates_count_once_or_not_at_all_in_any_order(study: Path, tmp_path: Path) -> None:
    """c gave two different sheets, so that neither counts; of what was saved or handed in twice one counts."""
    key = key_of(study)
    answers = [answers_of(key, wrong, best) for wrong, best in ((0, "ours"), (1, "ours"), (2, "theirs"), (3, "third"))]
    sheets = [
        sheet(tmp_path, key["study"], "a", answers[0]),
        sheet(tmp_path, key["study"], " A", answers[0], "again"),
        sheet(tmp_path, key["study"], "b", answers[1]),
        sheet(tmp_path, key["study"], "copy of b", answers[1]),
        sheet(tmp_path, key["study"], "c", answers[2], "c 1"),
        sheet(tmp_path, key["study"], "C ", answers[3], "c 2"),
    ]
    for order in (sheets, sheets[::-1]):
        result = score_study(study / "key.json", order, tmp_path / "scores")
        assert result.participants == 2 and result.rates["R2G"].mean == pytest.approx((0 + 1 / 3) / 2)
        reasons = [result.refused[str(path)] for path in sheets[4:]]
        assert all("gave other answers in" in reason for reason in reasons)
        others = [reason for reason in result.refused.values() if reason not in reasons]
        assert len(others) == 2 and all(reason.startswith("duplicate: the same answers as") for reason in others)


def test_a_key_that_is_none_is_refused(study: Path, tmp_path: Path) -> None:
    key, path = key_of(study), tmp_path / "key.json"
    last = list(key["items"])[-1]
    for change, match in (
        ({"items": {}}, "'items'"),
        ({"subject": "nobody"}, "subject 'nobody' is none of the methods"),
        (
            {"items": key["items"] | {last: {"kind": "set", "name": "x", "methods": ["ours", "ours"]}}},
            "each method once",
        ),
        ({"items": key["items"] | {last: {"kind": "other"}}}, f"'items.{last}'"),
        ({"methods": "ours"}, "'methods'"),
    ):
        path.write_text(json.dumps(key | change))
        with pytest.raises(ValueError, match=f"is not the key.json of a study: .*{re.escape(match)}") as caught:
            score_study(path, [path], tmp_path / "scores")
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(FileNotFoundError, match="nowhere"):
        score_study(tmp_path / "nowhere", [path], tmp_path / "scores")
    with pytest.raises(ValueError, match="no sheets"):
        score_study(study / "key.json", [], tmp_path / "scores")


def test_wilson_interval_against_the_textbook() -> None:
    """8 of 10: 0.4902 to 0.9433 (Newcombe, 1998, method 3)."""
    interval = wilson_interval(8, 10)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.4902, 0.9433)
    assert wilson_interval(0, 5).low == 0.0 and np.isclose(wilson_interval(5, 5).high, 1.0)


def test_the_commands(folders: dict[str, Path], tmp_path: Path) -> None:
    out, run = tmp_path / "study", CliRunner().invoke
    options = ["--real-fake", "2", "--side-by-side", "2", "--out", str(out)]
    methods = [f"--method={name}={folders[name]}" for name in ("ours", "theirs")]
    built = run(app, ["study", "build", "--real", str(folders["real"]), *methods, *options])
    key = key_of(out)
    assert built.exit_code == 0 and f"seed {key['seed']}" in built.output and "index.html" in built.output
    again = run(
        app, ["study", "build", "--real", str(folders["real"]), *methods, *options[:-1], f"{out} 2", "--seed", "7"]
    )
    assert again.exit_code == 0 and key_of(Path(f"{out} 2"))["seed"] == 7
    answers = sheet(tmp_path, key["study"], "a", answers_of(key, 1, "theirs"))
    scored = run(
        app, ["study", "score", "--key", str(out / "key.json"), "--out", str(tmp_path / "scores"), str(answers)]
    )
    assert scored.exit_code == 0 and "| Jab theirs | 100.0% |" in scored.output and "| R2G | 50.0% |" in scored.output


# The page


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Playwright's own Chromium, or else the system's."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra dev)")
    with api.sync_playwright() as playwright:
        installed = [playwright.chromium.executable_path]
        installed += filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
        found = next((path for path in installed if Path(path).exists()), None)
        if found is None:
            pytest.skip("needs a Chromium: playwright install chromium")
        chromium = playwright.chromium.launch(executable_path=found)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, study: Path) -> Iterator:
    """The questionnaire as a participant opens it, from a file; any error of its script fails the test."""
    context = browser.new_context()
    context.set_default_timeout(5000)
    tab, errors = context.new_page(), []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto((study / "questionnaire" / "index.html").as_uri())
    yield tab
    context.close()
    assert not errors


def enter(page, code: str) -> None:
    page.get_by_label("Your participant code").fill(code)
    page.get_by_role("button", name="Begin").click()


def judged(page, study: Path) -> list[tuple[str, str]]:
    """Who made the pictures that are to be judged, by their colours."""
    page.wait_for_function("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    sources = page.locator("#picture img, #choices img").evaluate_all(
        "all => all.map((one) => one.getAttribute('src'))"
    )
    return [seen(study / "questionnaire" / source) for source in sources]


def answer_all(page, study: Path, favourite: str, keys: bool = False) -> None:
    """As somebody who knows all generated pictures, takes all real ones for generated, and likes one method best."""
    for _ in range(10):
        makers = [maker for maker, _ in judged(page, study)]
        place = 1 if len(makers) == 1 else makers.index(favourite)
        assert page.get_by_role("button", name="Next").is_disabled()
        if keys:
            page.keyboard.press(str(place + 1))
            page.keyboard.press("ArrowRight")
        else:
            page.locator("[data-answer]:visible").nth(place).click()
            page.get_by_role("button", name="Next").click()
        if page.get_by_role("button", name="Begin the second part").is_visible():
            page.get_by_role("button", name="Begin the second part").press("Enter")


def saved(page, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save answers").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    assert json.loads(path.read_text()) == json.loads(page.get_by_label("Answers as text").input_value())
    return path


@pytest.mark.parametrize("keys", [False, True], ids=["mouse", "keyboard"])
def test_a_participant_answers_and_saves(page, study: Path, tmp_path: Path, keys: bool) -> None:
    enter(page, "Žofie 1")
    answer_all(page, study, "theirs", keys)
    answers = saved(page, tmp_path)
    assert answers.name == "answers-Žofie_1.json"
    result = score_study(study / "key.json", [answers], tmp_path / "scores")
    means = {name: rate.mean for name, rate in result.rates.items()}
    assert means == {"R2G": 1.0, "G2R": 0.0, "Jab ours": 0.0, "Jab theirs": 1.0, "Jab third": 0.0}
    assert list(result.rows) == ["Žofie 1"]


def test_answers_survive_a_reload_and_can_be_changed(page) -> None:
    enter(page, "p1")
    page.get_by_role("button", name="Real").click()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Generated").click()
    page.reload()
    assert page.locator("#place").inner_text().startswith("Question 2 of 10 · first part · p1")
    assert page.get_by_role("button", name="Generated").get_attribute("aria-pressed") == "true"
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("button", name="Real").get_attribute("aria-pressed") == "true"
    assert page.get_by_role("button", name="Back").is_disabled()
    page.keyboard.press("2")
    assert [page.get_by_role("button", name=name).get_attribute("aria-pressed") for name in ("Real", "Generated")] == [
        "false", "true",
    ]  # fmt: skip


def test_two_people_in_one_browser_do_not_mix(page, study: Path, tmp_path: Path) -> None:
    enter(page, "first")
    page.keyboard.press("1")
    page.get_by_role("button", name="Not you?").click()
    enter(page, "second")
    assert page.get_by_role("button", name="Next").is_disabled()  # the first one's answer is not there
    answer_all(page, study, "ours")
    second = saved(page, tmp_path)
    page.get_by_role("button", name="Another person").click()
    assert page.get_by_label("Your participant code").input_value() == ""
    enter(page, "FIRST")
    assert "holds 1 answers with this code" in page.get_by_role("alert").inner_text()
    page.get_by_role("button", name="Continue").click()
    assert page.get_by_role("button", name="Real").get_attribute("aria-pressed") == "true"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    tab = page.context.new_page()  # a new tab asks who it is
    tab.goto((study / "questionnaire" / "index.html").as_uri())
    assert tab.get_by_label("Your participant code").is_visible()
    enter(tab, "third")
    assert tab.get_by_role("button", name="Next").is_disabled()
    assert json.loads(second.read_text())["participant"] == "second"


def test_another_study_in_the_same_browser_begins_anew(page, folders: dict[str, Path], tmp_path: Path) -> None:
    enter(page, "p1")
    page.keyboard.press("1")
    other = build_study(folders["real"], methods_of(folders, "ours", "theirs"), tmp_path / "other", SMALL)
    page.goto(other.as_uri())
    enter(page, "p1")
    assert page.get_by_role("button", name="Next").is_disabled()


def test_there_is_no_way_back_from_the_sets(page, study: Path) -> None:
    enter(page, "p1")
    for _ in range(6):
        page.keyboard.press("1")
        page.keyboard.press("ArrowRight")
    assert page.get_by_role("heading", name="The first part is done").is_visible()
    page.get_by_role("button", name="Back").click()  # still allowed
    assert page.locator("#place").inner_text().startswith("Question 6")
    page.keyboard.press("2")
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Begin the second part").click()
    for reload in (False, True):
        if reload:
            page.reload()
        assert page.locator("#place").inner_text().startswith("Question 7 of 10 · second part")
        assert page.get_by_role("button", name="Back").is_disabled()
        page.keyboard.press("ArrowLeft")
        assert len(judged(page, study)) == 3
    for _ in range(4):
        page.keyboard.press("3")
        page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Back to the questions").click()
    for _ in range(9):
        page.keyboard.press("ArrowLeft")
    assert page.locator("#place").inner_text().startswith("Question 7")


def test_a_picture_that_is_missing_takes_no_answer(page, study: Path) -> None:
    shutil.rmtree(study / "questionnaire" / "pictures")
    enter(page, "p1")
    page.get_by_text("A picture is missing").wait_for()
    page.get_by_role("button", name="Real").click()
    assert page.get_by_role("button", name="Next").is_disabled()


def test_a_browser_that_keeps_nothing_says_so(page, study: Path, tmp_path: Path) -> None:
    denied = "{ get() { throw new Error('denied'); } }"
    page.add_init_script(f"Object.defineProperties(window, {{ localStorage: {denied}, sessionStorage: {denied} }})")
    page.reload()
    enter(page, "p1")
    assert page.get_by_text("This browser does not keep answers").is_visible()
    answer_all(page, study, "ours")
    assert score_study(study / "key.json", [saved(page, tmp_path)], tmp_path / "scores").rates["Jab ours"].mean == 1.0


CONTRASTS = """() => {
  const parse = (text) => text.match(/[0-9.]+/g).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (element) => { for (let one = element; one; one = one.parentElement) {
    const colour = parse(getComputedStyle(one).backgroundColor);
    if (colour.length === 3 || colour[3] > 0) return colour; } };
  return [...document.querySelectorAll("main *")].filter((one) => one.checkVisibility() && !one.closest(":disabled") &&
    [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())).map((one) => {
      const pair = [light(parse(getComputedStyle(one).color)), light(ground(one))].sort((a, b) => a - b);
      return [(pair[1] + 0.05) / (pair[0] + 0.05), one.outerHTML.slice(0, 80)]; });
}"""


@pytest.mark.parametrize("width", [390, 1600])
def test_the_page_fits_the_screen_and_is_legible(page, study: Path, width: int) -> None:
    """No sideways scrolling, all choices inside, undistorted pictures, and text contrast of WCAG AA (4.5)."""
    page.set_viewport_size({"width": width, "height": 844})

    def check(texts: int) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) >= texts and min(contrasts)[0] >= 4.5, min(contrasts)

    check(8)
    enter(page, "p1")
    for number in range(1, 11):
        assert len(judged(page, study)) == (1 if number < 7 else 3)
        page.locator("[data-answer]:visible").last.click()
        if number in (1, 7):
            check(5)
            for box in page.locator("[data-answer]:visible, img:visible").all():
                place = box.bounding_box()
                assert place["x"] >= 0 and place["x"] + place["width"] <= width
        page.get_by_role("button", name="Next").click()
        if number == 6:
            check(4)
            page.get_by_role("button", name="Begin the second part").click()
    check(5)
