"""What a launcher asks for and the loop does not do; `test_two_processes.py` shards a run."""

from __future__ import annotations

import pytest
from fake_people import without_people

from imagpose.training import processes
from imagpose.training.configs import RunConfig


class _Sharding:
    """An accelerator that a launcher has set up for FSDP."""

    def __init__(self, version: int, checkpointing: bool) -> None:
        self.is_fsdp2 = version == 2
        self.distributed_type = type("", (), {"value": "FSDP"})
        self.state = type("", (), {"fsdp_plugin": type("", (), {"activation_checkpointing": checkpointing})})


@pytest.mark.parametrize(
    ("version", "checkpointing", "message"),
    [(1, False, "fsdp_version: 2"), (2, True, "use gradient_checkpointing=true of the configuration")],
)
def test_what_the_loop_cannot_shard_is_refused(
    run_values: dict, monkeypatch: pytest.MonkeyPatch, version: int, checkpointing: bool, message: str
) -> None:
    monkeypatch.setattr(processes, "Accelerator", lambda **_: _Sharding(version, checkpointing))
    with pytest.raises(ValueError, match=message):
        processes.build_accelerator(RunConfig.model_validate(without_people(run_values)))


def test_a_launchers_number_of_accumulated_batches_divides_nothing(
    run_values: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    accelerator = processes.build_accelerator(RunConfig.model_validate(without_people(run_values)))
    assert accelerator.gradient_accumulation_steps == 1
