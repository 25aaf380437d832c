"""The tables and figures: Tables 1, 2, 3 and 7, Figures 7 and 8. Each leaves `<item>.md` and `<item>.png` in a folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np

from imagpose.devices import process_state
from imagpose.evaluation.model import AUTOENCODER, COPY
from imagpose.evaluation.model_requests import PAPER_GRID, ModelEvaluation, ask
from imagpose.evaluation.reproduce.claims import Claim
from imagpose.evaluation.reproduce.measured import read_measured, real_pictures, seconds_per_picture
from imagpose.evaluation.reproduce.measuring import Measuring, evaluation_name, model_text
from imagpose.evaluation.reproduce.page import ResultPage, draw_speed
from imagpose.evaluation.reproduce.training_runs import TrainingRuns, trained_parameters
from imagpose.models.presets import ABLATIONS, BASES, find_preset
from imagpose.pipeline.loading import load_pipeline

OURS = "IMAGPose"
_SCENARIOS = ("T1", "T2", "T3", "star")
STAR = "IMAGPose*"


def table1(measuring: Measuring, model: str, baselines: Mapping[str, Path]) -> str:
    """Table 1: a model, in the paper's default and with several poses at once, beside other methods' folders.

    Args:
        baselines: folder of each method, see `evaluate_model`.

    Returns:
        The table, Markdown.

    Raises:
        ValueError, OSError: see `evaluate_model`; matplotlib is missing.
    """
    measuring.start("table1")
    measuring = measuring.of_model(model)
    folder = measuring.evaluate(evaluation_name(model), model, ("T1", "star"), baselines)
    ours = [read_measured(folder, "T1", OURS), read_measured(folder, "star", STAR)]
    theirs = [read_measured(folder, name, name) for name in baselines]
    lines = [*theirs, read_measured(folder, COPY, COPY), *ours, read_measured(folder, AUTOENCODER, AUTOENCODER)]
    claims = [Claim(OURS, name) for name in (*baselines, COPY)] + [Claim(STAR, OURS, "alike")]
    return measuring.write(
        ResultPage(
            "table1",
            "Table 1: against other methods",
            "With one source and one pose, the paper compares IMAGPose with ten other methods, and IMAGPose is ahead in"
            f" SSIM, LPIPS and FID. {OURS}: one pose at a time (T1); {STAR}: three poses in one pass. Any other method's"
            " folder of pictures can be added (`--baseline`). The autoencoder alone is the best that a denoiser with it can"
            " reach.",
            [model_text(model), measuring.sampling_text],
            [*lines, real_pictures(ours[0])],
            claims,
        )
    )


def table2(measuring: Measuring, runs: TrainingRuns) -> str:
    """Table 2: what each module adds; B0 to B4 and the whole model, trained alike.

    Returns:
        The table, Markdown.

    Raises:
        ValueError, OSError, FloatingPointError: see `TrainingRuns` and `evaluate_model`; matplotlib is missing.
    """
    names = [name for name in ABLATIONS if name != "M1"]
    preset = runs.base.preset
    variants = {name: [f"preset={preset}:{name}"] for name in names} | {OURS: [f"preset={preset}"]}
    claims = [Claim(OURS, name) for name in names]
    claims += [Claim(*pair) for pair in (("B1", "B0"), ("B2", "B0"), ("B2", "B1"), ("B3", "B1"), ("B4", "B3"))]
    return _trained_page(
        measuring,
        runs,
        ResultPage(
            "table2",
            "Table 2: what each module adds",
            "B0 has none of the three modules; B1 = B0 + cross-view attention; B2 = B0 + texture tokens (feature-level"
            " conditioning); B3 = B1 + masked latents (image-level conditioning); B4 = all but cross-view attention. In the"
            " paper every module helps and the whole model is best.",
            [],
            [],
            claims,
        ),
        variants,
        "T1",
    )


def table3(measuring: Measuring, runs: TrainingRuns, presets: Sequence[str], encoders: Mapping[str, str]) -> str:
    """Table 3: the same model with other bases and image encoders.

    Args:
        presets: names of presets (base and image encoder, "sd15-dinov2-g").
        encoders: image encoders for the configuration's preset, by name; folders or Hub ids.

    Returns:
        The table, Markdown.

    Raises:
        ValueError, OSError, FloatingPointError: as `table2`; or fewer than two variants.
    """
    variants = {name: [f"preset={name}"] for name in presets}
    if wrong := [name for name in encoders if not re.fullmatch(r"[\w.-]+", name)]:
        raise ValueError(f"image encoder {wrong[0]!r}: a name of letters, digits, '-', '_' and '.' expected")
    variants |= {name: [f"preset={runs.base.preset}", f"image_encoder={place}"] for name, place in encoders.items()}
    if len(variants) < 2:
        raise ValueError("table3 compares at least two variants: repeat --preset or --image-encoder")
    claims = _preset_claims(presets) + [Claim(one, other, "alike") for other, one in pairwise(encoders)]
    return _trained_page(
        measuring,
        runs,
        ResultPage(
            "table3",
            "Table 3: bases and image encoders",
            "The paper varies the underlying Stable Diffusion and the image encoder behind the semantic tokens. It calls the"
            " differences between image encoders insignificant, and SD 2.1 superior to SD 1.5 in most cases.",
            [],
            [],
            claims,
        ),
        variants,
        "T1",
        presets,
    )


def _preset_claims(names: Sequence[str]) -> list[Claim]:
    """Neighbours on one base are alike; of one image encoder, SD 2.1 is better than SD 1.5."""
    presets = {name: find_preset(name) for name in names}
    claims = []
    for base in BASES.values():
        claims += [Claim(one, other, "alike") for other, one in pairwise(n for n in names if presets[n].base == base)]
    for one, other in permutations(names, 2):
        bases = presets[one].base, presets[other].base
        if bases == (BASES["sd21"], BASES["sd15"]) and presets[one].image_encoder == presets[other].image_encoder:
            claims.append(Claim(one, other))
    return claims


def table7(measuring: Measuring, runs: TrainingRuns) -> str:
    """Table 7: one joint canvas against M1, which lays views along the batch axis; trained alike.

    Returns:
        The table, Markdown.

    Raises:
        ValueError, OSError, FloatingPointError: as `table2`.
    """
    preset = runs.base.preset
    variants = {"M1": [f"preset={preset}:M1"], OURS: [f"preset={preset}"]}
    return _trained_page(
        measuring,
        runs,
        ResultPage(
            "table7",
            "Table 7: the joint canvas against views along the batch axis (M1)",
            "M1 generates several poses of one source as a batch, each view by itself, and sees the source only through the"
            " tokens of the frozen image encoder. In the paper it is clearly worse. Both are measured with three poses at"
            " once.",
            [],
            [],
            [Claim(OURS, "M1")],
        ),
        variants,
        "star",
    )


def schedules(measuring: Measuring, runs: TrainingRuns) -> str:
    """Table 6's linear noise schedule against Stable Diffusion's scaled_linear one; trained alike.

    The whole model of Table 2 is the one with the configuration's own schedule.

    Returns:
        The table, Markdown.

    Raises:
        ValueError, OSError, FloatingPointError: as `table2`.
    """
    config = runs.base
    own = config.beta_schedule or "scaled_linear"
    other = "linear" if own == "scaled_linear" else "scaled_linear"
    variants = {OURS: [f"preset={config.preset}"], other: [f"preset={config.preset}", f"beta_schedule={other}"]}
    return _trained_page(
        measuring,
        runs,
        ResultPage(
            "schedules",
            "Noise schedules: linear and scaled_linear",
            "Table 6 says that the paper's 1,000 steps have a linear schedule; Stable Diffusion and the published code"
            " have scaled_linear, our default, whose square roots of the betas rise linearly. Both have the same first and"
            f" last beta. {OURS} has {own} here. The paper does not compare them.",
            [],
            [],
            [Claim(OURS, other, "alike")],
        ),
        variants,
        "T1",
    )


def figure7(measuring: Measuring, model: str) -> str:
    """Figure 7: the same model in its four scenarios.

    Returns:
        The table, Markdown.

    Raises:
        ValueError, OSError: see `evaluate_model`; matplotlib is missing.
    """
    measuring.start("figure7")
    measuring = measuring.of_model(model)
    folder = measuring.evaluate(evaluation_name(model), model, _SCENARIOS)
    names = {scenario: STAR if scenario == "star" else scenario for scenario in _SCENARIOS}
    lines = [read_measured(folder, scenario, name) for scenario, name in names.items()]
    claims = [Claim("T3", "T2"), Claim("T2", "T1"), Claim("T3", "T1"), Claim(STAR, "T1", "alike")]
    return measuring.write(
        ResultPage(
            "figure7",
            "Figure 7: one model, four scenarios",
            "T1: one source, the target pose repeated; T2: the source repeated, one pose; T3: three different sources, one"
            f" pose; {STAR}: one source, three poses. In the paper T3 is ahead of T2, T2 of T1, and {STAR} close to T1.",
            [model_text(model), measuring.sampling_text],
            [*lines, real_pictures(lines[0])],
            claims,
        )
    )


def figure8(measuring: Measuring, model: str, steps: Sequence[int], requests: int) -> str:
    """Figure 8: seconds per distinct picture against quality, over numbers of steps, one pose and three at a time.

    Args:
        steps: numbers of DDIM steps; the sampling's own is not used.
        requests: how many calls are timed per setting.

    Returns:
        The table, Markdown; empty in other processes than the first.

    Raises:
        ValueError, OSError: see `evaluate_model`; too few requests of three poses; matplotlib is missing.
    """
    measuring.start("figure8")
    measuring = measuring.of_model(model)
    samplings = [replace(measuring.sampling, steps=number) for number in steps]
    asked = ask(ModelEvaluation(model, measuring.data, ("T1", "star"), limit=measuring.limit))
    requested = asked.requests
    full = [request for request in requested["star"] if len(request.poses) == PAPER_GRID.num_views - 1]
    counts = {"T1": len(requested["T1"]), "star": len(full)}
    if min(counts.values()) < requests:
        raise ValueError(
            f"{requests} requests are to be timed; the pairs make {counts['T1']} of one pose and {counts['star']} of three"
        )
    folders = [
        replace(measuring, sampling=sampling).evaluate(evaluation_name(model), model, ("T1", "star"))
        for sampling in samplings
    ]
    if not process_state().is_main_process:  # processes that time at once would slow each other down
        return ""
    timed = {"T1": requested["T1"][:requests], "star": full[:requests]}
    pipeline = load_pipeline(model, measuring.sampling.scheduler, None, "fp32", "torch")
    seconds = seconds_per_picture(pipeline, timed, asked.dataset, samplings)
    longest = float(np.median(seconds["T1", samplings[steps.index(max(steps))]]))
    lines, points = [], []
    for scenario, name in (("T1", "T1"), ("star", STAR)):
        for sampling, folder in zip(samplings, folders, strict=True):
            low, median, high = np.percentile(seconds[scenario, sampling], [25, 50, 75])
            facts = {
                "steps": str(sampling.steps),
                "seconds per distinct picture": f"{median:.3f} ({low:.3f} to {high:.3f})",
                "times as fast": f"{longest / median:.2f}",
            }
            line = read_measured(folder, scenario, f"{name}, {sampling.steps} steps", facts)
            lines.append(line)
            if (ssim := line.value("clean", "ssim")) is not None:
                points.append((name, str(sampling.steps), float(median), ssim))
    most = max(steps)
    return measuring.write(
        ResultPage(
            "figure8",
            "Figure 8: speed and quality",
            "The paper plots SSIM against seconds; its speed comes from three poses per pass. Here: wall time per distinct"
            " picture of whole calls, including image encoder and VAE, one request at a time; medians and quartiles over"
            f" {requests} calls, with the settings taking turns. *Times as fast* is relative to T1 with {most} steps. Times"
            " on another machine do not compare, but the ratios do.",
            [model_text(model), f"Guidance {measuring.sampling.guidance_scale:g}."],
            lines,
            [Claim(f"{STAR}, {own} steps", f"T1, {own} steps", "alike") for own in steps]
            + [Claim(f"T1, {most} steps", f"T1, {own} steps") for own in steps if own != most],
        ),
        lambda path: draw_speed(path, points),
    )


def _trained_page(
    measuring: Measuring,
    runs: TrainingRuns,
    page: ResultPage,
    variants: Mapping[str, Sequence[str]],
    scenario: str,
    named_presets: Sequence[str] = (),
) -> str:
    """Train each variant alike and measure it; a page with a copy of the source first, real pictures last."""
    measuring.start(page.item)
    runs.open(variants, named_presets)
    lines = []
    for name, changes in variants.items():
        weights = runs.train(name, changes)
        folder = measuring.evaluate(f"{name}-{scenario}", str(weights), (scenario,))
        facts = {"trained parameters": f"{trained_parameters(weights) / 1e6:.2f} M"}
        lines.append(read_measured(folder, scenario, name, facts))
    lines = [read_measured(folder, COPY, COPY), *lines, real_pictures(lines[0])]
    config = runs.base
    canvases = config.batch_size * config.gradient_accumulation
    setting = (
        f"Each variant: {runs.steps:,} steps of {canvases} canvas{'es' * (canvases > 1)} per process,"
        f" in {config.precision}, learning rate {config.learning_rate:g}, seed {config.seed}, the same people, canvases and"
        " noise for all."
    )
    return measuring.write(replace(page, setting=[setting, measuring.sampling_text], lines=lines))
