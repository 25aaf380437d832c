"""What a long run has found already, in a file, so that the same run goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Record:
    """Results by what was tried: a line of JSON for each, in a file or in memory alone."""

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        """Open a file of a run with the same settings, or begin one.

        Raises:
            ValueError: the file is of a run with other settings.
        """
        self._path, self._found = path, {}
        if path is None:
            return
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
        if lines and lines[0] != settings:
            raise ValueError(f"{path} is of a run with {lines[0]}, not {settings}")
        if not lines:
            path.write_text(json.dumps(settings) + "\n")
        self._found = {line["what"]: line["found"] for line in lines[1:]}

    def once(self, what: str, find: Callable[[], Any]) -> Any:
        """What `find` gives, a value that JSON holds: found now and kept, or kept before."""
        if what not in self._found:
            self._found[what] = find()
            if self._path is not None:
                with self._path.open("a") as file:
                    file.write(json.dumps({"what": what, "found": self._found[what]}) + "\n")
        return self._found[what]
