"""The pages' plots. Needs the extra `plots` (matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from imagpose.evaluation.reproduce.measured import Measured, shown_metrics
from imagpose.evaluation.rows import Metric

__all__ = ["check_matplotlib", "draw_lines", "draw_speed"]

_COLOUR = "#3b6ea5"
_MOST = 6
_LEAST_SPAN = 0.02  # of SSIM


def check_matplotlib() -> None:
    """Sees that plots can be drawn, before hours are spent on what they show.

    Raises:
        ValueError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ValueError("the plots need matplotlib: pip install 'imagpose[plots]'")


def draw_lines(path: Path, title: str, lines: Sequence[Measured]) -> None:
    """A panel per measure: the mean of each line of the table and its 95 % interval."""
    metrics = shown_metrics(lines)[:_MOST]
    figure, panels = _figure(len(metrics), len(lines))
    for panel, (protocol, metric) in zip(panels, metrics, strict=True):
        _points(panel, protocol, metric, lines)
    figure.suptitle(title)
    figure.savefig(path, format="png")


def _points(panel: Any, protocol: str, metric: Metric, lines: Sequence[Measured]) -> None:
    points: list[tuple[str, float, float, float]] = []
    for line in lines:
        row = line.rows.get((protocol, metric.key))
        if row is not None and row.value is not None:
            low, high = (row.value if end is None else end for end in (row.low, row.high))
            points.append((line.name, low, row.value, high))
    for place, (_, low, value, high) in enumerate(points):
        panel.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", color=_COLOUR, capsize=3)
    ends = [end for _, low, _, high in points for end in (low, high)]
    margin = (max(ends) - min(ends)) * 0.15 or abs(max(ends)) * 0.1 or 1.0
    panel.set_xlim(min(ends) - margin, max(ends) + margin)
    panel.set_yticks(range(len(points)), [name for name, *_ in points])
    panel.invert_yaxis()
    panel.set_title(f"{metric.name}, {protocol} ({'higher' if metric.higher else 'lower'} is better)", fontsize=9)


def draw_speed(path: Path, points: Sequence[tuple[str, str, float, float]]) -> None:
    """Figure 8: seconds against SSIM.

    Args:
        points: (series, label, seconds per distinct picture, SSIM), those of a series in the order of their line.
    """
    from matplotlib.ticker import LogLocator

    figure, (panel,) = _figure(1, 8)
    for series in dict.fromkeys(own for own, *_ in points):
        own = [(label, seconds, ssim) for name, label, seconds, ssim in points if name == series]
        panel.plot([seconds for _, seconds, _ in own], [ssim for *_, ssim in own], marker="o", label=series)
        for label, seconds, ssim in own:
            panel.annotate(
                f"{label} steps", (seconds, ssim), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=8
            )
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("")
    panel.margins(0.12)
    low, high = panel.get_ylim()
    missing = max(0.0, _LEAST_SPAN - (high - low)) / 2  # small differences are to look small
    panel.set_ylim(low - missing, high + missing)
    panel.set_xlabel("seconds per distinct picture (logarithmic)")
    panel.set_ylabel("SSIM, clean")
    panel.legend()
    figure.suptitle("Figure 8")
    figure.savefig(path, format="png")


def _figure(panels: int, lines: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    columns = min(panels, 2)
    rows = -(-panels // columns)
    figure = Figure(figsize=(5.2 * columns, (0.9 + 0.32 * lines) * rows), layout="constrained", dpi=110)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for empty in axes[panels:]:
        empty.set_axis_off()
    return figure, axes[:panels]
