"""The demonstration: all scenarios on held-out synthetic people that ship with the package (`imagpose demo`)."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from imagpose.models.folder import model_name
from imagpose.outputs import check_replaceable, result_folder
from imagpose.pictures import load_picture
from imagpose.pipeline.loading import load_pipeline, settled_sampling
from imagpose.pipeline.sampling import Sampling
from imagpose.pose import Pose, draw_skeleton, read_pose
from imagpose.provenance import Origin, save_generated
from imagpose.serving.page import Comparison, Example, build_page
from imagpose.serving.results import skeleton_size
from imagpose.sheets import Cell, SheetSection, draw_sheet
from imagpose.views import ViewGrid, plan

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

PEOPLE_FOLDER = Path(__file__).parent / "demo_people"
FRONT, BACK, SIDE = 0, 1, 2  # of every demonstration person: the first three views, see tools/make_demo_people.py


@dataclass(frozen=True)
class DemoView:
    """One rendered view of a person: its picture and its pose."""

    picture: Image.Image
    pose: Pose


@dataclass(frozen=True)
class DemoCase:
    """One request of the demonstration.

    Args:
        person: seed of the person.
        sources, targets: numbers of the person's views.
    """

    name: str
    title: str
    text: str
    person: str
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    scenario: str | None = None
    grid: ViewGrid = ViewGrid(2, 2)

    @property
    def folder(self) -> str:
        return self.name.lower().replace("*", "-star").replace(" ", "-")


CASES = (
    DemoCase(
        "T1",
        "one picture, one pose",
        "The source takes one slot, the other three hold the same target pose. One of the three results is returned,"
        " chosen by the seed. Each pose is a canvas of its own.",
        person="2000006",
        sources=(FRONT,),
        targets=(3, 4, 5),
        scenario="T1",
    ),
    DemoCase(
        "T2",
        "the same picture three times, one pose",
        "The source fills three slots, the fourth is generated. Each pose is a canvas of its own.",
        person="2000007",
        sources=(FRONT,),
        targets=(3, 4, 5),
        scenario="T2",
    ),
    DemoCase(
        "T3",
        "three pictures, one pose",
        "Front, back and side are given, so the model need not guess what a single picture hides.",
        person="2000017",
        sources=(FRONT, BACK, SIDE),
        targets=(3, 4, 5),
        scenario="T3",
    ),
    DemoCase(
        "IMAGPose*",
        "one picture, three poses in one pass",
        "Three different target poses share a canvas with the source, so the results agree with each other.",
        person="2000015",
        sources=(FRONT,),
        targets=(4, 5, 6),
        scenario="star",
    ),
    DemoCase(
        "Six views",
        "one picture, five poses in one pass",
        "A 2 x 3 canvas: more than the paper's four views at a time.",
        person="2000003",
        sources=(FRONT,),
        targets=(3, 4, 5, 6, 7),
        grid=ViewGrid(2, 3),
    ),
)


def run_demo(out: Path, model: str = "mini", sampling: Sampling = Sampling(), overwrite: bool = False) -> Path:
    """Runs all cases and writes, per case, a folder of PNG files, and `index.html` with everything in it.

    Args:
        out: folder for the results; nothing appears in it until all cases are done.
        model, sampling, overwrite: as for `generate.generate`.

    Returns:
        the page.

    Raises:
        ValueError, OSError: the model is not there, a setting is not legal, or `out` cannot be written.
    """
    out = Path(out)
    check_replaceable(out, overwrite)
    sampling = settled_sampling(sampling, model)
    people = read_people(PEOPLE_FOLDER)
    pipeline = load_pipeline(model, sampling.scheduler)
    with result_folder(out, overwrite) as stage:
        name = model_name(model)
        examples = [_run_case(pipeline, case, people, stage, name, sampling) for case in CASES]
        settings = f"{replace(sampling, seed=0)}, seed {sampling.seed}"
        (stage / "index.html").write_text(build_page(examples, name, settings), encoding="utf-8")
    return out / "index.html"


def read_people(folder: Path) -> dict[str, list[DemoView]]:
    """The people in `folder`, one subfolder each, by name; each a list of views 0, 1, ..."""
    return {person.name: _read_person(person) for person in sorted(folder.iterdir()) if person.is_dir()}


def _read_person(folder: Path) -> list[DemoView]:
    views = []
    for index in range(len(list(folder.glob("*.png")))):
        picture = load_picture(folder / f"{index}.png")
        views.append(DemoView(picture, read_pose(folder / f"{index}.json", picture=(picture.height, picture.width))))
    return views


def _run_case(
    pipeline: "IMAGPosePipeline",
    case: DemoCase,
    people: dict[str, list[DemoView]],
    stage: Path,
    model: str,
    sampling: Sampling,
) -> Example:
    import torch

    person = people[case.person]
    sources = [person[index] for index in case.sources]
    targets = [person[index] for index in case.targets]
    pipeline.set_progress_bar_config(desc=case.name)
    started = time.perf_counter()
    outputs: list[Image.Image] = pipeline(
        sources=[view.picture for view in sources],
        source_poses=[view.pose for view in sources],
        target_poses=[view.pose for view in targets],
        grid=case.grid,
        scenario=case.scenario,
        **sampling.arguments(),
        generator=torch.Generator().manual_seed(sampling.seed),
        return_dict=False,
    )[0]
    seconds = time.perf_counter() - started

    canvas = plan(len(sources), len(targets), case.grid, case.scenario).canvases[0]
    roles = [slot.role for slot in canvas.slots]
    example = Example(
        name=case.name,
        title=case.title,
        text=case.text,
        roles=[roles[start : start + case.grid.cols] for start in range(0, len(roles), case.grid.cols)],
        sources=[view.picture for view in sources],
        comparisons=[
            Comparison(draw_skeleton(view.pose, *skeleton_size(view.pose)), output, view.picture)
            for output, view in zip(outputs, targets, strict=True)
        ],
        seconds=seconds,
    )
    _write_case(stage / case.folder, example, Origin(model, sampling.seed))
    return example


def _write_case(folder: Path, example: Example, origin: Origin) -> None:
    folder.mkdir()
    for index, own in enumerate(example.comparisons):
        save_generated(own.output, folder / f"target-{index}.png", origin)
    cells = [Cell([own.skeleton, own.output, own.truth]) for own in example.comparisons]
    sheet = draw_sheet(
        [
            SheetSection("sources", [Cell([picture]) for picture in example.sources]),
            SheetSection("target pose, generated, truth", cells),
        ]
    )
    save_generated(sheet, folder / "sheet.png", replace(origin, composite=True))
