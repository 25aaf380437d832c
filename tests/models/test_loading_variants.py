"""Half precision alone, processors of another kind, and nothing said that nobody needs to read."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_models import save_base, save_clip, save_dinov2
from transformers import BitImageProcessorPil, CLIPImageProcessorPil

from imagpose import IMAGPosePipeline
from imagpose.models.folder import ModelFiles
from imagpose.models.loading import load_image_encoder, load_image_processor, load_networks
from imagpose.models.scheduler import build_scheduler
from imagpose.pipeline.conditions import encode_image_tokens
from imagpose.pixels import encoder_pixels


def put_in_cache(folder: Path, cache: Path, name: str) -> None:
    """The hub's cache: a snapshot named by a commit."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))


def test_a_cache_of_half_precision_alone_is_read(tmp_path: Path) -> None:
    cache = tmp_path / "hub"
    put_in_cache(save_base(tmp_path / "base", variant="fp16"), cache, "owner/base")
    encoder = save_clip(tmp_path / "clip", 24)
    load_image_encoder(ModelFiles(str(encoder))).half().save_pretrained(tmp_path / "half", variant="fp16")
    shutil.copy(encoder / "preprocessor_config.json", tmp_path / "half")
    put_in_cache(tmp_path / "half", cache, "owner/clip")
    code = (
        "from imagpose.models.loading import load_networks\n"
        "networks = load_networks('sd15-clip-b32', 'owner/base', 'owner/clip').components()\n"
        "print({weight.dtype for name in ('unet', 'vae', 'image_encoder') for weight in networks[name].parameters()})\n"
        "load_networks('sd15-clip-b32', 'owner/nothing', 'owner/clip')\n"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == "{torch.float32}", done.stderr
    assert "OSError: cannot get 'owner/nothing' from the hub" in done.stderr


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> IMAGPosePipeline:
    folder = tmp_path_factory.mktemp("files")
    made = load_networks("sd15-clip-b32", save_base(folder / "base"), save_clip(folder / "clip", 24))
    return IMAGPosePipeline(**made.components(), scheduler=build_scheduler())


def test_a_pipeline_of_half_precision_alone_names_the_variant(networks: IMAGPosePipeline, tmp_path: Path) -> None:
    networks.save_pretrained(tmp_path, variant="fp16")
    with pytest.raises(
        ValueError, match=r"holds weights of the variant fp16 only: load it with variant='fp16'"
    ) as error:
        IMAGPosePipeline.from_pretrained(tmp_path)
    assert "\n" not in str(error.value)
    loaded = IMAGPosePipeline.from_pretrained(tmp_path, variant="fp16")
    assert torch.equal(loaded.unet.conv_in.weight, networks.unet.conv_in.weight)


@pytest.mark.parametrize(
    "processor",
    [
        BitImageProcessorPil(size={"shortest_edge": 56}, do_center_crop=False),
        CLIPImageProcessorPil(size={"shortest_edge": 56}, do_center_crop=False),
        BitImageProcessorPil(size={"height": 56, "width": 56}, do_center_crop=False),
        BitImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}, do_center_crop=True),
    ],
    ids=["dinov2", "clip", "both sides", "crop"],
)
@torch.no_grad()
def test_processors_say_their_size_in_several_ways(tmp_path: Path, processor) -> None:
    folder = save_dinov2(tmp_path / "dinov2", 24)
    processor.save_pretrained(folder)
    encoder = load_image_encoder(ModelFiles(str(folder)))
    loaded = load_image_processor(ModelFiles(str(folder)), encoder)
    pixels = torch.rand(2, 3, 64, 48) * 2 - 1
    given = encoder_pixels(pixels, (56, 56), processor.image_mean, processor.image_std)
    torch.testing.assert_close(encode_image_tokens(encoder, loaded, pixels), encoder(given).last_hidden_state)


def test_a_processor_without_a_size_is_refused(networks: IMAGPosePipeline) -> None:
    processor = BitImageProcessorPil(size={"longest_edge": 56, "shortest_edge": 56}, do_center_crop=False)
    processor.size = {"longest_edge": 56}
    with pytest.raises(ValueError, match="height and width, or shortest_edge expected"):
        encode_image_tokens(networks.image_encoder, processor, torch.zeros(1, 3, 64, 64))


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What the libraries log from here on, at warnings and above."""
    records: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers", "imagpose")]
    for logger in loggers:
        logger.addHandler(handler)
    yield records
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.mark.parametrize("version", ["1.5", "2.1"])
def test_a_base_loads_without_a_word(tmp_path: Path, said: list[str], version: str) -> None:
    base = save_base(tmp_path / "base", version)
    encoder = save_clip(tmp_path / "clip", 24) if version == "1.5" else save_dinov2(tmp_path / "dinov2", 40)
    del said[:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_networks("sd15-clip-b32" if version == "1.5" else "sd21-dinov2-b", base, encoder)
    assert said == []
