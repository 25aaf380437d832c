"""From the records of all pairs to a summary, a table and a sheet of pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from imagpose.evaluation.held_out import HeldOutPerson
from imagpose.io import partial_file, write_json, write_text
from imagpose.pose import draw_skeleton
from imagpose.version import __version__

__all__ = ["Measure", "Settings", "draw_rows", "markdown_table", "summarise", "write_report"]


@dataclass(frozen=True)
class Settings:
    """What decides the numbers."""

    model: str
    identities: int
    height: int
    width: int
    steps: int
    guidance: float
    seed: int


@dataclass(frozen=True)
class Measure:
    """One row of the table.

    Attributes:
        name: what is measured; beside: what it is compared with.
        pairs: number of pictures.
        value, reference: means over the pictures, of the model and of what it is compared with.
        difference: value - reference, and `error` the standard error of its mean, people being the independent draws;
            of the value alone where `reference` is no rival.
        required: the least that was asked for (of `difference`, or of `value` where `reference` is no rival); None
            where nothing was.
        strict: more than `required` is asked for, not just as much.
        rivals: whether the difference from the reference is what counts.
    """

    name: str
    beside: str
    pairs: int
    value: float
    reference: float
    difference: float
    error: float
    required: float | None
    strict: bool
    rivals: bool

    @property
    def met(self) -> bool | None:
        """Whether what was asked for is reached; None where nothing was."""
        if self.required is None:
            return None
        reached = self.difference if self.rivals else self.value
        return reached > self.required if self.strict else reached >= self.required


def summarise(pairs: list[dict]) -> list[Measure]:
    """The rows of the table, from the records of `protocol.measure_person`."""
    behind = [pair for pair in pairs if pair["target"] == "back"]
    oracle, finder, judge = "mean colour per part", "finder, on truth", "judge, on truth"
    box, outline = "SSIM in the foreground box: T1", "silhouette IoU with the"
    return [
        _measure(pairs, "PSNR over the foreground box, dB: T1", "psnr", "copy of the source", "psnr_copy", 4.0),
        _measure(pairs, "SSIM: T1", "ssim", oracle, "ssim_oracle", 0.0, strict=True),
        _measure(pairs, box, "ssim_box", oracle, "ssim_box_oracle", None),
        _measure(pairs, f"{outline} truth: T1", "iou", finder, "iou_finder", 0.9, rivals=False),
        _measure(pairs, f"{outline} mask: T1", "iou_mask", finder, "iou_finder", None, rivals=False),
        _measure(pairs, "PCK@0.1 of the asked key points: T1", "pck", judge, "pck_judge", None, rivals=False),
        _measure(pairs, "OKS with the asked key points: T1", "oks", judge, "oks_judge", None, rivals=False),
        _measure(pairs, "identity rank-1: T1", "rank1", judge, "rank1_judge", None, rivals=False),
        _measure(behind, "PSNR over the box, dB, from behind: T3", "psnr_three", "T1", "psnr", 0.0, strict=True),
    ]


def _measure(
    pairs: list[dict], name: str, key: str, beside: str, reference_key: str, required: float | None,
    strict: bool = False, rivals: bool = True,
) -> Measure:  # fmt: skip
    values = np.array([pair[key] for pair in pairs])
    references = np.array([pair[reference_key] for pair in pairs])
    counted = values - references if rivals else values
    _, person = np.unique([pair["seed"] for pair in pairs], return_inverse=True)
    of_people = np.bincount(person, counted) / np.bincount(person)
    error = of_people.std(ddof=1) / len(of_people) ** 0.5 if len(of_people) > 1 else 0.0
    difference = float((values - references).mean())
    return Measure(
        name, beside, len(pairs), float(values.mean()), float(references.mean()), difference, float(error),
        required, strict, rivals,
    )  # fmt: skip


def markdown_table(measures: list[Measure]) -> str:
    """The rows as a Markdown table."""
    lines = ["| measure | pictures | value | beside | difference | required | met |", "| --- " * 7 + "|"]
    for measure in measures:
        digits = 2 if "dB" in measure.name else 3
        error = f" ± {measure.error:.{digits}f}"
        cells = [
            measure.name,
            str(measure.pairs),
            f"{measure.value:.{digits}f}" + ("" if measure.rivals else error),
            f"{measure.reference:.{digits}f} {measure.beside}",
            f"{measure.difference:+.{digits}f}{error}" if measure.rivals else "",
            _required(measure, digits),
            {True: "yes", False: "no", None: ""}[measure.met],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _required(measure: Measure, digits: int) -> str:
    if measure.required is None:
        return ""
    sign = ">" if measure.strict else "at least"
    return f"{sign} {measure.required:{'+' if measure.rivals and measure.required else ''}.{digits}f}"


def draw_rows(person: HeldOutPerson, from_front: dict[str, np.ndarray], back_from_three: np.ndarray) -> np.ndarray:
    """One row: the source, then skeleton, T1 and truth of every target, then T3 of the one from behind; uint8."""
    cells = [person.front.picture]
    for name, target in person.targets.items():
        cells += [np.asarray(draw_skeleton(target.pose)), from_front[name], target.picture]
    return np.concatenate([*cells, back_from_three], axis=1)


def write_report(
    out: Path, settings: Settings, measures: list[Measure], pairs: list[dict], rows: np.ndarray, seconds: float
) -> None:
    """Write `summary.json`, `table.md`, `pairs.json` and `rows.png`, each complete or not at all."""
    versions = {name: version(name) for name in ("torch", "diffusers", "transformers", "numpy", "scikit-image")}
    summary = {
        "settings": asdict(settings),
        "measures": [asdict(measure) | {"met": measure.met} for measure in measures],
        "seconds": round(seconds, 1),
        "versions": {"imagpose": __version__, **versions},
    }
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "pairs.json", pairs)
    with partial_file(out / "rows.png") as partial:
        Image.fromarray(rows).save(partial, format="PNG")
    write_text(out / "table.md", _heading(settings) + markdown_table(measures) + "\n")
    write_json(out / "summary.json", summary)


def _heading(settings: Settings) -> str:
    return (
        f"Model {settings.model}, {settings.identities} held-out synthetic people, {settings.height}x{settings.width},"
        f" {settings.steps} steps, guidance {settings.guidance:g}, seed {settings.seed}; imagpose {__version__}.\n\n"
    )
