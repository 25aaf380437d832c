"""What a request may ask for beside photos and poses, for the command, the page and Python: of pictures, of a film."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from imagpose.films import LEAST_FPS, MOST_FPS
from imagpose.pictures import parse_size
from imagpose.pipeline.loading import settled_sampling
from imagpose.pipeline.requests import check_size
from imagpose.pipeline.sampling import Sampling
from imagpose.pixel_marks import NO_MARK, check_pixel_mark
from imagpose.pose.retarget import PLACES
from imagpose.pose.sequence import SMOOTHING
from imagpose.serving.ground import KEEP, check_background
from imagpose.views import SCENARIOS, ViewGrid, fitting_grid

if TYPE_CHECKING:
    from imagpose.pipeline import IMAGPosePipeline

AUTO_GRID = "auto"
_OF_FILMS = {"grid", "size", "crop", "retarget", "place", "mark", *(own.name for own in fields(Sampling))}
_MOST_SAMPLES = 1000
_MOST_BETWEEN = 1000


@dataclass(frozen=True)
class GenerateSettings:
    """Settings of `generate`; the command's options have the same names.

    Attributes:
        scenario: see `views.plan`.
        grid: text such as "2x3"; "auto": the smallest of 2x2, 2x3 and 3x3 that holds everything; None: 2x2.
        size: height and width of the pictures; None: of the views that the model was trained on.
        samples: answers to each pose, with seeds that follow one another.
        keep_best: of the samples of a pose, only the one with the highest score (`scores.Scores`) is kept.
        min_score: pictures with less are marked as rejected.
        anchor: good pictures of the first canvas become sources of the others.
        background: "keep", "transparent" or a colour.
        crop: photos are framed around their person.
        retarget: poses are fitted to the body in the sources, where that body's pose is known or can be detected.
        place: see `pose.retarget.retarget`.
        mark: one of `pixel_marks.PIXEL_MARKS`, put on finished pictures.
        sampling: settings of sampling.

    Raises:
        ValueError: a value is not legal, or two do not go together.
    """

    scenario: str | None = None
    grid: str | None = None
    size: tuple[int, int] | None = None
    samples: int = 1
    keep_best: bool = False
    min_score: float | None = None
    anchor: bool = False
    background: str = KEEP
    crop: bool = True
    retarget: bool = True
    place: str = PLACES[0]
    mark: str = NO_MARK
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if not _is_whole(self.samples) or not 1 <= self.samples <= _MOST_SAMPLES:
            raise ValueError(f"samples is {self.samples!r}; a whole number from 1 to {_MOST_SAMPLES} expected")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score is {self.min_score!r}; a number from 0 to 1 expected")
        if self.scenario is not None and self.scenario not in SCENARIOS:
            raise ValueError(f"scenario {self.scenario!r}: one of {', '.join(SCENARIOS)} expected, or none")
        if self.anchor and self.scenario is not None:
            raise ValueError(
                f"anchor adds sources, which scenario {self.scenario} does not take: leave one of them out"
            )
        if self.grid not in (None, AUTO_GRID):
            ViewGrid.parse(str(self.grid))
        if self.size is not None:
            for name, side in zip(("height", "width"), self.size, strict=True):
                check_size(name, side)
        check_background(self.background)
        check_pixel_mark(self.mark, *(self.size or (None, None)))
        if self.place not in PLACES:
            raise ValueError(f"place is {self.place!r}; one of {', '.join(PLACES)} expected")
        if self.place != PLACES[0] and not self.retarget:
            raise ValueError(f"place {self.place} is found by fitting the pose to the body: leave --no-retarget out")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> GenerateSettings:
        """Settings by name, those of `Sampling` among them.

        Raises:
            ValueError: no setting has this name, or as the class.
        """
        return cls().replaced(values)

    def replaced(self, values: Mapping[str, Any]) -> GenerateSettings:
        """The settings with some replaced by name, those of `Sampling` among them.

        Raises:
            ValueError: no setting has this name, or as the class.
        """
        of_sampling = {own.name for own in fields(Sampling)}
        known = {own.name for own in fields(self)} | of_sampling
        if unknown := sorted(set(values) - known):
            raise ValueError(f"no setting is named {unknown[0]!r}; known are {', '.join(sorted(known))}")
        own = {name: value for name, value in values.items() if name not in of_sampling}
        if drawn := {name: value for name, value in values.items() if name in of_sampling}:
            own["sampling"] = replace(own.get("sampling", self.sampling), **drawn)
        return replace(self, **own)

    def view_grid(self, num_sources: int, num_targets: int) -> ViewGrid:
        """The grid of a request."""
        if self.grid == AUTO_GRID:
            return fitting_grid(num_sources, num_targets)
        return ViewGrid(2, 2) if self.grid is None else ViewGrid.parse(self.grid)

    def settled(self, model: str | IMAGPosePipeline) -> GenerateSettings:
        """With the model's own steps and guidance where none are given; see `pipeline.loading.settled_sampling`."""
        return replace(self, sampling=settled_sampling(self.sampling, model))

    def picture_size(self, pipeline: IMAGPosePipeline) -> tuple[int, int]:
        """Height and width of a pipeline's pictures."""
        return self.size or (pipeline.config.view_height, pipeline.config.view_width)

    def record(self) -> dict[str, Any]:
        """All settings, flat, as JSON holds them; without `mark` where there is none, as before there were any."""
        values = {own.name: getattr(self, own.name) for own in fields(self) if own.name != "sampling"}
        if self.mark == NO_MARK:
            del values["mark"]
        values["size"] = None if self.size is None else f"{self.size[0]}x{self.size[1]}"
        return {**values, **asdict(self.sampling), "guidance_interval": list(self.sampling.guidance_interval)}


@dataclass(frozen=True)
class AnimateSettings:
    """Settings of `animate`; the command's options have the same names.

    Attributes:
        between: poses put between each two that follow one another, see `pose.sequence.poses_between`.
        overlap: finished frames on each canvas, beside the sources: the first, then the latest ones.
        smooth: one of `pose.sequence.SMOOTHING`.
        fps: frames a second; None: the clip's, or 25.
        drawing: settings that a film shares with pictures: grid, size, crop, retarget, place, mark, and those of sampling.

    Raises:
        ValueError: a value is not legal.
    """

    between: int = 0
    overlap: int = 1
    smooth: str = SMOOTHING[0]
    fps: float | None = None
    drawing: GenerateSettings = field(default_factory=GenerateSettings)

    def __post_init__(self) -> None:
        if not _is_whole(self.between) or not 0 <= self.between <= _MOST_BETWEEN:
            raise ValueError(f"between is {self.between!r}; a whole number from 0 to {_MOST_BETWEEN} expected")
        if not _is_whole(self.overlap) or self.overlap < 0:
            raise ValueError(f"overlap is {self.overlap!r}; a number of finished frames from 0 expected")
        if self.smooth not in SMOOTHING:
            raise ValueError(f"smoothing {self.smooth!r}: one of {', '.join(SMOOTHING)} expected")
        if self.fps is not None and not LEAST_FPS <= self.fps <= MOST_FPS:
            raise ValueError(f"fps is {self.fps!r}; {LEAST_FPS} to {MOST_FPS} frames a second expected")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> AnimateSettings:
        """Settings by name, those of `drawing` among them.

        Raises:
            ValueError: no setting has this name, or as the class.
        """
        shared = {*_OF_FILMS, "sampling"}
        known = {"between", "overlap", "smooth", "fps"} | shared
        if unknown := sorted(set(values) - known):
            raise ValueError(f"no setting of a film is named {unknown[0]!r}; known are {', '.join(sorted(known))}")
        own = {name: value for name, value in values.items() if name not in shared}
        return cls(**own, drawing=GenerateSettings.of({name: values[name] for name in values if name in shared}))

    def record(self) -> dict[str, Any]:
        """All settings, flat, as JSON holds them."""
        drawn = {name: value for name, value in self.drawing.record().items() if name in _OF_FILMS}
        own = {"between": self.between, "overlap": self.overlap, "smooth": self.smooth, "fps": self.fps}
        return {**own, **drawn}


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def read_settings(values: Mapping[str, Any], known: Collection[str] | None = None) -> dict[str, Any]:
    """Settings by name, as `GenerateSettings.of` takes them, from values as JSON holds them; sizes are texts (256x176).

    Args:
        values: None and "" stand for the default, and are left out.
        known: names that may be given, those of `AnimateSettings` among them; None: all of `GenerateSettings`.

    Raises:
        ValueError: no setting has this name, or its value is of another kind.
    """
    names = _READ if known is None else known
    given = {name: value for name, value in values.items() if value not in (None, "")}
    if unknown := sorted(set(given) - set(names)):
        raise ValueError(f"no setting is named {unknown[0]!r}; known are {', '.join(names)}")
    return {name: _READ_ALL[name](name, value) for name, value in given.items()}


def _text(name: str, value: Any) -> str:
    return str(value)


def _size(name: str, value: Any) -> tuple[int, int]:
    return parse_size(str(value).replace(" ", ""))


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value % 1 != 0:  # NaN of what is not finite
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return int(value)


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > sys.float_info.max:
        raise ValueError(f"{name} must be a number, got {value!r}")
    return float(value)


def _interval(name: str, value: Any) -> tuple[float, ...]:
    return tuple(_number(name, own) for own in value) if isinstance(value, (list, tuple)) else (_number(name, value),)


_READ: dict[str, Callable[[str, Any], Any]] = {
    "scenario": _text, "grid": _text, "size": _size, "samples": _whole, "keep_best": _switch, "min_score": _number,
    "anchor": _switch, "background": _text, "crop": _switch, "retarget": _switch, "place": _text, "mark": _text,
    "steps": _whole, "guidance_scale": _number, "guidance": _text, "guidance_interval": _interval, "guidance_every": _whole,
    "features_every": _whole, "scheduler": _text, "seed": _whole,
}  # fmt: skip
_READ_ALL = {**_READ, "between": _whole, "overlap": _whole, "smooth": _text, "fps": _number}
