"""The one place where failures end: each becomes one line on stderr and an exit code.

2 is for what was given (a value, a file), 1 for the machine (disk, memory, permissions, packages), 130 for Ctrl-C, 143 for
SIGTERM, 70 for a bug of ours. Where an error is raised says what the line says: this module adds a remedy only for what the
system itself reports. Only the standard library is imported here. Source: own; 70 is EX_SOFTWARE of sysexits.h.
"""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from imagpose.version import __version__

DEBUG = "--debug"
INPUT, MACHINE, BUG, INTERRUPTED, TERMINATED = 2, 1, 70, 130, 143

_WRONG_PLACES = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError)
_LONGEST = 1500  # characters of a line
_SHORTLY = 0.05  # seconds
_GRACE = 5.0  # seconds between SIGTERM and the end; container engines kill after ten
_REMEDIES = {
    errno.ENOSPC: "free some space, or write to another disk",
    errno.EDQUOT: "free some space, or write to another disk",
    errno.EFBIG: "the limit of a file's size (ulimit -f) is too small",
    errno.EROFS: "write to another folder",
    errno.EACCES: "change its permissions, or choose another place",
    errno.EPERM: "change its permissions, or choose another place",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENOMEM: "free some memory, or ask for less at once",
    errno.EIO: "the disk failed to read or to write: look at the system's log",
    errno.ELOOP: "give a path without links that lead to themselves",
    errno.ENAMETOOLONG: "give a shorter name",
}
_GIVEN = (errno.ELOOP, errno.ENAMETOOLONG)
_NO_MEMORY = ("can't allocate memory", "out of memory", "Unable to allocate", "bad_alloc")


def exit_code_of(command: Callable[[], int], debug: bool) -> int:
    """Run a command; a failure becomes a line on stderr, with `debug` after its traceback.

    Args:
        command: gives an exit code, or raises.
        debug: show tracebacks.
    """
    with _noted_signals() as noted, warnings.catch_warnings():
        warnings.showwarning = _show_warning  # type: ignore[assignment]
        try:
            code = command()
            if sys.stdout is not None:  # it is None where a shell has closed it (>&-)
                sys.stdout.flush()  # else a full disk and a closed pipe show when the interpreter has ended
        except Exception as error:
            if _is_closed_pipe(error):
                return MACHINE
            code, line = (INTERRUPTED, "") if noted else explain(error)
            if debug:
                traceback.print_exception(error)
            if line:
                _say("error:", "31", line)
        except KeyboardInterrupt as error:
            code = INTERRUPTED
            if debug:
                traceback.print_exception(error)
    if code == INTERRUPTED:
        code = TERMINATED if signal.SIGTERM in noted[:1] else INTERRUPTED
        _say_stopped(code)
        eval("0")  # `python -m` ends by a signal in place of the code if the last text that ran was interrupted
    return code


def explain(error: Exception) -> tuple[int, str]:
    """The exit code and the line of an error."""
    text = _one_line(str(error))
    usage = getattr(error, "format_message", None)  # of Click, which Typer has a copy of
    if usage is not None:
        return INPUT, _usage(error, _one_line(usage()))
    if isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY):
        return MACHINE, f"not enough memory{text and f' ({text})'}: ask for less at once, or for smaller pictures"
    if _is_full(error):
        return MACHINE, _system_text(error, errno.ENOSPC)
    if isinstance(error, OSError):
        given = isinstance(error, _WRONG_PLACES) or error.errno in _GIVEN
        return INPUT if given else MACHINE, _system_text(error, error.errno)
    if isinstance(error, RuntimeError) and text.startswith("Symlink loop"):  # of Path.resolve
        return INPUT, f"{text}: {_REMEDIES[errno.ELOOP]}"
    found = re.search(r"\(os error (\d+)\)", text)  # safetensors reports the system's errors in its own
    if found is not None and int(found[1]) in _REMEDIES:
        return MACHINE, _system_text(error, int(found[1]))
    if isinstance(error, (ValueError, FloatingPointError)):
        return INPUT, text
    if type(error).__name__ == "BrokenProcessPool":
        return (
            MACHINE,
            "a process that worked for this command was killed, most likely for lack of memory: give fewer --workers",
        )
    if isinstance(error, ImportError):
        return MACHINE, f"the installation is incomplete: {text}: install imagpose again"
    return BUG, _bug(error, text)


def _usage(error: Any, text: str) -> str:
    """The message of a command line that cannot be read; none where no argument was given and the help has been shown.

    A shell turns a pattern without quotes behind an option into words of which the option takes the first.
    """
    context = getattr(error, "ctx", None)
    if not text or context is None:
        return text
    if "unexpected extra argument" in text and any(own.multiple for own in context.command.params):
        text += ': an option takes one value, so repeat it, or put a pattern in quotes ("dance/*.json")'
    return f"{text} ({context.command_path} --help shows what it takes)"


def _system_text(error: Exception, number: int | None) -> str:
    """What the system reports, with the file first and the remedy for its error `number` last; of ours their text."""
    text = str(error)
    if isinstance(error, OSError) and error.errno is not None and error.strerror is not None:
        text = error.strerror if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}"
    remedy = None if number is None else _REMEDIES.get(number)
    return _one_line(text if remedy is None else f"{text}: {remedy}")


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error, which safetensors and torch report by texts of their own."""
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
            return True
        error = error.__cause__
    return False


def _bug(error: Exception, text: str) -> str:
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if _PACKAGE in Path(frame.filename).parents]
    place = f" at {Path(ours[-1].filename).relative_to(_PACKAGE)}:{ours[-1].lineno}" if ours else ""
    return (
        f"this is a bug of imagpose {__version__}: {type(error).__name__}: {text}{place}; please report it"
        f" {_where_to_report()}, with what the same command prints with {DEBUG}"
    )


_PACKAGE = Path(__file__).parents[1]


def _where_to_report() -> str:
    """At the project's page of issues, if its metadata name one."""
    from importlib import metadata

    with suppress(metadata.PackageNotFoundError):
        for entry in metadata.metadata("imagpose").get_all("Project-URL") or ():
            label, _, address = entry.partition(", ")
            if label.lower() == "issues":
                return f"at {address}"
    return "to whoever gave it to you"


def _one_line(text: str) -> str:
    """One line of printable characters, of a length that a terminal can show."""
    line = " ".join(text.split())
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST - 300]} ... {line[-300:]}"
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in line)


def _say(word: str, colour: str, text: str) -> None:
    """A line on stderr, whose first word is coloured on terminals."""
    if sys.stderr is None:
        return
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb":
        word = f"\x1b[{colour}m{word}\x1b[0m"
    with suppress(OSError, ValueError):
        print(word, text, file=sys.stderr, flush=True)


def _say_stopped(code: int) -> None:
    _say("stopped", "33", "by SIGTERM" if code == TERMINATED else "by Ctrl-C")


def _show_warning(message: Warning | str, category: type[Warning], *_: Any) -> None:
    if issubclass(category, UserWarning):
        _say("note:", "33", _one_line(str(message)))


def _is_closed_pipe(error: Exception) -> bool:
    """Whether nobody reads stdout any more (`imagpose models | head -1`); then nothing more is written to it."""
    if not isinstance(error, BrokenPipeError) or sys.stdout is None:
        return False
    stdout = select.poll()
    stdout.register(sys.stdout.fileno(), 0)
    if not stdout.poll(0):  # POSIX: POLLERR, unasked, of a pipe without readers
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


@contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """A list that gets SIGINT and SIGTERM when they come; each also raises KeyboardInterrupt.

    The list is there because libraries may turn that into another error. Where Python cannot raise it, in a callback of the
    import system or a destructor, it is raised again behind that. After three signals the next ends the process at once. A
    process that ignores one (nohup) goes on to do so. SIGTERM has a handler because the first process of a container gets
    it only so. What is still waited for after `_GRACE`, be it by the command or by Python's own end, such as other processes
    or a thread, is cut short as by a kill; processes that work for the command end with it.
    """
    noted: list[int] = []
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = {number: own for number, own in usual.items() if signal.getsignal(number) is own}
    hook = sys.unraisablehook
    hooking = is_over = False

    def end() -> None:
        if not is_over:  # else `exit_code_of` says it
            _say_stopped(TERMINATED)
        os._exit(TERMINATED)

    ending = threading.Timer(_GRACE, end)
    ending.daemon = True

    def note(number: int, _frame: FrameType | None) -> None:
        if hooking:
            repeat(number)
            return
        noted.append(number)
        if len(noted) > 2:
            for own in before:
                signal.signal(own, signal.SIG_DFL)
        if number == signal.SIGTERM and not ending.is_alive():
            ending.start()
        raise KeyboardInterrupt

    def repeat(number: int) -> None:
        main_thread = threading.main_thread().ident
        threading.Timer(_SHORTLY, signal.pthread_kill, (main_thread, number)).start()

    def raise_again(ignored: sys.UnraisableHookArgs) -> None:
        nonlocal hooking
        hooking = True
        if issubclass(ignored.exc_type, KeyboardInterrupt):
            repeat(noted[-1] if noted else signal.SIGINT)
        elif not noted:
            hook(ignored)
        hooking = False

    for number in before:
        signal.signal(number, note)
    sys.unraisablehook = raise_again
    try:
        yield noted
    finally:
        is_over = True
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if noted else handler)
