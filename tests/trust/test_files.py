"""What commands leave on the disk, in short; `tools/trust_files.py` tries it more often."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import trust_files
from trust_commands import COMMANDS, Command, make_inputs
from trust_files import Trial, stranger_cases, survives

pytestmark = pytest.mark.skipif(os.name != "posix", reason="children are forked")
BY_NAME = {command.name: command for command in COMMANDS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trust")


@pytest.fixture(scope="module")
def inputs(folder: Path) -> Path:
    return make_inputs(folder / "inputs")


@pytest.mark.parametrize(
    ("command", "name", "overwrite"), stranger_cases(), ids=lambda value: getattr(value, "name", str(value))
)
def test_somebodys_file_survives(folder: Path, inputs: Path, command: Command, name: str, overwrite: bool) -> None:
    assert survives(command, inputs, folder, name, overwrite)


@pytest.fixture(scope="module")
def trials(folder: Path, inputs: Path) -> dict[str, Trial]:
    return {name: Trial(BY_NAME[name], inputs, folder) for name in ("people", "prepare people", "generate")}


@pytest.mark.parametrize("name", ["people", "prepare people", "generate"])
def test_killed_it_goes_on_as_if_nothing_had_been(trials: dict[str, Trial], name: str) -> None:
    assert trials[name].kill(0.6)


@pytest.mark.parametrize("name", ["people", "prepare people", "generate"])
def test_a_full_disk_is_one_line_and_nothing_half(trials: dict[str, Trial], name: str) -> None:
    assert trials[name].fill(0.3)


def test_a_folder_without_permission_is_one_line(folder: Path, trials: dict[str, Trial]) -> None:
    open_to_others(folder)
    assert trials["people"].forbid()


def open_to_others(folder: Path) -> None:
    """Let nobody, as whom root tries it, reach the folder."""
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)


def test_a_half_file_would_be_seen(folder: Path, inputs: Path, trials: dict[str, Trial]) -> None:
    command, trial = BY_NAME["people"], trials["people"]
    out = folder / "half"
    (out / "2000100").mkdir(parents=True)
    (out / "2000100" / "0.png").write_bytes(trial.reference["2000100/0.png"][:-1])
    assert not trust_files.is_whole(out, command, trial.reference)
    assert not trust_files.is_finished(out, command, inputs, trial.reference)
    assert not trust_files.is_one_line(70, "Traceback") and not trust_files.is_one_line(1, "error: a\nerror: b")
    assert trust_files.is_one_line(1, "error: no room")
