"""Samples, scores, choosing, anchors, grounds; many people."""

import json

import numpy as np
import pytest
from PIL import Image

from imagpose.pose import write_openpose_json
from imagpose.pose.library import named_poses
from imagpose.serving import drawn as drawn_module
from imagpose.serving.generate import generate
from imagpose.serving.many import generate_people
from imagpose.serving.scores import Scores
from imagpose.views import ViewGrid, fitting_grid

WALKS = [own.name for own in named_poses("walk-0[1-4]")]


@pytest.fixture(autouse=True)
def no_detector(monkeypatch):
    monkeypatch.setattr("imagpose.serving.framing._detector", lambda: None)


@pytest.fixture
def scored(monkeypatch):
    """Scores by the mean brightness of a picture, in place of the judges'."""

    def score(pictures, poses, sources):
        assert len(pictures) == len(poses) and sources
        return [Scores(1.0, float(np.asarray(own).mean()) / 255, 1.0) for own in pictures]

    monkeypatch.setattr(drawn_module, "score_pictures", score)
    return score


@pytest.fixture(scope="module")
def tiny(build_pipeline):
    return build_pipeline()


def brightness(picture):
    return np.asarray(picture).mean() / 255


def test_samples_are_the_pictures_of_following_seeds(tiny, picture, scored):
    three = generate(picture(0), WALKS[:2], model=tiny, steps=1, samples=3, seed=5)
    assert three.names == [f"{walk}_{number}" for walk in WALKS[:2] for number in (1, 2, 3)]
    for number, seed in enumerate((5, 6, 7)):
        alone = generate(picture(0), WALKS[:2], model=tiny, steps=1, seed=seed)
        assert alone.names == WALKS[:2]
        for target in range(2):
            np.testing.assert_array_equal(
                np.asarray(alone.images[target]), np.asarray(three.images[3 * target + number])
            )
    assert [own["seed"] for own in three.record["outputs"]] == [5, 6, 7, 5, 6, 7]


def test_the_best_sample_is_kept_under_its_poses_name(tiny, picture, scored):
    every = generate(picture(0), WALKS[:2], model=tiny, steps=1, samples=3)
    best = generate(picture(0), WALKS[:2], model=tiny, steps=1, samples=3, keep_best=True)
    assert best.names == WALKS[:2]
    for target in range(2):
        values = [brightness(own) for own in every.images[3 * target : 3 * target + 3]]
        assert brightness(best.images[target]) == max(values)
        assert best.record["outputs"][target]["sample"] == 1 + int(np.argmax(values))


def test_rejects_are_marked_and_still_there(tiny, picture, scored, tmp_path):
    plain = generate(picture(0), WALKS, model=tiny, steps=1)
    values = sorted(brightness(own) for own in plain.images)
    done = generate(picture(0), WALKS, model=tiny, steps=1, min_score=(values[1] + values[2]) / 2, out=tmp_path / "out")
    marked = [own["rejected"] for own in done.record["outputs"]]
    assert sum(marked) == 2 and all(file.is_file() for file in done.files)
    for own, image in zip(done.record["outputs"], done.images, strict=True):
        assert own["rejected"] == (brightness(image) < (values[1] + values[2]) / 2)
        assert own["scores"]["score"] == round(brightness(image), 3)


def test_an_anchor_is_the_best_picture_of_the_first_canvas(tiny, picture, scored, monkeypatch):
    calls = []
    whole = drawn_module.draw_poses

    def call(pipeline, pictures, own_poses, poses, *rest):
        images = whole(pipeline, pictures, own_poses, poses, *rest)
        calls.append((list(pictures), list(own_poses), len(poses), images))
        return images

    monkeypatch.setattr(drawn_module, "draw_poses", call)
    walks = [own.name for own in named_poses("walk-*")][:7]
    done = generate(picture(0), walks, model=tiny, steps=1, anchor=True)
    (first_sources, _, first_count, first), (sources, poses, count, rest) = calls
    assert (len(first_sources), first_count, len(sources), count) == (1, 3, 2, 4)
    assert brightness(sources[1]) == max(brightness(own) for own in first)
    assert poses[0] is None and (poses[1].width, poses[1].height) == (16, 32)
    assert [own.tobytes() for own in done.images] == [own.tobytes() for own in first + rest]
    calls.clear()
    generate(picture(0), walks[:3], model=tiny, steps=1, anchor=True)
    assert len(calls) == 1  # one canvas needs no anchor


def test_grounds(tiny, picture, scored, monkeypatch):
    half = np.zeros((32, 16), np.uint8)
    half[:, :8] = 255
    monkeypatch.setattr(drawn_module, "person_masks", lambda pictures: [Image.fromarray(half) for _ in pictures])
    kept = np.asarray(generate(picture(0), WALKS[:1], model=tiny, steps=1).images[0])
    green = np.asarray(generate(picture(0), WALKS[:1], model=tiny, steps=1, background="#00ff00").images[0])
    clear = generate(picture(0), WALKS[:1], model=tiny, steps=1, background="transparent").images[0]
    np.testing.assert_array_equal(green[:, :4], kept[:, :4])
    assert (green[:, 12:] == (0, 255, 0)).all()
    assert clear.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(clear)[..., :3], kept)
    assert (np.asarray(clear)[:, :4, 3] == 255).all() and (np.asarray(clear)[:, 12:, 3] == 0).all()


def test_a_given_mask_clears_the_ground_of_its_source(tiny, picture, scored, monkeypatch):
    seen = []
    monkeypatch.setattr(
        drawn_module, "draw_poses", lambda pipeline, pictures, *rest: [seen.append(pictures[0]) or picture(9)]
    )
    mask = Image.new("L", (16, 32))
    generate(picture(0), WALKS[:1], model=tiny, masks=[mask], background="#ffffff")
    generate(picture(0), WALKS[:1], model=tiny, masks=[mask])
    assert (np.asarray(seen[0]) == 255).all()
    np.testing.assert_array_equal(np.asarray(seen[1]), np.asarray(picture(0)))


def test_sizes_and_the_automatic_grid(tiny, picture, scored):
    done = generate(picture(0), WALKS, model=tiny, steps=1, size=(64, 32), grid="auto")
    assert done.images[0].size == (32, 64) and done.record["settings"]["size"] == "64x32"
    assert done.record["grid"] == "2x3"
    grids = {(1, 1): (2, 2), (2, 2): (2, 2), (1, 5): (2, 3), (3, 5): (3, 3), (1, 60): (3, 3)}
    assert {key: fitting_grid(*key) for key in grids} == {key: ViewGrid(*grid) for key, grid in grids.items()}


@pytest.fixture
def photos(tmp_path, picture):
    """Three people, of one a mask beside the photo; one folder without photos."""
    folder = tmp_path / "photos"
    for number, person in enumerate(("anna", "ben", "carla")):
        (folder / person).mkdir(parents=True)
        picture(number).save(folder / person / "front.png")
    Image.new("L", (16, 32)).save(folder / "anna" / "front_mask.png")
    (folder / "empty").mkdir()
    (folder / "carla" / "more.png").mkdir()  # a folder, whatever its name
    return folder


def test_many_people_are_generated_like_each_alone_and_resumed(tiny, picture, photos, scored, tmp_path, monkeypatch):
    out = tmp_path / "out"
    files = generate_people(photos, WALKS[:2], out=out, model=tiny, steps=1)
    assert list(files) == ["anna", "ben", "carla"]
    alone = generate(photos / "ben" / "front.png", WALKS[:2], model=tiny, steps=1)
    with Image.open(out / "ben" / f"{WALKS[1]}.png") as stored:
        np.testing.assert_array_equal(np.asarray(stored), np.asarray(alone.images[1]))
    (source,) = json.loads((out / "anna" / "result.json").read_text())["sources"]  # the mask beside it is no photo
    assert source["file"].endswith("front.png")

    (out / "ben" / "result.json").unlink()  # as if it had been broken off: what ours is not there any more
    for file in (out / "ben").iterdir():
        file.unlink()
    asked = []
    whole = drawn_module.draw_poses
    monkeypatch.setattr(drawn_module, "draw_poses", lambda *rest: asked.append(1) or whole(*rest))
    with pytest.warns(UserWarning, match="2 of 3 people were complete"):
        again = generate_people(photos, WALKS[:2], out=out, model=tiny, steps=1)
    assert again == files and len(asked) == 1
    with pytest.raises(ValueError, match="--overwrite"):
        generate_people(photos, WALKS[:2], out=out, model=tiny, steps=1, seed=1)


def test_poses_beside_the_photos_of_many_people_can_be_left_aside(tiny, pose, photos, scored, tmp_path):
    write_openpose_json(pose(3), photos / "ben" / "front.json")
    known = {}
    for name, given in (("beside", []), ("detect", "detect")):
        generate_people(photos, WALKS[:1], given, out=tmp_path / name, model=tiny, steps=1)
        (source,) = json.loads((tmp_path / name / "ben" / "result.json").read_text())["sources"]
        known[name] = source["pose"]
    assert known == {"beside": "given", "detect": None}
    with pytest.raises(ValueError, match="or the word detect"):
        generate_people(photos, WALKS[:1], ["ben.json"], out=tmp_path / "out", model=tiny, steps=1)


def test_a_damaged_photo_stops_its_person_alone(tiny, photos, scored, tmp_path):
    (photos / "ben" / "front.png").write_bytes(b"\x89PNG broken")
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"1 of 3 people .*ben: .*front\.png") as raised:
        generate_people(photos, WALKS[:1], out=out, model=tiny, steps=1)
    assert "\n" not in str(raised.value)
    assert (
        (out / "anna" / "sheet.png").is_file()
        and (out / "carla" / "sheet.png").is_file()
        and not (out / "ben").exists()
    )


def test_a_photo_that_is_gone_when_its_person_is_drawn_stops_that_person_alone(
    tiny, photos, scored, tmp_path, monkeypatch
):
    def opened():
        (photos / "ben" / "front.png").unlink()
        return tiny, 0.0

    monkeypatch.setattr("imagpose.serving.many.check_model", lambda *_: opened)
    with pytest.raises(ValueError, match=r"1 of 3 people .*ben: .*front\.png"):
        generate_people(photos, WALKS[:1], out=tmp_path / "out", model=tiny, steps=1)
    assert sorted(own.name for own in (tmp_path / "out").glob("[!.]*")) == ["anna", "carla"]


def test_a_folder_without_people_is_refused(photos, tmp_path, tiny):
    with pytest.raises(ValueError, match="--source"):
        generate_people(photos / "anna", WALKS[:1], out=tmp_path / "out", model=tiny)
    with pytest.raises(ValueError, match="no such folder"):
        generate_people(tmp_path / "nowhere", WALKS[:1], out=tmp_path / "out", model=tiny)
