"""The published code's files to our folders and back, on tiny files of its form."""

from __future__ import annotations

import json
import math
import resource
import shutil
from pathlib import Path
from typing import Any

import published
import pytest
import torch
from PIL import Image, ImageFilter
from tiny_models import picture, pose, save_base, save_dinov2
from transformers import CLIPImageProcessorPil

from imagpose import IMAGPosePipeline
from imagpose.pipeline.conditions import encode_texture
from imagpose.pipeline.convert import from_official, to_official
from imagpose.pixels import encoder_pixels, pictures_to_signed
from imagpose.views import ViewGrid

WIDTHS, CONTEXT = (32, 32, 64, 64), 24
FILES = ("denoising_unet", "motion_module", "pose_guider", "patch")


@pytest.fixture(scope="module")
def weights() -> dict[str, published.Weights]:
    """What the four files hold: half precision, a position table of its own for each attention."""
    shapes = {
        "denoising_unet": published.unet_shapes(WIDTHS, CONTEXT),
        "pose_guider": published.pose_shapes(WIDTHS[0]),
        "patch": published.patch_shapes(CONTEXT),
    }
    drawn = {name: published.random_weights(rule, seed) for seed, (name, rule) in enumerate(shapes.items())}
    half = {name: {key: weight.half() for key, weight in part.items()} for name, part in drawn.items()}
    return half | {"motion_module": half["denoising_unet"]}


@pytest.fixture(scope="module")
def files(weights: dict[str, published.Weights], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("published")
    paths = {name: folder / f"{name}-50001.pth" for name in FILES}
    for name, path in paths.items():
        torch.save(weights[name], path)
    return paths


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save_base(tmp_path_factory.mktemp("bases") / "sd15")
    save_dinov2(folder / "image_encoder", CONTEXT)
    (folder / "image_encoder/preprocessor_config.json").unlink()  # CLIP's is used, whatever the encoder's says
    return folder


@pytest.fixture(scope="module")
def converted(files: dict[str, Path], base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "model"
    convert(files, base, out)
    return out


@pytest.fixture(scope="module")
def model(converted: Path) -> IMAGPosePipeline:
    pipeline = IMAGPosePipeline.from_pretrained(converted)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def convert(files: dict[str, Path], base: Path, out: Path, **options: Any) -> None:
    given = {"unet": files["denoising_unet"], "pose": files["pose_guider"], "patch": files["patch"]}
    from_official(**{**given, "base": base, "out": out, "height": 64, "width": 64, **options})


def save(weights: published.Weights, path: Path) -> Path:
    torch.save(weights, path)
    return path


def same_weights(one: Path, other: Path, part: str) -> bool:
    name = f"{part}/diffusion_pytorch_model.safetensors"
    return (one / name).read_bytes() == (other / name).read_bytes()


@pytest.fixture(scope="module", params=[32, 8])
def groups_and_model(request, files, base, converted, tmp_path_factory) -> tuple[int, IMAGPosePipeline]:
    """Bases whose UNets normalise over 32 groups, as Stable Diffusion's, and over 8."""
    if request.param == 32:
        return 32, IMAGPosePipeline.from_pretrained(converted)
    other = Path(shutil.copytree(base, tmp_path_factory.mktemp("groups") / "base"))
    config = json.loads((other / "unet/config.json").read_text()) | {"norm_num_groups": request.param}
    (other / "unet/config.json").write_text(json.dumps(config))
    convert(files, other, out := other.parent / "model")
    return request.param, IMAGPosePipeline.from_pretrained(out)


@torch.no_grad()
def test_the_folder_computes_what_the_files_say(groups_and_model, weights: dict[str, published.Weights]) -> None:
    groups, model = groups_and_model
    full = {name: {key: weight.float() for key, weight in part.items()} for name, part in weights.items()}
    generator = torch.Generator().manual_seed(1)
    noise, masked = torch.randn(2, 1, 4, 16, 16, generator=generator)
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8, :] = 1
    skeleton, tokens = torch.rand(1, 3, 128, 128, generator=generator), torch.randn(1, 6, CONTEXT, generator=generator)
    latents = torch.randn(1, 4, 16, 16, generator=generator)
    texture = torch.nn.functional.conv2d(latents, *full["patch"].values(), stride=16).flatten(2).transpose(1, 2)
    theirs = published.unet_output(
        full["denoising_unet"],
        torch.cat([noise, mask, masked], 1),
        torch.tensor([701]),
        torch.cat([tokens, texture], 1),
        published.pose_output(full["pose_guider"], skeleton),
        groups,
    )
    ours = model.unet(
        torch.cat([noise, masked, mask], 1),
        701,
        model.feature_tokens(tokens, latents).features,
        model.pose_encoder(skeleton).pose_features,
        view_grid=ViewGrid(2, 2),
    ).sample
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-4)


def test_the_configuration_is_that_of_the_published_code(model: IMAGPosePipeline, converted: Path) -> None:
    config = json.loads((converted / "scheduler/scheduler_config.json").read_text())
    expected = {
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "steps_offset": 1, "set_alpha_to_one": True,
        "clip_sample": False, "num_train_timesteps": 1000,
    }  # fmt: skip
    assert {name: config[name] for name in expected} == expected
    model.scheduler.set_timesteps(20)
    assert model.scheduler.timesteps.tolist() == list(range(999, 0, -50))
    assert float(model.scheduler.alphas_cumprod[-1]) == pytest.approx(0, abs=1e-7)
    assert model.config.vae_scope == "joint" and model.config.skeleton == "body_hands"
    assert (model.config.view_height, model.config.view_width) == (64, 64)


@torch.no_grad()
def test_the_image_encoder_sees_what_clips_processor_makes(model: IMAGPosePipeline) -> None:
    source = picture(1, 64, 128).resize((90, 150), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(3))
    theirs = CLIPImageProcessorPil()(source.resize((224, 224)), return_tensors="pt").pixel_values
    processor = model.image_processor
    side = (processor.crop_size["height"], processor.crop_size["width"])
    ours = encoder_pixels(pictures_to_signed([source]), side, processor.image_mean, processor.image_std)
    assert processor.do_center_crop
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02)  # theirs is rounded to 8 bits: 1 / 255 / 0.26


@torch.no_grad()
def test_texture_tokens_see_a_picture_between_0_and_1(model: IMAGPosePipeline) -> None:
    pixels = pictures_to_signed([picture(1, 128, 128)])
    expected = model.vae.encode((pixels + 1) / 2).latent_dist.mean * 0.18215
    torch.testing.assert_close(encode_texture(model.vae, model.feature_tokens, pixels), expected)


def test_a_picture_is_generated(model: IMAGPosePipeline) -> None:
    output = model([picture(1)], [pose(2)], num_inference_steps=2, generator=torch.Generator().manual_seed(0))
    assert output.images[0].size == (64, 64)


def test_there_and_back_is_exact(
    converted: Path, weights: dict[str, published.Weights], tmp_path: Path, files: dict[str, Path], base: Path
) -> None:
    written = to_official(converted, tmp_path / "back")
    assert [path.name for path in written] == [f"{name}-0.pth" for name in FILES]
    for name, path in zip(FILES, written, strict=True):
        stored = torch.load(path, weights_only=True)
        assert stored.keys() == weights[name].keys()
        for key, weight in weights[name].items():
            assert stored[key].dtype == weight.dtype and torch.equal(stored[key], weight), key
            assert stored[key].untyped_storage().nbytes() == weight.nbytes, key
    convert(dict(zip(FILES, written, strict=True)), base, tmp_path / "again")
    assert all(same_weights(converted, tmp_path / "again", part) for part in ("unet", "pose_encoder", "feature_tokens"))


def test_a_disk_that_takes_no_more_is_said_and_leaves_nothing(converted: Path, tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with pytest.raises(OSError, match=r"back: the disk takes no more"):
            to_official(converted, tmp_path / "back")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(tmp_path.iterdir())


def test_files_of_the_first_stage_need_the_motion_file(
    weights: dict[str, published.Weights], files: dict[str, Path], base: Path, converted: Path, tmp_path: Path
) -> None:
    first = {key: weight for key, weight in weights["denoising_unet"].items() if ".motion_modules." not in key}
    stage = {**files, "denoising_unet": save(first, tmp_path / "denoising_unet-1.pth")}
    with pytest.raises(ValueError, match=r"denoising_unet-1.pth has no motion modules.*--motion"):
        convert(stage, base, tmp_path / "model")
    changed = {**weights["denoising_unet"], "conv_in.bias": torch.ones(WIDTHS[0]).half()}  # the other file decides
    convert(stage, base, tmp_path / "model", motion=save(changed, tmp_path / "motion_module-2.pth"))
    assert same_weights(converted, tmp_path / "model", "unet")
    with pytest.warns(
        UserWarning, match=r"denoising_unet.* has motion modules of its own: .*motion_module-2.pth is not"
    ):
        convert(files, base, tmp_path / "other", motion=tmp_path / "motion_module-2.pth")
    assert same_weights(converted, tmp_path / "other", "unet")


def test_files_of_the_first_months(
    weights: dict[str, published.Weights], files: dict[str, Path], base: Path, converted: Path, tmp_path: Path
) -> None:
    old = {key.replace("conv_in.", "conv3d_in.", 1): weight for key, weight in weights["denoising_unet"].items()}
    old |= {"conv2d_in.weight": torch.zeros(WIDTHS[0], 9, 3, 3), "conv2d_in.bias": torch.zeros(WIDTHS[0])}
    convert({**files, "denoising_unet": save(old, tmp_path / "old.pth")}, base, tmp_path / "model")
    assert same_weights(converted, tmp_path / "model", "unet")


def test_vae_and_image_encoder_can_lie_elsewhere(
    files: dict[str, Path], base: Path, converted: Path, tmp_path: Path
) -> None:
    plain = save_base(tmp_path / "plain")
    encoder = save_dinov2(tmp_path / "encoder", CONTEXT)
    convert(files, plain, tmp_path / "model", image_encoder=encoder, vae=base / "vae")
    assert same_weights(converted, tmp_path / "model", "vae")
    wide = save_dinov2(tmp_path / "wide", 40)
    with pytest.raises(ValueError, match=r"40 wide; the published code does not project them, so 24 is expected"):
        convert(files, plain, tmp_path / "other", image_encoder=wide)


class Dangerous:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("made-by-a-pickle"),))


@pytest.mark.parametrize("kind", ["code", "truncated", "text", "nested", "not finite"])
def test_what_is_no_state_dict_is_refused(
    weights: dict[str, published.Weights], files: dict[str, Path], base: Path, tmp_path: Path, kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "patch-1.pth"
    contents = {
        "code": {"proj.weight": Dangerous()},
        "nested": {"state_dict": weights["patch"]},
        "not finite": {**weights["patch"], "proj.bias": torch.full((CONTEXT,), math.inf)},
    }
    torch.save(contents.get(kind, weights["patch"]), path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    if kind == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ValueError, match=r"patch-1.pth") as error:
        convert({**files, "patch": path}, base, tmp_path / "model")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "made-by-a-pickle").exists()
    assert not any(child.name.startswith("model") for child in tmp_path.iterdir())


def test_missing_unknown_and_other_weights_are_listed(
    weights: dict[str, published.Weights], files: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    unet = dict(weights["denoising_unet"])
    for key in [key for key in unet if "up_blocks.0.motion_modules" in key]:
        unet.pop(key)
    unet["module.conv_in.bias"] = torch.zeros(1)
    with pytest.raises(
        ValueError,
        match=r"84 weights are missing, first up_blocks.0.motion_.*; 1 weights are unknown, first module.conv_in.bias$",
    ):
        convert({**files, "denoising_unet": save(unet, tmp_path / "u.pth")}, base, tmp_path / "model")
    pose_guider = {**weights["pose_guider"], "conv_out.weight": torch.zeros(8, 256, 3, 3)}
    with pytest.raises(
        ValueError, match=r"p.pth: 1 weights are of another shape, first conv_out.weight \(8, 256, 3, 3\) instead of"
    ):
        convert({**files, "pose_guider": save(pose_guider, tmp_path / "p.pth")}, base, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_stage_1_file_without_its_last_norm_is_refused_with_the_reason(
    weights: dict[str, published.Weights], files: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    kept = {key: own for key, own in weights["denoising_unet"].items() if "motion" not in key and "norm_out" not in key}
    first = {**files, "denoising_unet": save(kept, tmp_path / "denoising_unet-1.pth")}
    with pytest.raises(ValueError, match=r"unet-1.pth has no conv_norm_out, .*not a whole denoising UNet.*later step"):
        convert(first, base, tmp_path / "model", motion=files["motion_module"])


def test_missing_files_and_existing_folders(
    files: dict[str, Path], base: Path, converted: Path, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing.pth \(--pose\)"):
        convert({**files, "pose_guider": tmp_path / "nothing.pth"}, base, tmp_path / "model")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        convert(files, tmp_path / "nowhere", tmp_path / "model")
    left = converted.with_name(f".{converted.name}-99999999-abcdefgh.partial")  # by a killed process
    left.mkdir()
    with pytest.raises(FileExistsError, match="exists already"):
        convert(files, base, converted)
    assert not left.exists()
    with pytest.raises(FileExistsError, match="exists already"):
        to_official(converted, tmp_path)


def test_models_of_another_kind_do_not_go_back(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unet has cross_view_placement 'cross_attention', it needs 'every_block'"):
        to_official("mini", tmp_path / "files")
    assert not (tmp_path / "files").exists()
