"""The workflows that ship, run in both formats: their pictures are the command line's, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagpose.pipeline.conditions import AT_ONCE
from imagpose.pose import read_pose, write_openpose_json
from imagpose.serving.animate import animate
from imagpose.serving.demo import PEOPLE_FOLDER
from imagpose.serving.generate import generate

WORKFLOWS = Path(__file__).parents[2] / "comfyui" / "example_workflows"
PERSON = PEOPLE_FOLDER / "2000006"
ASKED = {"steps": 2, "seed": 7, "guidance_scale": 1.5, "samples": 1}


@pytest.fixture
def run(host):
    """Runs a workflow that ships with the tiny model and few steps; gives the prompt and the outputs of its nodes."""
    from comfyui_run import read_workflow
    from comfyui_run import run as run_prompt

    def run_file(name: str):
        prompt = read_workflow(json.loads((WORKFLOWS / name).read_text()), host.classes)
        for node in prompt.values():
            if node["class_type"] == "ImagposeLoadModel":
                node["inputs"]["model"] = "tiny"
            if node["class_type"] in ("ImagposeGenerate", "ImagposeAnimate"):
                own = {key: value for key, value in ASKED.items() if key in node["inputs"]}
                node["inputs"] |= {**own, "save_as": Path(name).stem}
        done = run_prompt(prompt, host.classes)
        return {node["class_type"]: done[key] for key, node in prompt.items()}

    return run_file


def expected(host, tmp_path, sources, poses, source_poses=()):
    """The files that the command writes for the same request."""
    model = str(host.models / "imagpose" / "tiny")
    return generate(
        sources, poses, source_poses, out=tmp_path / "command", model=model, device="cpu", backend="torch", **ASKED
    ).files


def assert_same(images, written: Path, files: list[Path]) -> None:
    """The pictures of a batch, and of a folder, are those of the files, the sheet and all marks included."""
    pictures = [file for file in files if file.suffix == ".png"]
    for own in pictures:
        assert (written / own.name).read_bytes() == own.read_bytes()
    assert len(images) == len(pictures) - 1
    for image, own in zip(images, pictures, strict=False):
        with Image.open(own) as picture:
            np.testing.assert_array_equal((image.numpy() * 255).round(), np.asarray(picture))


def test_two_views_in_two_poses(host, run, tmp_path):
    files = expected(
        host, tmp_path, [PERSON / "0.png", PERSON / "1.png"], ["walk-03", "stand-01"],
        [PERSON / "0.json", PERSON / "1.json"],
    )  # fmt: skip
    for name in ("poses.json", "api/poses.json"):
        images, result = run(name)["ImagposeGenerate"]
        written = sorted(host.output.glob("poses_*"), key=lambda path: path.stat().st_mtime)
        folder = [path for path in written if path.is_dir()][-1]
        assert_same(images, folder, files)
        record = json.loads(result)
        assert record == json.loads((folder / "result.json").read_text())
        command = json.loads(files[-1].read_text())
        for pin in ("device", "dtype", "backend", "versions"):
            assert record[pin] == command[pin], pin
        assert record["device"] == "cpu" and record["canvases_at_once"] == AT_ONCE
        assert record["backend"] == {"asked": "torch", "used": ["torch"]}
        assert record["settings"] == command["settings"] | {"grid": "2x2"}
    assert len([path for path in host.output.glob("poses_*") if path.is_dir()]) == 2


def test_a_photo_of_the_input_folder(host, run, tmp_path):
    (host.input / "example.png").write_bytes((PERSON / "2.png").read_bytes())
    files = expected(host, tmp_path, [host.input / "example.png"], ["walk-03"])  # no pose lies beside it
    for name in ("photo.json", "api/photo.json"):
        images, _ = run(name)["ImagposeGenerate"]
        assert_same(images, max(path for path in host.output.glob("photo_*") if path.is_dir()), files)


def test_poses_fitted_by_a_node_of_their_own_are_those_that_the_command_fits(host, run, tmp_path):
    api = json.loads((WORKFLOWS / "api" / "fitted.json").read_text())
    text = next(node["inputs"]["text"] for node in api.values() if node["class_type"] == "ImagposePoseFromJSON")
    from imagpose.pose import draw_skeleton

    drawn = tmp_path / "image.png"
    draw_skeleton(read_pose(json.loads(text)).fit(352, 512), 352, 512).save(drawn)
    source = PEOPLE_FOLDER / "2000007"
    files = expected(host, tmp_path, [source / "0.png"], [drawn], [source / "0.json"])
    assert json.loads(files[-1].read_text())["fitted"].startswith("to the body in 1 of 1")
    outputs = run("fitted.json")
    assert_same(outputs["ImagposeGenerate"][0], max(p for p in host.output.glob("fitted_*") if p.is_dir()), files)
    assert outputs["ImagposeRetarget"][1].startswith("to the body in 1 of 1")


def test_a_film(host, run, tmp_path):
    model, asked = str(host.models / "imagpose" / "tiny"), {**ASKED, "grid": "2x2", "fps": 4.0, "smooth": "none"}
    del asked["samples"]
    animate(
        PERSON / "0.png", [f"walk-0{number}" for number in range(1, 5)], PERSON / "0.json", out=tmp_path / "command",
        model=model, device="cpu", **asked,
    )  # fmt: skip
    frames, fps, result = run("film.json")["ImagposeAnimate"]
    (written,) = (path for path in host.output.glob("film_*") if path.is_dir())
    files = sorted((tmp_path / "command").glob("*.png"))
    assert len(files) == len(frames) == 4 and fps == 4
    for image, own in zip(frames, files, strict=True):
        assert (written / own.name).read_bytes() == own.read_bytes()
        with Image.open(own) as picture:
            np.testing.assert_array_equal((image.numpy() * 255).round(), np.asarray(picture))
    record, command = (json.loads((folder / "result.json").read_text()) for folder in (written, tmp_path / "command"))
    assert record == json.loads(result)
    differing = {name for name in command if record[name] != command[name]}
    assert differing <= {"poses", "sources", "read", "request", "made"}


def test_the_files_of_both_formats_say_the_same(host):
    from comfyui_run import read_workflow, write_workflow

    names = {"film", "fitted", "photo", "poses"}
    assert {path.stem for path in WORKFLOWS.glob("*.json")} == {path.stem for path in WORKFLOWS.glob("*.jpg")} == names
    assert {path.name for path in (WORKFLOWS / "api").iterdir()} == {f"{name}.json" for name in names}
    (host.input / "example.png").touch()
    for name in names:
        api = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())
        saved = json.loads((WORKFLOWS / f"{name}.json").read_text())
        assert read_workflow(saved, host.classes) == api
        assert write_workflow(api, host.classes) == saved


def test_poses_of_a_file_and_of_detecting_nodes(host, pose, tmp_path):
    from comfyui_run import run

    write_openpose_json([pose(1), pose(2)], host.input / "dance.json")
    stored = json.loads((host.input / "dance.json").read_text())
    from_file = {"class_type": "ImagposePoseFromFile", "inputs": {"pose": "dance.json"}}
    read = run({"1": from_file}, host.classes)["1"][0]
    assert read.names == ["dance-001", "dance-002"]
    kind = host.classes["ImagposePoseFromJSON"]
    given = kind.execute(text="", keypoints=stored, poses=read).result[0]
    assert given.names == ["dance-001", "dance-002", "pose-001", "pose-002"]
    for one, other in zip(given.poses[:2], given.poses[2:], strict=True):
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
    changed = host.classes["ImagposePoseFromFile"].fingerprint_inputs(pose="dance.json")
    assert changed == (host.input / "dance.json").stat().st_mtime
    (tmp_path / "secret.json").write_text("{}")
    with pytest.raises(ValueError, match="no such file of key points in ComfyUI's input folder"):
        host.classes["ImagposePoseFromFile"].execute(pose=f"../{tmp_path.name}/secret.json")
