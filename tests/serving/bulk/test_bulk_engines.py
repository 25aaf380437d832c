"""Jobs that are killed, and workers that are: complete after a rerun, nothing twice, the same pictures."""

import multiprocessing
import signal
import time
from functools import partial
from pathlib import Path

import pytest

import imagpose
from bulk_stand_in import KILLING_SEED, STAND_IN, StandIn, write_table
from bulk_trial import results
from imagpose.serving.bulk import run_bulk
from imagpose.serving.bulk.engines import LocalEngine, RayEngine
from imagpose.serving.bulk.pool import WorkerPool

TOOLS = Path(__file__).parents[3] / "tools"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("table"), 100)


@pytest.fixture(scope="module")
def expected(table, tmp_path_factory):
    """The pictures of a job that nobody disturbs."""
    out = tmp_path_factory.mktemp("expected")
    run_bulk(table, out, model=STAND_IN, open_model=StandIn)
    return sorted(results(out, "files"))


@pytest.fixture
def in_subprocesses(monkeypatch):
    paths = [str(Path(imagpose.__file__).parents[1]), str(TOOLS)]
    monkeypatch.setenv("PYTHONPATH", ":".join(paths))


@pytest.mark.parametrize("form", ["files", "parquet"])
def test_a_killed_job_continues(table, expected, tmp_path, monkeypatch, form):
    monkeypatch.setattr("imagpose.serving.bulk.store._PART_SECONDS", 0.1)
    job = partial(run_bulk, table, tmp_path / "out", model=STAND_IN, form=form)
    child = multiprocessing.get_context("fork").Process(target=job, kwargs={"open_model": partial(StandIn, 0.01)})
    child.start()
    while not list(tmp_path.glob("out/pictures*/*/r*")) + list(tmp_path.glob("out/pictures-*.parquet")):
        assert child.is_alive()
        time.sleep(0.01)
    time.sleep(0.15)
    child.kill()
    child.join()
    there = {own[0] for own in results(tmp_path / "out", form)}
    report = job(open_model=StandIn)
    assert child.exitcode == -9 and 0 < len(there) < 100
    assert set(report.kept) == there and len(report.made) == 100 - len(there)
    assert sorted(results(tmp_path / "out", form)) == expected
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("engine", [partial(LocalEngine, 2), partial(RayEngine, 1)], ids=["local", "ray"])
def test_a_dead_worker_is_replaced_and_a_deadly_request_fails_alone(
    table, expected, tmp_path, in_subprocesses, monkeypatch, engine
):
    """With three others it kills a worker, then alone another: two starts of one worker at a time, which take the time."""
    monkeypatch.setattr("imagpose.serving.bulk.engines.WorkerPool", lambda start, _: WorkerPool(start, 1))
    if engine.func is RayEngine:
        pytest.importorskip("ray", reason="needs Ray (extra bulk)", exc_type=ImportError)
    deadly = table.with_name("deadly.csv")
    deadly.write_text("".join(table.read_text().splitlines(keepends=True)[:9]).replace(",7\n", f",{KILLING_SEED}\n"))
    at_sigterm = signal.getsignal(signal.SIGTERM)
    report = run_bulk(deadly, tmp_path / "out", model=STAND_IN, engine=engine(), retries=0, open_model=StandIn)
    assert signal.getsignal(signal.SIGTERM) is at_sigterm, "Ray's own handler, which prints its stack, is left"
    assert list(report.failed) == ["r000007"] and "worker was killed" in report.failed["r000007"]
    assert sorted(results(tmp_path / "out", "files")) == [own for own in expected if own[0] < "r000007"]
