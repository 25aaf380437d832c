"""Every failure is one line and an exit code.

2 is for the input, 1 for the machine, 130 for Ctrl-C, 143 for SIGTERM, 70 for a bug.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imagpose.cli.commands import app
from imagpose.cli.failures import explain
from imagpose.pictures import parse_size
from waiting import wait_until

MAIN = "from imagpose.cli import main; main()"


class UsageError(Exception):
    """As Click's."""

    def format_message(self) -> str:
        return "Missing option '--out'."


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ValueError("steps is 0;\n  1 expected"), 2, ["steps is 0; 1 expected"]),
        (FloatingPointError("latents are not finite"), 2, ["latents are not finite"]),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 2, ["invalid start byte"]),
        (
            RuntimeError("Error while serializing: I/O error: File too large (os error 27)"), 1,
            ["File too large", "ulimit -f"],
        ),
        (UsageError(), 2, ["Missing option '--out'."]),
        (FileNotFoundError("picture not found: a.png"), 2, ["picture not found: a.png"]),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a.png"), 2, ["a.png: No such file"]),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a" * 300), 2, ["too long", "shorter"]),
        (PermissionError(errno.EACCES, "Permission denied", "/disk/a"), 1, ["/disk/a: Permission denied", "permissions"]),
        (OSError(errno.ENOSPC, "No space left on device", "/disk/a"), 1, ["/disk/a: No space left", "free some space"]),
        (OSError(errno.EROFS, "Read-only file system", "/disk/a"), 1, ["/disk/a", "another folder"]),
        (BlockingIOError("out is being written by another process"), 1, ["out is being written by another process"]),
        (caused(RuntimeError("write failed"), OSError(errno.ENOSPC, "No space left on device")), 1, ["write failed"]),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 1, ["No space left", "free some space"]),
        (MemoryError(), 1, ["not enough memory"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), 1, ["9 bytes"]),
        (BrokenProcessPool("a process died"), 1, ["--workers"]),
        (ModuleNotFoundError("No module named 'einops'"), 1, ["einops", "install"]),
        (RuntimeError("Symlink loop from '/a/loop'"), 2, ["Symlink loop from '/a/loop'", "without links"]),
        (KeyError("sizes"), 70, ["this is a bug", "KeyError: 'sizes'", "--debug"]),
        (RecursionError("maximum recursion depth exceeded"), 70, ["this is a bug", "RecursionError"]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)  # fmt: skip
def test_what_an_error_becomes(error: Exception, code: int, words: list[str]) -> None:
    found, line = explain(error)
    assert found == code
    assert line and "\n" not in line
    for word in words:
        assert word in line


@pytest.mark.parametrize("command", ["people", "bulk requests.csv"])
def test_more_processes_than_any_machine_has_are_refused(command: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = CliRunner().invoke(app, [*command.split(), "--out", str(out), "--workers", "9" * 30])
    assert told.exit_code == 2 and "--workers" in told.output and not out.exists()


def test_a_line_is_short_and_moves_no_cursor() -> None:
    _, line = explain(ValueError("x" * 10_000_000 + "\x1b[2J\a end"))
    assert len(line) < 2000 and line.endswith("end") and line.isprintable()


def test_a_bug_names_the_place_in_our_code() -> None:
    try:
        parse_size(None)  # type: ignore[arg-type]
    except AttributeError as error:
        code, line = explain(error)
    assert code == 70 and "pictures.py:" in line


def hear_ctrl_c() -> None:
    """A process that a shell starts in the background ignores SIGINT, and what it starts inherits that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(*words: object, code: str = MAIN, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(
        command, text=True, timeout=120, **{"capture_output": True, "preexec_fn": hear_ctrl_c, **options}
    )  # type: ignore[call-overload,no-any-return]


def planted(statement: str) -> str:
    """The command line with a statement in place of its commands."""
    return (
        f"import imagpose.cli.commands as commands, os, sys, time\ndef app(words, standalone_mode):\n    {statement}\n"
        f"commands.app = app\n{MAIN}"
    )


def test_debug_shows_the_traceback_before_and_behind_the_command() -> None:
    code = planted("return [][0]")
    for words in (["models"], ["--debug", "models"], ["models", "--debug"]):
        ended = run(*words, code=code)
        assert ended.returncode == 70
        assert ("Traceback" in ended.stderr) == ("--debug" in words)
        assert ended.stderr.strip().splitlines()[-1].startswith("error: this is a bug of imagpose")


def test_a_mistyped_command_line_is_one_line() -> None:
    for words in (["people"], ["people", "--out", "x", "--count", "many"], ["--nope"]):
        ended = run(*words)
        assert ended.returncode == 2 and not ended.stdout
        (line,) = ended.stderr.strip().splitlines()
        assert line.startswith("error: ") and "--help" in line


def test_a_pattern_that_the_shell_expanded_is_told_of_quotes() -> None:
    many = run("generate", "--source", "a.png", "--pose", "dance/a.json", "dance/b.json", "--out", "x")
    assert many.returncode == 2 and "(dance/b.json)" in many.stderr and "in quotes" in many.stderr
    one = run("poses", "draw", "a.json", "b.json", "--out", "x.png")
    assert one.returncode == 2 and "(b.json)" in one.stderr and "in quotes" not in one.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout() -> None:
    with open("/dev/full", "w") as full:
        ended = run("--version", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 1
    (line,) = ended.stderr.strip().splitlines()
    assert "No space left on device" in line


def test_nobody_reads_what_is_printed() -> None:
    read, write = os.pipe()
    os.close(read)
    ended = run("--version", capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert ended.returncode == 1 and not ended.stderr


def test_another_pipe_than_stdout_that_is_closed_is_told() -> None:
    ended = run("models", code=planted("raise BrokenPipeError(32, 'Broken pipe', 'a process of a library')"))
    assert (ended.returncode, ended.stderr) == (1, "error: a process of a library: Broken pipe\n")


def test_nothing_is_there_to_print_to() -> None:
    """As in a shell with `>&-`, or in a daemon."""
    ended = run("--version", preexec_fn=lambda: os.close(1))
    assert (ended.returncode, ended.stderr) == (0, "")


INTERRUPTS = {
    "import": "import sys, os, signal\nclass Finder:\n    def find_spec(self, name, *_):\n        if name == 'rich.console':"
    " os.kill(os.getpid(), signal.SIGINT)\nsys.meta_path.insert(0, Finder())\n" + MAIN,
    "work": planted("os.kill(os.getpid(), 2); time.sleep(30)"),
    "another error": planted("\n    try: os.kill(os.getpid(), 2)\n    except BaseException: raise SystemError('result')"),
    "destructor": "class Dying:\n    def __del__(self): os.kill(os.getpid(), 2)\n"
    + planted("Dying(); time.sleep(30)"),
}  # fmt: skip


@pytest.mark.parametrize("moment", INTERRUPTS)
def test_ctrl_c(moment: str) -> None:
    ended = run("models", code=INTERRUPTS[moment])
    assert (ended.returncode, ended.stderr) == (130, "stopped by Ctrl-C\n")


def test_sigterm() -> None:
    """As Ctrl-C, with the code that a shell gives for it; whoever ignores it goes on to do so."""
    for moment in ("work", "another error", "destructor"):
        code = INTERRUPTS[moment].replace("os.kill(os.getpid(), 2)", "os.kill(os.getpid(), 15)")
        ended = run("models", code=code)
        assert (ended.returncode, ended.stderr) == (143, "stopped by SIGTERM\n"), moment
    ignoring = "import signal; signal.signal(15, signal.SIG_IGN)\n" + planted("os.kill(os.getpid(), 15); return 5")
    assert run("models", code=ignoring).returncode == 5


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sigterm_to_a_command_ends_its_processes_too(tmp_path: Path) -> None:
    """To the first process alone, as a container's end sends it; the items that are worked on are not waited for."""
    code = (
        "import time\nfrom imagpose.workers import in_order\ndef doze(seconds):\n    time.sleep(seconds)\n"
        "def app(words, standalone_mode):\n    print('begun', flush=True)\n    list(in_order(doze, [300] * 2, 2))\n"
        f"if __name__ == '__main__':\n    import imagpose.cli.commands as commands\n    commands.app = app\n    {MAIN}\n"
    )
    (tmp_path / "planted.py").write_text(code)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "planted.py")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=hear_ctrl_c,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        wait_until(lambda: len(members(process.pid)) >= 4)  # with multiprocessing's tracker of resources
        time.sleep(0.5)  # Python does not notice a signal that comes in the moment in which it begins to wait
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=120)
    # multiprocessing's own process warns where a worker had not begun yet and the command was cut short.
    assert (process.returncode, stderr.splitlines()[0]) == (143, "stopped by SIGTERM")
    wait_until(lambda: not members(process.pid))


@pytest.mark.parametrize(
    "waiting",
    [
        "try: os.kill(os.getpid(), 15)\n    finally: threading.Event().wait(100)",
        "threading.Thread(target=time.sleep, args=(100,)).start(); os.kill(os.getpid(), 15); time.sleep(30)",
    ],
    ids=["the command waits", "Python waits for a thread"],
)
def test_sigterm_ends_a_command_that_does_not_end_by_itself(waiting: str) -> None:
    started = time.monotonic()
    ended = run("models", code=planted(f"import threading\n    {waiting}"))
    assert (ended.returncode, ended.stderr) == (143, "stopped by SIGTERM\n")
    assert time.monotonic() - started < 60


def members(group: int) -> list[int]:
    """The processes of a group that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, own = path.read_text().rpartition(")")[2].split()[:3]
            found += [int(path.parent.name)] if int(own) == group and state != "Z" else []
    return found


def test_ctrl_c_in_an_executed_text_under_python_m(tmp_path: Path) -> None:
    """As in an import of dataclasses; scripts and `python -c` end by the exit code in any case."""
    (tmp_path / "planted.py").write_text(planted("exec('os.kill(os.getpid(), 2); time.sleep(30)')"))
    ended = subprocess.run(
        [sys.executable, "-m", "planted"], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        preexec_fn=hear_ctrl_c,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (130, "stopped by Ctrl-C\n")


def test_ctrl_c_while_processes_start_and_work(tmp_path: Path) -> None:
    for number, seconds in enumerate((0.9, 1.8)):
        words = ["people", "--out", str(tmp_path / str(number)), "--size", "256x176", "--count", "50", "--workers", "2"]
        with subprocess.Popen(
            [sys.executable, "-c", MAIN, *words],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=hear_ctrl_c,
        ) as process:
            time.sleep(seconds)
            os.killpg(process.pid, signal.SIGINT)
            _, stderr = process.communicate(timeout=120)
        assert (process.returncode, stderr) == (130, "stopped by Ctrl-C\n")


def test_a_training_that_is_not_finite_ends_with_one_line_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: object) -> None:
        raise FloatingPointError("step 4: loss nan; training stopped, the last good checkpoint is step-00000003")

    monkeypatch.setattr("imagpose.training.encoder.train_encoder", diverge)
    config = tmp_path / "config.yaml"
    config.touch()
    result = CliRunner().invoke(app, ["train", "encoder", "--config", str(config)])
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr == "error: step 4: loss nan; training stopped, the last good checkpoint is step-00000003\n"
