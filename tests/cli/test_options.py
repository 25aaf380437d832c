"""Options that several commands have."""

from dataclasses import fields

import pytest
from typer.main import get_command

from imagpose.cli.commands import app
from imagpose.cli.options import with_settings
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
        guidance_interval=(0.1, 0.9), guidance_every=2, scheduler="ddim", seed=5, mark="visible",
    )  # fmt: skip
    sampling = Sampling(
        9, 3.0, guidance="full", guidance_interval=(0.1, 0.9), guidance_every=2, scheduler="ddim", seed=5
    )
    expected = GenerateSettings(
        grid="2x3", size=(256, 176), samples=3, keep_best=True, min_score=0.5, anchor=True, background="#ff0000",
        crop=False, place="source", mark="visible", sampling=sampling,
    )  # fmt: skip
    assert seen == [expected]
