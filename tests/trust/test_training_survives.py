"""The short form of `tools/trust_training.py`: what is killed, damaged, stopped or lied to ends as if it were not."""

from __future__ import annotations

import signal
from functools import partial

import pytest

from imagpose import people
from imagpose.people import render_set
from trust_training import PATIENCE, Trials, damaged, killed, prepare, rendering_stopped, stopped, with_clocks_set_back


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(people), "iterate_views", partial(people.iterate_views, workers=1))
        return prepare(tmp_path_factory.mktemp("training"))


def test_people_are_really_rendered_although_the_training_tests_have_fake_ones() -> None:
    assert people.iterate_views is render_set.iterate_views


def test_killed_at_random_moments(trials: Trials) -> None:
    assert killed(trials, 2) == 2


@pytest.mark.parametrize("flip", [False, True], ids=["cut", "one wrong bit"])
def test_damaged_checkpoints_are_noticed(trials: Trials, flip: bool) -> None:
    assert damaged(trials, 2, flip) == 2


def test_clocks_set_back(trials: Trials) -> None:
    assert with_clocks_set_back(trials, 1) == 1


def test_stopped_while_it_validates(trials: Trials) -> None:
    assert stopped(trials, "validate", signal.SIGTERM, 0) < PATIENCE


def test_stopped_while_views_are_rendered(trials: Trials) -> None:
    assert rendering_stopped(trials, signal.SIGTERM, 0) < PATIENCE
