"""The command line.

Importing it imports next to nothing: the rest is imported where Ctrl-C is answered already.
"""

from __future__ import annotations

import atexit
import gc
import sys

_COLLECTED_AFTER = 50_000
"""Objects until the garbage collector looks: with Python's few hundred it takes a fifth of the time that imports take."""


def main() -> None:
    """Run the command line; the process ends with an exit code of `failures`."""
    gc.set_threshold(_COLLECTED_AFTER)
    # Otherwise the interpreter looks through all that was loaded as it ends, which takes more than a second with torch.
    atexit.register(gc.freeze)
    try:
        from imagpose.cli.failures import DEBUG, exit_code_of
    except KeyboardInterrupt:
        sys.exit(130)
    words = sys.argv[1:]
    sys.exit(exit_code_of(lambda: _run([word for word in words if word != DEBUG]), debug=DEBUG in words))


def _run(words: list[str]) -> int:
    from imagpose.cli.commands import app

    code = app(words, standalone_mode=False)
    return code if isinstance(code, int) else 0
