"""The script that proves things on a GPU, small on the CPU: every section gives results, failures too."""

from __future__ import annotations

import json
import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from transformers import Dinov2Model

from imagpose.models.autoencoder import PatchAutoencoderKL

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def gpu():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import gpu

        yield gpu
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def bench(gpu, seconds=300.0):
    return gpu.Bench(torch.device("cpu"), True, time.monotonic() + seconds)


def test_every_section_gives_results_on_a_cpu(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: None)  # half a minute of tracing
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--small", "--device", "cpu", "--out", str(tmp_path / "gpu.jsonl")])
    gpu.main()
    lines = [json.loads(line) for line in (tmp_path / "gpu.jsonl").read_text().splitlines()]
    assert "machine" in lines[0]
    assert [line for line in lines if "failed" in line] == []
    assert {line["section"] for line in lines[1:]} == set(gpu.SECTIONS)
    errors = {line["precision"]: line["error"] for line in lines if "error" in line and line["preset"] == "official"}
    assert 1e-5 < errors["fp16"] < errors["bf16"] < 0.1
    assert errors["fp32 compiled"] < 1e-5
    speeds = [line for line in lines if line.get("way") == "eager" and line["precision"] == "fp16"]
    assert speeds and all(line["speed"] == 1 for line in speeds)


def test_a_section_that_fails_and_one_that_comes_too_late_say_so(gpu, monkeypatch):
    def broken(bench):
        yield {"what": "first"}
        raise RuntimeError("CUDA out\nof memory")

    monkeypatch.setattr(gpu, "SECTIONS", {"broken": broken, "attention": gpu.attention})
    first, second, *rest = gpu.run_sections(bench(gpu), "")
    assert first["what"] == "first" and second["failed"] == "RuntimeError: CUDA out of memory" and rest
    assert [own["skipped"] for own in gpu.run_sections(bench(gpu, -1), "")] == ["the time is up"] * 2


def test_a_measurement_that_fails_takes_only_itself_along(gpu, monkeypatch):
    errors = iter([0.25, RuntimeError("no C++ compiler"), 0.5, 0.75, 1.0, 1.25])

    def error(*_):
        value = next(errors)
        if isinstance(value, Exception):
            raise value
        return value

    class NoModel:
        def __init__(self, bench, *_):
            self.bench, self.unet = bench, torch.nn.Linear(1, 1)

        def output(self, dtype):
            return torch.zeros(1)

    monkeypatch.setattr(gpu, "relative_error", error)
    monkeypatch.setattr(gpu, "Model", NoModel)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: None)
    first, second, *rest = gpu.parity(bench(gpu))
    assert first["error"] == 0.25 and second["failed"] == "RuntimeError: no C++ compiler" and "error" not in second
    assert [own["error"] for own in rest] == [0.5, 0.75, 1.0, 1.25]
    assert [own["precision"] for own in rest][-2:] == ["fp32 compiled"] * 2  # what takes longest comes last


def test_a_long_section_leaves_the_others_their_share_of_the_time(gpu, monkeypatch):
    def endless(bench):
        while True:
            time.sleep(0.02)
            yield {"what": "again"}

    monkeypatch.setattr(gpu, "SECTIONS", {"endless": endless, "short": lambda bench: iter([{"what": "once"}])})
    results = list(gpu.run_sections(bench(gpu, 0.5), ""))
    assert 2 < len(results) < 16  # 0.25 s of 0.02 s each
    assert results[-2]["skipped"] == "the time is up" and results[-1]["what"] == "once"


def test_small_cards_have_moments_of_8_bits_and_every_card_its_frozen_networks(gpu, monkeypatch):
    built, encoded = [], []

    class AdamW8bit(torch.optim.AdamW):
        def __init__(self, parameters, lr):
            built.append(sum(weight.numel() for weight in parameters))
            super().__init__(parameters, lr)

    def encoder(name):
        def encode(self, given):
            encoded.append((name, tuple(given.shape), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))

        return encode

    monkeypatch.setattr(PatchAutoencoderKL, "encode", encoder("vae"))
    monkeypatch.setattr(Dinov2Model, "forward", encoder("image encoder"))
    package = ModuleType("bitsandbytes")
    package.optim = SimpleNamespace(AdamW8bit=AdamW8bit)
    package.__spec__ = ModuleSpec("bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes", package)
    rows = list(gpu.cards(bench(gpu)))
    assert [(own["card_gb"], own["optimizer"]) for own in rows] == [
        (24, "adamw8bit"), (24, "adamw8bit"), (24, "adamw"), (80, "adamw")
    ]  # fmt: skip
    assert not any("failed" in own for own in rows)
    trained = gpu.Model(bench(gpu), "official", (64, 48)).networks
    assert built == [sum(weight.numel() for weight in trained.parameters())] * 2
    steps = 2  # of each card
    expected = [
        seen
        for own in rows
        for seen in (("vae", (4 * own["batch"], 3, 64, 64)), ("image encoder", (own["batch"], 3, 224, 224))) * steps
    ]
    assert [own[:2] for own in encoded] == expected
    assert {own[2:] for own in encoded} == {(False, True)}

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    skipped = [own for own in gpu.cards(bench(gpu)) if "skipped" in own]
    assert [own["optimizer"] for own in skipped] == ["adamw8bit"] * 2


def test_every_precision_starts_from_the_same_weights(gpu):
    model = gpu.Model(bench(gpu), "mini", (64, 48))
    truth = model.output(torch.float32)
    model.output(torch.bfloat16)
    assert torch.equal(model.output(torch.float32), truth)
    assert gpu.relative_error(torch.full_like(truth, float("nan")), truth) == float("inf")
