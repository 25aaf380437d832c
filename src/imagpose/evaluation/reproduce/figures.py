"""Figures 5, 9, 10 and 12: pages of pictures from a data set, a model and other methods' folders. Nothing is measured."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from imagpose.data.dataset import PersonDataset
from imagpose.data.pairs import sample_pairs
from imagpose.data.records import identity_of
from imagpose.devices import process_state
from imagpose.evaluation.model_pictures import Pictures, find_made, generate
from imagpose.evaluation.model_requests import DatasetRequest, ModelEvaluation, ask, model_mark
from imagpose.evaluation.reproduce.items import OURS, STAR
from imagpose.evaluation.reproduce.measuring import Measuring, evaluation_name, model_text
from imagpose.evaluation.reproduce.page import PicturePage
from imagpose.outputs import claim_folder
from imagpose.pictures import load_picture
from imagpose.pipeline.loading import load_pipeline
from imagpose.pose import draw_skeleton
from imagpose.sheets import Block, draw_blocks

_SCENARIOS = {
    "T1": "T1: one source, the target pose repeated",
    "T2": "T2: the source repeated, one pose",
    "T3": "T3: three sources, one pose",
    "star": f"{STAR}: one source, three poses",
}
_MANY_POSES = "1:6"
_SEVERAL = ("1:3", "2:2", "3:3")


@dataclass(frozen=True)
class _Answered:
    """A request with its answers.

    Attributes:
        sources, poses, outputs, truths: pictures; as many poses as outputs.
        pairs: that the outputs answer.
    """

    sources: list[Image.Image]
    poses: list[Image.Image]
    outputs: list[Image.Image]
    truths: list[Image.Image]
    pairs: list[tuple[str, str]]

    @property
    def rows(self) -> list[list[Image.Image | None]]:
        """One row for a single pose; else the sources and skeletons, below them the outputs, below them the true views."""
        if len(self.poses) == 1:
            return [[*self.sources, *self.poses, *self.outputs, *self.truths]]
        empty: list[Image.Image | None] = [None] * len(self.sources)
        return [[*self.sources, *self.poses], [*empty, *self.outputs], [*empty, *self.truths]]


def _block(title: str, answered: Sequence[_Answered]) -> Block:
    """Requests of one scenario, one below the other."""
    sources, poses = answered[0].sources, answered[0].poses
    head = _numbered("source", sources) + _numbered("pose", poses)
    if len(poses) == 1:
        head += [OURS, "truth"]
    else:
        title += " (below each pose: generated, truth)"
    return Block(title, head, [row for own in answered for row in own.rows])


def figure5(measuring: Measuring, model: str, others: Mapping[str, Path], rows: int, pairs: Path | None = None) -> str:
    """Figure 5: rows of source, pose, other methods' pictures, ours (T1) and the truth.

    Args:
        others: folder of each method, as `find_made` takes it; it needs the pairs that are shown, no others.
        rows: how many people are shown.
        pairs: CSV with the columns source, target, whose first rows are shown; None for a fixed choice of one pair a
            person.

    Returns:
        The picture's name; empty in other processes than the first.

    Raises:
        ValueError, OSError: see `ask` and `find_made`; the page cannot be written.
    """
    if not (shown := _answers(measuring, "figure5", model, ("T1",), rows, pairs)):
        return ""
    answered = shown["T1"]
    theirs = [find_made(folder, [own.pairs[0] for own in answered]) for folder in others.values()]
    body = [
        [
            own.sources[0],
            own.poses[0],
            *(load_picture(files[number]) for files in theirs),
            own.outputs[0],
            own.truths[0],
        ]
        for number, own in enumerate(answered)
    ]
    question = "The paper shows rows of source, target pose, other methods and its own model."
    if not others:
        question += " No other method's folder was given (`--baseline NAME=FOLDER`)."
    head = ["source", "pose", *others, OURS, "truth"]
    return _write(measuring, "figure5", "Figure 5: beside other methods", question, model, [Block("", head, body)])


def figure9(measuring: Measuring, model: str, rows: int) -> str:
    """Figure 9: the same people in the four scenarios; arguments, result and errors as `figure5`."""
    if not (shown := _answers(measuring, "figure9", model, tuple(_SCENARIOS), rows)):
        return ""
    blocks = [_block(title, shown[scenario]) for scenario, title in _SCENARIOS.items()]
    question = "The paper shows its model with one source and with several, and with one pose and with several."
    return _write(measuring, "figure9", "Figure 9: the scenarios", question, model, blocks)


def figure10(measuring: Measuring, model: str, rows: int) -> str:
    """Figure 10: more people, one source and six poses each; arguments, result and errors as `figure5`."""
    question = "More results: one source and six poses, which take two canvases of 2x2."
    return _requests_page(measuring, "figure10", "Figure 10: more poses", question, model, (_MANY_POSES,), rows)


def figure12(measuring: Measuring, model: str, rows: int) -> str:
    """Figure 12: one to three sources and two or three poses; arguments, result and errors as `figure5`."""
    question = "More results: several sources and several poses in one request."
    return _requests_page(
        measuring, "figure12", "Figure 12: several sources and poses", question, model, _SEVERAL, rows
    )


def _requests_page(
    measuring: Measuring, item: str, title: str, question: str, model: str, requests: Sequence[str], rows: int
) -> str:
    if not (shown := _answers(measuring, item, model, requests, rows)):
        return ""
    blocks = []
    for name, answered in shown.items():
        sources, poses = name.split(":")
        blocks.append(_block(f"{sources} source{'' if sources == '1' else 's'}, {poses} poses", answered))
    return _write(measuring, item, title, question, model, blocks)


def _numbered(word: str, pictures: Sequence[Image.Image]) -> list[str]:
    return [word] if len(pictures) == 1 else [f"{word} {number + 1}" for number in range(len(pictures))]


def _answers(
    measuring: Measuring, item: str, model: str, scenarios: Sequence[str], rows: int, pairs: Path | None = None
) -> dict[str, list[_Answered]]:
    """Per scenario one answered request a person, the same people for all; nothing in other processes than the first."""
    if rows < 1:
        raise ValueError(f"rows is {rows}; at least 1 expected")
    measuring.start(item)
    if not process_state().is_main_process:
        return {}
    asked = ask(ModelEvaluation(model, measuring.data, scenarios, pairs=pairs))
    listed = asked.pairs if pairs is not None else sample_pairs(asked.pairs, len(asked.pairs))
    firsts = {name: _first_requests(requests, listed) for name, requests in asked.requests.items()}
    people = [
        who
        for who in dict.fromkeys(identity_of(pair[0]) for pair in listed)
        if all(who in own for own in firsts.values())
    ]
    if not people:
        raise ValueError(f"nobody in {measuring.data} has enough views for {', '.join(scenarios)}")
    chosen = {name: [own[who] for who in people[:rows]] for name, own in firsts.items()}
    pictures = generate_pictures(
        measuring, model, [own for requests in chosen.values() for own in requests], asked.dataset
    )
    return {name: [_answered(own, asked.dataset, pictures) for own in requests] for name, requests in chosen.items()}


def _first_requests(requests: Sequence[DatasetRequest], listed: Sequence[tuple[str, str]]) -> dict[str, DatasetRequest]:
    """Per person the request of the first listed pair that one answers whole: the last poses of a source may be too few."""
    most = max((len(request.targets) for request in requests), default=0)
    whole = [request for request in requests if len(request.targets) == most]
    of_pair = {pair: request for request in reversed(whole) for pair in request.pairs}
    found: dict[str, DatasetRequest] = {}
    for pair in listed:
        if pair in of_pair:
            found.setdefault(identity_of(pair[0]), of_pair[pair])
    return found


def generate_pictures(
    measuring: Measuring, model: str, requests: Sequence[DatasetRequest], dataset: PersonDataset
) -> Pictures:
    """Generate what is missing; the same requests of other figures are shared."""
    sampling = measuring.of_model(model).sampling
    folder = measuring.out / "pictures" / f"{evaluation_name(model)}-{re.sub('[^0-9a-z.]+', '-', str(sampling))}"
    claim_folder(folder, {"model": model_mark(model), "data": dataset.info.fingerprint, "sampling": str(sampling)})
    pictures = Pictures(folder)
    pipeline = load_pipeline(model, sampling.scheduler, None, "fp32", "torch").to(process_state().device)
    pipeline.set_progress_bar_config(disable=True)
    for name in dict.fromkeys(request.name for request in requests):
        own = [request for request in requests if request.name == name]
        for _ in generate(pipeline, own, dataset, pictures, 0, sampling):
            pass
    return pictures


def _answered(request: DatasetRequest, dataset: PersonDataset, pictures: Pictures) -> _Answered:
    records = dataset.by_name(identity_of(request.sources[0]))
    return _Answered(
        sources=[records[name].decode() for name in request.sources],
        poses=[draw_skeleton(records[name].pose) for name in request.targets],
        outputs=[load_picture(pictures.generated(request.name, pair, 0)) for pair in request.pairs],
        truths=[records[name].decode() for name in request.targets],
        pairs=request.pairs,
    )


def _write(measuring: Measuring, item: str, title: str, question: str, model: str, blocks: Sequence[Block]) -> str:
    sampled = measuring.of_model(model)
    setting = [model_text(model), sampled.sampling_text, "One sample each, none chosen."]
    return measuring.write_pictures(PicturePage(item, title, question, setting, draw_blocks(blocks)))
