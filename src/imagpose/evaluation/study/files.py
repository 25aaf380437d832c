"""The two files of a study that are read back: its key, and the sheets of answers that the page saves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from reprlib import repr as short
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

CODE_LENGTH = 60
"""Characters that a participant code has at most."""

_LARGEST_FILE = 10_000_000  # bytes; the key of ten thousand questions has two million
_Text = Annotated[str, Field(min_length=1, max_length=1000)]
_File = TypeVar("_File", bound=BaseModel)


class _Part(BaseModel):
    """Part of a file: immutable, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SingleItem(_Part):
    """A picture that is judged alone.

    Attributes:
        name: of the picture, without ending.
        answer: the truth.
    """

    kind: Literal["single"] = "single"
    name: _Text
    answer: Literal["real", "generated"]

    @property
    def legal(self) -> Sequence[str | int]:
        """What the page offers."""
        return ("real", "generated")


class SetItem(_Part):
    """Pictures of which the best is chosen.

    Attributes:
        name: of the pictures, without ending.
        methods: whose picture stands at each place, from left to right; the answer is a place, from 0.
    """

    kind: Literal["set"] = "set"
    name: _Text
    methods: tuple[_Text, ...] = Field(min_length=2)

    @property
    def legal(self) -> Sequence[str | int]:
        """What the page offers."""
        return range(len(self.methods))


class Key(_Part):
    """What the questionnaire must not tell (`key.json`).

    Attributes:
        study: digest of all that is shown and of this key; sheets repeat it.
        seed: of all orders.
        subject: the method whose pictures are judged alone.
        methods: all methods.
        items: by the question's number in the page, "1" and up.
    """

    format: Literal["imagpose study 1"] = "imagpose study 1"
    study: _Text
    seed: int
    subject: _Text
    methods: tuple[_Text, ...] = Field(min_length=1)
    items: dict[str, Annotated[SingleItem | SetItem, Field(discriminator="kind")]] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Key:
        if self.subject not in self.methods:
            raise ValueError(f"the subject {self.subject!r} is none of the methods")
        if any(sorted(item.methods) != sorted(self.methods) for item in self.sets.values()):
            raise ValueError("a set does not show each method once")
        return self

    @property
    def singles(self) -> dict[str, SingleItem]:
        return {number: item for number, item in self.items.items() if isinstance(item, SingleItem)}

    @property
    def sets(self) -> dict[str, SetItem]:
        return {number: item for number, item in self.items.items() if isinstance(item, SetItem)}


class Sheet(_Part):
    """What one participant answered.

    Attributes:
        study: as in the key.
        participant: the participant's code.
        answers: "real", "generated" or a place, by the question's number.
    """

    study: str
    participant: Annotated[str, Field(max_length=CODE_LENGTH)]
    answers: dict[str, Any]


def read_key(path: Path) -> Key:
    """The key of a study.

    Raises:
        FileNotFoundError, ValueError: no such file, or not a key; one line that names the file and the field.
    """
    if not path.is_file():
        raise FileNotFoundError(f"key of the study not found: {path}")
    try:
        return _read(path, Key)
    except ValueError as error:
        raise ValueError(f"{path} is not the key.json of a study: {error}") from None


def read_sheet(path: Path, key: Key) -> Sheet:
    """A complete sheet of the key's study.

    Raises:
        OSError, ValueError: the file cannot be read, is no sheet, is of another study, or has no participant, questions
            without an answer, answers without a question, or answers that the page does not offer; one line, without
            the file's name.
    """
    if not path.is_file():
        raise FileNotFoundError("no such file")
    sheet = _read(path, Sheet)
    if sheet.study != key.study:
        raise ValueError(f"a sheet of another study ({short(sheet.study)}; the key is of {key.study!r})")
    if not sheet.participant.strip() or not sheet.participant.isprintable():
        raise ValueError(f"participant: {short(sheet.participant)} is no code; printable characters expected")
    unknown = [number for number in sheet.answers if number not in key.items]
    if unknown:
        raise ValueError(
            f"{len(unknown)} answers to questions that the study does not have (first {short(unknown[0])})"
        )
    for number, answer in sheet.answers.items():
        legal = key.items[number].legal
        # In Python True and 1.0 equal 1, but the page writes neither.
        if not any(type(answer) is type(choice) and answer == choice for choice in legal):
            raise ValueError(f"question {number}: answer {short(answer)} is none of {', '.join(map(repr, legal))}")
    missing = len(key.items) - len(sheet.answers)
    if missing:
        raise ValueError(f"incomplete: {missing} of {len(key.items)} questions are not answered")
    return sheet


def _read(path: Path, kind: type[_File]) -> _File:
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"larger than {_LARGEST_FILE // 1_000_000} MB")
    try:
        # People paste the text into editors that put a byte order mark before it.
        text = path.read_text(encoding="utf-8-sig")
        contents = json.loads(text, object_pairs_hook=_each_once)
    except RecursionError:
        raise ValueError("not JSON (nested too deeply)") from None
    except UnicodeDecodeError:
        raise ValueError("not a text file") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error})") from None
    try:
        return kind.model_validate(contents)
    except ValidationError as error:
        raise ValueError(_one_line(error)) from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a key that stands twice, Python would keep the last without a word."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{short(name)} stands there twice")
        found[name] = value
    return found


def _one_line(error: ValidationError) -> str:
    problem = error.errors()[0]
    message = problem["msg"].removeprefix("Value error, ")
    more = "" if error.error_count() == 1 else f" (and {error.error_count() - 1} more)"
    return f"{short('.'.join(map(str, problem['loc'])))}: {message}{more}" if problem["loc"] else f"{message}{more}"
