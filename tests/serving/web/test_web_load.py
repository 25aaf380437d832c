"""Many clients at once, the short form of tools/web_load.py."""

from __future__ import annotations

import pytest

pytest.importorskip("gradio", reason="needs the extra web")

import web_load


def test_no_client_is_lost_and_memory_stays(capsys):
    rounds = web_load.load(clients=20, rounds=2, seconds=0.2, waiting=3)
    for got, _ in rounds:
        assert set(got) == {"pictures", "busy"} and got.total() == 20
        assert got["pictures"] >= 4  # one that is worked on, and three that wait
    (_, first), (_, second) = rounds
    assert second - first < 30
    assert "0 lost" in capsys.readouterr().out
