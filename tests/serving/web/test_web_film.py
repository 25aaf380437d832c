"""Films from the page: of the strip, a file or a clip; the command line's bytes; what is refused, and what is left."""

from __future__ import annotations

import json
import os
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

gradio_client = pytest.importorskip("gradio_client", reason="needs the extra web")
pytest.importorskip("gradio", reason="needs the extra web")

from PIL import Image  # noqa: E402

from imagpose.films import write_film  # noqa: E402
from imagpose.models.unet import IMAGPoseUNet  # noqa: E402
from imagpose.pose import Pose, PoseOptions, read_pose_file, to_openpose  # noqa: E402
from imagpose.provenance import read_marks  # noqa: E402
from imagpose.serving.animate import animate  # noqa: E402
from imagpose.serving.web.limits import Limits  # noqa: E402
from imagpose.serving.web.orders import Photo, read_film_order  # noqa: E402
from imagpose.serving.web.studio import Studio  # noqa: E402

PIXELS = PoseOptions(units="pixels")


@pytest.fixture
def studio(tiny_model, tmp_path):
    made = Studio(tmp_path / "page", {"tiny": tiny_model}, Limits(frames=9), "cpu")
    yield made
    made.close()


@pytest.fixture
def own(studio, photo):
    """A photo inside the page's folder."""
    place = studio.folder / "upload" / photo.name
    place.parent.mkdir()
    place.write_bytes(photo.read_bytes())
    return place


def ended(job):
    while not job.ended.wait(0.05):
        job.look()
    return job


def unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder


@pytest.mark.parametrize("film_format", ["gif", "mp4"])
def test_a_film_of_the_strip_is_the_command_lines(served, tiny_model, photo, pose_json, tmp_path, film_format):
    if film_format == "mp4":
        pytest.importorskip("av", reason="needs the extra video")
    client = gradio_client.Client(served.local_url, verbose=False, download_files=str(tmp_path / "client"))
    asked = {"format": film_format, "between": 2, "fps": 10, "steps": 2, "seed": 5, "size": "64x32", "units": "pixels"}
    poses = [pose_json(seed) for seed in range(3)]
    written = client.predict([gradio_client.handle_file(str(photo))], poses, None, asked, api_name="/animate")
    assert [Path(path).name for path in written] == [f"film.{film_format}", "result.json", "imagpose.zip"]
    folder = unpacked(written[2], tmp_path / "archive")
    record = json.loads((folder / "result.json").read_text())
    assert (record["frames"], record["fps"], record["settings"]["between"]) == (7, 10, 2)
    assert (record["poses"], record["sources"][0]["file"]) == (["poses/sequence.json"], "sources/0.png")
    assert (record["device"], record["backend"]) == ("cpu", {"asked": "torch", "used": ["torch"]})
    assert os.environ["GRADIO_TEMP_DIR"] not in json.dumps(record)

    again = animate(
        folder / "sources" / "0.png", folder / "poses" / "sequence.json", out=tmp_path / f"again.{film_format}",
        model=tiny_model, reading=PIXELS, between=2, fps=10, steps=2, seed=5, size=(64, 32),
    )  # fmt: skip
    same = again.out.read_bytes()
    assert same == Path(written[0]).read_bytes() == (folder / f"film.{film_format}").read_bytes()
    marks = read_marks(Path(written[0]))
    assert marks.generated and (marks.model, marks.seed) == ("tiny", 5) and b"photo" not in same


def test_a_file_of_frames_keeps_those_that_show_nobody(studio, own, pose_json):
    file = own.parent / "dance.json"
    file.write_text(json.dumps([pose_json(0), {**pose_json(1), "people": []}, pose_json(1), pose_json(2)]))
    asked = {"format": "gif", "steps": 1, "units": "pixels", "smooth": "none"}
    job = ended(studio.submit_film([Photo(own)], [], str(file), asked))
    assert job.state == "done", job.error
    assert (job.result["frames"], job.result["fps"]) == (4, 25) and "1 frame in between" in job.result["note"]
    assert job.news["step"] == job.news["steps"] and job.news["frames"] > 0 and job.news["previews"]
    folder = unpacked(Path(job.result["files"][-1]), own.parent / "archive")
    entries = json.loads((folder / "poses" / "sequence.json").read_text())
    assert [len(entry["people"]) for entry in entries] == [1, 0, 1, 1]
    assert sorted(path.name for path in Path(job.result["files"][0]).parent.iterdir()) == [
        "film.gif", "first-skeleton.png", "imagpose.zip", "last-skeleton.png", "poses", "result.json",
    ]  # fmt: skip


class Finder:
    """A detector's stand-in: a person whose place is the frame's grey level."""

    def people(self, picture: Image.Image) -> list[Pose]:
        level = float(np.asarray(picture.convert("L")).mean())
        points = np.random.default_rng(0).uniform(10, 40, (18, 2)) + (level / 8, 0)
        return [Pose(np.concatenate([points, np.ones((18, 1))], 1), picture.width, picture.height)]


@pytest.fixture
def clip(own, monkeypatch):
    """A function from a number of frames, 10 a second, to a clip in the page's folder."""
    pytest.importorskip("av", reason="needs the extra video")
    monkeypatch.setattr("imagpose.serving.framing._detector", lambda: Finder())
    monkeypatch.setattr("imagpose.serving.sequences.open_detector", lambda name: Finder())

    def write(frames: int) -> Path:
        file = own.parent / f"me-{frames}.mp4"
        write_film((Image.new("RGB", (96, 64), (30 * n,) * 3) for n in range(frames)), file, "MP4", 10, b"", "")
        return file

    return write


def test_a_film_after_a_clip_is_the_command_lines_from_the_poses_found(studio, own, clip, tiny_model, tmp_path):
    assert studio.look_at_sequence(str(clip(4))) == {"frames": 4, "fps": 10.0, "notes": []}
    job = ended(studio.submit_film([Photo(own)], [], str(clip(4)), {"format": "gif", "steps": 1}))
    assert job.state == "done", job.error
    assert (job.result["frames"], job.result["fps"]) == (4, 10)
    folder = unpacked(Path(job.result["files"][-1]), tmp_path / "archive")
    assert not list(folder.rglob("*.mp4"))
    assert "me-4" not in (folder / "result.json").read_text()
    again = animate(
        folder / "sources" / "0.png", folder / "poses" / "sequence.json", out=tmp_path / "again.gif", model=tiny_model,
        fps=10, steps=1,
    )  # fmt: skip
    assert again.out.read_bytes() == Path(job.result["files"][0]).read_bytes()


def test_a_clip_that_is_too_long_is_refused_whether_it_says_so_or_not(studio, own, clip, monkeypatch):
    asked = {"format": "gif", "steps": 1}
    for between in (0, 2):
        with pytest.raises(ValueError, match="frames: this page takes at most 9"):
            studio.submit_film([Photo(own)], [], str(clip(12)), {**asked, "between": between})
    monkeypatch.setattr("imagpose.serving.web.orders.clip_shape", lambda file: (None, 64, 96))
    job = ended(studio.submit_film([Photo(own)], [], str(clip(12)), asked))
    assert job.state == "failed" and str(job.error) == "more than 9 frames: this page takes at most 9"
    assert not list(studio.folder.glob("result-*"))


def test_the_page_says_what_a_sequence_is_before_anything_is_asked(studio, own, pose_json, pose):
    def look(content, name="dance.json"):
        file = own.parent / name
        file.write_text(json.dumps(content)) if name.endswith("json") else pose_picture(file)
        return studio.look_at_sequence(str(file), "300x300" if name == "frameless.json" else "")

    def pose_picture(file):
        Image.new("RGB", (40, 40)).save(file)

    large = to_openpose(pose(0).resize(160, 320))
    assert look([large] * 3) == {"frames": 3, "fps": None, "notes": []}
    bare = {"people": [{"pose_keypoints_2d": large["people"][0]["pose_keypoints_2d"]}]}
    assert look([bare] * 2, "frameless.json")["frames"] == 2
    for content, name, message in (
        ([large] * 10, "dance.json", "10 frames: this page takes at most 9"),
        ([bare] * 2, "dance.json", "give the frame, height x width$"),
        ({}, "dance.json", r"^dance\.json: "),
        (None, "walk.gif", r"^walk\.gif: a picture; a file of frames or a clip expected"),
    ):
        with pytest.raises(ValueError, match=message) as raised:
            look(content, name)
        assert str(studio.folder) not in str(raised.value) and "--" not in str(raised.value)


@pytest.mark.parametrize(
    ("poses", "settings", "message"),
    [
        (0, {}, "no target pose: give at least two"),
        (1, {}, "one pose makes no film"),
        (2, {"between": 8}, "10 frames: this page takes at most 9"),
        (10, {}, "10 frames: this page takes at most 9"),
        (2, {"between": -1}, "between is -1"),
        (2, {"between": 1.5}, "between must be a whole number"),
        (2, {"fps": 0}, "fps is 0"),
        (2, {"fps": 60, "format": "gif"}, "a GIF shows at most 50 frames a second"),
        (2, {"fps": "quick"}, "fps must be a number"),
        (2, {"format": "avi"}, "format 'avi': one of mp4, gif expected"),
        (2, {"overlap": 3}, "no room for a new frame"),
        (2, {"samples": 2}, "no setting is named 'samples'"),
        (2, {"grid": "5x5"}, "25 slots of the grid"),
        (2, {"steps": 1000}, "1000 steps"),
        (2, {"smooth": "much"}, "smoothing 'much'"),
    ],
)
def test_what_is_no_film_is_refused_in_one_line(studio, own, pose_json, poses, settings, message):
    with pytest.raises(ValueError, match=message) as raised:
        studio.submit_film(
            [Photo(own)],
            [pose_json(seed) for seed in range(poses)],
            None,
            {"format": "gif", "units": "pixels", **settings},
        )
    assert "\n" not in str(raised.value)


def test_poses_or_a_file_and_no_file_from_elsewhere(studio, own, pose_json, tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    given = [pose_json(0), pose_json(1)], str(own)
    for poses, file, message in (
        (*given, "give one of them"),
        ([], str(tmp_path / "secret.json"), "no such file here"),
    ):
        with pytest.raises(ValueError, match=message):
            studio.submit_film([Photo(own)], poses, file, {"format": "gif", "units": "pixels"})


def test_poses_in_other_frames_are_fitted_into_the_first_ones(tmp_path, photo, pose_json, pose):
    wide = pose(1).crop(-16, 0, 48, 32).resize(96, 64)
    order = read_film_order(
        [Photo(photo)], [pose_json(0), to_openpose(wide)], None, {"units": "pixels", "format": "gif"},
        folder=tmp_path, models=["a"], limits=Limits(),
    )  # fmt: skip
    first, second = order.sequence.poses
    np.testing.assert_array_equal(first.keypoints, read_pose_file(pose_json(0), PIXELS).poses[0].keypoints)
    np.testing.assert_allclose(second.keypoints, wide.fit(16, 32).keypoints, atol=0.01)


def test_a_film_can_be_cancelled_and_leaves_nothing(studio, own, pose_json, monkeypatch):
    forward = IMAGPoseUNet.forward
    slowly = lambda *inputs, **options: (time.sleep(0.05), forward(*inputs, **options))[1]  # noqa: E731
    monkeypatch.setattr(IMAGPoseUNet, "forward", slowly)
    asked = {"format": "gif", "steps": 4, "units": "pixels", "between": 3}
    job = studio.submit_film([Photo(own)], [pose_json(0), pose_json(1)], None, asked)
    while not job.news.get("frames"):
        job.look()
        assert not job.ended.wait(0.02), job.error
    studio.desk.cancel(job.token)
    assert ended(job).state == "cancelled"
    assert not list(studio.folder.glob("result-*"))


def test_where_results_take_all_the_room_no_more_are_made(tiny_model, photo, pose_json, tmp_path):
    studio = Studio(tmp_path, {"tiny": tiny_model}, Limits(kept_bytes=1000), "cpu")
    with pytest.raises(ValueError, match="no room for more files"):
        studio.submit([Photo(photo)], [pose_json(0)], {"units": "pixels"})
    studio.close()


def test_files_of_a_request_stay_until_it_has_ended(studio, own, pose_json):
    before = studio.desk.submit(lambda job: time.sleep(0.6))
    job = studio.submit_film(
        [Photo(own)], [pose_json(0), pose_json(1)], None, {"format": "gif", "steps": 1, "units": "pixels"}
    )
    os.utime(own.parent, (0, 0))
    studio.remove_old_files()
    assert own.is_file() and not before.ended.is_set()
    assert ended(job).state == "done", job.error
    studio.remove_old_files()
    assert not own.exists() and Path(job.result["files"][0]).is_file()


def test_the_example_of_the_docs_runs_as_it_stands_and_is_repeated_by_the_commands_there(
    served, photo, pose_json, tiny_model, tmp_path, monkeypatch, run
):
    page = (Path(__file__).parents[3] / "docs" / "web.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    there = "http://127.0.0.1:7860"
    assert there in example
    Image.open(photo).save(tmp_path / "front.jpg")
    (tmp_path / "dance.json").write_text(json.dumps(pose_json(0)))
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(example.replace(there, served.local_url), found)
    assert [Path(own).name for own in found["files"]] == [
        "target-0.png", "target-1.png", "sheet.png", "result.json", "imagpose.zip",
    ]  # fmt: skip
    with Image.open(found["film"]) as film:
        assert film.n_frames == 13 == json.loads(Path(found["record"]).read_text())["frames"]
    commands = re.findall(r"^    imagpose (.* --out again\S*)$", page, re.MULTILINE)
    assert len(commands) == 2
    for command, archive, made in zip(
        commands, (found["files"][-1], found["archive"]), ("target-1.png", ""), strict=True
    ):
        folder = tmp_path / command.split()[0]
        zipfile.ZipFile(archive).extractall(folder)
        monkeypatch.chdir(folder)
        assert run(*command.split(), "--model", tiny_model).code == 0
        again = folder / command.split()[-1] / made if made else folder / command.split()[-1]
        assert again.read_bytes() == (folder / (made or "film.gif")).read_bytes()
