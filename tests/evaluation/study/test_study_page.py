"""The page of the user study in a real browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from study_pieces import SMALL, methods_of, seen

from imagpose.evaluation.study.build import build_study
from imagpose.evaluation.study.score import score_study


@pytest.fixture
def page(chromium, study: Path) -> Iterator:
    """The questionnaire as a participant opens it, from a file; any error of its script fails the test."""
    context = chromium.new_context()
    context.set_default_timeout(30_000)
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
