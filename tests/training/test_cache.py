"""View caches: content, continuation, refusal of what does not fit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fake_people import BLOCK, HEIGHT, VIEWS, WIDTH, cache_values, fake_views

from imagpose import people
from imagpose.models.autoencoder import PatchAutoencoderKL
from imagpose.pixels import bytes_to_signed
from imagpose.training import cache as cache_module
from imagpose.training import shards
from imagpose.training.cache import ViewCache, render_views
from imagpose.training.configs import ViewCacheConfig
from imagpose.training.denoiser.cache import cache_blocks, latents_fingerprint
from imagpose.training.shards import Kind, add_kinds
from imagpose.training.surface import surface_grid


@pytest.fixture
def config(tmp_path: Path) -> ViewCacheConfig:
    return ViewCacheConfig.model_validate(cache_values(tmp_path / "cache"))


def test_what_is_rendered_is_read_back(config: ViewCacheConfig) -> None:
    render_views(config)
    cache = ViewCache(config)
    for index, (seed, views) in enumerate(fake_views(config.seeds, VIEWS, HEIGHT, WIDTH)):
        number = index % VIEWS
        pair = np.array([index]), np.array([number])
        view = views[number]
        assert np.array_equal(cache.get("pictures", *pair)[0].numpy(), view.picture)
        assert np.array_equal(cache.get("keypoints", *pair)[0].numpy(), view.pose.keypoints)
        bits = np.unpackbits(cache.get("foreground", *pair)[0].numpy(), count=HEIGHT * WIDTH)
        assert np.array_equal(bits.reshape(HEIGHT, WIDTH).astype(bool), view.foreground)
        assert np.array_equal(cache.foreground(*pair)[0].numpy(), view.foreground)
        assert np.array_equal(cache.parts(*pair)[0].numpy(), view.parts)
        assert float(cache.get("yaw", *pair)) == pytest.approx(view.spec.yaw)
        assert int(cache._shards[index // BLOCK]["seeds"][index % BLOCK]) == seed


def test_the_surface_is_read_back(config: ViewCacheConfig) -> None:
    render_views(config)
    cache = ViewCache(config, ["surface"])
    (_, views), *_ = fake_views(config.seeds, VIEWS, HEIGHT, WIDTH)
    expected = surface_grid(views[2].surface, views[2].foreground)
    found = cache.get("surface", np.array([0]), np.array([2]))[0]
    assert found.dtype == torch.float16 and np.array_equal(found.numpy(), expected)


def test_pixels_are_in_minus_one_to_one() -> None:
    picture = torch.tensor([[[0, 128, 255]]], dtype=torch.uint8)
    assert torch.allclose(bytes_to_signed(picture)[:, 0, 0], torch.tensor([-1.0, 1 / 255, 1.0]), atol=1e-6)


def test_half_precision_is_read_under_autocast_too(config: ViewCacheConfig) -> None:
    """Validation draws its batches inside the run's autocast, which has no rule for stacking half precision."""
    render_views(config)
    add_kinds(cache_blocks(config, 8), {"latents": Kind("", lambda views: views.pixels[..., 0, 0].half())}, "test")
    cache, pair = ViewCache(config, ("latents",)), (np.array([0, 1]), np.array([0, 1]))
    with torch.autocast("cpu", torch.bfloat16):
        found = cache.get("latents", *pair)
    assert found.dtype == torch.float16
    assert torch.equal(found, cache.pixels(*pair)[..., 0, 0].half())


def test_an_interrupted_pass_continues_with_the_missing_shard(config: ViewCacheConfig, monkeypatch) -> None:
    rendered: list[int] = []

    def breaking(seeds, *arguments, **options):
        for seed, views in fake_views(seeds, *arguments, **options):
            if seed == 6 and 6 not in rendered:
                rendered.append(seed)
                raise KeyboardInterrupt
            rendered.append(seed)
            yield seed, views

    monkeypatch.setitem(vars(people), "iterate_views", breaking)
    with pytest.raises(KeyboardInterrupt):
        render_views(config)
    assert len(list(config.folder.glob("*.views.*"))) == 1
    render_views(config)
    assert rendered == [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7]


def test_another_size_world_or_renderer_is_refused(config: ViewCacheConfig, monkeypatch) -> None:
    render_views(config)
    for change in ({"views": 7}, {"world": "varied"}):
        with pytest.raises(ValueError, match="use another folder"):
            render_views(config.model_copy(update=change))
    monkeypatch.setattr(cache_module, "RENDERER", cache_module.RENDERER + 1)
    with pytest.raises(ValueError, match=f"'renderer': '{cache_module.RENDERER}'"):
        render_views(config)


def test_an_unknown_world_is_refused(config: ViewCacheConfig) -> None:
    with pytest.raises(ValueError, match="world is 'beach'"):
        ViewCacheConfig.model_validate(config.model_dump() | {"world": "beach"})


def test_views_without_their_surface_are_rendered_again(config: ViewCacheConfig) -> None:
    """A cache of before the kind `surface`, or whose shard was removed."""
    render_views(config)
    lost = sorted(config.folder.glob("*.surface.safetensors"))[0]
    before = shards.load_shard(lost)["surface"].clone()
    lost.unlink()
    render_views(config)
    assert torch.equal(shards.load_shard(lost)["surface"], before)


def test_a_kind_is_computed_once_per_source(config: ViewCacheConfig) -> None:
    render_views(config)
    calls: list[str] = []

    def add(source: str) -> None:
        def mean_of(views) -> torch.Tensor:
            calls.append(source)
            return views.pixels.mean(dim=(2, 3, 4))

        add_kinds(cache_blocks(config, 8), {"brightness": Kind(source, mean_of)}, "test")

    for source in ("a", "a", "b"):
        add(source)
    assert calls == ["a", "a", "b", "b"]
    cache = ViewCache(config, ["brightness"])
    pair = np.array([5, 1]), np.array([2, 0])
    expected = cache.get("pictures", *pair).float().mean(dim=(1, 2, 3)) / 127.5 - 1
    assert torch.allclose(cache.get("brightness", *pair), expected, atol=1e-5)


def test_processes_share_the_blocks_out(config: ViewCacheConfig) -> None:
    render_views(config)
    made: list[int] = []
    for process in (0, 1):

        def count(views, process=process) -> torch.Tensor:
            made.append(process)
            return views.pixels.mean(dim=(2, 3, 4))

        add_kinds(cache_blocks(config, 8), {"brightness": Kind("", count)}, "test", process, 2)
    assert made == [0, 1]
    ViewCache(config, ["brightness"])


def test_a_pass_that_breaks_leaves_nothing_half_written(config: ViewCacheConfig, monkeypatch) -> None:
    render_views(config)

    def half_written(tensors: dict, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    kinds = {"brightness": Kind("", lambda views: views.pixels)}
    with monkeypatch.context() as patch:
        patch.setattr(shards, "save_file", half_written)
        with pytest.raises(OSError, match="No space left"):
            add_kinds(cache_blocks(config, 8), kinds, "test")
    assert not list(config.folder.glob("*brightness*"))
    add_kinds(cache_blocks(config, 8), kinds, "test")
    ViewCache(config, ["brightness"])


def test_missing_kind(config: ViewCacheConfig) -> None:
    render_views(config)
    with pytest.raises(FileNotFoundError, match="latents"):
        ViewCache(config, ["latents"])


def test_damaged_shard_is_named(config: ViewCacheConfig) -> None:
    render_views(config)
    shard = sorted(config.folder.glob("*.views.*"))[0]
    shard.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=shard.name):
        render_views(config)


def test_latents_know_the_encoder_and_not_the_decoder() -> None:
    vae = PatchAutoencoderKL(block_out_channels=(8, 8), latent_channels=2, norm_num_groups=2)
    before = latents_fingerprint(vae)
    with torch.no_grad():
        vae.decoder.conv_out.bias += 1
        vae.post_quant_conv.bias += 1
    assert latents_fingerprint(vae) == before
    with torch.no_grad():
        vae.encoder.conv_in.bias += 1
    encoder_changed = latents_fingerprint(vae)
    vae.register_to_config(scaling_factor=0.5)
    assert len({before, encoder_changed, latents_fingerprint(vae)}) == 3
