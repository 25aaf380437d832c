"""From a benchmark's archive to the paper's table by the commands of the docs, on small pictures laid out as the real ones.

Names, folders, lists and annotations are those of the real archives; networks are tiny. Whoever has the data changes two
paths: that of the archive and that of the data set.
"""

from __future__ import annotations

import json
import zipfile
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

from imagpose.evaluation import model as evaluation
from imagpose.evaluation.networks import Needs, Networks

pytest.importorskip("matplotlib")

CONFIGS = Path(__file__).parents[2] / "configs"
UNET = (
    "unet={block_out_channels: [8, 8, 16], norm_num_groups: 4, cross_attention_dim: 8, attention_head_dim: 2,"
    " cross_view_heads: 2, down_block_types: [DownBlock2D, CrossAttnDownBlock2D, CrossAttnDownBlock2D],"
    " up_block_types: [CrossAttnUpBlock2D, CrossAttnUpBlock2D, UpBlock2D]}"
)

FASHION = {
    "train": ("WOMEN/Tees_Tanks/id_00007838/05_7_additional", "WOMEN/Tees_Tanks/id_00007838/05_1_front",
              "MEN/Jackets_Vests/id_00000084/01_4_full", "MEN/Jackets_Vests/id_00000084/01_2_side"),
    "test": ("WOMEN/Blouses_Shirts/id_00000693/02_1_front", "WOMEN/Blouses_Shirts/id_00000693/02_3_back",
             "WOMEN/Blouses_Shirts/id_00000693/02_2_side", "WOMEN/Blouses_Shirts/id_00000693/02_4_full"),
}  # fmt: skip
MARKET = {
    "train": ("0002_c1s1_000451_03.jpg", "0002_c2s1_000301_01.jpg", "0007_c3s3_077419_03.jpg", "0007_c4s6_000810_07.jpg"),
    "test": ("0001_c1s1_001051_00.jpg", "0001_c2s1_000976_01.jpg.jpg", "0001_c3s1_000551_00.jpg",
             "0001_c5s1_001401_02.jpg", "-1_c1s1_000401_03.jpg"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch) -> None:
    """The configurations' relative paths lie below the current folder; no published metric's network is loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluation, "find_networks", lambda: Networks(*[Needs("needs it")] * 4))


@pytest.fixture
def networks(tmp_path: Path) -> list[str]:
    """Overrides that put tiny networks in place of Stable Diffusion and DINOv2-G."""
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    AutoencoderKL(
        **blocks, block_out_channels=(4,) * 4, norm_num_groups=2, mid_block_add_attention=False
    ).save_pretrained(tmp_path / "vae")
    encoder = tmp_path / "encoder"
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 14, "image_size": 28}
    Dinov2Model(Dinov2Config(**sizes)).save_pretrained(encoder)
    BitImageProcessorPil(size={"height": 28, "width": 28}, do_center_crop=False).save_pretrained(encoder)
    return ["preset=mini", f"autoencoder={tmp_path / 'vae'}", f"image_encoder={encoder}", UNET, "texture_long_side=128",
            "precision=fp32", "steps=2", "batch_size=1", "workers=0", "validation=null"]  # fmt: skip


def picture(name: str, width: int, height: int) -> Image.Image:
    patches = np.random.default_rng(sum(name.encode())).integers(0, 256, (6, 4, 3), np.uint8)
    return Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)


def annotations(names: tuple[str, ...], height: int, width: int) -> str:
    lines = ["name:keypoints_y:keypoints_x"]
    for name in names:
        rng = np.random.default_rng(sum(name.encode()))
        rows, columns = (rng.integers(2, side - 2, 18).tolist() for side in (height, width))
        lines.append(f"{name}: {json.dumps(rows)}: {json.dumps(columns)}")
    return "\n".join(lines) + "\n"


def flat(path: str) -> str:
    gender, category, item, file = path.split("/")
    first, rest = file.split("_", 1)
    return f"fashion{gender}{category}{item.replace('_', '')}{first}_{rest.replace('_', '')}"


def succeed(run: Any, *arguments: object) -> str:
    ended = run(*arguments)
    assert ended.code == 0, (arguments, ended.err[-2000:])
    return str(ended.out)


def train_and_compare(run: Any, data: Path, config: str, networks: list[str], baseline: Path) -> str:
    """The commands behind a table: cache, train, measure beside a baseline; returns the page."""
    own = [*networks, f"data.dataset={data}"]
    succeed(run, "cache", "--config", CONFIGS / config, *own)
    succeed(run, "train", "denoiser", "--config", CONFIGS / config, *own)
    weights = Path("runs") / config.removesuffix(".yaml") / "weights"
    succeed(run, "reproduce", "table1", "--data", data, "--model", weights, "--baseline", f"PIDM={baseline}",
            "--steps", 1, "--guidance-scale", 1, "--limit", 4, "--out", "results")  # fmt: skip
    return Path("results/table1.md").read_text()


def test_deepfashion(tmp_path: Path, run: Any, networks: list[str]) -> None:
    with zipfile.ZipFile("img_highres.zip", "w") as archive:
        for path in (*FASHION["train"], *FASHION["test"]):
            picture(path, 75, 110).save("one.jpg")
            archive.write("one.jpg", f"img_highres/{path}.jpg")
    zipfile.ZipFile("img_highres.zip").extractall()
    for split, paths in FASHION.items():
        names = tuple(f"{flat(path)}.jpg" for path in paths)
        Path(f"{split}.lst").write_text("\n".join(names) + "\n")
        Path(f"fasion-annotation-{split}.csv").write_text(annotations(names, 256, 176))
    given = [f"--annotations=fasion-annotation-{split}.csv" for split in FASHION]
    succeed(run, "prepare", "deepfashion", "--pictures", "img_highres", "--lists", ".", *given, "--size", "256x176",
            "--workers", 1, "--out", "data/deepfashion_256")  # fmt: skip
    names = [flat(path) for path in FASHION["test"]]
    archive_folder = Path("PIDM")
    archive_folder.mkdir()
    for one, other in permutations(names, 2):
        picture(one + other, 176, 256).save(archive_folder / f"{one}_2_{other}_vis.png")
    said = succeed(run, "evaluate", "import", "--from", "pidm", "--pictures", "PIDM", "--data", "data/deepfashion_256",
                   "--out", "pidm")  # fmt: skip
    assert "12 pictures copied" in said and "0 not matched" in said and "0 of 12 pairs have no picture" in said
    page = train_and_compare(run, Path("data/deepfashion_256"), "deepfashion_256_sd15.yaml", networks, Path("pidm"))
    assert "DeepFashion, 256x176" in page and "test 4 pictures of 1 people" in page
    assert "| PCDMs | 0.7444 | 0.1365 | 7.473 |" in page  # the paper's rows, beside
    assert (
        page.count("\n| PIDM |") == page.count("\n| IMAGPose |") == 2
    )  # the folder's and the model's beside the paper's
    assert "\n| IMAGPose* |" in page and "| IMAGPose against PIDM | better | 4 | 1 |" in page
    succeed(run, "reproduce", "figure5", "--data", "data/deepfashion_256", "--model",
            "runs/deepfashion_256_sd15/weights", "--baseline", "PIDM=pidm", "--steps", 1, "--out", "results")  # fmt: skip
    with Image.open("results/figure5.png") as drawn:
        assert drawn.width > 5 * 100


def test_market1501(tmp_path: Path, run: Any, networks: list[str]) -> None:
    root = Path("Market-1501-v15.09.15")
    for split, names in MARKET.items():
        (root / f"bounding_box_{split}").mkdir(parents=True)
        for name in names:
            picture(name, 64, 128).save(root / f"bounding_box_{split}" / name)
        Path(f"market-annotation-{split}.csv").write_text(annotations(names, 128, 64))
    (root / "query").mkdir()
    picture("query", 64, 128).save(root / "query" / "0001_c1s1_001051_00.jpg")
    succeed(run, "prepare", "market1501", "--root", root, "--train-annotations", "market-annotation-train.csv",
            "--test-annotations", "market-annotation-test.csv", "--workers", 1, "--out", "data/market1501")  # fmt: skip
    views = [name.split(".")[0].partition("_")[2] for name in MARKET["test"][:-1]]
    (Path("pidm") / "0001").mkdir(parents=True)
    for one, other in permutations(views, 2):
        picture(one + other, 64, 128).save(Path("pidm") / "0001" / f"{one}_to_{other}.png")
    page = train_and_compare(run, Path("data/market1501"), "market1501_sd15.yaml", networks, Path("pidm"))
    assert "Market-1501, 128x64" in page and "| PCDMs | 0.3169 | 0.2238 | 13.897 |" in page
    assert page.count("\n| PIDM |") == 2 and "| IMAGPose against PIDM | better | 4 | 1 |" in page
    quick = ["steps=1", "warmup_steps=0", "workers=0", "precision=fp32"]
    succeed(run, "train", "autoencoder", "--config", CONFIGS / "market1501_small_autoencoder.yaml", *quick,
            "batch_size=2", "model.block_out_channels=[8, 8]", "model.layers_per_block=1")  # fmt: skip
    encoder = next(own for own in networks if own.startswith("image_encoder="))
    small = (
        "unet={block_out_channels: [8, 8, 8, 16], layers_per_block: 1, norm_num_groups: 4, cross_attention_dim: 8,"
        " attention_head_dim: 2, cross_view_heads: 2}"
    )
    succeed(
        run, "train", "denoiser", "--config", CONFIGS / "market1501_small.yaml", *quick, "batch_size=1", small, encoder
    )
    trained = Path("runs/market1501_small/denoiser/weights")
    assert json.loads((trained / "vae/config.json").read_text())["patch_size"] == 2
    assert json.loads((trained / "unet/config.json").read_text())["out_channels"] == 16
