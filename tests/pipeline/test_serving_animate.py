"""From photos and a sequence of poses to a film."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from imagpose import __version__
from imagpose.films import clip_frames, clip_rate, write_film
from imagpose.outputs import SETTINGS_FILE
from imagpose.pipeline.loading import load_pipeline
from imagpose.pose import Pose, PoseOptions, read_poses, write_openpose_json
from imagpose.pose.sequence import fill_between, smooth_poses
from imagpose.provenance import Marks, read_marks
from imagpose.serving import animate as animate_module
from imagpose.serving.animate import animate
from imagpose.serving.film_places import FilmPlaces, frame_name
from imagpose.serving.sequences import PoseSequence, read_sequence
from imagpose.views import ViewGrid, tile

FRAMES = 8


@pytest.fixture(scope="module")
def model(tmp_path_factory, build_pipeline):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    build_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def no_detector(monkeypatch):
    monkeypatch.setattr("imagpose.serving.framing._detector", lambda: None)


@pytest.fixture
def moving(pose) -> list[Pose]:
    """A pose that moves a little in each of `FRAMES` frames."""
    start = pose(0)
    return [start.scale(1 - 0.01 * number, 1 - 0.015 * number) for number in range(FRAMES)]


@pytest.fixture
def files(tmp_path, picture, moving):
    """A source and a file of frames on disk."""
    picture(0).save(tmp_path / "source.png")
    write_openpose_json(moving, tmp_path / "dance.json")
    return tmp_path / "source.png", tmp_path / "dance.json"


def frames_of(folder) -> list[np.ndarray]:
    return [np.asarray(Image.open(folder / frame_name(number))) for number in range(FRAMES)]


def test_frames_are_those_of_a_plain_loop_over_overlapping_canvases(model, files, picture, tmp_path):
    source, dance = files
    done = animate(source, dance, out=tmp_path / "out", model=model, steps=2, seed=3, crop=False)
    poses = smooth_poses(read_poses(dance), 25.0)
    view = torch.randn((1, 4, 4, 2), generator=torch.Generator().manual_seed(3))
    latents = tile(torch.stack([view] * 4, 1), ViewGrid(2, 2))
    expected: list[Image.Image] = []
    pipeline = load_pipeline(model, backend="torch")
    while len(expected) < FRAMES:
        first, start = expected[:1], len(expected)
        expected += pipeline(
            sources=[picture(0), *first], source_poses=[None, *poses[: len(first)]],
            target_poses=poses[start : start + 3 - len(first)], num_inference_steps=2, latents=latents,
            generator=torch.Generator().manual_seed(3),
        ).images  # fmt: skip
    for found, wanted in zip(frames_of(tmp_path / "out"), expected, strict=True):
        np.testing.assert_array_equal(found, np.asarray(wanted))
    assert done.num_frames == FRAMES and done.out == tmp_path / "out"
    assert read_marks(tmp_path / "out" / frame_name(7)) == Marks(
        "trainedAlgorithmicMedia", f"imagpose {__version__}", "tiny", 3
    )
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record == json.loads(json.dumps(done.record))
    assert (record["frames"], record["fps"], record["grid"], record["smoothed"]) == (FRAMES, 25.0, "2x2", "savgol")
    assert record["fitted"].startswith("no:") and record["settings"]["overlap"] == 1
    assert record["poses"] == [str(dance)] and record["sources"][0]["file"] == str(source)


def test_what_was_killed_goes_on_with_the_canvas_of_its_first_missing_frame(model, files, tmp_path, monkeypatch):
    source, dance = files

    def run(out, **settings):
        return animate(source, dance, out=tmp_path / out, model=model, steps=1, **settings)

    run("whole")
    whole = {file.name: file.read_bytes() for file in (tmp_path / "whole").glob("*.png")}
    drawn = animate_module.draw_poses
    calls: list[int] = []

    def killed(*given):
        calls.append(len(given[3]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return drawn(*given)

    monkeypatch.setattr(animate_module, "draw_poses", killed)
    with pytest.raises(KeyboardInterrupt):
        run("cut")
    assert calls == [3, 2, 2] and len(list((tmp_path / "cut").glob("frame-*.png"))) == 5
    assert not (tmp_path / "cut" / "result.json").exists()
    (tmp_path / "cut" / frame_name(4)).unlink()  # killed between the frames of a canvas
    (tmp_path / "cut" / f"{frame_name(4)}.123.partial").write_text("half a frame")
    done = run("cut")
    assert calls[3:] == [2, 2, 1] and done.record["made"]["frames"] == 5
    assert {file.name: file.read_bytes() for file in (tmp_path / "cut").glob("*.png*")} == whole
    with pytest.warns(UserWarning, match="already"):
        run("cut")
    assert len(calls) == 6


def test_frames_of_another_request_are_replaced_only_when_asked(model, files, tmp_path):
    source, dance = files

    def run(seed, **options):
        return animate(source, dance, out=tmp_path / "out", model=model, steps=1, seed=seed, **options)

    run(0)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    before = frames_of(tmp_path / "out")
    with pytest.raises(ValueError, match=r"\(seed differ\).*--overwrite"):
        run(1)
    np.testing.assert_array_equal(frames_of(tmp_path / "out"), before)
    run(1, overwrite=True)
    assert (np.stack(frames_of(tmp_path / "out")) != np.stack(before)).any()
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / frame_name(0)).write_text("mine")
    with pytest.raises(ValueError, match="not written by this command"):
        animate(source, dance, out=foreign, model=model, steps=1, overwrite=True)


def test_poses_put_between_decide_as_poses_do(model, files, moving, tmp_path):
    """So the request of a film from before they could be put there is still known."""
    source, _ = files
    out = tmp_path / "out"
    animate(source, moving[:2], out=out, model=model, steps=1, between=2)
    asked = json.loads((out / SETTINGS_FILE).read_text())
    assert "between" not in asked and {"model", "overlap", "smooth", "fps", "steps", "seed"} <= set(asked)
    with pytest.warns(UserWarning, match="already"):
        animate(source, fill_between(moving[:2], 2), out=out, model=model, steps=1)
    with pytest.raises(ValueError, match="poses differ"):
        animate(source, moving[:4], out=out, model=model, steps=1)


def test_a_gif_has_marks_and_leaves_no_frames(model, files, tmp_path):
    source, dance = files
    out = tmp_path / "dance.gif"
    animate(source, dance, out=out, model=model, steps=1, fps=10, seed=5)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "dance.gif",
        "dance.gif.json",
        "dance.json",
        "source.png",
    ]
    assert read_marks(out) == Marks("trainedAlgorithmicMedia", f"imagpose {__version__}", "tiny", 5)
    assert not any(name in out.read_bytes() for name in (b"source.png", b"dance", tmp_path.name.encode()))
    with Image.open(out) as film:
        assert film.size == (16, 32) and film.n_frames <= FRAMES and film.info["loop"] == 0
        total = 0
        for number in range(film.n_frames):
            film.seek(number)
            total += film.info["duration"]
    assert total == FRAMES * 100
    before = out.read_bytes()
    (tmp_path / "dance.gif.123.partial").write_text("half a film")
    out.unlink()
    (tmp_path / "dance.gif.json").unlink()
    animate(source, dance, out=out, model=model, steps=1, fps=10, seed=5)
    assert out.read_bytes() == before
    with pytest.raises(ValueError, match=r"dance\.gif exists"):
        animate(source, dance, out=out, model=model, steps=1, fps=12, seed=5)


@pytest.mark.parametrize("mark", ['{"format": "files", "model": "mini"}', "[1]", "{half"])
def test_what_something_else_has_marked_is_never_removed(model, files, tmp_path, mark):
    """As a bulk job's folder, or a program's with settings of its own."""
    source, poses = files
    kept = {"settings.json": mark, "result.json": "mine", "frame-000001.png": "mine"}
    out = tmp_path / "out"
    out.mkdir()
    for name, text in kept.items():
        (out / name).write_text(text)
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"settings\.json|other settings"):
            animate(source, poses, out=out, model=model, steps=1, overwrite=overwrite)
    assert {file.name: file.read_text() for file in out.iterdir()} == kept


def test_frames_that_show_nobody_hold_the_picture(model, files, moving, tmp_path):
    source, _ = files
    folder = tmp_path / "poses"
    folder.mkdir()
    for number, own in enumerate(moving):
        write_openpose_json(own, folder / f"frame-{number + 8}.json")  # 8, 9, 10: the order of numbers, not of letters
    for number in (7, 11, 12, 16):
        (folder / f"frame-{number}.json").write_text('{"people": []}')
    with pytest.warns(UserWarning, match="show nobody") as said:
        sequence = read_sequence([folder])
    assert [own is None for own in sequence.poses] == [number in (3, 4) for number in range(8)]
    np.testing.assert_allclose(sequence.poses[2].keypoints, moving[2].keypoints, atol=1e-2)
    messages = " ".join(str(own.message) for own in said)
    assert "2 frames at the beginning or the end" in messages and "2 frames in between" in messages
    poses = sequence.poses
    assert poses[3] is poses[4] is None
    with pytest.warns(UserWarning, match="in between"):  # at 5 frames a second, 2 are too long a gap
        done = animate(source, folder, out=tmp_path / "out", model=model, steps=1, fps=5)
    pictures = frames_of(tmp_path / "out")
    np.testing.assert_array_equal(pictures[3], pictures[2])
    np.testing.assert_array_equal(pictures[4], pictures[2])
    assert (pictures[5] != pictures[4]).any() and done.num_frames == 8
    with pytest.warns(UserWarning, match="in between"):
        bridged = animate(source, folder, out=tmp_path / "bridged", model=model, steps=1, fps=10)
    pictures = frames_of(tmp_path / "bridged")
    assert (pictures[3] != pictures[2]).any() and bridged.num_frames == 8


def test_finished_frames_are_sources_with_the_poses_they_were_drawn_in(model, picture, moving, tmp_path, monkeypatch):
    """Behind a gap too, where a pose's number is not its frame's."""
    drawn: list[Pose] = []
    asked: list[list[int]] = []

    def stand_in(pipeline, pictures, in_view, poses, *others):
        finished = [int(np.asarray(own)[0, 0, 0]) for own in pictures[1:]]  # the shade says which one it is
        for number, own in zip(finished, in_view[1:], strict=True):
            np.testing.assert_array_equal(own.keypoints, drawn[number].fit(16, 32).keypoints)
        asked.append(finished)
        drawn.extend(poses)
        return [Image.new("RGB", (16, 32), (len(drawn) - len(poses) + number,) * 3) for number in range(len(poses))]

    monkeypatch.setattr(animate_module, "draw_poses", stand_in)
    poses = [*moving[:2], None, None, None, *moving[2:]]
    monkeypatch.setattr(animate_module, "read_sequence", lambda *given: PoseSequence(poses, 5, [], []))
    done = animate(picture(0), [], out=tmp_path / "out", model=model, overlap=2, crop=False)
    assert asked == [[], [0, 2], [0, 3], [0, 4], [0, 5], [0, 6]]
    shown = [int(np.asarray(Image.open(tmp_path / "out" / frame_name(own)))[0, 0, 0]) for own in range(done.num_frames)]
    assert shown == [0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"sources": []}, ValueError, "no source picture"),
        ({"poses": []}, ValueError, "no poses"),
        ({"poses": "nowhere.json"}, OSError, "nowhere.json"),
        ({"out": "dance.avi"}, ValueError, ".mp4 or .gif, or as frames into a folder"),
        ({"out": "dance.gif", "fps": 60}, ValueError, "GIF shows at most 50"),
        ({"fps": -1}, ValueError, "fps is -1"),
        ({"fps": 0.001}, ValueError, "0.01 to 240 frames a second"),
        ({"overlap": 3}, ValueError, "no room"),
        ({"overlap": 1.5}, ValueError, "overlap"),
        ({"smooth": "kalman"}, ValueError, "savgol"),
        ({"grid": "9x9"}, ValueError, "9x9"),
        ({"samples": 2}, ValueError, "samples"),
        ({"model": "minni"}, ValueError, "unknown model"),
        ({"poses": ["dance.json", "other.json"]}, ValueError, "frame 9 of the sequence has 64x48, the first 32x16"),
    ],
)
def test_bad_input_writes_nothing(model, files, tmp_path, changes, error, message):
    source, dance = files
    given = {"sources": source, "poses": dance, "out": "out", "model": model, **changes}
    out = tmp_path / given.pop("out")
    if isinstance(given["poses"], str):
        given["poses"] = tmp_path / given["poses"]
    elif isinstance(given["poses"], list):
        write_openpose_json(read_poses(dance)[0].resize(48, 64), tmp_path / "other.json")
        given["poses"] = [tmp_path / name for name in given["poses"]]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error) as raised:
        animate(given.pop("sources"), given.pop("poses"), out=out, **given)
    assert message in str(raised.value) and "\n" not in str(raised.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "changes",
    [{"sources": []}, {"sources": "none.png"}, {"out": "a.avi"}, {"out": "a.gif", "fps": 60}, {"model": "minni"}],
)
def test_what_takes_no_time_is_looked_at_before_a_clip(model, files, tmp_path, monkeypatch, changes):
    monkeypatch.setattr(animate_module, "read_sequence", lambda *given: pytest.fail("the clip was read"))
    given = {"sources": files[0], "poses": files[1], "out": "out", "model": model, **changes}
    with pytest.raises((ValueError, OSError)):
        animate(given.pop("sources"), given.pop("poses"), out=tmp_path / given.pop("out"), **given)


def test_another_request_is_refused_before_the_model_is_loaded(model, files, pose, tmp_path, monkeypatch):
    source, dance = files

    def run(own):
        return animate(source, dance, own, out=tmp_path / "out", model=model, steps=1, crop=False)

    first = pose(3)
    run(first)
    monkeypatch.setattr(animate_module, "check_model", lambda *given: lambda: pytest.fail("the model was loaded"))
    other_frame = Pose(first.keypoints, first.width, first.height + 1)
    with_hands = Pose(first.keypoints, first.width, first.height, np.full((2, 21, 3), 0.5))
    for own in (other_frame, with_hands, None):
        with pytest.raises(ValueError, match=r"\(source_poses differ\).*--overwrite"):
            run(own)
    with pytest.warns(UserWarning, match="already"):
        run(first)


def test_a_frame_that_was_removed_is_drawn_again(model, files, tmp_path):
    source, dance = files
    animate(source, dance, out=tmp_path / "out", model=model, steps=1)
    missing = tmp_path / "out" / frame_name(3)
    before = missing.read_bytes()
    missing.unlink()
    animate(source, dance, out=tmp_path / "out", model=model, steps=1)
    assert missing.read_bytes() == before


def test_frames_of_an_unfinished_film_outlive_a_look_at_the_finished_one(tmp_path):
    places = FilmPlaces(tmp_path / "dance.gif")
    places.claim({"seed": 1, "frames": 2}, False)
    places.frame(0).write_text("frame")
    places.clear({"seed": 0, "frames": 2})
    assert places.frame(0).is_file()
    places.clear({"seed": 1, "frames": 2})
    assert not places.frames.exists()


class SquareFinder:
    """A detector's stand-in: people where a clip's dark squares are, the wider one first; nobody in light frames."""

    def people(self, picture: Image.Image) -> list[Pose]:
        dark = np.asarray(picture.convert("L")) < 100
        return [own for own in (self.one(dark, 40, 64, 2.0), self.one(dark, 0, 40, 1.0)) if own is not None]

    @staticmethod
    def one(dark: np.ndarray, top: int, bottom: int, wide: float) -> Pose | None:
        rows, columns = np.nonzero(dark[top:bottom])
        if not len(rows):
            return None
        offsets = np.random.default_rng(0).uniform(-6, 6, (18, 2)) * (wide, 1)
        places = (columns.mean(), rows.mean() + top) + offsets
        return Pose(np.concatenate([places, np.ones((18, 1))], 1), dark.shape[1], dark.shape[0])


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """Of 8 frames, 10 a second: two squares that move apart; the lower one is missing at first, in frame 4 both."""
    pytest.importorskip("av")
    frames = []
    for number in range(FRAMES):
        pixels = np.full((64, 96, 3), 200, np.uint8)
        if number != 4:
            pixels[10:30, 20 + 4 * number : 32 + 4 * number] = 20
            pixels[46:62, 60 - 4 * number : 72 - 4 * number] = 20 if number else 200
        frames.append(Image.fromarray(pixels))
    write_film(frames, tmp_path / "clip.mp4", "MP4", 10, b"", "")
    monkeypatch.setattr("imagpose.serving.sequences.open_detector", lambda name: SquareFinder())
    return tmp_path / "clip.mp4"


def test_one_person_is_followed_through_a_clip(clip):
    """The one in the first frame, although a larger one comes later."""
    with pytest.warns(UserWarning, match="1 frame in between shows nobody"):
        sequence = read_sequence([clip])
    assert sequence.fps == 10 and sequence.origins == [str(clip)]
    assert [own is None for own in sequence.poses] == [number == 4 for number in range(FRAMES)]
    start = sequence.poses[0].keypoints
    for number, own in enumerate(sequence.poses):
        if own is not None:
            np.testing.assert_allclose(own.keypoints[:, :2], start[:, :2] + (4 * number, 0), atol=1)
    with pytest.raises(
        ValueError, match=r"clip\.mp4: person 2 is asked for; the first frame that shows anybody shows 1"
    ):
        read_sequence([clip], PoseOptions(person=2))


def test_a_clip_becomes_a_film_of_its_length_and_rate(model, clip, picture, tmp_path):
    with pytest.warns(UserWarning, match="in between"):
        done = animate(picture(0), clip, out=tmp_path / "film.mp4", model=model, steps=1)
    assert done.num_frames == FRAMES and done.record["fps"] == 10 and done.record["poses"] == [str(clip)]
    assert len(list(clip_frames(done.out))) == FRAMES and clip_rate(done.out) == 10
    assert "a clip of 10 frames a second" in " ".join(done.record["read"])
