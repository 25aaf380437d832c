"""The commands in this process: what reaches the functions behind, bad input of all."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import imagpose
from imagpose.pipeline.sampling import Sampling
from imagpose.pose import PoseOptions
from imagpose.provenance import Signature
from imagpose.serving.animate import Animated
from imagpose.serving.bulk import BulkReport
from imagpose.serving.results import Generated


@pytest.mark.parametrize(
    "code",
    ["import imagpose", "import imagpose.cli, runpy, sys; sys.argv = ['imagpose', 'generate', '--help'];\n"
     "try: imagpose.cli.main()\nexcept SystemExit: pass"],
)  # fmt: skip
def test_start_imports_nothing_heavy(code):
    heavy = "torch", "torchvision", "diffusers", "transformers", "numpy", "PIL", "skimage"
    check = f"{code}\nimport sys; print('LOADED', sorted(set(sys.modules) & set({heavy!r})))"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("LOADED []"), result.stdout[-300:]


def test_the_interpreter_ends_without_looking_through_what_is_loaded():
    code = (
        "import atexit, gc, sys; atexit.register(lambda: print('FROZEN', gc.get_freeze_count() > 1000));"  # called last
        " from imagpose.cli import main; sys.argv = ['imagpose', '--version']; main()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "FROZEN True"


def test_lazy_attributes_are_the_things_themselves():
    from imagpose.models.unet import IMAGPoseUNet
    from imagpose.pipeline import IMAGPosePipeline
    from imagpose.pose import Pose
    from imagpose.views import ViewGrid

    assert imagpose.IMAGPosePipeline is IMAGPosePipeline
    assert imagpose.IMAGPoseUNet is IMAGPoseUNet
    assert (imagpose.Pose, imagpose.ViewGrid) == (Pose, ViewGrid)
    for name in imagpose.__all__:
        assert getattr(imagpose, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Poser'"):
        _ = imagpose.Poser


def test_generate_passes_everything_on_in_order(run, monkeypatch, tmp_path):
    seen = {}

    def stand_in(sources, poses, source_poses, **settings):
        seen.update(sources=list(sources), poses=list(poses), source_poses=list(source_poses), **settings)
        return Generated([], [], {}, [tmp_path / "walk-03.png"])

    monkeypatch.setattr("imagpose.serving.generate.generate", stand_in)
    result = run(
        "generate", "--source", "b.png", "--source", "a.png", "--pose", "walk-*", "--pose", "1.json",
        "--source-pose", "y.json", "--source-pose", "x.json", "--grid", "2x3", "--scenario", "T1", "--steps", 7,
        "--guidance", 1.5,
        "--guidance-kind", "full", "--guidance-interval", 0.1, 0.9, "--scheduler", "euler", "--seed", 9,
        "--model", "some/model", "--pose-units", "signed", "--pose-frame", "768x512", "--person", 2,
        "--min-confidence", 0.3, "--out", tmp_path, "--size", "256x176", "--samples", 4, "--keep-best",
        "--min-score", 0.5, "--background", "#ffffff",
        "--mark", "visible", "--mask", "m.png", "--mask", "n.png", "--no-crop",
        "--device", "cpu", "--dtype", "bf16", "--backend", "compile", "--guidance-every", 3, "--features-every", 4,
        "--overwrite",
    )  # fmt: skip
    assert result.code == 0 and "walk-03.png" in result.out
    assert seen == {
        "sources": [Path("b.png"), Path("a.png")], "poses": ["walk-*", "1.json"],
        "source_poses": ["y.json", "x.json"], "out": tmp_path, "model": "some/model", "scenario": "T1",
        "grid": "2x3", "sampling": Sampling(7, 1.5, "full", (0.1, 0.9), "euler", 9, 3, 4),
        "reading": PoseOptions("signed", (768, 512), 2, 0.3), "signature": None, "size": (256, 176), "samples": 4,
        "keep_best": True, "min_score": 0.5, "anchor": False, "background": "#ffffff",
        "masks": [Path("m.png"), Path("n.png")], "crop": False, "device": "cpu", "dtype": "bf16", "overwrite": True,
        "backend": "compile", "retarget": True, "place": "pose", "mark": "visible",
    }  # fmt: skip
    run("generate", "--source", "b.png", "--pose", "1.json", "--anchor", "--out", tmp_path)
    assert seen["anchor"] is True and seen["scenario"] is None


def test_animate_says_how_long_a_film_is(run, monkeypatch):
    done = Animated(Path("dance.gif"), 1, {"fps": 25.0})
    monkeypatch.setattr("imagpose.serving.animate.animate", lambda *_, **settings: done)
    assert run("animate", "--source", "a.png", "--poses", "1.json", "--out", "dance.gif").out == (
        "dance.gif: 1 frame, 25 a second\n"
    )


def test_animate_passes_everything_on_in_order(run, monkeypatch, tmp_path):
    seen = {}

    def stand_in(sources, poses, source_poses, **settings):
        seen.update(sources=list(sources), poses=list(poses), source_poses=list(source_poses), **settings)
        return Animated(tmp_path / "dance.gif", 12, {"fps": 12.5})

    monkeypatch.setattr("imagpose.serving.animate.animate", stand_in)
    words = [
        "animate", "--source", "b.png", "--source", "a.png", "--poses", "2.json", "--poses", "1.mp4",
        "--source-pose", "y.json", "--source-pose", "x.json", "--out", tmp_path / "dance.gif", "--fps", 12.5,
        "--between", 3, "--smooth", "one-euro", "--grid", "3x3", "--overlap", 2, "--size", "256x176", "--no-crop",
        "--no-retarget",
        "--place", "source", "--model", "some/model", "--device", "cpu", "--dtype", "bf16", "--backend", "compile",
        "--overwrite", "--seed", 9, "--person", 2, "--mark", "visible", "--c2pa-certificate", "c.pem",
    ]  # fmt: skip
    result = run(*words, "--c2pa-key", "k.pem")
    assert result.code == 0 and "dance.gif: 12 frames, 12.5 a second" in result.out
    assert seen == {
        "sources": [Path("b.png"), Path("a.png")], "poses": ["2.json", "1.mp4"],
        "source_poses": ["y.json", "x.json"], "out": tmp_path / "dance.gif", "fps": 12.5, "between": 3, "smooth": "one-euro",
        "grid": "3x3", "overlap": 2, "size": (256, 176), "crop": False, "retarget": False, "place": "source",
        "mark": "visible",
        "model": "some/model", "device": "cpu", "dtype": "bf16", "backend": "compile", "overwrite": True,
        "sampling": Sampling(seed=9), "reading": PoseOptions(person=2), "signature": Signature(Path("c.pem"), Path("k.pem")),
    }  # fmt: skip
    refused = run(*words)
    assert refused.code == 2 and "both --c2pa-certificate and --c2pa-key" in refused.err


def test_photos_of_many_people_stand_in_place_of_sources(run, monkeypatch, tmp_path):
    seen = {}

    def stand_in(photos, poses, source_poses, **settings):
        seen.update(photos=photos, poses=poses, source_poses=source_poses, samples=settings["samples"])
        return {"anna": [tmp_path / "anna" / "walk-03.png"]}

    monkeypatch.setattr("imagpose.serving.many.generate_people", stand_in)
    words = ["generate", "--photos", "people", "--pose", "walk-03", "--samples", 2, "--out", tmp_path]
    words += ["--source-pose", "detect"]
    result = run(*words)
    assert result.code == 0 and "walk-03.png" in result.out
    assert seen == {"photos": Path("people"), "poses": ["walk-03"], "source_poses": ["detect"], "samples": 2}
    refused = run(*words, "--source", "a.png")
    assert refused.code == 2 and "--photos" in refused.err


@pytest.mark.parametrize("alone", [True, False])
def test_bulk_passes_on_whether_requests_are_alone(run, monkeypatch, tmp_path, alone):
    def stand_in(table, out, **given):
        assert given["alone"] is alone
        return BulkReport(made=["a"])

    monkeypatch.setattr("imagpose.serving.bulk.run_bulk", stand_in)
    done = run("bulk", "table.csv", "--out", tmp_path, *["--alone"] * alone)
    assert done.code == 0 and "1 made" in done.out


def test_a_message_with_brackets_is_printed_as_it_is(run, tmp_path):
    # rich would take [bold] for markup and fail on [/x].
    result = run("generate", "--source", "a[bold][/x].png", "--pose", "p.json", "--out", tmp_path / "out")
    assert result.code == 2 and "a[bold][/x].png" in result.err


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A working folder with a picture, a pose and a folder that passes for a model."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (48, 64), "grey").save("good.png")
    keypoints = [value for index in range(18) for value in (2 * index + 1, 3 * index + 1, 1)]
    people = [{"pose_keypoints_2d": keypoints}]
    Path("good.json").write_text(json.dumps({"people": people, "canvas_width": 48, "canvas_height": 64}))
    Path("model").mkdir()
    Path("model/model_index.json").write_text("{}")
    return tmp_path


def test_bad_requests_are_refused_before_torch_is_imported(files):
    Path("people/anna").mkdir(parents=True)
    shutil.copy("good.png", "people/anna")
    Path("moves").mkdir()
    for name in "123":
        shutil.copy("good.json", f"moves/{name}.json")
    request = "generate --source good.png --pose good.json --out results"
    commands = [
        "generate --source absent.png --pose good.json --out results", f"{request} --pose absent.json",
        "generate --photos absent --pose good.json --out results",
        "generate --photos people --pose good.json --out results --dtype fp8",
        "generate --photos people --pose good.json --out moves",
        f"{request} --grid 3by3", f"{request} --size 8x",
        f"{request} --samples 0", f"{request} --model minni", f"{request} --out .", f"{request} --dtype fp8",
        f"{request} --dtype fp16 --device cpu", f"{request} --device tpu", f"{request} --backend onnx",
        f"{request} --backend openvino --device cuda",
        "animate --source absent.png --poses good.json --out a",
        "animate --source good.png --poses moves --out .",
        "bulk absent.csv --out results",
    ]  # fmt: skip
    code = (
        "import sys; from imagpose.cli import main\n"
        f"for command in {commands!r}:\n"
        "    sys.argv = ['imagpose', *command.split()]\n"
        "    try: main()\n"
        "    except SystemExit as end: assert end.code == 2, command\n"
        "    assert not {'torch', 'diffusers', 'transformers', 'scipy.signal'} & set(sys.modules), command\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-600:]
    assert [line[:7] for line in result.stderr.splitlines()] == ["error: "] * len(commands)
    assert not Path("results").exists() and not Path("a").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("generate --source good.png --pose good.json --source-pose good.json --source-pose good.json", "source poses"),
        ("demo --model minni", "unknown model 'minni'"),
        ("demo --guidance-kind half", "guidance must be one of feature, full, got 'half'"),
        ("demo --guidance-interval 0.8 0.2", "guidance_interval must be two numbers 0 <= low <= high <= 1"),
        (
            "demo --scheduler dimm",
            "scheduler must be one of ddim, ddpm, dpm++, euler, euler-ancestral, unipc, got 'dimm'",
        ),
        ("demo --steps 0", "steps (num_inference_steps) must be a whole number of at least 1, got 0"),
        ("demo --seed -1", "seed must be a whole number from 0"),
        ("demo --guidance-scale nan", "guidance_scale must be a number from -100 to 100, got nan"),
        ("evaluate model --data nowhere", "nowhere"),
        ("evaluate model --data . --grid 3by3", "grid '3by3': rows x columns expected, for example 2x2"),
        ("evaluate judges --data nowhere", "nowhere"),
        ("evaluate judges --data . --people 1", "people is 1; at least 2 expected"),
        ("reproduce table2 --data nowhere --config nowhere.yaml --budget 5", "nowhere.yaml"),
        ("reproduce table1 --data nowhere --baseline PIDM", "--baseline 'PIDM': NAME=FOLDER expected"),
        ("reproduce figure7 --data nowhere", "nowhere holds no finished data set"),
        ("reproduce figure8 --data nowhere --steps 5,x", "steps is '5,x'"),
        ("evaluate people --model minni", "unknown model 'minni'"),
        ("evaluate people --model model --identities 0", "identities is 0"),
        ("evaluate images --generated . --reference nowhere", "reference pictures not found: nowhere"),
        ("evaluate images --generated . --reference . --protocol old", "protocol is 'old'"),
        ("people --size 256", "size is '256'"),
        ("people --size 8x8", "8x8"),
        ("people --size 64x48 --count 0", "count 0"),
        ("train export --run nowhere", "nowhere"),
        ("train export --run nowhere --dtype fp8", "fp8"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(files, run, command, message):
    before = sorted(files.rglob("*"))
    result = run(*command.split(), "--out", "results")
    assert result.code == 2
    assert message in result.err
    assert result.err.startswith("error: ") and result.err.count("\n") == 1
    assert result.out == ""
    assert sorted(files.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "nowhere.yaml"),
        ("output: [", "config.yaml"),
        ("nonsense: 1", "nonsense"),
    ],
)
@pytest.mark.parametrize("stage", ["autoencoder", "autoencoder-finish", "encoder", "denoiser"])
def test_bad_configurations(run, tmp_path, monkeypatch, stage, text, message):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("config.yaml").write_text(text)
    result = run("train", stage, "--config", "nowhere.yaml" if text is None else "config.yaml")
    assert result.code == 2 and message in result.err
    assert result.err.startswith("error: ") and result.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ([] if text is None else ["config.yaml"])


@pytest.mark.parametrize(
    "arguments",
    [["generate"], ["people", "--count", "many", "--out", "x"], ["nonsense"], ["web", "--max-megapixels", "inf"]],
)
def test_misuse_ends_with_exit_code_2(run, arguments):
    result = run(*arguments)
    assert result.code == 2 and result.err and not result.out
