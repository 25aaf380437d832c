"""What the denoiser reads per view, computed once: latents, texture latents, encoder tokens, skeletons.

Skeletons are mostly black, so each is kept compressed and unpacked when a batch is assembled: of 256x192 drawings one takes
2 kB in place of 147, unpacking 0.1 to 0.3 ms in place of 2 to 4 for drawing it again.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from imagpose.data.canvas import ViewTensors, load_views
from imagpose.data.dataset import PersonDataset
from imagpose.io import file_digest
from imagpose.models.folder import ModelFiles
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.conditions import encode_texture
from imagpose.training.cache import RenderedBlock, seed_blocks
from imagpose.training.configs import Precision, ViewCacheConfig
from imagpose.training.denoiser.config import DatasetConfig, DenoiserConfig
from imagpose.training.denoiser.draw import Recipe
from imagpose.training.denoiser.encode import FrozenNetworks
from imagpose.training.denoiser.networks import frozen_files
from imagpose.training.processes import run_device, this_process
from imagpose.training.shards import Block, Kind, add_kinds

BLOCK = 32
"""Identities per shard of a data set's cache."""
_CHUNK = 16


def kinds_of(pipeline: IMAGPosePipeline, recipes: Iterable[Recipe] = ()) -> tuple[str, ...]:
    """What the pipeline's denoiser reads; recipes may ask for half views, and for surfaces, which rendering leaves."""
    recipes = list(recipes)
    textures = ("textures",) if pipeline.feature_tokens.config.use_texture else ()
    half = ("latents_half",) if any(recipe.low_resolution_share for recipe in recipes) else ()
    surface = ("surface",) if any(recipe.reads_surfaces for recipe in recipes) else ()
    return ("latents", *half, *textures, "tokens", "skeletons", *surface)


def fingerprint(files: ModelFiles) -> str:
    """Short digest of configuration and weights, so that what an older network made is made again; on the Hub the id."""
    if files.folder is None:
        return files.place
    patterns = ("*.safetensors", "*config.json", "*.bin")
    return file_digest(*(path for pattern in patterns for path in sorted(files.folder.glob(pattern))))[:16]


def latents_fingerprint(vae: AutoencoderKL) -> str:
    """Short digest of what a VAE's latents depend on: not its decoder, which may be trained on beside a denoiser."""
    settings = {name: value for name, value in vae.config.items() if not name.startswith(("_", "decoder"))}
    digest = hashlib.sha256(repr(sorted(settings.items())).encode())
    for name, weight in sorted(vae.state_dict().items()):
        if name.startswith(("encoder.", "quant_conv.")):
            digest.update(name.encode() + weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def build_cache(config: DenoiserConfig, pipeline: IMAGPosePipeline) -> list[Path]:
    """Make what the caches of the configuration lack besides rendered views, by the pipeline's own frozen networks.

    Processes that are started together share the work out; each returns when its share is done.

    Returns:
        The folders of the caches; none where pictures are encoded in every step.
    """
    folders = []
    process, processes = this_process()
    for data in (config.data, config.validation):
        blocks = [] if data is None else cache_blocks(data, pipeline.view_multiple)
        if blocks:
            folder = blocks[0].path("latents").parent
            recipes = [recipe for _, recipe in config.recipes] if data is config.data else []
            kinds = {
                name: kind for name, kind in _kinds(config, pipeline).items() if name in kinds_of(pipeline, recipes)
            }
            add_kinds(blocks, kinds, f"caching {folder}", process, processes)
            folders.append(folder)
    return folders


def _kinds(config: DenoiserConfig, pipeline: IMAGPosePipeline) -> dict[str, Kind]:
    """All that networks and drawings make of a view."""
    frozen = FrozenNetworks.of(pipeline.to(run_device()))
    vae, encoder = latents_fingerprint(pipeline.vae), fingerprint(frozen_files(config).image_encoder)
    texture = pipeline.feature_tokens.config
    ranged = "" if texture.texture_range == "signed" else f" {texture.texture_range}"
    multiple = f"multiple {pipeline.view_multiple}"
    # bf16, the default, is not named: caches from before the precision was said were made in it.
    made = "" if config.precision == "bf16" else f", {config.precision}"

    def per_picture(network: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[ViewTensors], torch.Tensor]:
        return lambda views: _in_chunks(network, views.pixels, config.precision)

    def textures(pixels: torch.Tensor) -> torch.Tensor:
        return encode_texture(pipeline.vae, pipeline.feature_tokens, pixels)

    return {
        "skeletons": Kind(f"{multiple}, packed", lambda views: pack_skeletons(views.skeletons)),
        "tokens": Kind(f"{encoder}{made}", per_picture(frozen.tokens)),
        "latents": Kind(f"{vae} {multiple}{made}", per_picture(frozen.latents)),
        "latents_half": Kind(f"{vae} {multiple}, half views{made}", per_picture(frozen.half_latents)),
        "textures": Kind(f"{vae} long side {texture.texture_long_side}{ranged}{made}", per_picture(textures)),
    }


@torch.no_grad()
def _in_chunks(
    network: Callable[[torch.Tensor], torch.Tensor], pixels: torch.Tensor, precision: Precision
) -> torch.Tensor:
    """Apply `network` to pixels (..., 3, H, W) in chunks; the result is kept in fp16."""
    device = run_device()
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    with torch.autocast(device.type, dtype, enabled=precision != "fp32"):
        chunks = [network(chunk.to(device)).half().cpu() for chunk in torch.split(pixels.flatten(0, -4), _CHUNK)]
    return torch.unflatten(torch.cat(chunks), 0, pixels.shape[:-3])


@dataclass(frozen=True)
class DatasetBlock:
    """The shards of some identities of a data set; see `shards.Block`. Tensors lead with one row per view.

    Attributes:
        config: the data set.
        dataset: the same, opened.
        identities: numbers of its identities.
        multiple: sides of skeletons are padded to multiples of this.
    """

    config: DatasetConfig
    dataset: PersonDataset
    identities: range
    multiple: int

    def path(self, kind: str) -> Path:
        """Where the shard of a kind lies."""
        assert self.config.cache is not None
        first, last = self.identities.start, self.identities.stop - 1
        return self.config.cache / f"{self.config.split}-{first:08d}-{last:08d}.{kind}.safetensors"

    def facts(self, source: str) -> dict[str, str]:
        """Checksum of the data set, size of the views, and `source`."""
        shards = "".join(shard.sha256 for shard in self.dataset.info.shards)
        checksum = hashlib.sha256(shards.encode()).hexdigest()[:16]
        return {
            "data set": checksum,
            "height": str(self.config.height),
            "width": str(self.config.width),
            "source": source,
        }

    def read(self) -> ViewTensors:
        """Pixels (n, 3, H, W) and skeletons (n, 3, H', W')."""
        records = [record for identity in self.identities for record in self.dataset.views(identity)]
        return load_views(records, self.config.height, self.config.width, self.multiple)


def open_dataset(config: DatasetConfig) -> PersonDataset:
    """The identities of a data set that have a source and a target; errors as `PersonDataset`."""
    return PersonDataset(config.dataset, config.split, min_views=2)


def dataset_blocks(config: DatasetConfig, multiple: int) -> list[DatasetBlock]:
    """The blocks of a data set's cache; errors as `PersonDataset`."""
    dataset = open_dataset(config)
    numbers = range(len(dataset))
    starts = range(0, len(dataset), BLOCK)
    return [DatasetBlock(config, dataset, numbers[start : start + BLOCK], multiple) for start in starts]


def cache_blocks(config: ViewCacheConfig | DatasetConfig, multiple: int) -> list[Block]:
    """The blocks of what is cached; none where pictures are encoded in every step."""
    if isinstance(config, ViewCacheConfig):
        return [RenderedBlock(config, seeds, multiple) for seeds in seed_blocks(config)]
    return list(dataset_blocks(config, multiple)) if config.cache is not None else []


def pack_skeletons(skeletons: torch.Tensor) -> torch.Tensor:
    """Drawings uint8 (..., 3, H, W) as uint8 (..., n): zlib streams, filled up with zeros to the longest."""
    streams = [zlib.compress(drawing.numpy().tobytes()) for drawing in skeletons.flatten(0, -4).contiguous()]
    packed = np.zeros((len(streams), max(map(len, streams))), dtype=np.uint8)
    for row, stream in zip(packed, streams, strict=True):
        row[: len(stream)] = np.frombuffer(stream, dtype=np.uint8)
    return torch.unflatten(torch.from_numpy(packed), 0, skeletons.shape[:-3])


def unpack_skeletons(packed: Sequence[torch.Tensor], height: int, width: int) -> torch.Tensor:
    """Drawings uint8 (b, 3, H, W) of b rows of `pack_skeletons`, which may differ in length."""
    drawings = torch.empty(len(packed), 3, height, width, dtype=torch.uint8)
    for drawing, row in zip(drawings.numpy(), packed, strict=True):
        values = zlib.decompressobj().decompress(row.numpy().tobytes())  # which stops where a stream ends
        drawing[:] = np.frombuffer(values, dtype=np.uint8).reshape(drawing.shape)
    return drawings
