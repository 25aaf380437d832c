"""Weights that are missing, unknown or of another shape are an error that names them: every part, every format."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file, save_file

from imagpose import IMAGPosePipeline
from imagpose.models import whole_networks
from imagpose.models.autoencoder import PatchAutoencoderKL
from imagpose.models.feature_tokens import FeatureTokens
from imagpose.models.folder import WEIGHTS_ROOT, ModelFiles
from imagpose.models.loading import load_autoencoder, load_image_encoder
from imagpose.models.pose_encoder import PoseEncoder
from imagpose.models.unet import IMAGPoseUNet
from trust_networks import tiny_pipeline

Weights = dict[str, torch.Tensor]
STEMS = {"image_encoder": ("model", "pytorch_model")}
PARTS = ("vae", "image_encoder", "unet", "pose_encoder", "feature_tokens")


def read(folder: Path) -> Weights:
    return {name: weight for file in sorted(folder.glob("*.safetensors")) for name, weight in load_file(file).items()}


def write(folder: Path, weights: Weights, kind: str) -> None:
    """The weights of a part in one file, in several with an index, or in one of torch's."""
    for file in (*folder.glob("*.safetensors"), *folder.glob("*.index*.json")):
        file.unlink()
    stem, torch_stem = STEMS.get(folder.name, ("diffusion_pytorch_model",) * 2)
    if kind == "bin":
        torch.save(weights, folder / f"{torch_stem}.bin")
    elif kind == "one":
        save_file(weights, folder / f"{stem}.safetensors", {"format": "pt"})
    else:
        names, places = sorted(weights), {}
        for number, part in enumerate((names[::2], names[1::2]), 1):
            file = f"{stem}-{number:05d}-of-00002.safetensors"
            save_file({name: weights[name] for name in part}, folder / file, {"format": "pt"})
            places |= dict.fromkeys(part, file)
        index = {"metadata": {"total_size": 0}, "weight_map": places}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index))


def without_one(weights: Weights) -> str:
    name = sorted(weights)[-1]
    del weights[name]
    return name


def with_another(weights: Weights) -> str:
    weights["stray.weight"] = torch.zeros(2)
    return "stray.weight"


def of_another_shape(weights: Weights) -> str:
    name = sorted(name for name, weight in weights.items() if weight.ndim == 1)[-1]
    weights[name] = torch.cat([weights[name], weights[name]])
    return name


CHANGES: tuple[Callable[[Weights], str], ...] = (without_one, with_another, of_another_shape)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """`mini`, its files as links; `write` puts others in their place."""
    return shutil.copytree(WEIGHTS_ROOT / "mini", tmp_path / "model", copy_function=os.symlink)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def tiny(tiny_folder: Path, tmp_path: Path) -> Path:
    """A pipeline of tiny networks, one of diffusers' own among them."""
    return shutil.copytree(tiny_folder, tmp_path / "tiny")


@pytest.mark.parametrize("loader", [IMAGPosePipeline, DiffusionPipeline])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("part", "kind"),
    [*((part, "one") for part in PARTS), ("unet", "several"), ("image_encoder", "several"), ("vae", "bin"),
     ("image_encoder", "bin")],
)  # fmt: skip
def test_a_part_of_a_pipeline(
    tiny: Path, part: str, kind: str, change: Callable[[Weights], str], loader: type[DiffusionPipeline]
) -> None:
    weights = read(tiny / part)
    name = change(weights)
    write(tiny / part, weights, kind)
    with pytest.raises(ValueError) as error:
        loader.from_pretrained(tiny)
    assert name in str(error.value) and part in str(error.value) and "\n" not in str(error.value)
    assert re.search(
        "damaged weights file .*: 1 weights are (missing|unknown|of another shape), first ", str(error.value)
    )


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["one", "bin"])
def test_an_image_encoder_that_diffusers_places(
    tiny: Path, kind: str, change: Callable[[Weights], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights are looked at without being read a second time."""
    networks = []
    read_network = whole_networks.read_network

    def recorded(network: type, *arguments: object, **options: object) -> tuple[torch.nn.Module, dict[str, object]]:
        networks.append(network)
        return read_network(network, *arguments, **options)

    monkeypatch.setattr(whole_networks, "read_network", recorded)
    encoder = IMAGPosePipeline.from_pretrained(tiny, device_map="balanced").image_encoder
    assert networks.count(type(encoder)) == 1
    weights = read(tiny / "image_encoder")
    name = change(weights)
    write(tiny / "image_encoder", weights, kind)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        IMAGPosePipeline.from_pretrained(tiny, device_map="balanced")


@pytest.mark.parametrize("kind", ["several", "bin"])
def test_whole_weights_load_in_every_format(model: Path, kind: str) -> None:
    for part in PARTS:
        write(model / part, read(model / part), kind)
    again, first = IMAGPosePipeline.from_pretrained(model), IMAGPosePipeline.from_pretrained("mini")
    for part in PARTS:
        wanted = getattr(first, part).state_dict()
        found = getattr(again, part).state_dict()
        assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted), part


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["one", "bin"])
@pytest.mark.parametrize(("part", "load"), [("vae", load_autoencoder), ("image_encoder", load_image_encoder)])
def test_a_part_of_its_own(
    model: Path, part: str, load: Callable[[ModelFiles], object], kind: str, change: Callable[[Weights], str]
) -> None:
    weights = read(model / part)
    name = change(weights)
    write(model / part, weights, kind)
    with pytest.raises(ValueError) as error:
        load(ModelFiles(str(model / part)))
    assert name in str(error.value) and part in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("part", ["vae", "unet", "pose_encoder", "feature_tokens"])
def test_our_own_networks_check_their_files_whoever_loads_them(
    model: Path, part: str, change: Callable[[Weights], str]
) -> None:
    ours = {
        "vae": PatchAutoencoderKL,
        "feature_tokens": FeatureTokens,
        "pose_encoder": PoseEncoder,
        "unet": IMAGPoseUNet,
    }
    network = ours[part]
    network.from_pretrained(model / part)
    weights = read(model / part)
    name = change(weights)
    write(model / part, weights, "one")
    for load in (lambda: network.from_pretrained(model / part), lambda: DiffusionPipeline.from_pretrained(model)):
        with pytest.raises(ValueError, match=re.escape(name)):
            load()


@pytest.mark.parametrize("loader", [IMAGPosePipeline, DiffusionPipeline])
def test_a_vae_with_diffusers_former_names_of_attention(tiny: Path, loader: type[DiffusionPipeline]) -> None:
    """Stable Diffusion's own VAE has them; diffusers renames them as it reads."""
    former = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = read(tiny / "vae")
    pattern = re.compile(r"(?<=attentions\.0\.)(" + "|".join(map(re.escape, former)) + r")(?=\.)")
    renamed = {pattern.sub(lambda found: former[found[0]], name): weight for name, weight in weights.items()}
    assert len(renamed.keys() - weights.keys()) == 16
    write(tiny / "vae", renamed, "one")
    loaded = loader.from_pretrained(tiny).vae.state_dict()
    assert loaded.keys() == weights.keys() and all(torch.equal(loaded[name], weights[name]) for name in weights)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("loader", [IMAGPosePipeline, DiffusionPipeline])
def test_values_that_are_not_finite(tiny: Path, part: str, loader: type[DiffusionPipeline]) -> None:
    weights = read(tiny / part)
    name = sorted(weights)[0]
    weights[name].view(-1)[-1] = float("inf")
    write(tiny / part, weights, "one")
    with pytest.raises(ValueError, match=f"{part}.*{re.escape(name)} has values that are missing or not finite"):
        loader.from_pretrained(tiny)


@pytest.mark.parametrize("part", ["image_encoder", "unet"])
@pytest.mark.parametrize("loader", [IMAGPosePipeline, DiffusionPipeline])
def test_an_index_names_files_beside_it_alone(tiny: Path, part: str, loader: type[DiffusionPipeline]) -> None:
    write(tiny / part, read(tiny / part), "several")
    (index,) = (tiny / part).glob("*.index.json")
    first = "model-00001" if part == "image_encoder" else "diffusion_pytorch_model-00001"
    file = tiny / part / f"{first}-of-00002.safetensors"
    shutil.move(file, tiny / "elsewhere.safetensors")
    index.write_text(index.read_text().replace(file.name, "../elsewhere.safetensors"))
    with pytest.raises(ValueError, match=f"{part}.*index.*files beside it"):
        loader.from_pretrained(tiny)


@pytest.mark.parametrize("loader", [IMAGPosePipeline, DiffusionPipeline])
def test_whole_networks_are_of_their_own_classes(tiny: Path, loader: type[DiffusionPipeline]) -> None:
    index = json.loads((tiny / "model_index.json").read_text())
    loaded = loader.from_pretrained(tiny, image_encoder=(given := tiny_pipeline().image_encoder))
    assert loaded.image_encoder is given
    loaded = loader.from_pretrained(tiny)
    loaded.save_pretrained(tiny / "again")
    again = json.loads((tiny / "again" / "model_index.json").read_text())
    assert {part: again[part] for part in PARTS} == {part: index[part] for part in PARTS}
    assert not any(part.training for part in loaded.components.values() if isinstance(part, torch.nn.Module))


def test_a_model_in_the_hubs_cache(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cache's layout: a snapshot of links to blobs, named by a commit."""
    repository = tmp_path / "hub" / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    for number, file in enumerate(sorted(file for file in model.rglob("*") if file.is_file())):
        blob, link = repository / "blobs" / str(number), snapshot / file.relative_to(model)
        blob.parent.mkdir(exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        link.symlink_to(blob)
    options = {"cache_dir": tmp_path / "hub", "local_files_only": True}
    assert IMAGPosePipeline.from_pretrained("owner/name", **options).name_or_path == "owner/name"
    weights = read(snapshot / "image_encoder")
    name = without_one(weights)
    write(snapshot / "image_encoder", weights, "one")
    with pytest.raises(ValueError, match=name):
        IMAGPosePipeline.from_pretrained("owner/name", **options)
