"""What a page of `imagpose reproduce` says of given measures: verdicts, the paper's rows, columns."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from imagpose.data.info import DatasetInfo
from imagpose.evaluation.report import markdown_table
from imagpose.evaluation.reproduce import items
from imagpose.evaluation.reproduce.claims import Claim, claim_table, find_claims
from imagpose.evaluation.reproduce.measured import Measured, result_table
from imagpose.evaluation.reproduce.page import ResultPage, write_page
from imagpose.evaluation.reproduce.published import published_rows
from imagpose.evaluation.reproduce.table4_page import PUBLISHED as TABLE4
from imagpose.evaluation.rows import METRICS, Row

pytest.importorskip("matplotlib")


def line(name: str, ssim: list[float], lpips: list[float] | None = None, pairs_each: int = 1) -> Measured:
    names = [f"pair {number}" for number in range(len(ssim))]
    values = {"clean_ssim": dict(zip(names, ssim, strict=True))}
    if lpips:
        values["clean_lpips"] = dict(zip(names, lpips, strict=True))
    people = {pair: f"person {number // pairs_each}" for number, pair in enumerate(names)}
    metric = METRICS["clean"][0]
    row = Row("clean", "ssim", metric.name, metric.definition, True, 1, len(ssim), float(np.mean(ssim)))
    return Measured(name, {("clean", "ssim"): row}, values, {}, people)


def verdicts(claims: list[Claim], lines: dict[str, Measured]) -> list[list[str]]:
    """Of the claims, measure by measure."""
    _, *rows = claim_table(find_claims(claims, lines))
    return [[re.sub(r"^[+-][^a-z]*", "", cell) for cell in row[4:]] for row in rows]


def test_verdicts() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.4, 0.6, 40)
    lines = {
        "base": line("base", base.tolist(), base.tolist()),
        "higher": line("higher", (base + 0.1).tolist(), (base + 0.1).tolist()),
        "hardly": line("hardly", (base + 0.004).tolist()),
        "as good": line("as good", (base + rng.normal(0, 0.005, 40)).tolist()),
        "noisy": line("noisy", (base + np.tile([0.1, -0.1], 20)).tolist()),
        "at the margin": line("at the margin", (base + 0.01 + rng.normal(0, 0.01, 40)).tolist()),
    }
    better = [Claim(one, other) for one, other in (("higher", "base"), ("base", "higher"), ("noisy", "base"))]
    assert verdicts(better, lines) == [["holds", "does not hold"], ["does not hold", "holds"], ["not decided", ""]]
    # Differences below the margin: an advantage that is sure holds, one that may be none does not.
    assert verdicts([Claim("hardly", "base"), Claim("as good", "base")], lines) == [
        ["holds"],
        ["does not hold"],
    ]
    alike = [Claim(one, "base", "alike") for one in ("higher", "hardly", "as good", "noisy")]
    assert verdicts(alike, lines) == [["does not hold"] * 2, ["holds", ""], ["holds", ""], ["not decided", ""]]
    # Sure to be better, but not by more than does not matter.
    assert verdicts([Claim("at the margin", "base"), Claim("at the margin", "base", "alike")], lines) == [
        ["holds"], ["not decided"],
    ]  # fmt: skip
    head, row = claim_table(find_claims([Claim("higher", "base")], lines))
    assert head == ["", "expected", "pairs", "people", "SSIM ↑, margin 0.01", "LPIPS (AlexNet) ↓, margin 0.01"]
    assert row[2:5] == ["40", "40", "+0.100 [+0.100, +0.100] holds"]


def test_fewer_pairs_never_decide_more() -> None:
    """What is alike by many people is not decided by few, however alike they are; seven are too few for anything."""
    rng = np.random.default_rng(2)
    base = rng.uniform(0.4, 0.6, 400)
    near = base + rng.normal(0, 0.02, 400)

    def of_first(count: int, claim: Claim) -> str:
        lines = {"one": line("one", near[:count].tolist()), "base": line("base", base[:count].tolist())}
        return verdicts([claim], lines)[0][0]

    alike = Claim("one", "base", "alike")
    assert [of_first(count, alike) for count in (400, 100, 9, 7, 1)] == ["holds"] * 2 + ["not decided"] * 3
    near[:] = base + 0.1
    assert of_first(8, Claim("one", "base")) == "holds" and of_first(7, Claim("one", "base")) == "not decided"


def test_pairs_of_one_person_are_no_independent_evidence() -> None:
    """Ten people of forty pairs each: what differs between people only would look certain, pair by pair."""
    of_people = np.random.default_rng(1).normal(0.01, 0.05, 10).repeat(40)
    base = np.full(400, 0.5)

    def decided(pairs_each: int) -> str:
        lines = {
            "one": line("one", (base + of_people).tolist(), pairs_each=pairs_each),
            "base": line("base", base.tolist(), pairs_each=pairs_each),
        }
        return verdicts([Claim("one", "base")], lines)[0][0]

    assert decided(1) == "holds" and decided(40) == "not decided"


def test_pairs_that_only_one_line_has_are_not_compared() -> None:
    values = {f"pair {number}": 0.9 for number in (*range(1, 10), 77)}
    short = Measured("short", {}, {"clean_ssim": values}, {}, {pair: pair for pair in values})
    lines = {"short": short, "long": line("long", [0.1, *[0.4] * 20])}
    _, row = claim_table(find_claims([Claim("short", "long")], lines))
    assert row[2:] == ["9", "9", "+0.500 [+0.500, +0.500] holds"]


def info(command: str, size: tuple[int, int]) -> DatasetInfo:
    nothing = {"file": "index.parquet", "bytes": 0, "sha256": ""}
    splits = {"test": {"pictures": 1, "identities": 1}}
    return DatasetInfo.model_validate(
        {"format": "imagpose views", "version": 1, "settings": {"command": command, "size": list(size)}, "plan": "",
         "pictures": 1, "identities": 1, "skipped": 0, "splits": splits, "shards": [], "index": nothing}
    )  # fmt: skip


def test_the_papers_rows_stand_beside_ours_on_the_papers_data_only(tmp_path) -> None:
    def page(data: DatasetInfo, item: str = "table1") -> str:
        lines = [line("IMAGPose", [0.5])]
        write_page(tmp_path, ResultPage(item, "t", "q", ["s."], lines, []), data, "c")
        return (tmp_path / f"{item}.md").read_text()

    assert "| IMAGPose | 0.7561 | 0.1284 | 5.874 |" in page(info("deepfashion", (256, 176)))
    assert "| IMAGPose | 0.3282 | 0.2104 | 12.659 |" in page(info("market1501", (128, 64)))
    for other in (info("people", (256, 176)), info("deepfashion", (128, 96))):
        assert "0.7561" not in page(other)
    assert "| M1 | 0.7145 | 0.1743 | 6.941 |" in page(info("deepfashion", (256, 176)), "table7")
    assert "no numbers of this item for these pictures" in page(info("market1501", (128, 64)), "table7")


def test_the_papers_rows_are_whole() -> None:
    """As many methods as the paper has, and its own order of the modules."""
    at_256 = info("deepfashion", (256, 176))
    rows = {item: published_rows(item, at_256) for item in ("table1", "table2", "table3", "table7", "figure7")}
    assert {item: len(own) for item, own in rows.items()} == {
        "table1": 13, "table2": 6, "table3": 12, "table7": 3, "figure7": 2,
    }  # fmt: skip
    rows["512x352"], rows["128x64"] = (
        published_rows("table1", own) for own in (info("deepfashion", (512, 352)), info("market1501", (128, 64)))
    )
    assert [len(rows[name]) for name in ("512x352", "128x64")] == [7, 7]
    sums = {
        name: [round(sum(column), 4) for column in zip(*((own.ssim, own.lpips, own.fid) for own in found), strict=True)]
        for name, found in rows.items()
    }
    assert sums == {  # added up from the paper's pages
        "table1": [9.2466, 2.4682, 143.8778], "512x352": [5.2258, 1.2623, 55.6906], "128x64": [2.0746, 1.8475, 127.774],
        "table2": [4.4464, 0.8821, 41.6281], "table3": [9.0617, 1.5712, 72.3866], "table7": [2.2018, 0.4705, 19.1815],
        "figure7": [1.5288, 0.2456, 11.2024],
    }  # fmt: skip
    assert [round(sum(column), 1) for column in zip(*TABLE4.values(), strict=True)] == [395.9, 437.3, 488.6, 518.4]
    modules = [(own.ssim, -own.lpips, -own.fid) for own in rows["table2"]]
    assert all(low < high for one, two in itertools.pairwise(modules) for low, high in zip(one, two, strict=True))
    assert {own.method for own in rows["table3"]} >= {"SD 1.5, CLIP-B/14", "SD 2.1, DINOv2-G/14"}
    ours = [own for item in ("table1", "table2", "table7") for own in rows[item] if own.method == "IMAGPose"]
    assert {(own.ssim, own.lpips, own.fid) for own in ours} == {(0.7561, 0.1284, 5.8738)} and len(ours) == 3


def test_what_table_3_expects_of_presets() -> None:
    claims = items._preset_claims(["sd15-clip-h", "sd15-dinov2-g", "sd21-dinov2-g"])
    assert claims == [Claim("sd15-dinov2-g", "sd15-clip-h", "alike"), Claim("sd21-dinov2-g", "sd15-dinov2-g")]


def test_a_page_says_in_which_precision_its_pictures_were_generated(tmp_path) -> None:
    lines = [replace(line("a", [0.5]), dtype="bfloat16"), line("other method's folder", [0.5])]
    data = info("people", (64, 48))
    write_page(tmp_path, ResultPage("table1", "t", "q", ["s."], lines, []), data, "c")
    text = (tmp_path / "table1.md").read_text()
    assert "; pictures generated in bfloat16; imagpose " in text and "fp32" not in text and "float32" not in text


def test_facts_are_columns_and_measures_without_values_are_none() -> None:
    with_fact = Measured("a", {}, {}, {"steps": "3"})
    assert result_table([with_fact, line("b", [0.25])]) == [
        ["", "steps", "SSIM, clean ↑"], ["a", "3", ""], ["b", "", "0.2500"],
    ]  # fmt: skip
    assert markdown_table(["", "x"], [["a", "1"]], "---:") == "|  | x |\n| --- | ---: |\n| a | 1 |"
