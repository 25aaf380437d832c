"""Memory of many calls of one pipeline, as benchmarks/peak_memory.py prints it; the long form is the script's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "peak_memory.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peak_memory", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_from_call_to_call(script: ModuleType, pipeline, capsys) -> None:
    assert script.print_in_a_row(pipeline, 60, 1) <= script.ALLOWED_IN_A_ROW
    head, _, row = capsys.readouterr().out.strip().splitlines()
    assert head.startswith("| after call | 20 | 60 |") and row.startswith("| memory, MB |")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_leak_is_seen(script: ModuleType, pipeline, monkeypatch) -> None:
    kept = []
    generate = type(pipeline).__call__
    monkeypatch.setattr(
        type(pipeline), "__call__", lambda *a, **k: (kept.append(b"x" * 40_000_000), generate(*a, **k))[1]
    )
    assert script.print_in_a_row(pipeline, 24, 1) > script.ALLOWED_IN_A_ROW


def test_too_few_calls_are_refused(script: ModuleType, pipeline) -> None:
    with pytest.raises(ValueError, match="more than 20"):
        script.print_in_a_row(pipeline, 20, 1)
