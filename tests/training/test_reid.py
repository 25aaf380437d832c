"""Training for re-identification: losses, batches and changes against plain computations; a run that learns and resumes."""

import csv
import math

import numpy as np
import pytest
import torch
from PIL import Image

from imagpose.data.reid import FOLDERS, market_name
from imagpose.judges.reid import load_reid_network
from imagpose.training.configs import load_config
from imagpose.training.reid import ReidConfig, ReidStage, train_reid
from imagpose.training.reid.batches import IdentityBatches, augment
from imagpose.training.reid.stage import CentreLoss, batch_hard_triplet
from imagpose.training.schedule import build_schedule


def test_the_hardest_triplets_are_found_as_by_a_loop():
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(12, 4, generator=generator), torch.arange(12) % 4
    losses = []
    for anchor in range(12):
        same = [math.dist(features[anchor], features[own]) for own in range(12) if labels[own] == labels[anchor]]
        other = [math.dist(features[anchor], features[own]) for own in range(12) if labels[own] != labels[anchor]]
        losses.append(max(0.0, 0.3 + max(same) - min(other)))
    assert float(batch_hard_triplet(features, labels, 0.3)) == pytest.approx(np.mean(losses), rel=1e-5)
    with torch.autocast("cpu", torch.bfloat16):  # far from the origin, where products of bf16 tell nothing apart
        assert float(batch_hard_triplet(features + 20, labels, 0.3)) == pytest.approx(np.mean(losses), rel=1e-3)
    equal = torch.ones(4, 3, requires_grad=True)  # distance 0, whose root has no gradient
    batch_hard_triplet(equal, torch.tensor([0, 0, 1, 1]), 0.3).backward()
    assert equal.grad.isfinite().all()


def test_centres_descend_as_by_a_second_optimiser():
    """The published code: SGD of rate 0.5 on the centres, whose gradient is not scaled by the loss's weight."""
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(6, 3, generator=generator), torch.tensor([0, 1, 1, 2, 2, 2])
    loss = CentreLoss(4, 3)
    centres = loss.centres.clone().requires_grad_()
    expected = sum(((features[own] - centres[labels[own]]) ** 2).sum() for own in range(6)) / 6
    assert float(loss(features, labels)) == pytest.approx(expected.item(), rel=1e-5)
    optimizer = torch.optim.SGD([centres], lr=0.5)
    expected.backward()
    optimizer.step()
    assert torch.allclose(loss.centres, centres, atol=1e-6)
    before = loss.eval().centres.clone()
    loss(features, labels)
    assert torch.equal(loss.centres, before)


def test_a_batch_shows_p_identities_k_times_and_a_pass_everybody_once():
    labels = np.repeat(np.arange(7), [1, 2, 3, 4, 5, 6, 7])
    batches = IdentityBatches(labels, np.zeros(len(labels), bool), 3, 4, None, seed=0)
    orders = set()
    for passed in range(3):
        shown = [labels[batches.chosen(2 * passed + place, 0)].reshape(3, 4) for place in range(2)]
        assert all((own == own[:, :1]).all() for own in shown)
        assert len({int(own) for batch in shown for own in batch[:, 0]}) == 6
        orders.add(tuple(int(own) for batch in shown for own in batch[:, 0]))
    assert len(orders) == 3
    chosen = batches.chosen(0, 0)
    for label in np.unique(labels[chosen]):
        own = chosen[labels[chosen] == label]
        assert len(set(own)) == min(4, (labels == label).sum()) or (labels == label).sum() < 4
    assert (batches.chosen(5, 0) == batches.chosen(5, 0)).all() and (chosen != batches.chosen(0, 12)).any()
    with pytest.raises(ValueError, match="8 identities"):
        IdentityBatches(labels, labels > 9, 8, 4, None, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 1.0])
def test_a_batch_has_its_share_of_real_pictures(fraction):
    labels = np.repeat(np.arange(6), 10)
    generated = np.tile(np.arange(10) >= 5, 6)
    batches = IdentityBatches(labels, generated, 5, 4, fraction, seed=1)
    for step in range(4):
        assert (~generated[batches.chosen(step, 0)]).sum() == round(20 * fraction)
    only_real = IdentityBatches(labels, generated & (labels > 0), 6, 4, 0.0, seed=1)
    chosen = only_real.chosen(0, 0)
    assert (labels[chosen[~generated[chosen] | (labels[chosen] == 0)]] == 0).all() and len(chosen) == 24


def test_pictures_are_mirrored_cropped_and_erased():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(40, 3, 32, 16, generator=generator) * 2 - 1
    rng = np.random.default_rng(0)
    same = augment(pixels, rng, mirror=0, padding=0, erase=0)
    assert torch.equal(same, pixels)
    assert torch.equal(augment(pixels, rng, mirror=1, padding=0, erase=0), pixels.flip(-1))
    cropped = augment(pixels, rng, mirror=0, padding=4, erase=0)
    framed = torch.nn.functional.pad(pixels, [4] * 4, value=-1.0)
    for own, frame in zip(cropped, framed, strict=True):
        places = [(y, x) for y in range(9) for x in range(9) if torch.equal(frame[:, y : y + 32, x : x + 16], own)]
        assert len(places) == 1
    erased = augment(pixels, rng, mirror=0, padding=0, erase=1)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1) * 2 - 1
    for own, before in zip(erased, pixels, strict=True):
        hole = (own != before).any(0)
        rows, columns = hole.any(1).nonzero(), hole.any(0).nonzero()
        box = own[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert torch.allclose(box, mean.expand_as(box)) and 0.01 < hole.float().mean() < 0.45
    assert 0.3 < (augment(pixels, rng, mirror=0, padding=0, erase=0.5) != pixels).flatten(1).any(1).float().mean() < 0.7


def colours(root, parts=("train", "query", "gallery"), identities=4, views=3):
    """People who are colours, in front of grounds that are cameras'."""
    rng = np.random.default_rng(0)
    clothes = rng.integers(30, 226, (2 * identities, 3))
    for part in parts:
        (root / FOLDERS[part]).mkdir(parents=True)
        for identity in range(identities):
            number = identity if part == "train" else identities + identity
            for camera in range(1, 3):
                for view in range(views if part != "query" else 1):
                    picture = np.full((32, 16, 3), 60 * camera, np.uint8)
                    picture[4:28, 4:12] = np.clip(clothes[number] + rng.integers(-9, 10, (24, 8, 3)), 0, 255)
                    frame = 900_000 + view if view == 2 else view
                    name = market_name(number + 1, camera, frame, box=part == "query")
                    Image.fromarray(picture).save(root / FOLDERS[part] / name)


@pytest.fixture
def config(tmp_path, write_config):
    root = tmp_path / "set"
    colours(root)
    values = {
        "output": str(tmp_path / "run"), "data": str(root), "network": "resnet18-half", "height": 32, "width": 16,
        "epochs": 6, "warmup_epochs": 1, "decay_epochs": [4], "batch_size": 8, "per_identity": 2, "crop_padding": 2,
        "precision": "fp32", "learning_rate": 0.001, "threads": 1, "centre_weight": 5e-4,
    }  # fmt: skip
    return write_config(values)


def test_steps_warmup_and_decays_follow_from_the_epochs(config):
    asked = load_config(
        ReidConfig, config, ["epochs=120", "warmup_epochs=10", "decay_epochs=[40, 70]", "batch_size=64"]
    )
    found = asked.with_steps(12_936)
    assert (found.steps, found.warmup_steps, found.decay_steps) == (120 * 202, 2020, (8080, 14140))
    rates = build_schedule(found, torch.optim.Adam([torch.zeros(1)], lr=3.5e-4)).lr_lambdas[0]
    assert [rates(step) for step in (0, 1010, 2020, 8079, 8080, 14140)] == pytest.approx([0.01, 0.505, 1, 1, 0.1, 0.01])
    scaled = asked.model_copy(update={"steps": 1200}).with_steps(12_936)
    assert (scaled.steps, scaled.warmup_steps, scaled.decay_steps) == (1200, 100, (400, 700))
    with pytest.raises(ValueError, match="multiple of per_identity"):
        load_config(ReidConfig, config, ["per_identity=3"])


def test_real_and_generated_pictures_are_told_by_the_manifest(config, tmp_path):
    root = tmp_path / "set"
    names = [own.name for own in (root / FOLDERS["train"]).iterdir() if "_900" in own.name]
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file"], *([own] for own in names)])
    stage = ReidStage(load_config(ReidConfig, config, ["real_fraction=0.5"]).with_steps(24))
    assert {own.file.name for own, made in zip(stage.pictures, stage.batches.generated, strict=True) if made} == set(
        names
    )
    shown = stage.items(3, range(8))
    assert sum(own in names for own in shown) == 4 and len(shown) == 8
    fewer = ReidStage(load_config(ReidConfig, config, ["subset=0.5", "generated_per_real=0.5"]).with_steps(24))
    assert (~fewer.batches.generated).sum() == 8 and fewer.batches.generated.sum() == 4


def test_the_loss_is_the_sum_of_its_parts_and_the_neck_is_between(config):
    asked = load_config(ReidConfig, config).with_steps(24)
    stage = ReidStage(asked)
    optimizer = stage.optimizer(asked)
    assert type(optimizer) is torch.optim.Adam and optimizer.defaults["weight_decay"] == 5e-4  # part of the gradient
    with torch.no_grad():  # a fresh neck changes nothing in evaluation, and a fresh classifier tells nobody apart
        stage.classifier.weight.normal_(generator=torch.Generator().manual_seed(0))
        stage.network.neck.running_mean += torch.linspace(-1, 1, stage.network.width)
        stage.network.neck.running_var *= torch.linspace(0.5, 2, stage.network.width)
    batch = stage.batch(0, range(8))
    loss, parts = stage.eval()(batch)
    with torch.no_grad():
        before, behind = stage.network(batch["pixels"])
        logits = behind @ stage.classifier.weight.T
        wanted = torch.full((8, 4), 0.1 / 4)
        wanted[torch.arange(8), batch["labels"]] += 0.9
        classes = -(wanted * logits.log_softmax(1)).sum(1).mean()
    assert float(parts["classes"]) == pytest.approx(float(classes), rel=1e-4)
    assert float(parts["triplets"]) == pytest.approx(float(batch_hard_triplet(before, batch["labels"], 0.3)), rel=1e-4)
    assert loss.item() == pytest.approx(sum(float(parts[own]) for own in ("classes", "triplets", "centres")), rel=1e-5)


def test_a_run_learns_and_resumes_exactly(config, tmp_path):
    whole = train_reid(config)
    assert whole.step == 18 and np.mean(whole.losses[-6:]) < 0.8 * np.mean(whole.losses[:6])
    assert set(whole.validation) == {"rank1", "map"}
    train_reid(config, [f"output={tmp_path / 'cut'}"], stop_after=1e-9)
    resumed = train_reid(config, [f"output={tmp_path / 'cut'}"], resume="latest")
    assert resumed.validation == whole.validation
    one, other = (load_reid_network(tmp_path / run / "weights").state_dict() for run in ("run", "cut"))
    assert all(torch.equal(own, other[name]) for name, own in one.items())
