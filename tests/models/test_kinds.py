"""Presets' names are labels of Table 3: another base or image encoder under them is refused, whatever its weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import CLIPConfig, CLIPVisionConfig, Dinov2Config

from imagpose.models.kinds import check_base, check_image_encoder
from imagpose.models.loading import preset_files
from imagpose.models.presets import IMAGE_ENCODERS, PRESETS

SD = {"_class_name": "UNet2DConditionModel", "block_out_channels": [320, 640, 1280, 1280], "layers_per_block": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Configurations without weights: Stable Diffusion by the width of its tokens, encoders as their names say."""
    root = tmp_path_factory.mktemp("kinds")
    for name, changes in {
        "sd15": {"cross_attention_dim": 768},
        "sd21": {"cross_attention_dim": 1024},
        "narrow": {"cross_attention_dim": 768, "block_out_channels": [160, 320, 640, 640]},
        "thin": {"cross_attention_dim": 768, "layers_per_block": 1},
    }.items():
        (root / name / "unet").mkdir(parents=True)
        (root / name / "unet" / "config.json").write_text(json.dumps(SD | changes))
    for name, encoder in IMAGE_ENCODERS.items():
        if encoder.kind == "dinov2":
            Dinov2Config(**encoder.config).save_pretrained(root / name)
        else:
            CLIPVisionConfig(**encoder.config).save_pretrained(root / name)
    whole = {"vision_config": IMAGE_ENCODERS["clip-b32"].config, "text_config": {}}
    CLIPConfig(**whole).save_pretrained(root / "whole-clip-b32")
    Dinov2Config(**IMAGE_ENCODERS["dinov2-g"].config | {"num_hidden_layers": 12}).save_pretrained(root / "shallow")
    (root / "empty").mkdir()
    return {folder.name: folder for folder in root.iterdir()}


def files(preset: str, folders: dict[str, Path], base: str = "sd15", encoder: str = "dinov2-g"):
    return PRESETS[preset], preset_files(PRESETS[preset], folders[base], folders[encoder])


@pytest.mark.parametrize("name", IMAGE_ENCODERS)
def test_each_preset_takes_its_own_kind_and_no_other(folders: dict[str, Path], name: str) -> None:
    for given in IMAGE_ENCODERS:
        own = files(f"sd21-{name}", folders, "sd21", given)
        check_base(*own)
        if given == name:
            check_image_encoder(*own)
        else:
            title = IMAGE_ENCODERS[given].title
            with pytest.raises(ValueError, match=rf"preset sd21-{name} has .*image_encoder .*{given} is {title} \("):
                check_image_encoder(*own)


def test_a_whole_clip_counts_by_its_vision_tower(folders: dict[str, Path]) -> None:
    check_image_encoder(*files("sd15-clip-b32", folders, encoder="whole-clip-b32"))
    with pytest.raises(ValueError, match="is CLIP-B/32 .*patch 32"):
        check_image_encoder(*files("sd15-clip-b16", folders, encoder="whole-clip-b32"))


def test_an_encoder_of_other_depth_is_another_one(folders: dict[str, Path]) -> None:
    with pytest.raises(ValueError, match="shallow is another network .*layers 12"):
        check_image_encoder(*files("sd15-dinov2-g", folders, encoder="shallow"))


def test_another_base_is_refused_by_name(folders: dict[str, Path]) -> None:
    check_base(*files("sd15-dinov2-g", folders))
    with pytest.raises(ValueError, match=r"preset sd15-dinov2-g has SD1.5; base .*sd21 is SD2.1 \(.*1024"):
        check_base(*files("sd15-dinov2-g", folders, "sd21"))
    for other in ("narrow", "thin"):
        with pytest.raises(ValueError, match=f"{other} is another network"):
            check_base(*files("sd15-dinov2-g", folders, other))


def test_what_is_missing_is_left_to_loading(folders: dict[str, Path]) -> None:
    check_base(*files("sd15-dinov2-g", folders, "empty"))
    check_image_encoder(*files("sd15-dinov2-g", folders, encoder="empty"))
    mini = PRESETS["mini"]
    check_base(mini, preset_files(mini))
    check_image_encoder(mini, preset_files(mini, image_encoder=folders["dinov2-b"]))
