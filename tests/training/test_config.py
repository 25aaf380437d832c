"""Configurations: errors are one line that names file and key; shipped files are legal."""

import re
import time
from pathlib import Path

import pytest
import yaml

from imagpose.pipeline.sampling import Sampling
from imagpose.training.appearance_flow import AppearanceFlowConfig
from imagpose.training.autoencoder import AutoencoderConfig, AutoencoderFinishConfig
from imagpose.training.configs import ViewCacheConfig, load_config, parse_duration
from imagpose.training.denoiser import DenoiserConfig
from imagpose.training.denoiser.lora import LoraConfig
from imagpose.training.encoder import EncoderConfig
from imagpose.training.fewstep import FewStepConfig
from imagpose.training.judges import IdentityConfig, PoseEstimatorConfig, SilhouetteConfig
from imagpose.training.reid import ReidConfig
from imagpose.views import ViewGrid

CONFIGS = Path(__file__).parents[2] / "configs"
KINDS = {
    "autoencoder": AutoencoderConfig,
    "autoencoder_finish": AutoencoderFinishConfig,
    "encoder": EncoderConfig,
    "denoiser": DenoiserConfig,
}
PHOTOGRAPHS = {"market1501_small_autoencoder": AutoencoderConfig}
JUDGES = {"identity": IdentityConfig, "pose_estimator": PoseEstimatorConfig, "silhouette": SilhouetteConfig}
OTHERS = {**JUDGES, "appearance_flow": AppearanceFlowConfig, "lora": LoraConfig, "fewstep": FewStepConfig}


@pytest.fixture
def denoiser_values(run_values: dict) -> dict:
    return run_values | {"autoencoder": "a", "image_encoder": "b"}


def error_of(kind: type, path: Path, overrides: list[str] | None = None) -> str:
    with pytest.raises(ValueError, match=path.name) as caught:
        load_config(kind, path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_shipped_file_is_legal() -> None:
    paths = sorted([*CONFIGS.glob("*.yaml"), *(CONFIGS / "mini").glob("*.yaml")])
    assert {path.stem for path in paths} >= {*KINDS, *OTHERS, "finetune"} and len(paths) > 8
    for path in paths:
        config = load_config({**KINDS, **OTHERS, **PHOTOGRAPHS}.get(path.stem, DenoiserConfig), path)
        assert config.data.height % 16 == 0 and config.data.width % 16 == 0


def test_the_files_for_re_identification_are_legal() -> None:
    bot, small = (load_config(ReidConfig, CONFIGS / "reid" / f"{name}.yaml") for name in ("market1501_bot", "small"))
    assert bot.model_fields_set >= {"network", "centre_weight"} and (small.height, small.width) == (128, 64)
    for name in bot.model_fields_set & {"epochs", "decay_epochs", "learning_rate", "weight_decay", "margin"}:
        assert getattr(bot, name) == ReidConfig.model_fields[name].default  # the published recipe is the default


def test_the_papers_recipe_is_the_default(write_config, run_values: dict) -> None:
    values = {"output": "run", "data": run_values["data"]}
    config = load_config(DenoiserConfig, write_config(values))
    assert (config.learning_rate, config.weight_decay, config.batch_size, config.steps) == (5e-5, 0.01, 4, 300_000)
    assert (config.feature_dropout, config.visible_weight, config.noise_offset_scope) == (0.05, 1.0, "canvas")
    assert config.view_grids == {ViewGrid(2, 2): 1.0} and config.lr_schedule == "constant"


def test_sampling_is_the_one_object_of_settings(write_config, denoiser_values: dict) -> None:
    path = write_config(
        denoiser_values | {"sampling": {"steps": 4, "guidance": "full", "guidance_interval": [0.1, 0.8]}}
    )
    config = load_config(DenoiserConfig, path, ["sampling.scheduler=euler", "sampling.guidance_scale=3"])
    assert config.sampling == Sampling(4, 3.0, "full", (0.1, 0.8), "euler")
    assert "sampling: steps (num_inference_steps) must be" in error_of(DenoiserConfig, path, ["sampling.steps=0"])
    assert "sampling.scale: unknown key" in error_of(DenoiserConfig, path, ["sampling.scale=1"])
    message = error_of(DenoiserConfig, path, ["sample_steps=4", "guidance_scale=2"])
    assert "sample_steps: unknown key, its name is sampling.steps" in message
    assert "guidance_scale: unknown key, its name is sampling.guidance_scale" in message


def test_shipped_stages_can_share_one_cache() -> None:
    configs = [load_config(kind, CONFIGS / "mini" / f"{name}.yaml") for name, kind in KINDS.items()]
    for part in ("data", "validation"):
        caches = [getattr(config, part) for config in configs]
        assert len({(c.folder, c.first_seed, c.views, c.height, c.width, c.block) for c in caches}) == 1


def test_unknown_key(write_config, run_values: dict) -> None:
    assert "step: unknown key" in error_of(AutoencoderConfig, write_config(run_values | {"step": 3}))


def test_unknown_key_in_section(write_config, run_values: dict) -> None:
    path = write_config(run_values | {"model": {"channels": 3}})
    assert "model.channels: unknown key" in error_of(AutoencoderConfig, path)


def test_missing_key(write_config, run_values: dict) -> None:
    del run_values["learning_rate"]
    assert "learning_rate: missing" in error_of(AutoencoderConfig, write_config(run_values))


def test_wrong_value_is_shown(write_config, run_values: dict) -> None:
    message = error_of(EncoderConfig, write_config(run_values), ["steps=many"])
    assert "steps" in message and "'many'" in message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.identities=10", "multiple of block"),
        ("crop_size=128", "larger than a view"),
        (
            "model.decoder_block_out_channels=[16]",
            "decoder_block_out_channels must have 2 levels as the encoder, not 1",
        ),
        ("model.block_out_channels=[16, 12]", "multiples of norm_num_groups (8), not 12"),
        ("model.decoder_block_out_channels=[16, 12]", "multiples of norm_num_groups (8), not 12"),
    ],
)
def test_inconsistent_autoencoder(write_config, run_values: dict, override: str, words: str) -> None:
    assert words in error_of(AutoencoderConfig, write_config(run_values | {"crop_size": 32}), [override])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ("{zero_terminal_snr: true, prediction_type: epsilon}", "v_prediction"),
        ("{grids: {'0x3': 1.0}}", "0x3"),
        ("{phases: [{steps: 3}]}", "last lasts to the end"),
        ("{phases: [{}, {}]}", "all but the last need steps"),
        ("{pure_noise_share: 0.5}", "needs zero_terminal_snr"),
        ("{phases: [{pure_noise_share: 0.5}], initial: mini, zero_terminal_snr: false}", "needs zero_terminal_snr"),
        ("{noise_offset_scope: slot}", "noise_offset_scope"),
        ("{phases: [{attention_wait: 0.5}]}", "phases.0.attention_wait: unknown key"),
        ("{pose_channels: [8, 8, 8, 16, 16]}", "pose_channels"),
        ("{grids: {}}", "grids"),
        ("{grids: {3x3: 1.0}}", "9 views"),
        ("{feature_dropout: 0.4}", "feature_dropout"),
        ("{base: a/b, initial: mini}", "base and initial"),
        (
            "{validation: {dataset: d, split: train, height: 64, width: 64}, data: {dataset: d, height: 64, width: 64}}",
            "another split",
        ),
        ("{data: {dataset: d, height: 64, width: 64, cache: c, augment: {mirror: 0.5}}}", "remove one of both"),
        ("{data: {dataset: d, height: 64, width: 64, seed: 3}}", "data.seed: unknown key"),
        ("{data: {dataset: d, height: 64}}", "data.width: missing"),
    ],
)
def test_inconsistent_denoiser(write_config, denoiser_values: dict, changes: str, words: str) -> None:
    assert words in error_of(DenoiserConfig, write_config(denoiser_values | yaml.safe_load(changes)))


def test_overrides(write_config, run_values: dict) -> None:
    config = load_config(
        AutoencoderConfig, write_config(run_values | {"crop_size": 32}), ["data.first_seed=8", "learning_rate=1e-4"]
    )
    assert config.data.seeds == range(8, 16)
    assert config.learning_rate == 1e-4


def test_override_without_value(write_config, run_values: dict) -> None:
    with pytest.raises(ValueError, match="key=value is expected"):
        load_config(AutoencoderConfig, write_config(run_values), ["steps"])


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "a: [", ""])
def test_not_a_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    error_of(AutoencoderConfig, path)


def test_a_file_that_would_grow_without_bound_is_refused_at_once(tmp_path: Path) -> None:
    """Aliases of aliases, 9 levels of 9; brackets in brackets; a megabyte; a number of 5,000 digits; a long value."""
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10))
    texts = {
        f"a0: &a0 {'x' * 9}\n{levels}\nsteps: *a9": r"line 2: an alias \(\*a0\); write the value out",
        "steps: " + "[" * 3000: "line 1: more than 20 levels",
        "# " + "x" * 1_000_000: "1,000,002 bytes; a configuration has at most 1,000,000",
        "steps: " + "9" * 5000: "not a YAML file that is read here: Exceeds the limit",
        f"steps: {'x' * 5000}": r"steps: .*\(got 'x+\)",
    }
    path = tmp_path / "a.yaml"
    for text, words in texts.items():
        path.write_text(text)
        started = time.perf_counter()
        message = error_of(AutoencoderConfig, path)
        assert re.search(words, message) and len(message) < 1000
        assert time.perf_counter() - started < 5
    path.write_text("steps: 1")
    with pytest.raises(ValueError, match="is not a YAML value"):
        load_config(AutoencoderConfig, path, [f"steps={'[' * 3000}"])


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.yaml"):
        load_config(AutoencoderConfig, tmp_path / "nothing.yaml")


def test_values_survive_yaml(run_values: dict) -> None:
    section = ViewCacheConfig.model_validate(run_values["data"])
    assert ViewCacheConfig.model_validate(yaml.safe_load(yaml.safe_dump(section.model_dump(mode="json")))) == section


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("50m", 3000), ("2h", 7200), ("1h30m", 5400), ("0.5m", 30)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "-3m", "0s", "three hours"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)
