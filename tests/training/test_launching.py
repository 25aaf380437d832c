"""How launchers start a run: Accelerate reads our files, the package starts as a module."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig

FILES = sorted((Path(__file__).parents[2] / "configs" / "accelerate").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_reads_the_file(path: Path) -> None:
    """Accelerate refuses keys that it does not know."""
    config = ClusterConfig.from_yaml_file(str(path))
    assert config.mixed_precision == "bf16" and not config.use_cpu
    gpus = int(found[1]) if (found := re.search(r"_(\d)x\d+gb$", path.stem)) else 8
    assert config.num_processes == gpus * config.num_machines
    assert str(config.distributed_type).endswith("FSDP") == path.stem.startswith("fsdp")


def test_there_are_files_for_two_to_eight_gpus_and_two_machines() -> None:
    one_machine = {"ddp_4x24gb", "ddp_2x80gb", "ddp_4x80gb", "ddp_8x80gb", "fsdp_8x80gb"}
    assert {path.stem for path in FILES} == one_machine | {"ddp_2_nodes"}


def test_the_package_starts_as_a_module() -> None:
    result = subprocess.run([sys.executable, "-m", "imagpose", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("imagpose ")
