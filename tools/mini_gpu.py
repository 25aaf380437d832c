"""Helps `train_mini_gpu.sh`: rendering by the clock on a short-lived machine, and what comes back from there.

python tools/mini_gpu.py render --config denoiser.yaml --seconds 100 data.block=512
python tools/mini_gpu.py pieces --run runs/mini/denoiser --out results
python tools/mini_gpu.py join --pieces results --out runs/mini/from_gpu
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

from imagpose.models.folder import resolve_model
from imagpose.outputs import result_folder
from imagpose.training.cache import render_views
from imagpose.training.configs import ViewCacheConfig, load_config
from imagpose.training.denoiser.config import DenoiserConfig
from imagpose.training.export import export_pipeline

FROZEN = ("vae", "image_encoder")
"""Networks in a pipeline's folder that the denoiser needs and does not train: the package's."""


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
        for frozen in FROZEN:
            shutil.rmtree(folder / frozen)
        with result_folder(out, overwrite=True) as partial:
            for path in (folder / "unet").glob("*.safetensors"):
                shutil.move(path, partial)
            with tarfile.open(partial / "rest.tar", "w") as archive:
                archive.add(folder, ".")


def join_pieces(pieces: Path, frozen: Path, out: Path) -> None:
    """A pipeline's folder of what `write_pieces` wrote and of the networks of `frozen`; it can be `initial` of a run.

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
        for name in FROZEN:
            shutil.copytree(frozen / name, partial / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    render = commands.add_parser("render")
    render.add_argument("--config", type=Path, required=True)
    render.add_argument("--seconds", type=float, required=True)
    render.add_argument("overrides", nargs="*")
    pieces = commands.add_parser("pieces")
    pieces.add_argument("--run", type=Path, required=True)
    pieces.add_argument("--out", type=Path, required=True)
    join = commands.add_parser("join")
    for option in ("--pieces", "--out"):
        join.add_argument(option, type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        if arguments.command == "pieces":
            write_pieces(arguments.run, arguments.out)
        elif arguments.command == "join":
            join_pieces(arguments.pieces, Path(resolve_model("mini")), arguments.out)
        else:
            print(render_for(load_config(DenoiserConfig, arguments.config, arguments.overrides), arguments.seconds))
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from None


if __name__ == "__main__":
    main()
