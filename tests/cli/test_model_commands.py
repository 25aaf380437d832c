"""imagpose models and imagpose convert: help, what reaches the functions behind, one line for bad input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import imagpose.pipeline.convert
from imagpose.cli import main
from imagpose.cli.commands import app

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
FILES = ["--unet", "u.pth", "--pose", "p.pth", "--patch", "x.pth", "--base", "sd15", "--out", "model"]


@pytest.mark.parametrize("words", [["models"], ["convert", "official"], ["convert", "to-official"]])
def test_help_has_an_example(words: list[str]) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).output
    assert f"Example: imagpose {' '.join(words)} " in " ".join(shown.split())


def test_the_table_of_the_documentation_is_what_the_command_prints() -> None:
    names = ["mini", "B1", "official"]
    printed = CliRunner().invoke(app, ["models", *names]).output.splitlines()
    documented = DOCS.read_text(encoding="utf-8").splitlines()
    assert len(printed) == 2 + len(names) and all(line in documented for line in printed)


def test_options_reach_the_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(imagpose.pipeline.convert, "from_official", lambda *given: calls.append(given))
    runner = CliRunner()
    assert runner.invoke(app, ["convert", "official", *FILES]).exit_code == 0
    more = ["--motion", "m.pth", "--image-encoder", "dino", "--vae", "vae", "--size", "256x176"]
    assert runner.invoke(app, ["convert", "official", *FILES, *more]).exit_code == 0
    paths = (Path("u.pth"), Path("p.pth"), Path("x.pth"), "sd15", Path("model"))
    assert calls == [(*paths, None, None, None, 512, 512), (*paths, Path("m.pth"), "dino", "vae", 256, 176)]

    monkeypatch.setattr(imagpose.pipeline.convert, "to_official", lambda model, out: [out / "patch-0.pth"])
    shown = runner.invoke(app, ["convert", "to-official", "--model", "model", "--out", "files"])
    assert shown.output.strip() == str(Path("files") / "patch-0.pth")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models", "sd3"], "preset 'sd3': one of mini, sd15-clip-b16"),
        (["convert", "official", *FILES], "no file u.pth (--unet)"),
        (["convert", "to-official", "--model", "mini", "--out", "files"], "cannot compute this model"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["imagpose", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    shown = capsys.readouterr().err
    assert end.value.code == 2
    assert message in shown and len(shown.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
