"""How launchers start a run: Accelerate reads our files, the package starts as a module."""

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
    assert config.num_processes == 8 * config.num_machines
    assert str(config.distributed_type).endswith("FSDP") == path.stem.startswith("fsdp")


def test_there_are_files_for_one_and_two_machines() -> None:
    assert {path.stem for path in FILES} == {"ddp_8x80gb", "fsdp_8x80gb", "ddp_2_nodes"}


def test_the_package_starts_as_a_module() -> None:
    result = subprocess.run([sys.executable, "-m", "imagpose", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("imagpose ")
