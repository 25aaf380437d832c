"""Requests for other engines, and the recipe of docs/other-engines.md."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from imagpose.pose import draw_skeleton, read_pose, write_openpose_json
from imagpose.pose.library import library
from imagpose.serving.export import export_requests

PAGE = Path(__file__).parents[2] / "docs" / "other-engines.md"


@pytest.fixture(autouse=True)
def no_detector(monkeypatch):
    monkeypatch.setattr("imagpose.serving.framing._detector", lambda: None)


@pytest.fixture
def photo(tmp_path):
    """A photo of 400x300 pixels, and its pose: a person of 200 pixels in it."""
    blocks = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    Image.fromarray(blocks.repeat(50, 0).repeat(50, 1)).save(tmp_path / "me.png")
    write_openpose_json(library()["stand-01"].pose.resize(138, 200).crop(-60, -80, 300, 400), tmp_path / "own.json")
    return tmp_path / "me.png"


def test_everything_is_in_the_size_asked_for_and_named(photo, tmp_path):
    out = tmp_path / "requests"
    poses = ["walk-03", "sit-01", "walk-03"]
    (file,) = export_requests(
        {"person": [photo]}, poses, [tmp_path / "own.json"], out=out, size=(320, 200), retarget=False
    )
    request = json.loads(file.read_text())
    assert (request["height"], request["width"], request["person"]) == (320, 200, "person")
    assert [own["name"] for own in request["targets"]] == ["walk-03", "sit-01", "walk-03-2"]
    for own in request["targets"]:
        pose = library()[own["from"]].pose.fit(200, 320)
        np.testing.assert_allclose(read_pose(file.parent / own["pose"]).keypoints, pose.keypoints, atol=0.01)
        with Image.open(file.parent / own["skeleton"]) as drawn:
            assert drawn.tobytes() == draw_skeleton(pose).tobytes()
    (source,) = request["sources"]
    with Image.open(file.parent / source["picture"]) as framed:
        assert framed.size == (200, 320)
    stature = np.ptp(read_pose(file.parent / source["pose"]).keypoints[:, 1])
    assert 0.65 * 320 < stature < 0.88 * 320  # 145 of the photo's 400 pixels before
    assert source["from"] == str(photo)


@pytest.mark.parametrize("name", ["source-1", "1", "request"])
def test_a_target_of_any_name_leaves_the_sources_pose_alone(photo, tmp_path, name):
    write_openpose_json(library()["walk-03"].pose, tmp_path / f"{name}.json")
    (file,) = export_requests(
        {"person": [photo]}, [tmp_path / f"{name}.json"], [tmp_path / "own.json"], out=tmp_path / "requests", size=(320, 200)
    )  # fmt: skip
    request = json.loads(file.read_text())
    source, target = request["sources"][0]["pose"], request["targets"][0]["pose"]
    assert read_pose(file.parent / source) != read_pose(file.parent / target)
    own = read_pose(tmp_path / "own.json").keypoints
    found = read_pose(file.parent / source).keypoints
    across, down = (np.polyfit(own[:, axis], found[:, axis], 1) for axis in (0, 1))  # framing scales and moves it
    assert across[0] == pytest.approx(down[0], rel=1e-2)
    np.testing.assert_allclose(found[:, 0], np.polyval(across, own[:, 0]), atol=0.05)


def test_poses_are_fitted_to_the_body_unless_declined(photo, tmp_path):
    files = [
        export_requests(
            {"a": [photo]}, "walk-03", [tmp_path / "own.json"], out=tmp_path / str(wanted), retarget=wanted
        )[0]
        for wanted in (True, False)
    ]
    fitted, plain = (json.loads(file.read_text()) for file in files)
    assert fitted["fitted"].startswith("to the body in 1 of 1 sources")
    assert plain["fitted"] == "no: not asked for"
    change = [read_pose(file.parent / "poses" / "walk-03.json").keypoints for file in files]
    assert 0.5 < np.abs(change[0] - change[1]).max() < 60  # of 768 pixels


def test_a_folder_of_people_and_the_rule_for_folders(photo, tmp_path):
    people = tmp_path / "people"
    for name in ("anna", "ben"):
        (people / name).mkdir(parents=True)
        (people / name / "a.png").write_bytes(photo.read_bytes())
    out = tmp_path / "requests"
    files = export_requests(people, "walk-01", out=out)
    assert files == [out / "anna" / "request.json", out / "ben" / "request.json"]
    with pytest.raises(ValueError, match="--overwrite"):
        export_requests(people, "walk-01", out=out)
    export_requests(people, "walk-02", out=out, overwrite=True)
    assert not (out / "anna" / "skeletons" / "walk-01.png").exists()
    with pytest.raises(ValueError, match="no source picture"):
        export_requests({"person": []}, "walk-01", out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_recipe_for_diffusers_runs(photo, tmp_path, monkeypatch):
    import diffusers

    calls = []

    class Pipe:
        def load_ip_adapter(self, repository, subfolder, weight_name):
            assert weight_name.startswith("ip-adapter")

        def __call__(self, prompt, image, ip_adapter_image, height, width, generator):
            assert image.size == ip_adapter_image.size == (width, height)
            calls.append(image.tobytes())
            return SimpleNamespace(images=[image])

    monkeypatch.setattr(diffusers.ControlNetModel, "from_pretrained", lambda *_: "controlnet")
    monkeypatch.setattr(diffusers.StableDiffusionControlNetPipeline, "from_pretrained", lambda *_, controlnet: Pipe())
    monkeypatch.chdir(tmp_path)
    export_requests({"person": [photo]}, ["walk-01", "sit-01"], out="requests")
    (recipe,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(recipe.strip().splitlines()) <= 22
    exec(recipe, {})
    assert len(calls) == 2 and {file.name for file in Path("pictures").iterdir()} == {"walk-01.png", "sit-01.png"}
