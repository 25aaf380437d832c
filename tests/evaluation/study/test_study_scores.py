"""Scores of the user study against values counted by hand; sheets and keys that are refused; the commands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from study_pieces import answers_of, key_of, methods_of, sheet
from typer.testing import CliRunner

from imagpose.cli.commands import app
from imagpose.evaluation.study.build import StudySettings, build_study
from imagpose.evaluation.study.files import CODE_LENGTH
from imagpose.evaluation.study.score import score_study, wilson_interval


def test_scores_are_those_counted_by_hand(study: Path, tmp_path: Path) -> None:
    key = key_of(study)
    sheets = [
        sheet(tmp_path, key["study"], "a", answers_of(key, 0, "ours")),
        sheet(tmp_path, key["study"], "b", answers_of(key, 2, "ours")),
        sheet(tmp_path, key["study"], "c", answers_of(key, 1, "third")),
    ]
    result = score_study(study / "key.json", sheets, tmp_path / "scores")
    means = {name: rate.mean for name, rate in result.rates.items()}
    assert means == pytest.approx({"R2G": 1 / 3, "G2R": 1 / 3, "Jab ours": 2 / 3, "Jab theirs": 0, "Jab third": 1 / 3})
    assert result.rows["b"] == pytest.approx(
        {"R2G": 2 / 3, "G2R": 2 / 3, "Jab ours": 1, "Jab theirs": 0, "Jab third": 0}
    )
    assert result.chance == pytest.approx(1 / 3) and result.participants == 3
    assert result.rates["R2G"].low <= 1 / 3 <= result.rates["R2G"].high
    report = (tmp_path / "scores" / "report.md").read_text()
    assert "3 of 3 sheets count; a method chosen blindly has a Jab of 33.3%." in report
    assert "| Jab ours | 66.7% | 0.0% to 100.0% |" in report
    assert json.loads((tmp_path / "scores" / "summary.json").read_text())["rates"]["G2R"]["mean"] == pytest.approx(
        1 / 3
    )


def test_a_study_of_one_part_has_the_measures_of_that_part(folders: dict[str, Path], tmp_path: Path) -> None:
    for name, settings, expected in (
        ("singles", StudySettings(4, 0), {"R2G": 0.25, "G2R": 0.25}),
        ("sets", StudySettings(0, 4), {"Jab ours": 1.0, "Jab theirs": 0.0}),
    ):
        methods = methods_of(folders, "ours", "theirs")
        build_study(folders["real"], methods, tmp_path / name, settings)
        key = key_of(tmp_path / name)
        one = sheet(tmp_path, key["study"], "a", answers_of(key, 1, "ours"))
        result = score_study(tmp_path / name / "key.json", [one], tmp_path / f"{name} scores")
        assert {measure: rate.mean for measure, rate in result.rates.items()} == expected
    hits = result.rates["Jab ours"]  # all 4 of 4: Wilson's lower end is n / (n + z^2)
    assert hits.low == pytest.approx(4 / (4 + 1.959964**2)) and hits.high == 1.0


def bad_sheets(folder: Path, key: dict) -> dict[str, Path]:
    """Files that must not count, by what must be said of them."""
    good, study = answers_of(key, 1, "ours"), key["study"]
    single, *_, place = good
    numbers = iter(range(100))

    def changed(answers: object, participant: object = "x", of: str = study) -> Path:
        return sheet(folder, of, participant, answers, f"bad {next(numbers)}")

    def raw(contents: bytes) -> Path:
        path = folder / f"raw {next(numbers)}.json"
        path.write_bytes(contents)
        return path

    whole = json.dumps({"study": study, "participant": "x", "answers": good})
    with (folder / "huge.json").open("wb") as huge:
        huge.truncate(11_000_000)
    return {
        "answer 1.0 is none of 0, 1, 2": changed(good | {place: 1.0}),
        "answer True is none of 0, 1, 2": changed(good | {place: True}),
        "answer -1 is none of": changed(good | {place: -1}),
        "answer 3 is none of": changed(good | {place: 3}),
        "answer None is none of": changed(good | {place: None}),
        "answer nan is none of": changed(good | {place: float("nan")}),
        "answer [0] is none of": changed(good | {place: [0]}),
        "answer 'real' is none of 0": changed(good | {place: "real"}),
        "answer 'maybe' is none of 'real', 'generated'": changed(good | {single: "maybe"}),
        "answer 0 is none of 'real', 'generated'": changed(good | {single: 0}),
        "incomplete: 1 of 10": changed({number: answer for number, answer in good.items() if number != single}),
        "incomplete: 10 of 10": changed({}),
        "another study ('other'; the key is of": changed(good, of="other"),
        "1 answers to questions that the study does not have (first '11')": changed(good | {"11": "real"}),
        "'' is no code": changed(good, ""),
        "'  ' is no code": changed(good, "  "),
        r"'a\nb' is no code": changed(good, "a\nb"),
        "'participant': Input should be a valid string, unable": changed(good, "\ud800"),
        r"(first '\ud800')": changed(good | {"\ud800": 0}),
        f"at most {CODE_LENGTH} characters": changed(good, "x" * (CODE_LENGTH + 1)),
        "'participant': Input should be a valid string": changed(good, 7),
        "'answers': Input should be a valid dictionary": changed(list(good)),
        "'answers': Field required": raw(json.dumps({"study": study, "participant": "x"}).encode()),
        "'participant': Field required": raw(json.dumps({"study": study, "answers": good}).encode()),
        "'study': Field required": raw(json.dumps({"participant": "x", "answers": good}).encode()),
        "valid dictionary or instance of Sheet": raw(b"[]"),
        "not JSON": raw(b"{"),
        "not a text file": raw(b"\xff\xd8\xff\xe0"),
        "nested too deeply": raw(b"[" * 200_000),
        "integer string conversion": raw(b'{"participant": 1' + b"0" * 5000 + b"}"),
        "'participant' stands there twice": raw(whole.replace("{", '{"participant": "y", ', 1).encode()),
        "larger than 10 MB": folder / "huge.json",
        "no such file": folder / "nowhere.json",
    }


def test_sheets_that_do_not_count_are_named(study: Path, tmp_path: Path) -> None:
    key = key_of(study)
    good = sheet(tmp_path, key["study"], "a", answers_of(key, 1, "ours"))
    bad = bad_sheets(tmp_path, key)
    result = score_study(study / "key.json", [*bad.values(), good, tmp_path], tmp_path / "scores")
    assert list(result.rows) == ["a"] and len(result.refused) == len(bad) + 1
    report = (tmp_path / "scores" / "report.md").read_text()
    for reason, path in bad.items():
        assert reason in result.refused[str(path)]
        assert len(result.refused[str(path)].splitlines()) == 1 and f"- {path}: {result.refused[str(path)]}\n" in report
    for path in bad.values():
        with pytest.raises(ValueError, match=r"no sheet of 1 counts; .*json: ."):
            score_study(study / "key.json", [path], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_duplicates_count_once_or_not_at_all_in_any_order(study: Path, tmp_path: Path) -> None:
    """c gave two different sheets, so that neither counts; of what was saved or handed in twice one counts."""
    key = key_of(study)
    answers = [answers_of(key, wrong, best) for wrong, best in ((0, "ours"), (1, "ours"), (2, "theirs"), (3, "third"))]
    sheets = [
        sheet(tmp_path, key["study"], "a", answers[0]),
        sheet(tmp_path, key["study"], " A", answers[0], "again"),
        sheet(tmp_path, key["study"], "b", answers[1]),
        sheet(tmp_path, key["study"], "copy of b", answers[1]),
        sheet(tmp_path, key["study"], "c", answers[2], "c 1"),
        sheet(tmp_path, key["study"], "C ", answers[3], "c 2"),
    ]
    for order in (sheets, sheets[::-1]):
        result = score_study(study / "key.json", order, tmp_path / "scores", overwrite=True)
        assert result.participants == 2 and result.rates["R2G"].mean == pytest.approx((0 + 1 / 3) / 2)
        reasons = [result.refused[str(path)] for path in sheets[4:]]
        assert all("gave other answers in" in reason for reason in reasons)
        others = [reason for reason in result.refused.values() if reason not in reasons]
        assert len(others) == 2 and all(reason.startswith("duplicate: the same answers as") for reason in others)


def test_a_key_that_is_none_is_refused(study: Path, tmp_path: Path) -> None:
    key, path = key_of(study), tmp_path / "key.json"
    last = list(key["items"])[-1]
    for change, match in (
        ({"items": {}}, "'items'"),
        ({"subject": "nobody"}, "subject 'nobody' is none of the methods"),
        (
            {"items": key["items"] | {last: {"kind": "set", "name": "x", "methods": ["ours", "ours"]}}},
            "each method once",
        ),
        ({"items": key["items"] | {last: {"kind": "other"}}}, f"'items.{last}'"),
        ({"methods": "ours"}, "'methods'"),
    ):
        path.write_text(json.dumps(key | change))
        with pytest.raises(ValueError, match=f"is not the key.json of a study: .*{re.escape(match)}") as caught:
            score_study(path, [path], tmp_path / "scores")
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(FileNotFoundError, match="nowhere"):
        score_study(tmp_path / "nowhere", [path], tmp_path / "scores")
    with pytest.raises(ValueError, match="no sheets"):
        score_study(study / "key.json", [], tmp_path / "scores")


def test_wilson_interval_against_the_textbook() -> None:
    """8 of 10: 0.4902 to 0.9433 (Newcombe, 1998, method 3)."""
    interval = wilson_interval(8, 10)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.4902, 0.9433)
    assert wilson_interval(0, 5).low == 0.0 and np.isclose(wilson_interval(5, 5).high, 1.0)


def test_the_commands(folders: dict[str, Path], tmp_path: Path) -> None:
    out, run = tmp_path / "study", CliRunner().invoke
    options = ["--real-fake", "2", "--side-by-side", "2", "--out", str(out)]
    methods = [f"--method={name}={folders[name]}" for name in ("ours", "theirs")]
    built = run(app, ["study", "build", "--real", str(folders["real"]), *methods, *options])
    key = key_of(out)
    assert built.exit_code == 0 and f"seed {key['seed']}" in built.output and "index.html" in built.output
    again = run(
        app, ["study", "build", "--real", str(folders["real"]), *methods, *options[:-1], f"{out} 2", "--seed", "7"]
    )
    assert again.exit_code == 0 and key_of(Path(f"{out} 2"))["seed"] == 7
    answers = sheet(tmp_path, key["study"], "a", answers_of(key, 1, "theirs"))
    scored = run(
        app, ["study", "score", "--key", str(out / "key.json"), "--out", str(tmp_path / "scores"), str(answers)]
    )
    assert scored.exit_code == 0 and "| Jab theirs | 100.0% |" in scored.output and "| R2G | 50.0% |" in scored.output
