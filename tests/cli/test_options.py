"""Options that several commands have."""

from dataclasses import fields

import pytest
from typer.main import get_command

from imagpose.cli.commands import app
from imagpose.cli.options import with_settings
from imagpose.data.rendered import prepare_people
from imagpose.pipeline.sampling import Sampling
from imagpose.serving.settings import GenerateSettings


@pytest.mark.parametrize("name", ["generate", "bulk"])
def test_every_setting_of_pictures_is_an_option_with_its_default(name):
    options = {own.name: own.default for own in get_command(app).commands[name].params}
    defaults = {own.name: getattr(Sampling(), own.name) for own in fields(Sampling)}
    defaults |= {own.name: getattr(GenerateSettings(), own.name) for own in fields(GenerateSettings)}
    del defaults["sampling"]
    defaults["no_crop"] = not defaults.pop("crop")
    assert {own: options[own] for own in defaults} == defaults


def test_options_become_settings():
    seen = []

    @with_settings
    def command(settings: GenerateSettings) -> None:
        seen.append(settings)

    command(
        size="256x176", samples=3, grid="2x3", anchor=True, keep_best=True, min_score=0.5, background="#ff0000",
        no_crop=True, retarget=True, place="source", scenario=None, steps=9, guidance_scale=3.0, guidance="full",
        guidance_interval=(0.1, 0.9), guidance_every=2, features_every=4, scheduler="ddim", seed=5, mark="visible",
    )  # fmt: skip
    sampling = Sampling(
        9,
        3.0,
        guidance="full",
        guidance_interval=(0.1, 0.9),
        guidance_every=2,
        features_every=4,
        scheduler="ddim",
        seed=5,
    )
    expected = GenerateSettings(
        grid="2x3", size=(256, 176), samples=3, keep_best=True, min_score=0.5, anchor=True, background="#ff0000",
        crop=False, place="source", mark="visible", sampling=sampling,
    )  # fmt: skip
    assert seen == [expected]


@pytest.mark.parametrize(
    ("command", "refused"),
    [
        ("generate --source a.png --pose walk-01 --mask m.png --out x", "--background"),
        ("generate --source a.png --pose walk-01 --keep-best --out x", "--samples"),
        ("bulk requests.csv --out x --worker-cpus 2", "--engine ray"),
        ("train denoiser --config c.yaml --gpus 2", "--dry-run"),
        ("train denoiser --config c.yaml --rate 1.5", "--dry-run"),
        ("train denoiser --config c.yaml --dry-run --overfit 2", "--overfit"),
        ("reid evaluate --data set --network net --weight 0.5", "--enrich"),
        ("reid evaluate --data set --network net --model other", "--enrich"),
        ("reid evaluate --data set --network net --steps 5", "--enrich"),
        ("prepare deepfashion --pictures p --lists l --detect mediapipe --keypoint-frame 256x176 --out x", "detected"),
        ("reproduce all --data set --budget 10 --out x", "--config"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(run, tmp_path, monkeypatch, command, refused):
    monkeypatch.chdir(tmp_path)
    if "--data set --budget" in command:
        prepare_people(2_000_000, 2, 5, 64, 48, tmp_path / "set", workers=1)
    result = run(*command.split())
    assert result.code == 2 and result.err.startswith("error: ") and result.err.count("\n") == 1, result.err
    assert refused in result.err
    assert not (tmp_path / "x").exists()
