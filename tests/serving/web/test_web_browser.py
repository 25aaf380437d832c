"""The page in a real browser: a dragged wrist, more poses, pictures, cancelling, a reload; by touch and by keys."""

from __future__ import annotations

import json
import re
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagpose.models.unet import IMAGPoseUNet
from imagpose.pose import read_pose
from imagpose.provenance import read_marks

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 380, "height": 760}
WAIT = 60_000  # milliseconds: a shared machine may be slow, a quick one waits for nothing


@pytest.fixture
def open_tab(served, chromium) -> Iterator:
    """Opens the page; errors of its scripts and requests to anywhere else fail the test."""
    contexts, errors = [], []

    def open_(**options):
        context = chromium.new_context(**{"viewport": WIDE, **options})
        contexts.append(context)
        context.set_default_timeout(WAIT)
        tab = context.new_page()
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("request", lambda request: errors.append(request.url) if is_elsewhere(request.url) else None)
        load(tab, served.local_url)
        return tab

    yield open_
    for context in contexts:
        context.close()
    assert not errors


def is_elsewhere(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:"))


def load(tab, url: str) -> None:
    tab.goto(url)
    tab.locator(".im-stage circle").first.wait_for(state="attached")


def joint(tab, name: str) -> tuple[float, float]:
    """Where a joint is, in pixels of its frame."""
    dot = tab.locator(f'[data-joint="{name}"]')
    return float(dot.get_attribute("cx")), float(dot.get_attribute("cy"))


def on_screen(tab, name: str) -> tuple[float, float]:
    box = tab.locator(f'[data-joint="{name}"]').bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(tab, name: str, right: float, down: float) -> None:
    tab.locator(".im-stage").scroll_into_view_if_needed()
    x, y = on_screen(tab, name)
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + right / 2, y + down / 2)
    tab.mouse.move(x + right, y + down)
    tab.mouse.up()


def press(tab, name: str) -> None:
    tab.get_by_role("button", name=name, exact=True).click()


def set_steps(tab, steps: int) -> None:
    tab.get_by_role("button", name="Settings").click()
    tab.get_by_role("spinbutton", name=re.compile("Steps")).fill(str(steps))
    tab.keyboard.press("Tab")


def test_a_dragged_wrist_is_in_the_skeleton_that_the_model_gets(open_tab, served, tmp_path):
    tab = open_tab()
    press(tab, "Rendered person 2")
    before = joint(tab, "right_wrist")
    drag(tab, "right_wrist", -60, -80)
    wrist = joint(tab, "right_wrist")
    assert wrist[0] < before[0] - 20 and wrist[1] < before[1] - 30
    tab.get_by_role("button", name=re.compile("^Add walk-03")).click()
    assert tab.get_by_role("button", name=re.compile("Target pose")).count() == 2
    set_steps(tab, 3)
    press(tab, "Generate")
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Download all (ZIP)").click()
    download.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        archive.extractall(tmp_path)
    sent = read_pose(tmp_path / "poses" / "target-0.json")
    assert sent.keypoints[4, :2] == pytest.approx(wrist, abs=0.01)
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["settings"]["steps"] == 3 and len(record["outputs"]) == 2
    assert tab.locator(".im-item .im-made img").count() == 2
    tab.wait_for_function("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")

    tab.reload()
    tab.locator(".im-stage circle").first.wait_for(state="attached")
    assert tab.get_by_role("button", name=re.compile("Target pose")).count() == 2
    tab.get_by_role("button", name="Target pose 1").click()
    assert joint(tab, "right_wrist") == pytest.approx(wrist)
    tab.get_by_role("img", name=re.compile("Photo 1")).wait_for()


def test_a_request_can_be_cancelled_and_the_next_one_is_made(open_tab, monkeypatch):
    forward = IMAGPoseUNet.forward
    slowly = lambda *inputs, **options: (time.sleep(0.1), forward(*inputs, **options))[1]  # noqa: E731 - a tiny model is too fast
    monkeypatch.setattr(IMAGPoseUNet, "forward", slowly)
    tab = open_tab()
    press(tab, "Rendered person 1")
    set_steps(tab, 100)
    press(tab, "Generate")
    tab.get_by_text(re.compile(r"Step \d+ of 100")).wait_for()
    press(tab, "Cancel")
    tab.get_by_text("Cancelled.").wait_for()
    assert tab.locator(".im-item").count() == 0 and tab.get_by_role("link", name="Download all").count() == 0
    tab.get_by_role("spinbutton", name=re.compile("Steps")).fill("2")
    tab.keyboard.press("Tab")
    press(tab, "Generate")
    tab.get_by_text(re.compile(r"1 picture in")).wait_for()


def test_the_strip_becomes_a_film_that_plays(open_tab, tmp_path):
    pytest.importorskip("av", reason="needs the extra video")
    tab = open_tab()
    press(tab, "Rendered person 2")
    tab.get_by_role("radio", name="Pictures").focus()
    tab.keyboard.press("ArrowRight")
    tab.get_by_text("One target pose makes no film: add another.").wait_for()
    tab.get_by_role("button", name=re.compile("^Add walk-03")).click()
    tab.get_by_label("Frames between two poses").fill("300")
    tab.keyboard.press("Tab")
    tab.get_by_text("2 poses: 302 frames, 25.2 s; at most 250 frames are taken").wait_for()
    press(tab, "Generate")
    tab.locator('[data-state="failed"]').get_by_text("302 frames: this page takes at most 250").wait_for()
    tab.get_by_label("Frames between two poses").fill("2")
    tab.keyboard.press("Tab")
    tab.get_by_text("2 poses: 4 frames, 0.3 s").wait_for()
    set_steps(tab, 2)
    assert not tab.get_by_label("Background").is_visible() and tab.get_by_label("View grid").is_visible()
    press(tab, "Generate")
    tab.get_by_text(re.compile(r"A film of 4 frames in")).wait_for()
    tab.wait_for_function("document.querySelector('video')?.readyState >= 2")
    assert tab.locator("video").evaluate("video => video.duration") == pytest.approx(4 / 12, abs=0.02)
    with tab.expect_download() as download:
        tab.get_by_role("link", name="Download MP4").click()
    download.value.save_as(tmp_path / "film.mp4")
    assert read_marks(tmp_path / "film.mp4").generated
    tab.reload()
    tab.get_by_text("2 poses: 4 frames, 0.3 s").wait_for()


def test_settings_of_pictures_are_shown_for_pictures_and_not_for_films(open_tab):
    tab = open_tab()
    of_both, of_pictures = ("View grid", "Seed", "Mark in the pixels"), ("Scenario", "Samples", "Background")

    def shown() -> set[str]:
        words = tab.locator("#imagpose-settings").inner_text()  # of what is not hidden
        return {name for name in (*of_both, *of_pictures) if name in words}

    tab.get_by_role("button", name="Settings").click()
    tab.get_by_label("View grid").wait_for()
    assert shown() == {*of_both, *of_pictures}
    tab.get_by_role("radio", name="Film").click()
    assert shown() == {*of_both}
    tab.get_by_role("radio", name="Pictures").click()
    assert shown() == {*of_both, *of_pictures}


def test_what_is_wrong_is_said_on_the_page_each_time(open_tab):
    tab = open_tab()
    for _ in range(2):
        press(tab, "Generate")
        tab.locator('[data-state="failed"]').get_by_text("no photo: add one, or choose a person").wait_for()
        assert tab.get_by_role("button", name="Generate").is_enabled()
    press(tab, "Rendered person 1")
    tab.get_by_role("button", name="Settings").click()
    tab.get_by_role("spinbutton", name=re.compile("Seed")).fill("-5")
    tab.keyboard.press("Tab")
    press(tab, "Generate")
    tab.get_by_text("seed must be a whole number from 0").wait_for()


def test_a_request_that_gradio_refuses_ends_too(open_tab, monkeypatch):
    tab = open_tab()
    press(tab, "Rendered person 1")
    for _ in range(2):
        monkeypatch.setattr("gradio.Number.preprocess", refuse)
        press(tab, "Generate")
        tab.locator('[data-state="failed"]').get_by_text("the request was refused").wait_for()
        assert tab.get_by_role("button", name="Generate").is_enabled()


def refuse(component, payload):
    raise ValueError("no")


def test_turn_keeps_lengths_limb_and_body_move_together_and_undo_takes_it_back(open_tab):
    tab = open_tab()
    arm = ("right_shoulder", "right_elbow", "right_wrist")

    def places():
        return {name: joint(tab, name) for name in (*arm, "neck", "left_wrist", "right_knee")}

    def length(at, start, end):
        return ((at[start][0] - at[end][0]) ** 2 + (at[start][1] - at[end][1]) ** 2) ** 0.5

    start = places()
    tab.get_by_role("radio", name="Turn").click()
    drag(tab, "right_elbow", -50, -60)
    turned = places()
    assert turned["right_elbow"] != start["right_elbow"] and turned["right_shoulder"] == start["right_shoulder"]
    for one, other in (arm[:2], arm[1:]):
        assert length(turned, one, other) == pytest.approx(length(start, one, other), abs=0.05)
    press(tab, "Undo")
    assert places() == start

    tab.get_by_role("radio", name="Limb").click()
    drag(tab, "right_wrist", 20, 30)
    limb = places()
    moves = {name: (limb[name][0] - start[name][0], limb[name][1] - start[name][1]) for name in start}
    assert moves["right_shoulder"] == pytest.approx(moves["right_wrist"]) and moves["right_wrist"][1] > 10
    assert moves["left_wrist"] == moves["neck"] == (0, 0)

    tab.get_by_role("radio", name="Body").click()
    drag(tab, "neck", -15, 12)
    body = places()
    assert (
        len({(round(body[name][0] - limb[name][0], 3), round(body[name][1] - limb[name][1], 3)) for name in body}) == 1
    )
    press(tab, "Larger")
    assert length(places(), *arm[:2]) == pytest.approx(1.04 * length(body, *arm[:2]), rel=1e-3)
    for _ in range(3):
        press(tab, "Undo")
    assert places() == start
    press(tab, "Redo")
    assert places() == limb


def test_mirror_and_switching_off(open_tab):
    tab = open_tab()
    left, frame = joint(tab, "left_elbow"), tab.locator(".im-stage svg").get_attribute("data-frame")
    press(tab, "Mirror")
    assert joint(tab, "right_elbow") == pytest.approx((int(frame.split("x")[0]) - left[0], left[1]))
    tab.get_by_label("Joint", exact=True).select_option(label="left knee")
    press(tab, "Switch off")
    assert tab.locator('[data-joint="left_knee"]').get_attribute("class") == "im-gone im-chosen"
    assert "switched off" in tab.locator('[data-joint="left_knee"]').get_attribute("aria-label")
    press(tab, "Switch on")
    assert tab.locator('[data-joint="left_knee"]').get_attribute("class") == "im-chosen"


def test_everything_can_be_done_with_keys(open_tab):
    tab = open_tab()
    before = joint(tab, "right_wrist")
    tab.locator('[data-joint="right_wrist"]').focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Shift+ArrowUp")
    assert joint(tab, "right_wrist") == (before[0] + 1, before[1] - 10)
    tab.keyboard.press("Control+z")
    assert joint(tab, "right_wrist") == before
    tab.keyboard.press("Control+Shift+Z")
    assert joint(tab, "right_wrist") == (before[0] + 1, before[1] - 10)
    tab.keyboard.press("PageDown")
    assert tab.evaluate("document.activeElement.dataset.joint") == "left_shoulder"
    tab.keyboard.press("Delete")
    assert "switched off" in tab.locator('[data-joint="left_shoulder"]').get_attribute("aria-label")
    tab.get_by_role("radio", name="Joint").focus()
    tab.keyboard.press("ArrowRight")
    assert tab.get_by_role("radio", name="Turn").get_attribute("aria-checked") == "true"
    nameless = tab.locator("#imagpose-columns button:visible, #imagpose-columns input:visible").evaluate_all(
        "all => all.filter((one) => !(one.ariaLabel || one.innerText.trim() || one.labels?.length || one.title)).length"
    )
    assert nameless == 0


def test_the_library_and_the_strip_are_one_stop_of_tab_each(open_tab):
    tab = open_tab()
    focused = lambda what: tab.evaluate(f"document.activeElement.{what}")  # noqa: E731
    names = tab.locator(".im-library button").evaluate_all("all => all.map((one) => one.ariaLabel)")
    place = lambda: names.index(focused("ariaLabel"))  # noqa: E731
    lefts = tab.locator(".im-library button").evaluate_all("all => all.map((one) => one.offsetLeft)")
    across = lefts.index(lefts[0], 1)  # buttons of a row
    assert len(names) > 60 and across > 3

    tab.get_by_label("Kind of pose").focus()
    found = []
    for key in "Tab ArrowRight ArrowDown ArrowLeft ArrowUp ArrowUp End ArrowRight Home ArrowRight".split():
        tab.keyboard.press(key)
        found.append(place())
    last = len(names) - 1
    assert found == [0, 1, 1 + across, across, 0, 0, last, last, 0, 1]
    tab.keyboard.press("Enter")
    assert place() == 1 and tab.locator(".im-strip button").count() == 2
    tab.keyboard.press("Tab")
    assert focused("ariaLabel") == "Add poses from files"
    tab.keyboard.press("Shift+Tab")
    assert place() == 1

    tab.get_by_role("button", name="Target pose 2").focus()
    for key, number in (("ArrowLeft", 1), ("Enter", 1), ("End", 2)):
        tab.keyboard.press(key)
        assert focused("ariaLabel") == f"Target pose {number}"
    tab.keyboard.press("Tab")
    assert focused("className") == "im-duplicate"
    assert tab.get_by_role("button", name="Target pose 1").get_attribute("aria-current") == "true"
    tab.get_by_role("button", name=re.compile("^Add walk-03")).focus()
    for _ in range(15):
        tab.keyboard.press("Enter")
    assert focused("ariaLabel").startswith("Add walk-03") and tab.locator(".im-strip button").count() == 16
    tab.locator(".im-card").get_by_text("at most 16 target poses").wait_for()


def test_who_speaks_or_looks_finds_what_has_the_focus(open_tab):
    """The name of a button has the words on it, and a ring is around the skeleton while a joint has the focus."""
    tab = open_tab()
    press(tab, "Rendered person 1")
    other = tab.locator("#imagpose-columns button:visible").evaluate_all(
        "all => all.map((one) => [one.innerText.trim(), one.ariaLabel]).filter(([text, name]) =>"
        " /[a-z]/i.test(text) && name && !name.includes(text))"
    )
    assert other == []
    ring = lambda: tab.locator(".im-stage").evaluate("one => getComputedStyle(one).outlineStyle")  # noqa: E731
    tab.get_by_role("radio", name="Joint").focus()
    assert ring() == "none"
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.dataset.joint") == "right_wrist" and ring() == "solid"


def test_target_poses_are_added_duplicated_reordered_and_deleted(open_tab):
    tab = open_tab()
    marks = lambda: tab.locator(".im-strip button").evaluate_all("all => all.map((one) => one.innerHTML.length)")  # noqa: E731
    tab.get_by_role("button", name=re.compile("^Add sit-02")).click()
    tab.get_by_role("button", name=re.compile("^Add dance-05")).click()
    first, second, third = (tab.locator(".im-strip svg").nth(place).inner_html() for place in range(3))
    press(tab, "Move earlier")
    assert [tab.locator(".im-strip svg").nth(place).inner_html() for place in range(3)] == [first, third, second]
    press(tab, "Duplicate")
    assert [tab.locator(".im-strip svg").nth(place).inner_html() for place in range(4)] == [first, third, third, second]
    press(tab, "Delete")
    press(tab, "Undo")
    press(tab, "Undo")
    assert [tab.locator(".im-strip svg").nth(place).inner_html() for place in range(3)] == [first, third, second]
    assert len(marks()) == 3


def test_a_finger_drags_a_joint_and_scrolls_beside_it(open_tab):
    tab = open_tab(viewport=PHONE, has_touch=True)
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert tab.locator("#imagpose-editor .im-card").bounding_box()["width"] >= PHONE["width"] - 24
    tab.locator(".im-stage").scroll_into_view_if_needed()
    before, (x, y) = joint(tab, "left_wrist"), on_screen(tab, "left_wrist")
    finger = tab.context.new_cdp_session(tab)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": a, "y": b} for a, b in points]})

    touch("touchStart", (x, y))
    touch("touchMove", (x + 10, y - 20))
    touch("touchMove", (x + 20, y - 40))
    touch("touchEnd")
    after = joint(tab, "left_wrist")
    assert after[0] > before[0] + 5 and after[1] < before[1] - 10

    box = tab.locator(".im-stage").bounding_box()
    top = tab.evaluate("scrollY")
    touch("touchStart", (box["x"] + 8, box["y"] + 150))
    for step in range(1, 8):
        touch("touchMove", (box["x"] + 8, box["y"] + 150 - 15 * step))
    touch("touchEnd")
    tab.wait_for_function(f"scrollY > {top} + 20")
    assert joint(tab, "left_wrist") == after


def test_photos_and_files_are_taken_and_refused(open_tab, tmp_path: Path, pose, picture):
    from imagpose.pose import write_openpose_json

    tab = open_tab()
    picture(1).resize((64, 128)).save(tmp_path / "me.png")
    tab.get_by_label("Add photos").set_input_files(tmp_path / "me.png")
    tab.get_by_text(re.compile("poses are not detected here")).first.wait_for()
    (tmp_path / "large.png").write_bytes(bytes(250_000))
    tab.get_by_label("Add photos").set_input_files(tmp_path / "large.png")
    tab.get_by_text(re.compile(r"large\.png: ")).wait_for()
    (tmp_path / "none.png").write_text("{}")
    tab.get_by_label("Add photos").set_input_files(tmp_path / "none.png")
    tab.get_by_text(re.compile(r"^none\.png: not a picture")).wait_for()
    assert tab.locator(".im-photo").count() == 1
    write_openpose_json([pose(0).resize(160, 320), pose(1).resize(160, 320)], tmp_path / "dance.json")
    tab.get_by_label("Add poses from files").set_input_files(tmp_path / "dance.json")
    tab.get_by_text("dance.json: 2 poses").wait_for()
    assert tab.locator(".im-strip button").count() == 3
    write_openpose_json([pose(0).resize(160, 320)] * 18, tmp_path / "long.json")
    tab.get_by_label("Add poses from files").set_input_files(tmp_path / "long.json")
    tab.get_by_text(
        "long.json: 16 poses; 18 poses; the first 16 are taken, a film takes 250; at most 16 target poses"
    ).wait_for()
    for _ in range(13):
        press(tab, "Delete")
    assert tab.get_by_text(re.compile("long.json")).count() == 0  # it is not said any more once something is done
    (tmp_path / "frameless.txt").write_text("\n".join(f"{10 + 9 * k} {20 + 13 * k}" for k in range(18)))
    tab.get_by_label("Add poses from files").set_input_files(tmp_path / "frameless.txt")
    tab.get_by_label("Frame of key points, height x width").fill("400x300")
    tab.get_by_label("Add poses from files").set_input_files(tmp_path / "frameless.txt")
    tab.get_by_text("frameless.txt: 1 pose").wait_for()
