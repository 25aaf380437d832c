"""Where a film, its record and its unfinished frames lie, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from imagpose.io import LOCK_FILE, clear_partial_files, json_digest, read_json
from imagpose.outputs import (
    SETTINGS_FILE,
    check_new_file,
    check_output_folder,
    check_unclaimed,
    claim_folder,
    remove_written,
)
from imagpose.serving.results import RECORD


def frame_name(number: int) -> str:
    """The file of a frame, counted from 0; its name counts from 1."""
    return f"frame-{number + 1:06}.png"


@dataclass(frozen=True)
class FilmPlaces:
    """The files of one call.

    Attributes:
        out: the film's file, or a folder that keeps the frames.
    """

    out: Path

    @property
    def is_film(self) -> bool:
        """Whether one file is written, by the name's ending."""
        return bool(self.out.suffix) and not self.out.is_dir()

    @property
    def frames(self) -> Path:
        """Folder of the frames; of a film only until it is complete."""
        return self.out.with_name(f"{self.out.name}.frames") if self.is_film else self.out

    @property
    def record(self) -> Path:
        """How the film was made."""
        return self.out.with_name(f"{self.out.name}.json") if self.is_film else self.out / RECORD

    def frame(self, number: int) -> Path:
        """File of a frame, counted from 0."""
        return self.frames / frame_name(number)

    def finished(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The record of a complete result of this very request."""
        try:
            record: dict[str, Any] = read_json(self.record)
            files = [self.out] if self.is_film else map(self.frame, range(int(record["frames"])))
            is_whole = record["request"] == json_digest(request) and all(file.is_file() for file in files)
            return record if is_whole else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def check(self, request: Mapping[str, Any], overwrite: bool) -> None:
        """Look at all places before any time is spent.

        Raises:
            ValueError: something of others, or of another request without `overwrite`, lies there; or it is the current
                folder, which an empty name stands for.
        """
        if self.out == Path():
            raise ValueError("the output is the current folder: name a film (film.mp4, film.gif) or another folder")
        check_output_folder(self.out.absolute().parent)
        if self.is_film:
            for file in (self.out, self.record):
                check_new_file(file, overwrite)
        else:
            check_output_folder(self.out)
        check_unclaimed(self.frames, [*(file.name for file in self.frames.glob("frame-[0-9]*.png")), RECORD])
        if (self.frames / SETTINGS_FILE).is_file():
            if overwrite:
                self._marked_frames()
            else:
                self._claim(request)

    def claim(self, request: Mapping[str, Any], overwrite: bool) -> None:
        """Make the folder of frames this request's; frames of another one are removed with `overwrite`.

        Raises:
            ValueError: it holds frames of another request, or is marked by something else than a film.
        """
        try:
            self._claim(request)
        except ValueError:
            if not overwrite:
                raise
            self._remove([])
            claim_folder(self.frames, request)
        clear_partial_files(self.frames, "frame-*.png.*")  # the folder is locked
        if self.is_film:
            clear_partial_files(self.out.parent, f"{escape(self.out.name)}.*")

    def _claim(self, request: Mapping[str, Any]) -> None:
        try:
            claim_folder(self.frames, request)
        except ValueError as error:
            raise ValueError(f"{error}, or replace them with --overwrite") from None

    def clear(self, request: Mapping[str, Any]) -> None:
        """Remove the frames of a film that is complete; those of another request, which may go on, stay."""
        try:
            is_own = self.is_film and json_digest(read_json(self.frames / SETTINGS_FILE)) == json_digest(request)
        except (OSError, ValueError):
            return
        if is_own:
            self._remove([LOCK_FILE])

    def _remove(self, others: list[str]) -> None:
        frames = map(frame_name, range(self._marked_frames()))
        remove_written(self.frames, [*frames, SETTINGS_FILE, RECORD, *others])

    def _marked_frames(self) -> int:
        """How many frames has the film that the folder is marked with.

        Raises:
            ValueError: it is marked by something else, whose files are not to be removed.
        """
        frames = read_json(self.frames / SETTINGS_FILE).get("frames")
        if not isinstance(frames, int):
            raise ValueError(f"{self.frames} holds {SETTINGS_FILE}, which is no film's: choose another folder")
        return frames
