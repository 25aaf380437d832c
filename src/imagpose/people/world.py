"""What a set of rendered people looks like as a whole: grounds, framings and styles. One name in a configuration.

`studio` is what mini learns: plain grounds, mostly full bodies, some people drawn instead of photographed. `varied`
has many places and framings. Source: own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

RENDERER = 3
"""Raised by one with every change that alters what a seed shows: caches of views that were rendered before are refused."""
STYLE_NAMES = ("photographic", "toon", "ink", "low-poly", "watercolour")
HELD_OUT_STYLE = "watercolour"
"""No world draws it, so that models can be judged on a style that they have not seen."""


@dataclass(frozen=True)
class World:
    """Shares of what is drawn per person (ground, style) and per view (framing).

    Attributes:
        name: key of `WORLDS`.
        plain: share of people in front of a plain ground; the others stand in any of `shoot.BACKDROPS`.
        framing: weight per name of `camera.FRAMINGS`.
        styles: weight per name of `STYLE_NAMES`; without the held-out one.
    """

    name: str
    plain: float
    framing: Mapping[str, float]
    styles: Mapping[str, float]

    def style(self, identity_seed: int) -> str:
        """The style of all views of a person."""
        if len(self.styles) == 1:
            return next(iter(self.styles))
        weights = np.array(list(self.styles.values()))
        rng = np.random.default_rng([identity_seed, 0x57E1])
        return list(self.styles)[rng.choice(len(weights), p=weights / weights.sum())]


WORLDS = MappingProxyType(
    {
        world.name: world
        for world in (
            World(
                "studio",
                plain=0.85,
                framing=MappingProxyType({"full": 0.85, "upper": 0.10, "close": 0.05}),
                styles=MappingProxyType({"photographic": 0.88, "toon": 0.04, "ink": 0.04, "low-poly": 0.04}),
            ),
            World(
                "varied",
                plain=0.0,
                framing=MappingProxyType({"full": 0.74, "upper": 0.16, "close": 0.10}),
                styles=MappingProxyType({"photographic": 1.0}),
            ),
        )
    }
)


def find_world(name: str) -> World:
    """The world of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in WORLDS:
        raise ValueError(f"world is {name!r}; it must be one of {', '.join(WORLDS)}")
    return WORLDS[name]


def check_style(name: str) -> str:
    """The name, if it is that of a style.

    Raises:
        ValueError: it is not.
    """
    if name not in STYLE_NAMES:
        raise ValueError(f"style is {name!r}; it must be one of {', '.join(STYLE_NAMES)}")
    return name
