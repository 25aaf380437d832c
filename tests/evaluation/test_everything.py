"""`imagpose reproduce all`: what is done is not done again, what cannot be is named, verdicts are those of all seeds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imagpose.data.rendered import prepare_people
from imagpose.evaluation.reproduce import figures, items, limitations
from imagpose.evaluation.reproduce.claims import Finding, gap_to_decide, people_needed, seeds_needed
from imagpose.evaluation.reproduce.everything import Everything, read_verdicts, reproduce_all
from imagpose.evaluation.reproduce.measuring import Measuring
from imagpose.pipeline.sampling import Sampling

CONFIG = Path(__file__).parents[2] / "configs" / "reproduce.yaml"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("everything") / "people"
    prepare_people(0, 1, 2, 32, 32, folder, test_people=1, workers=1)
    return folder


def finding(difference: float, verdict: str, **changes) -> dict:
    values = {"one": "a", "other": "b", "expected": "better", "measure": "ssim", "pairs": 64, "people": 16}
    bounds = {"low": difference - 0.02, "high": difference + 0.02}
    return Finding(**{**values, **bounds, "difference": difference, "verdict": verdict, **changes}).stored()


def given(out: Path, data: Path, **changes) -> Everything:
    measuring = Measuring(out, data, Sampling(2, 2.0), None, "imagpose reproduce all")
    return replace(Everything(measuring, "mini", {}, CONFIG, 2, (), 2, (), {}), **changes)


@pytest.fixture
def made(monkeypatch) -> list[str]:
    """Stands in for all items: each writes its page; figure 8 cannot be made, table 2 of seed 1 disagrees."""
    calls: list[str] = []

    def stand_in(item: str):
        def make(measuring: Measuring, *_) -> str:
            calls.append(f"{measuring.out.name}/{item}")
            if item == "figure8":
                raise ValueError("too few requests")
            measuring.out.mkdir(parents=True, exist_ok=True)
            seed = measuring.out.name
            findings = [finding(0.03, "holds"), finding(0.01, "holds" if seed == "seed-0" else "not decided", one="c")]
            (measuring.out / f"{item}.json").write_text(json.dumps({"title": item, "findings": findings}))
            (measuring.out / f"{item}.md").write_text("page")
            return item

        return make

    for module in (items, figures, limitations):
        for name in list(vars(module)):
            if name.startswith(("table", "figure")) or name in ("schedules", "views", "styles"):
                monkeypatch.setattr(module, name, stand_in(name))
    return calls


def test_everything_is_made_once_and_reported(tmp_path, data, made) -> None:
    said: list[str] = []
    out = tmp_path / "out"
    summary = reproduce_all(given(out, data), said.append)
    assert [own for own in made if own.startswith("seed")] == [
        f"seed-{n}/{i}" for n in "01" for i in ("table2", "table7", "schedules")
    ]
    assert {"model/views", "model/styles"} < set(made)
    assert len(made) == 9 + 6 and "model: figure8 left out: too few requests" in said
    assert "| figure8 | too few requests |" in summary
    assert "| table3 | needs at least two --preset or --image-encoder |" in summary
    assert "| table2 | [seed-0](seed-0/table2.md), [seed-1](seed-1/table2.md) | 1 |  | 1 |" in summary
    report = (out / "report.md").read_text()
    assert "| c against b: better | ssim | 64 | 16 | +0.0100 +0.0100 |" in report and "table4" in report
    for words in (
        "Data: rendered people, 32x32 (train 2 pictures of 1 people, test 2 pictures of 1 people).",
        "Model: mini, digest ", "2 steps, guidance 2. All test pairs.",
        "Styles are measured on people rendered for them.", ": 2 steps, each with seeds 0 to 1.",
    ):  # fmt: skip
        assert words in report
    again = len(made)
    reproduce_all(given(out, data), said.append)
    assert made[again:] == ["model/figure8"]
    with pytest.raises(ValueError, match="budget differ"):
        reproduce_all(given(out, data, budget=3), said.append)
    changed = tmp_path / "reproduce.yaml"
    changed.write_text(CONFIG.read_text())
    reproduce_all(given(out, data, config=changed), said.append)  # the same configuration, elsewhere
    changed.write_text(CONFIG.read_text().replace("timestep_shift: 3.0", "timestep_shift: 2.0"))
    with pytest.raises(ValueError, match=r"\(timestep_shift differ\)"):
        reproduce_all(given(out, data, config=changed), said.append)


def test_a_configuration_that_does_not_fit_is_refused_before_anything_is_made(tmp_path, data, made) -> None:
    with pytest.raises(FileNotFoundError, match=r"typo\.yaml"):
        reproduce_all(given(tmp_path / "out", data, config=Path("typo.yaml")), print)
    with pytest.raises(ValueError, match="initial is set"):
        reproduce_all(given(tmp_path / "out", data, overrides=("initial=mini",)), print)
    assert made == [] and not (tmp_path / "out").exists()


@pytest.mark.parametrize("failing", [(0,), (0, 1)])
def test_a_training_that_fails_is_named_and_the_rest_is_made(tmp_path, data, made, monkeypatch, failing) -> None:
    whole = items.table2

    def table2(measuring: Measuring, *others) -> str:
        if measuring.out.name in [f"seed-{seed}" for seed in failing]:
            raise FloatingPointError("the loss is nan at step 7")
        return whole(measuring, *others)

    monkeypatch.setattr(items, "table2", table2)
    summary = reproduce_all(given(tmp_path / "out", data), print)
    reason = "the loss is nan at step 7"
    cell = f"[seed-1](seed-1/table2.md), seed-0: {reason} | 1 |  | 1 |" if failing == (0,) else f"{reason} |  |"
    assert f"| table2 | {cell}" in summary and "seed-1/schedules" in made


def test_styles_are_of_rendered_people(tmp_path, data, made, monkeypatch) -> None:
    monkeypatch.setattr(Everything, "rendered", False)
    assert "| styles | needs rendered people |" in reproduce_all(given(tmp_path / "out", data), print)
    assert "model/views" in made and "model/styles" not in made


@pytest.mark.parametrize("name", ["report.md", "model/table1.md", "seed-1/table2.md"])
def test_somebodys_page_is_refused_before_anything_is_made(tmp_path, data, made, name) -> None:
    page = tmp_path / "out" / name
    page.parent.mkdir(parents=True)
    page.write_text("mine")
    with pytest.raises(ValueError, match=f"{page.name} exists and was not written by this command"):
        reproduce_all(given(tmp_path / "out", data), print)
    assert made == [] and page.read_text() == "mine"


def test_without_a_configuration_nothing_is_trained(tmp_path, data, made) -> None:
    summary = reproduce_all(given(tmp_path, data, config=None, budget=None), print)
    assert len(made) == 9 and "| table2 | needs --config and --budget |" in summary
    with pytest.raises(ValueError, match="give --budget"):
        reproduce_all(given(tmp_path, data, budget=None), print)


def test_a_verdict_is_that_of_all_seeds(tmp_path) -> None:
    for seed, (verdict, low) in enumerate([("does not hold", None), ("does not hold", 0.0), ("holds", 0.0)]):
        folder = tmp_path / f"seed-{seed}"
        folder.mkdir()
        both = [finding(0.1, verdict), finding(0.1, "does not hold", one="d", low=-np.inf if low is None else low)]
        (folder / "table2.json").write_text(json.dumps({"findings": both}))
    first, second = read_verdicts(tmp_path)
    assert (first.verdict, second.verdict) == ("not decided", "does not hold")
    assert second.needs() == "more people: too few for bounds, which need 8" and "seeds" in first.needs()


def test_people_needed_decide_in_four_of_five_repetitions() -> None:
    rng = np.random.default_rng(0)
    deviation, difference, people = 0.05, 0.012, 20
    half = 1.959964 * deviation / people**0.5
    needed = people_needed(people, difference - half, difference + half, difference)
    assert needed == pytest.approx((2.8016 * deviation / difference) ** 2, rel=0.02)
    samples = rng.normal(difference, deviation, (4000, needed))
    low = samples.mean(1) - 1.959964 * deviation / needed**0.5
    assert (low > 0).mean() == pytest.approx(0.8, abs=0.03)


def test_gaps() -> None:
    assert gap_to_decide("better", 0.03, 0.01) == 0.03
    assert gap_to_decide("better", -0.002, 0.01) == pytest.approx(0.008)  # to be shown not to matter
    assert gap_to_decide("alike", 0.004, 0.01) == pytest.approx(0.006)
    assert gap_to_decide("alike", -0.03, 0.01) == pytest.approx(0.02)
    assert people_needed(50, -0.001, 0.001, 0.5) == 50
    assert seeds_needed([0.1], 0.1) is None and seeds_needed([0.1, 0.1], 0.1) == 2
    assert seeds_needed([0.0, 0.2], 0.1) == 16  # ((1.96 + 0.84) 0.1414 / 0.1)^2
