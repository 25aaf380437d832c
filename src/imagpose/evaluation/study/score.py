"""`imagpose study score`: R2G, G2R and Jab of the sheets of a study, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagpose.evaluation.study.files import Key, Sheet, read_key, read_sheet
from imagpose.io import write_json, write_text
from imagpose.metrics.statistics import Interval, bootstrap_mean
from imagpose.outputs import result_folder

_NORMAL_QUANTILE = 1.959963984540054  # of 97.5 %


@dataclass(frozen=True)
class StudyResult:
    """What the answers say.

    Attributes:
        participants: sheets that count.
        rates: "R2G" and "G2R" if pictures were judged one by one, "Jab NAME" of each method if there were sets; shares in
            [0, 1] with their 95 % intervals.
        chance: of Jab: 1 / number of methods; Jab does not compare between studies with other methods.
        rows: per participant the same shares.
        refused: file and reason of the sheets that do not count.
    """

    participants: int
    rates: dict[str, Interval]
    chance: float
    rows: dict[str, dict[str, float]]
    refused: dict[str, str]


def score_study(key: Path | str, sheets: Sequence[Path | str], out: Path | str, overwrite: bool = False) -> StudyResult:
    """Score the sheets; write ``summary.json`` and ``report.md`` into the new folder `out`.

    Sheets that `read_sheet` refuses, sheets with other answers of the same participant, and repetitions of the same
    answers do not count; the report names them.

    Args:
        overwrite: replace earlier scores in `out`.

    Raises:
        FileNotFoundError: the key is missing.
        ValueError: the key is not one, no sheet given, or none that counts; `out` exists and is not to be replaced.
    """
    truth = read_key(Path(key))
    if not sheets:
        raise ValueError("no sheets of answers given")
    refused: dict[str, str] = {}
    counted = _without_duplicates(_read_sheets(truth, sheets, refused), refused)
    if not counted:
        file, reason = next(iter(refused.items()))
        raise ValueError(f"no sheet of {len(refused)} counts; {file}: {reason}")
    rows = {sheet.participant: _rates(sheet, truth) for sheet in counted.values()}
    result = StudyResult(len(rows), _intervals(rows, truth), 1 / len(truth.methods), rows, refused)
    with result_folder(Path(out), overwrite) as folder:
        _write(result, folder)
    return result


def wilson_interval(hits: int, trials: int) -> Interval:
    """Share and 95 % Wilson score interval of `hits` among independent `trials`. Source: Wilson, 1927."""
    share, square = hits / trials, _NORMAL_QUANTILE**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = _NORMAL_QUANTILE / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def _read_sheets(key: Key, paths: Sequence[Path | str], refused: dict[str, str]) -> dict[str, Sheet]:
    sheets = {}
    for path in dict.fromkeys(map(str, paths)):
        try:
            sheets[path] = read_sheet(Path(path), key)
        except (OSError, ValueError) as error:
            refused[path] = str(error)
    return sheets


def _without_duplicates(sheets: dict[str, Sheet], refused: dict[str, str]) -> dict[str, Sheet]:
    """The result does not depend on the order of the files: of different sheets of one participant none counts."""
    persons: dict[str, list[str]] = {}
    for path, sheet in sheets.items():
        persons.setdefault(" ".join(sheet.participant.split()).casefold(), []).append(path)
    counted: dict[str, Sheet] = {}
    for paths in persons.values():
        for path in paths:
            others = [other for other in paths if sheets[other].answers != sheets[path].answers]
            twins = [other for other, sheet in counted.items() if sheet.answers == sheets[path].answers]
            if others:
                refused[path] = (
                    f"participant {sheets[path].participant!r} gave other answers in {others[0]}; remove one of the two"
                )
            elif twins:
                refused[path] = f"duplicate: the same answers as {twins[0]}"
            else:
                counted[path] = sheets[path]
    return counted


def _rates(sheet: Sheet, key: Key) -> dict[str, float]:
    rates = {}
    for name, truth in (("R2G", "real"), ("G2R", "generated")):
        wrong = [sheet.answers[number] != truth for number, item in key.singles.items() if item.answer == truth]
        if wrong:
            rates[name] = float(np.mean(wrong))
    best = [item.methods[sheet.answers[number]] for number, item in key.sets.items()]
    if best:
        rates |= {f"Jab {method}": best.count(method) / len(best) for method in key.methods}
    return rates


def _intervals(rows: dict[str, dict[str, float]], key: Key) -> dict[str, Interval]:
    """Bootstrap over participants, whose answers belong together; of a single one, Wilson's over the questions."""
    columns = {name: np.array([row[name] for row in rows.values()]) for name in next(iter(rows.values()))}
    if len(rows) > 1:
        return {name: bootstrap_mean(values) for name, values in columns.items()}
    truths = [item.answer for item in key.singles.values()]
    trials = {"R2G": truths.count("real"), "G2R": truths.count("generated")}
    return {
        name: wilson_interval(
            round(float(values[0]) * trials.get(name, len(key.sets))), trials.get(name, len(key.sets))
        )
        for name, values in columns.items()
    }


def _write(result: StudyResult, out: Path) -> None:
    summary = {
        "participants": result.participants,
        "rates": {name: vars(interval) for name, interval in result.rates.items()},
        "chance of Jab": result.chance,
        "rows": result.rows,
        "refused": result.refused,
    }
    write_json(out / "summary.json", summary)
    write_text(out / "report.md", _report(result) + "\n", errors="backslashreplace")  # names of files may be no text


def _report(result: StudyResult) -> str:
    heading = f"{result.participants} of {result.participants + len(result.refused)} sheets count"
    if any(name.startswith("Jab") for name in result.rates):
        heading += f"; a method chosen blindly has a Jab of {result.chance:.1%}"
    lines = [f"{heading}.", "", "| measure | mean | 95 % interval |", "| --- | --- | --- |"]
    for name, rate in result.rates.items():
        lines.append(f"| {name.replace('|', '/')} | {rate.mean:.1%} | {rate.low:.1%} to {rate.high:.1%} |")
    if result.refused:
        lines += ["", "Sheets that do not count:", "", *(f"- {file}: {why}" for file, why in result.refused.items())]
    return "\n".join(lines)
