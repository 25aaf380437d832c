"""The first protocol: one front picture of a held-out person to other poses, beside baselines.

Behind `imagpose evaluate people`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import track

from imagpose.evaluation.baselines import mean_colour_drawing
from imagpose.evaluation.held_out import HeldOutPerson, held_out_people
from imagpose.evaluation.report import Settings, draw_rows, markdown_table, summarise, write_report
from imagpose.io import check_output_folder
from imagpose.judges.identity import embed_people, first_ranks
from imagpose.judges.pose import find_keypoints
from imagpose.judges.silhouette import find_foreground
from imagpose.metrics.keypoints import counted_points, oks, pck
from imagpose.metrics.pixels import foreground_box, mask_iou, psnr, ssim
from imagpose.model_folder import model_name, resolve_model
from imagpose.people import View
from imagpose.pipeline_inputs import check_settings

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

__all__ = ["GeneratedPerson", "evaluate_model", "generate_people", "load_pipeline", "measure_person"]

_PEOPLE_AT_ONCE = 4
_ROWS_DRAWN = 40


@dataclass(frozen=True, eq=False)
class GeneratedPerson:
    """What a model made of a person: uint8 (H, W, 3).

    Attributes:
        person: the truth.
        from_front: T1 of every target, keyed as `person.targets`.
        back_from_three: T3 of the target seen from behind.
    """

    person: HeldOutPerson
    from_front: dict[str, np.ndarray]
    back_from_three: np.ndarray


def evaluate_model(
    out: Path | str, model: str = "mini", identities: int = 100, steps: int = 20, guidance: float = 2.0, seed: int = 0
) -> str:
    """Generates held-out people and writes `summary.json`, `table.md`, `pairs.json` and `rows.png` into a folder.

    Per person: T1 from a front view to three other poses, from the front, a side and behind; T3 from front, back and
    side to the one from behind. Poses of the sources are given. Measured as `measure_person` says.

    Args:
        out: the folder; made where it is missing, nothing is written before all is measured.
        model: `"mini"`, the folder of a saved pipeline, or a Hub id.
        identities: number of held-out people.
        steps, guidance, seed: see `IMAGPosePipeline.__call__`; every person has a generator of its own.

    Returns:
        The table, Markdown.

    Raises:
        ValueError, OSError: a setting is not legal, the model is not there, or the folder cannot be written.
    """
    out = Path(out)
    check_settings(steps, guidance, "feature", "pil")
    if isinstance(seed, bool) or not 0 <= seed < 2**62:
        raise ValueError(f"seed must be a whole number from 0 to 2**62 - 1, got {seed!r}")
    check_output_folder(out)
    held_out_people(identities, 16, 16)  # raises for an illegal number; renders nothing
    resolve_model(model)
    pipeline = load_pipeline(model)

    started = time.perf_counter()
    size = pipeline.config.view_height, pipeline.config.view_width
    people = generate_people(pipeline, held_out_people(identities, *size), steps, guidance, seed)
    pairs: list[dict] = []
    rows: list[np.ndarray] = []
    shown: list[ShownPerson] = []
    console = Console(stderr=True)
    for generated in track(people, "held-out people", total=identities, console=console):
        pairs += measure_person(generated)
        shown.append(embed_person(generated))
        if len(rows) < _ROWS_DRAWN:
            rows.append(draw_rows(generated.person, generated.from_front, generated.back_from_three))
    settings = Settings(model_name(model), identities, *size, steps, guidance, seed)
    for record, ranks in zip(pairs, identity_ranks(shown), strict=True):
        record |= ranks
    measures = summarise(pairs)
    write_report(out, settings, measures, pairs, np.concatenate(rows), time.perf_counter() - started)
    return markdown_table(measures)


def generate_people(
    pipeline: IMAGPosePipeline, people: Iterable[HeldOutPerson], steps: int, guidance: float, seed: int
) -> Iterator[GeneratedPerson]:
    """T1 and T3 of every person, a few people at a time; how many does not change the pictures."""
    pipeline.set_progress_bar_config(disable=True)
    people = iter(people)
    while batch := list(islice(people, _PEOPLE_AT_ONCE)):
        from_front = _run(
            pipeline, batch, "T1", [[person.front] for person in batch],
            [list(person.targets.values()) for person in batch], steps, guidance, seed,
        )  # fmt: skip
        from_three = _run(
            pipeline, batch, "T3", [[person.front, person.back, person.side] for person in batch],
            [[person.targets["back"]] for person in batch], steps, guidance, seed,
        )  # fmt: skip
        for person, pictures, (back,) in zip(batch, from_front, from_three, strict=True):
            yield GeneratedPerson(person, dict(zip(person.targets, pictures, strict=True)), back)


def _run(
    pipeline: IMAGPosePipeline,
    people: list[HeldOutPerson],
    scenario: str,
    sources: list[list[View]],
    targets: list[list[View]],
    steps: int,
    guidance: float,
    seed: int,
) -> list[list[np.ndarray]]:
    """One scenario of several people; uint8 (H, W, 3) per person and target."""
    import torch

    images = pipeline(
        sources=[[view.picture for view in views] for views in sources],
        target_poses=[[view.pose for view in views] for views in targets],
        source_poses=[[view.pose for view in views] for views in sources],
        scenario=scenario,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=[torch.Generator().manual_seed(seed + person.seed) for person in people],
        return_dict=False,
    )[0]
    return [[np.asarray(image) for image in own] for own in images]


def measure_person(generated: GeneratedPerson) -> list[dict]:
    """One record per target.

    Keys: who and what (`seed`, `target`, `yaw`, `kind`, `framing`), then
    `psnr`, `psnr_copy`: dB over the box of the target's true foreground, of T1 and of the source in its place;
    `ssim`, `ssim_oracle`: whole picture, of T1 and of `mean_colour_drawing`; `ssim_box`, `ssim_box_oracle`: in the box;
    `iou`: silhouette of T1 with that of the truth, both found by `find_foreground`; `iou_mask`: that of T1 with the
    renderer's mask; `iou_finder`: that of the truth with the renderer's mask, which says what the finder is worth;
    `pck`, `oks`: key points found in T1 against those asked for (`metrics.keypoints`); `pck_judge`, `oks_judge`: those
    found in the truth;
    `psnr_three`: of T3, only for the target seen from behind.
    """
    person = generated.person
    outputs = np.stack(list(generated.from_front.values()))
    truths = np.stack([view.picture for view in person.targets.values()])
    records = []
    found = zip(find_foreground(outputs), find_foreground(truths), strict=True)
    points = list(zip(find_keypoints(outputs), find_keypoints(truths), strict=True))
    for number, ((name, target), output, (found_output, found_truth)) in enumerate(
        zip(person.targets.items(), outputs, found, strict=True)
    ):
        truth, box = target.picture, foreground_box(target.foreground)
        oracle = mean_colour_drawing(person.front, target)
        record = {
            "seed": person.seed,
            "target": name,
            "yaw": target.spec.yaw,
            "kind": target.kind,
            "framing": target.spec.camera.framing,
            "psnr": psnr(output, truth, box),
            "psnr_copy": psnr(person.front.picture, truth, box),
            "ssim": ssim(output, truth),
            "ssim_oracle": ssim(oracle, truth),
            "ssim_box": ssim(output, truth, box),
            "ssim_box_oracle": ssim(oracle, truth, box),
            "iou": mask_iou(found_output, found_truth),
            "iou_mask": mask_iou(found_output, target.foreground),
            "iou_finder": mask_iou(found_truth, target.foreground),
            **_pose_measures(target, *points[number]),
        }
        if name == "back":
            record["psnr_three"] = psnr(generated.back_from_three, truth, box)
        records.append(record)
    return records


def _pose_measures(target: View, of_output: np.ndarray, of_truth: np.ndarray) -> dict[str, float]:
    height, width = target.foreground.shape
    asked, area = target.pose.keypoints, float(target.foreground.sum())
    counted = counted_points(asked, width, height)
    return {
        f"{name}{end}": value
        for end, found in (("", of_output), ("_judge", of_truth))
        for name, value in (("pck", pck(found, asked, counted)), ("oks", oks(found, asked, counted, area)))
    }


@dataclass(frozen=True, eq=False)
class ShownPerson:
    """What the identity network makes of a person's pictures: float32 (n, 128) each.

    Attributes:
        generated: of T1, in the order of the targets.
        targets: of the truths, in the same order.
        others: of the side and the back view that T1 was not given.
    """

    generated: np.ndarray
    targets: np.ndarray
    others: np.ndarray


def embed_person(generated: GeneratedPerson) -> ShownPerson:
    """What the identity network makes of a person's pictures."""
    person = generated.person
    return ShownPerson(
        embed_people(np.stack(list(generated.from_front.values()))),
        embed_people(np.stack([view.picture for view in person.targets.values()])),
        embed_people(np.stack([person.side.picture, person.back.picture])),
    )


def identity_ranks(people: list[ShownPerson]) -> list[dict[str, float]]:
    """`rank1` of every T1 and `rank1_judge` of its truth, 1 or 0, in the order of people and targets.

    The gallery is the side, the back and the target views of all people; the query's own target is left out, and the
    front view, which was given, is not in it.
    """
    views = [np.concatenate([own.targets, own.others]) for own in people]
    gallery, sizes = np.concatenate(views), [len(own) for own in views]
    owners = np.repeat(np.arange(len(people)), sizes)
    starts = np.cumsum([0, *sizes[:-1]])
    places = np.concatenate([start + np.arange(len(own.targets)) for start, own in zip(starts, people, strict=True)])
    left_out = places[:, None] == np.arange(len(gallery))[None]
    made = np.concatenate([own.generated for own in people])
    ranks = (first_ranks(queries, owners[places], gallery, owners, left_out) for queries in (made, gallery[places]))
    return [{"rank1": float(one), "rank1_judge": float(other)} for one, other in zip(*ranks, strict=True)]


def load_pipeline(model: str) -> IMAGPosePipeline:
    """A pipeline by name or folder, on the GPU if there is one, without progress bars of its own."""
    import diffusers
    import torch
    import transformers

    from imagpose.pipeline import IMAGPosePipeline

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    pipeline = IMAGPosePipeline.from_pretrained(model)
    return pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
