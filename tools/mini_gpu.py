"""Helps `train_mini_gpu.sh`: what is carried to a short-lived machine, rendering by the clock, and what comes back.

python tools/mini_gpu.py frozen --config configs/mini/denoiser.yaml --out .gpu
python tools/mini_gpu.py render --config denoiser.yaml --seconds 100 data.block=512
python tools/mini_gpu.py pieces --run runs/mini/denoiser --out results
python tools/mini_gpu.py join --pieces results --frozen .gpu --out runs/mini/from_gpu
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from imagpose.outputs import result_folder
from imagpose.training.cache import render_views
from imagpose.training.configs import ViewCacheConfig, load_config
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.export import export_pipeline

FROZEN = {"autoencoder": "vae", "image_encoder": "image_encoder"}
"""Name in the configuration, and in a pipeline's folder."""


def copy_frozen(config: DenoiserConfig, out: Path) -> None:
    """Copy the networks that the denoiser needs and does not train into `out`, in half precision.

    Raises:
        FileNotFoundError: one is missing.
        ValueError: there is a folder that this did not write.
    """
    for name in FROZEN:
        place = getattr(config, name)
        if place is None or not Path(place).is_dir():
            raise FileNotFoundError(f"{name} {place}: no such folder; train it first")
        with result_folder(out / name, overwrite=True) as partial:
            for path in sorted(Path(place).glob("[!.]*")):
                if path.suffix == ".safetensors":
                    halves = {key: weight.half() for key, weight in load_file(path).items()}
                    save_file(halves, partial / path.name, metadata={"format": "pt"})
                elif path.suffix == ".json":
                    shutil.copy(path, partial)


def render_for(config: DenoiserConfig, seconds: float) -> int:
    """Render held-out people, then block after block of training people until `seconds` have passed.

    Returns:
        Training people that are there: whole blocks, at least one.

    Raises:
        ValueError: the configuration has no rendered people.
    """
    data, validation = config.data, config.validation
    if not isinstance(data, ViewCacheConfig):
        raise ValueError("data: rendered people are expected, found a data set")
    started = time.monotonic()
    if isinstance(validation, ViewCacheConfig):
        render_views(validation)
    for people in range(data.block, data.identities + 1, data.block):
        began = time.monotonic()
        render_views(data.model_copy(update={"identities": people}))
        now = time.monotonic()
        if now - started + (now - began) > seconds:
            break
    return people


def write_pieces(run: Path, out: Path) -> None:
    """Write a denoiser's EMA weights in half precision as files below 16 MB: the UNet's, and one archive of the rest.

    The frozen networks are left out. Complete pieces replace those before.

    Raises:
        ValueError: `out` holds what this did not write.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "pipeline"
        export_pipeline(run, folder)
        for frozen in FROZEN.values():
            shutil.rmtree(folder / frozen)
        with result_folder(out, overwrite=True) as partial:
            for path in (folder / "unet").glob("*.safetensors"):
                shutil.move(path, partial)
            with tarfile.open(partial / "rest.tar", "w") as archive:
                archive.add(folder, ".")


def join_pieces(pieces: Path, frozen: Path, out: Path) -> None:
    """A pipeline's folder of what `write_pieces` wrote and of the frozen networks; it can be `initial` of a run.

    Raises:
        ValueError: a piece is missing, or `out` exists.
    """
    rest = pieces / "rest.tar"
    if not rest.is_file():
        raise ValueError(f"{rest} is missing")
    with result_folder(out) as partial:
        with tarfile.open(fileobj=io.BytesIO(rest.read_bytes())) as archive:
            archive.extractall(partial, filter="data")
        unet = partial / "unet"
        for path in pieces.glob("*.safetensors"):
            shutil.copy(path, unet)
        index = unet / "diffusion_pytorch_model.safetensors.index.json"
        wanted = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else set()
        missing = sorted(name for name in wanted if not (unet / name).is_file())
        if missing or not any(unet.glob("*.safetensors")):
            raise ValueError(f"{pieces} lacks {', '.join(missing) or 'the weights of the UNet'}")
        for name, folder in FROZEN.items():
            shutil.copytree(frozen / name, partial / folder, ignore=shutil.ignore_patterns(".*"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("frozen", "render"):
        command = commands.add_parser(name)
        command.add_argument("--config", type=Path, required=True)
        command.add_argument("overrides", nargs="*")
    commands.choices["frozen"].add_argument("--out", type=Path, required=True)
    commands.choices["render"].add_argument("--seconds", type=float, required=True)
    pieces = commands.add_parser("pieces")
    pieces.add_argument("--run", type=Path, required=True)
    pieces.add_argument("--out", type=Path, required=True)
    join = commands.add_parser("join")
    for option in ("--pieces", "--frozen", "--out"):
        join.add_argument(option, type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        if arguments.command == "pieces":
            write_pieces(arguments.run, arguments.out)
        elif arguments.command == "join":
            join_pieces(arguments.pieces, arguments.frozen, arguments.out)
        else:
            config = load_config(DenoiserConfig, arguments.config, arguments.overrides)
            if arguments.command == "frozen":
                copy_frozen(config, arguments.out)
            else:
                print(render_for(config, arguments.seconds))
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from None


if __name__ == "__main__":
    main()
