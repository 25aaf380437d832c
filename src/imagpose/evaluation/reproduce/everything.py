"""`imagpose reproduce all`: every item that the given data allow, one after another, and one report of all verdicts.

Pages about a given model lie in `model`, those of trained variants in `seed-0`, `seed-1`, ... An item whose page is there
is not made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from imagpose.devices import process_state
from imagpose.evaluation.model_requests import model_mark
from imagpose.evaluation.report import markdown_table
from imagpose.evaluation.reproduce import figures, items, limitations
from imagpose.evaluation.reproduce.claims import MARGINS, gap_to_decide, people_needed, seeds_needed
from imagpose.evaluation.reproduce.measuring import Measuring, model_text
from imagpose.evaluation.reproduce.page import data_text, made_text
from imagpose.evaluation.reproduce.training_runs import TrainingRuns
from imagpose.io import read_json, write_text
from imagpose.metrics.statistics import FEWEST_PEOPLE
from imagpose.outputs import check_unclaimed, claim_folder, staged_folder
from imagpose.pipeline.sampling import Sampling
from imagpose.training.configs import defaults_of
from imagpose.training.denoiser import DenoiserConfig

_STEPS, _TIMED = (5, 10, 20, 50), 5
_STYLED = 12  # people, rendered in every style
_PAGES = (
    "table1", "table2", "table3", "table7", "schedules", "figure5", "figure7", "figure8", "figure9", "figure10",
    "figure12", "views", "styles",
)  # fmt: skip
_ELSEWHERE = {
    "table4": "re-identification, with a data set of its own: imagpose reproduce table4, docs/reid.md",
    "table5": "notation: docs/glossary.md",
    "table6": "settings: docs/models.md has each beside ours",
    "figure6": "a study with people: imagpose study",
    "figures 1 to 4, 11": "drawings of architectures; the code is src/imagpose/models",
}
_VERDICTS = ("holds", "does not hold", "not decided")


@dataclass(frozen=True)
class Everything:
    """What is given.

    Attributes:
        measuring: its `out` is the folder of the report.
        model: of figures and Table 1.
        baselines: folders of other methods, by name.
        config, budget: of trained variants; None leaves Tables 2, 3 and 7 out.
        overrides: key=value replacements in the configuration.
        seeds: how often the variants are trained.
        presets, encoders: lines of Table 3, see `items.table3`.
        rows: people that figures show.
    """

    measuring: Measuring
    model: str
    baselines: Mapping[str, Path]
    config: Path | None
    budget: int | None
    overrides: Sequence[str]
    seeds: int
    presets: Sequence[str]
    encoders: Mapping[str, str]
    rows: int = 4

    @property
    def settings(self) -> dict[str, Any]:
        """What the folder is for."""
        measuring = self.measuring
        return {
            "data": measuring.info.fingerprint, "model": model_mark(self.model), "limit": measuring.limit,
            "sampling": asdict(measuring.sampling), "config": None if self.config is None else self._runs("").shared,
            "budget": self.budget, "overrides": list(self.overrides),
            "baselines": {name: str(folder) for name, folder in self.baselines.items()},
        }  # fmt: skip

    @property
    def rendered(self) -> bool:
        """Whether the data set's people are rendered, as those of `styles` are."""
        return self.measuring.info.settings.get("command") == "people"

    def jobs(self) -> list[tuple[str, str, Callable[[], str]]]:
        """Folder, item and call of everything, the quick ones first."""
        own, model, rows = self._measuring("model"), self.model, self.rows
        found: list[tuple[str, str, Callable[[], str]]] = [
            ("model", "figure5", lambda: figures.figure5(own, model, self.baselines, rows)),
            ("model", "figure9", lambda: figures.figure9(own, model, min(rows, 2))),
            ("model", "figure10", lambda: figures.figure10(own, model, rows)),
            ("model", "figure12", lambda: figures.figure12(own, model, min(rows, 2))),
            ("model", "table1", lambda: items.table1(own, model, self.baselines)),
            ("model", "figure7", lambda: items.figure7(own, model)),
            ("model", "figure8", lambda: items.figure8(own, model, _STEPS, _TIMED)),
            ("model", "views", lambda: limitations.views(own, model)),
        ]
        if self.rendered:
            beside = replace(own, data=own.out / "people")
            found.append(("model", "styles", lambda: limitations.styles(beside, model, _STYLED)))
        for seed in range(self.seeds) if self.config is not None else ():
            found += self._trained(f"seed-{seed}", seed)
        return found

    def _trained(self, folder: str, seed: int) -> list[tuple[str, str, Callable[[], str]]]:
        measuring, runs = self._measuring(folder), self._runs(folder, f"seed={seed}")
        found: list[tuple[str, str, Callable[[], str]]] = [
            (folder, "table2", lambda: items.table2(measuring, runs)),
            (folder, "table7", lambda: items.table7(measuring, runs)),
            (folder, "schedules", lambda: items.schedules(measuring, runs)),
        ]
        if len(self.presets) + len(self.encoders) > 1:
            found.append((folder, "table3", lambda: items.table3(measuring, runs, self.presets, self.encoders)))
        return found

    def _runs(self, folder: str, *changes: str) -> TrainingRuns:
        assert self.config is not None and self.budget is not None
        place = self.measuring.out / folder
        return TrainingRuns(place, self.measuring.data, self.config, self.budget, (*self.overrides, *changes))

    def _measuring(self, folder: str) -> Measuring:
        return replace(self.measuring, out=self.measuring.out / folder)


def reproduce_all(everything: Everything, say: Callable[[str], None]) -> str:
    """Make what is missing, then the report `report.md`.

    An item that the data do not allow, or whose training fails, is left out, and the report has the reason.

    Args:
        say: is told what begins.

    Returns:
        The report's summary, Markdown; empty in other processes than the first.

    Raises:
        InterruptedError: a training was stopped; the same command continues.
        ValueError, OSError: see the items; the folder is another command's, or a configuration has no budget.
    """
    if everything.config is not None and everything.budget is None:
        raise ValueError("variants are trained for a number of steps: give --budget beside --config")
    trained = (everything.budget, everything.presets, everything.encoders, everything.overrides)
    if everything.config is None and any(trained):
        raise ValueError("--budget, --preset, --image-encoder and key=value are of trained variants: give --config too")
    out = everything.measuring.out
    jobs = everything.jobs()
    check_unclaimed(out, ("report.md", *(f"{folder}/{item}.md" for folder, item, _ in jobs)))
    claim_folder(out, everything.settings, {"sampling": asdict(Sampling()), "config": defaults_of(DenoiserConfig)})
    reasons: dict[tuple[str, str], str] = {}
    for folder, item, make in jobs:
        if (out / folder / f"{item}.md").is_file():
            continue
        say(f"{folder}: {item}")
        try:
            make()
        except (ValueError, FloatingPointError) as error:
            reasons[folder, item] = str(error)
            say(f"{folder}: {item} left out: {error}")
    if not process_state().is_main_process:
        return ""
    summary, text = _report(everything, reasons)
    with staged_folder(out, overwrite=True) as stage:
        write_text(stage / "report.md", text)
    return summary


@dataclass(frozen=True)
class Verdicts:
    """One claim in one measure over all seeds.

    Attributes:
        claim: "IMAGPose against B0: better".
        findings: of each seed, as `Finding.stored`.
    """

    item: str
    claim: str
    measure: str
    findings: list[dict[str, Any]]

    @property
    def verdict(self) -> str:
        """That of all seeds where they agree; else nothing is decided."""
        found = {str(own["verdict"]) for own in self.findings}
        return found.pop() if len(found) == 1 else "not decided"

    def needs(self) -> str:
        """What would decide it."""
        if any(own["low"] is None for own in self.findings):
            return f"more people: too few for bounds, which need {FEWEST_PEOPLE}"
        differences = [float(own["difference"]) for own in self.findings]
        mean = sum(differences) / len(differences)
        gap = gap_to_decide(str(self.findings[0]["expected"]), mean, MARGINS[self.measure])
        widest = max(self.findings, key=lambda own: float(own["high"]) - float(own["low"]))
        people = people_needed(int(widest["people"]), float(widest["low"]), float(widest["high"]), gap)
        pairs = round(people * int(widest["pairs"]) / int(widest["people"]))
        seeds = seeds_needed(differences, gap)
        return f"{people:,} people ({pairs:,} pairs), " + (
            "the spread over seeds is not known" if seeds is None else f"{seeds:,} seeds"
        )


def read_verdicts(out: Path) -> list[Verdicts]:
    """All claims of all items in a folder of `reproduce_all`, those of trained items over their seeds."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for item in _PAGES:
        for file in sorted(out.glob(f"*/{item}.json")):
            for own in read_json(file)["findings"]:
                claim = f"{own['one']} against {own['other']}: {own['expected']}"
                found.setdefault((item, claim, own["measure"]), []).append(own)
    return [Verdicts(*key, own) for key, own in found.items()]


def _report(everything: Everything, reasons: Mapping[tuple[str, str], str]) -> tuple[str, str]:
    out, verdicts = everything.measuring.out, read_verdicts(everything.measuring.out)
    body = [[item, *_item_cells(out, item, verdicts, reasons, everything)] for item in _PAGES]
    body += [[item, reason, "", "", ""] for item, reason in _ELSEWHERE.items()]
    summary = markdown_table(["", "pages", *_VERDICTS], body)
    parts = [
        "# The paper, item by item",
        _setting(everything),
        "Verdicts are counts of claims in measures of the clean protocol; each page says what is claimed and how it is"
        " decided, and pages of pictures claim nothing. Over several seeds, a verdict stands only where all seeds agree.",
        summary,
    ]
    for item in _PAGES:
        if own := [found for found in verdicts if found.item == item]:
            lines = [[found.claim, found.measure, *_numbers(found), found.verdict, _needs(found)] for found in own]
            head = ["claim", "measure", "pairs", "people", "difference", "bounds", "verdict", "what would decide it"]
            parts += [f"## {item}", markdown_table(head, lines)]
    parts += [
        "*What would decide it*: people and trainings with which a difference as large as the one seen here is decided in"
        " 80 % of repetitions, if bounds narrow with the square root of their number. All this is at the stated number of"
        " steps; what other lengths of training would show cannot be computed from one length.",
        "## Command",
        f"    {everything.measuring.command}",
        made_text(),
    ]
    return summary, "\n\n".join(parts) + "\n"


def _setting(given: Everything) -> str:
    """What everything was measured on, one sentence each."""
    measuring = given.measuring.of_model(given.model)
    limit = "All test pairs" if measuring.limit is None else f"At most {measuring.limit:,} test pairs of each item"
    parts = [data_text(measuring.info), model_text(given.model), measuring.sampling_text, f"{limit}."]
    if given.rendered:
        parts.append("Styles are measured on people rendered for them.")
    if given.budget is not None:
        seeds = "seed 0" if given.seeds == 1 else f"each with seeds 0 to {given.seeds - 1}"
        parts.append(f"Variants of Tables 2, 3 and 7 and of the schedules: {given.budget:,} steps, {seeds}.")
    return " ".join(parts)


def _item_cells(
    out: Path, item: str, verdicts: Sequence[Verdicts], reasons: Mapping[tuple[str, str], str], given: Everything
) -> list[str]:
    pages = [f"[{file.parent.name}]({file.parent.name}/{item}.md)" for file in sorted(out.glob(f"*/{item}.md"))]
    left_out = {folder: reason for (folder, own), reason in reasons.items() if own == item}
    if not pages:
        why = next(iter(left_out.values()), "")
        if not why and item == "styles":
            why = "needs rendered people"
        elif not why:
            lacking = "--config and --budget" if given.config is None else "at least two --preset or --image-encoder"
            why = f"needs {lacking}"
        return [why, "", "", ""]
    counts = Counter(own.verdict for own in verdicts if own.item == item)
    pages += [f"{folder}: {reason}" for folder, reason in left_out.items()]
    return [", ".join(pages), *(str(counts[name] or "") for name in _VERDICTS)]


def _numbers(found: Verdicts) -> list[str]:
    """Pairs and people, then the mean difference of each seed, and its bounds."""
    sizes = [" ".join(dict.fromkeys(f"{own[name]:,}" for own in found.findings)) for name in ("pairs", "people")]
    differences = [f"{own['difference']:+.4f}" for own in found.findings]
    bounds = ["" if own["low"] is None else f"[{own['low']:+.4f}, {own['high']:+.4f}]" for own in found.findings]
    return [*sizes, " ".join(differences), " ".join(bounds)]


def _needs(found: Verdicts) -> str:
    return found.needs() if found.verdict == "not decided" else ""
