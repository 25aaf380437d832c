"""`imagpose study score`: R2G, G2R and Jab of the sheets of a study, with intervals.

R2G: share of real pictures taken for generated; G2R: share of generated ones taken for real; Jab: share of sets in which a
method's picture was judged best. Higher is better. Source: the definitions of PIDM (§4.2) and of the paper (Figure 6).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagpose.evaluation.statistics import Interval, bootstrap_mean

__all__ = ["StudyResult", "score_study", "wilson_interval"]

_LARGEST_SHEET = 5_000_000  # bytes
_NORMAL_QUANTILE = 1.959963984540054  # of 97.5 %


@dataclass(frozen=True)
class StudyResult:
    """What the answers say.

    Attributes:
        participants: sheets that count.
        rates: R2G, G2R and "Jab NAME" of each method, shares in [0, 1] with their 95 % intervals.
        chance: of Jab: 1 / number of methods; Jab does not compare between studies with other methods.
        rows: per participant the same shares.
        refused: file and reason of the sheets that do not count.
    """

    participants: int
    rates: dict[str, Interval]
    chance: float
    rows: dict[str, dict[str, float]]
    refused: dict[str, str]


def score_study(key: Path | str, sheets: Sequence[Path | str], out: Path | str) -> StudyResult:
    """Score the sheets; write ``summary.json`` and ``report.md`` into `out`.

    A sheet of another study, with unknown or missing answers, of a participant who was counted before, or with the same
    answers as another one does not count; the report says so.

    Raises:
        FileNotFoundError: the key is missing.
        ValueError: the key is not one, no sheet given, or none that counts.
    """
    items, methods, study = _read_key(Path(key))
    if not sheets:
        raise ValueError("no sheets of answers given")
    rows: dict[str, dict[str, float]] = {}
    refused: dict[str, str] = {}
    seen: dict[str, str] = {}
    for sheet in map(Path, sheets):
        try:
            participant, answers = _read_sheet(sheet, study, items)
            fingerprint = json.dumps(answers, sort_keys=True)
            if participant in rows:
                raise ValueError(f"participant {participant!r} was counted already")
            if fingerprint in seen:
                raise ValueError(f"the same answers as participant {seen[fingerprint]!r}")
        except (OSError, ValueError) as error:
            refused[str(sheet)] = str(error)
            continue
        seen[fingerprint] = participant
        rows[participant] = _rates(answers, items, methods)
    if not rows:
        file, reason = next(iter(refused.items()))
        raise ValueError(f"no sheet counts; {file}: {reason}")
    result = StudyResult(len(rows), _intervals(rows, items), 1 / len(methods), rows, refused)
    _write(result, Path(out))
    return result


def wilson_interval(hits: int, trials: int) -> Interval:
    """Share and 95 % Wilson score interval of `hits` among independent `trials`. Source: Wilson, 1927."""
    share, square = hits / trials, _NORMAL_QUANTILE**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = _NORMAL_QUANTILE / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def _read_key(path: Path) -> tuple[dict[str, dict], list[str], str]:
    if not path.is_file():
        raise FileNotFoundError(f"key of the study not found: {path}")
    try:
        key = json.loads(path.read_text(encoding="utf-8"))
        return dict(key["items"]), list(key["methods"]), str(key["study"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the key.json of a study ({error})") from None


def _read_sheet(path: Path, study: str, items: dict[str, dict]) -> tuple[str, dict[str, Any]]:
    if path.stat().st_size > _LARGEST_SHEET:
        raise ValueError("larger than 5 MB, not a sheet of answers")
    try:
        sheet = json.loads(path.read_text(encoding="utf-8"))
        participant, answers = str(sheet["participant"]).strip(), dict(sheet["answers"])
        own_study = sheet["study"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not a sheet of answers ({type(error).__name__}: {error})") from None
    if own_study != study:
        raise ValueError("a sheet of another study")
    if not participant:
        raise ValueError("no participant")
    unknown = sorted(set(answers) - set(items))
    if unknown:
        raise ValueError(f"{len(unknown)} answers to questions that the study does not have, first {unknown[0]}")
    missing = sum(answers.get(item) is None for item in items)
    if missing:
        raise ValueError(f"incomplete: {missing} of {len(items)} questions are not answered")
    for item, question in items.items():
        legal = ("real", "generated") if question["kind"] == "real_fake" else tuple(range(len(question["methods"])))
        if isinstance(answers[item], bool) or answers[item] not in legal:
            raise ValueError(f"question {item}: answer {answers[item]!r} is none of {', '.join(map(str, legal))}")
    return participant, answers


def _rates(answers: dict[str, Any], items: dict[str, dict], methods: list[str]) -> dict[str, float]:
    real = [answers[item] for item, question in items.items() if question.get("answer") == "real"]
    generated = [answers[item] for item, question in items.items() if question.get("answer") == "generated"]
    best = [
        question["methods"][answers[item]] for item, question in items.items() if question["kind"] == "side_by_side"
    ]
    rates = {"R2G": float(np.mean([answer == "generated" for answer in real]))}
    rates["G2R"] = float(np.mean([answer == "real" for answer in generated]))
    return rates | {f"Jab {method}": best.count(method) / len(best) for method in methods}


def _intervals(rows: dict[str, dict[str, float]], items: dict[str, dict]) -> dict[str, Interval]:
    """Bootstrap over participants, whose answers belong together; of a single one, Wilson's over the questions."""
    columns = {name: np.array([row[name] for row in rows.values()]) for name in next(iter(rows.values()))}
    if len(rows) > 1:
        return {name: bootstrap_mean(values) for name, values in columns.items()}
    counts = {
        "R2G": sum(question.get("answer") == "real" for question in items.values()),
        "G2R": sum(question.get("answer") == "generated" for question in items.values()),
    }
    sets = sum(question["kind"] == "side_by_side" for question in items.values())
    return {
        name: wilson_interval(round(float(values[0]) * counts.get(name, sets)), counts.get(name, sets))
        for name, values in columns.items()
    }


def _write(result: StudyResult, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    summary = {
        "participants": result.participants,
        "rates": {name: vars(interval) for name, interval in result.rates.items()},
        "chance of Jab": result.chance,
        "rows": result.rows,
        "refused": result.refused,
    }
    lines = [
        f"{result.participants} participants; a method chosen blindly has a Jab of {result.chance:.1%}.",
        "",
        "| measure | mean | 95 % interval |",
        "| --- | --- | --- |",
        *(f"| {name} | {rate.mean:.1%} | {rate.low:.1%} to {rate.high:.1%} |" for name, rate in result.rates.items()),
    ]
    if result.refused:
        lines += ["", "Sheets that do not count:", "", *(f"- {file}: {why}" for file, why in result.refused.items())]
    for file, text in (("summary.json", json.dumps(summary, indent=1)), ("report.md", "\n".join(lines))):
        partial = out / f"{file}.partial"
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, out / file)
