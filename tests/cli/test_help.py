"""The help of every command: all options are explained, and the example is one that the command takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from imagpose.cli.commands import app
from imagpose.pipeline.sampling import Sampling

COMMANDS = """
animate, bulk,
generate, check, demo, people, web, poses list, poses show, poses draw, poses convert, poses detect, poses setup, cache,
models, train autoencoder, train autoencoder-finish, train encoder, train denoiser,
train pose-estimator, train silhouette, train identity, train appearance-flow, train lora, train fewstep, train export,
evaluate people, evaluate model, evaluate judges, evaluate images, evaluate import, evaluate requests,
convert official, convert to-official, study build, study score, prepare folder, prepare people, prepare deepfashion,
prepare market1501, prepare reid, prepare check, reid train, reid augment, reid evaluate, reid people,
reproduce table1, reproduce table2, reproduce table3, reproduce table4, reproduce table7, reproduce schedules,
reproduce figure5, reproduce figure7, reproduce figure8, reproduce figure9, reproduce figure10, reproduce figure12,
reproduce views, reproduce styles, reproduce all, requests export
""".replace("\n", " ").strip().split(", ")  # fmt: skip
SAMPLING = (
    "animate",
    "generate",
    "bulk",
    "demo",
    "evaluate people",
    "evaluate model",
    "reid augment",
    "reid evaluate",
    *(own for own in COMMANDS if "reproduce" in own),
)
SAMPLING_OPTIONS = {
    "--steps": None, "--guidance-scale": None, "--guidance-kind": "feature", "--guidance-interval": (0.0, 1.0),
    "--scheduler": None, "--seed": 0,
}  # fmt: skip


def walk(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """All commands that do something, by name."""
    if not hasattr(command, "commands"):
        yield name, command
        return
    for own, inner in command.commands.items():
        yield from walk(inner, f"{name} {own}".strip())


FOUND = dict(walk(typer.main.get_command(app)))


def options_of(command: Any) -> dict[str, Any]:
    """Options by their first name, without --help."""
    return {own.opts[0]: own for own in command.params if own.param_type_name == "option" and own.opts[0] != "--help"}


def plain(text: str) -> str:
    """Help without colours, frames and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─]", " ", text).split())


def test_the_commands_are_these():
    assert sorted(FOUND) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_option_and_gives_an_example(name):
    result = CliRunner().invoke(app, [*name.split(), "--help"], terminal_width=200, env={"COLUMNS": "200"})
    text = plain(result.output)
    assert result.exit_code == 0
    assert f"Example: imagpose {name}" in text
    assert FOUND[name].help
    for option, parameter in options_of(FOUND[name]).items():
        assert re.search(rf" {option}[, ]", text), option
        assert parameter.help, option


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_is_taken_by_the_command(name):
    command = FOUND[name]
    words = shlex.split(command.epilog.removeprefix("Example: imagpose "))
    assert words[: len(name.split())] == name.split()
    command.make_context(
        name, words[len(name.split()) :]
    )  # parses and converts; a missing or unknown option is an error


@pytest.mark.parametrize(
    "words", [[], ["train"], ["evaluate"], ["reproduce"], ["convert"], ["study"], ["prepare"], ["poses"], ["requests"]]
)
def test_a_group_lists_its_commands(words):
    text = plain(CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output)
    for name in COMMANDS:
        if name.split()[:-1] == words:
            assert f" {name.split()[-1]} " in text


@pytest.mark.parametrize("name", SAMPLING)
def test_a_command_that_samples_offers_all_settings_with_their_defaults(name):
    options = options_of(FOUND[name])
    for option, default in SAMPLING_OPTIONS.items():
        if (name, option) != ("reproduce figure8", "--steps"):
            assert options[option].default == default, option


def test_the_options_are_the_fields_of_the_settings():
    parameters = {own.name: own.default for own in FOUND["demo"].params}
    assert {own.name: own.default for own in fields(Sampling)}.items() <= parameters.items()
