"""The table of `make bench`: what its ratio means, and that a section which fails takes nothing with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    import bench

    return bench


def test_rows_are_printed_and_written_and_a_failing_section_says_why(table, tmp_path, monkeypatch, capsys):
    def quick(preset, threads):
        assert (preset, threads) == ("tiny", 3)
        yield table.Row("a call", 2.0, 5.0, "s", "eager", threads, "fp32", 1e-6)
        raise RuntimeError("no compiler\nhere")

    def rate(preset, threads):
        yield table.Row("a loop", 30.0, 10.0, "views/s", "one process", threads, "fp32")

    monkeypatch.setattr(table, "SECTIONS", {"quick": quick, "rate": rate})
    out = tmp_path / "bench.json"
    monkeypatch.setattr(sys, "argv", ["bench.py", "--preset", "tiny", "--threads", "3", "--out", str(out)])
    table.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 2 + 3
    assert lines[2] == "| a call | 2 | 5 | s | 2.50 | 1.0e-06 | 3 | fp32 | eager |"
    assert lines[3].startswith("| quick: RuntimeError: no compiler here |")
    written = json.loads(out.read_text())
    assert [(row["what"], row["ratio"], row["error"]) for row in written["rows"]] == [
        ("a call", 2.5, 1e-6),
        ("a loop", 3, None),
    ]
    assert written["failed"] == {"quick": "RuntimeError: no compiler here"}
    assert {"processor", "cores", "torch"} <= set(written["machine"])


def test_rendering_on_all_cores_stands_beside_one_process(table, monkeypatch):
    monkeypatch.setattr(table.render_speed, "measure", lambda *given: (0.0, 40.0 if given[-1] == 4 else 10.0))
    (row,) = table.rendering("any", 4)
    assert (row.ours, row.reference, row.ratio, row.threads) == (40.0, 10.0, 4.0, 4)


def test_the_first_picture_has_the_threads_of_its_row_and_finds_its_files_in_memory(table, monkeypatch):
    runs = []

    def run(model, start, options, environment):
        runs.append((options, environment["OMP_NUM_THREADS"], environment.get("MKL_NUM_THREADS")))
        return [90.0 if len(runs) == 1 else 20.0 if options else 10.0]

    monkeypatch.setattr(table, "_ENVIRONMENT", {"PATH": "bin"})
    monkeypatch.setattr(table.first_picture, "run", run)
    (row,) = table.first("any", 4)
    assert (row.ours, row.reference, row.threads) == (10.0, 20.0, 4)
    assert runs == [([], "4", None), (["--dtype", "fp32"], "4", None), ([], "4", None)]
