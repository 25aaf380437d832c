"""How an item is measured and written: evaluations that items share, the page with its plot, or with its pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imagpose.data.info import DatasetInfo, read_info
from imagpose.devices import process_state
from imagpose.evaluation.model import evaluate_model
from imagpose.evaluation.model_requests import PAPER_GRID, ModelEvaluation, model_mark
from imagpose.evaluation.reproduce.page import (
    PicturePage,
    ResultPage,
    check_matplotlib,
    draw_lines,
    write_page,
    write_picture_page,
)
from imagpose.models.folder import EMBEDDED_MODELS
from imagpose.outputs import check_free_space, check_new_files, check_output_folder, staged_folder
from imagpose.pipeline.loading import settled_sampling
from imagpose.pipeline.sampling import Sampling
from imagpose.views import ViewGrid

_PAGE_BYTES = 1_000_000  # of a page and its plot


@dataclass(frozen=True)
class Measuring:
    """How and on what an item is measured.

    Attributes:
        out: folder of the page, the plot, the runs and the evaluations; the same command continues in it.
        data: data set of `imagpose prepare` with a split "test".
        sampling: of all pictures.
        limit: at most so many pairs, always the same ones; None for all.
        command: that was given, for the page.
    """

    out: Path
    data: Path
    sampling: Sampling
    limit: int | None
    command: str

    @property
    def info(self) -> DatasetInfo:
        """Of the data set."""
        return read_info(self.data)

    def of_model(self, model: str) -> Measuring:
        """With the model's own steps and guidance where none are given."""
        return replace(self, sampling=settled_sampling(self.sampling, model))

    def evaluate(
        self,
        name: str,
        model: str,
        scenarios: Sequence[str],
        others: Mapping[str, Path] | None = None,
        grid: ViewGrid = PAPER_GRID,
    ) -> Path:
        """Measure a model; returns the evaluation's folder when all processes are done.

        Items that give the same `name` share the pictures of the scenarios that they share.
        """
        sampling = self.of_model(model).sampling
        drawn = re.sub(" steps?, guidance", "", str(sampling)).replace(",", "").replace(" ", "-")
        folder = self.out / "evaluations" / f"{name}-{drawn}-{self.limit or 'all'}"
        asked = ModelEvaluation(
            model, self.data, scenarios, (grid,), limit=self.limit, sampling=sampling, others=others or {}
        )
        evaluate_model(folder, asked)
        process_state().wait_for_everyone()
        return folder

    def start(self, item: str) -> None:
        """See that an item can be drawn and written, before hours are spent; join the processes that were started together.

        Raises:
            ValueError, OSError: matplotlib is missing; the folder cannot be written, its disk is full, or the item's page or
                plot is there and no command wrote it.
        """
        check_matplotlib()
        check_output_folder(self.out)
        check_new_files(self.out, (f"{item}.md", f"{item}.png", f"{item}.json"), overwrite=True)
        check_free_space(self.out, _PAGE_BYTES)
        process_state()

    def write(self, page: ResultPage, draw: Callable[[Path], None] | None = None) -> str:
        """Write the page, with what all pages say, and its plot: both or none.

        Args:
            draw: writes the plot; None for one of all lines but the last, which is of real pictures.

        Returns:
            The page's table, Markdown; empty in other processes than the first.
        """
        if not process_state().is_main_process:
            return ""
        pairs = max(len(own) for line in page.lines for own in line.values.values())
        sampled = f"{pairs:,} pairs of test views, one sample per pair, with noise that depends on the request only."
        with staged_folder(self.out, overwrite=True) as stage:
            plot = stage / f"{page.item}.png"
            draw(plot) if draw else draw_lines(plot, page.title, page.lines[:-1])
            return write_page(stage, replace(page, setting=[*page.setting, sampled]), self.info, self.command)

    def write_pictures(self, page: PicturePage) -> str:
        """Write a page that shows pictures and measures nothing; returns the name of its picture."""
        with staged_folder(self.out, overwrite=True) as stage:
            write_picture_page(stage, page, self.info, self.command)
        return f"{page.item}.png"

    @property
    def sampling_text(self) -> str:
        """A sentence for the page."""
        return f"{self.sampling.settled({})}."


def model_text(model: str) -> str:
    """A sentence for the page; the digest tells models of one name apart."""
    name, digest = model_mark(model)
    return f"Model: {name}, digest {digest[:12]}." if digest else f"Model: {name}."


def evaluation_name(model: str) -> str:
    """Name of the evaluation of a model that was not trained here; folders of the same name differ by their content."""
    name, digest = model_mark(model)
    return f"{name}-{digest[:8]}" if digest and model not in EMBEDDED_MODELS else name.replace("/", "--")
