"""The people a model is measured on: rendered when asked for, from seeds that no training sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imagpose.people import TEST_SEEDS, View, ViewSpec, make_identity, render_view, sample_view_specs

__all__ = ["HeldOutPerson", "direction", "held_out_people"]

_DIRECTIONS = ("front", "side", "back", "side")


@dataclass(frozen=True, eq=False)
class HeldOutPerson:
    """Views of one person, all of different poses, in one shoot.

    Attributes:
        seed: of the identity.
        front, side, back: what can be given as sources.
        targets: what is to be generated, keyed by `direction`: one view from the front, one from a side, one from behind.
    """

    seed: int
    front: View
    side: View
    back: View
    targets: dict[str, View]


def direction(spec: ViewSpec) -> str:
    """Whether a view shows the person from the "front", the "side" or the "back", each within 45 degrees."""
    return _DIRECTIONS[round(spec.yaw / 90) % 4]


def held_out_people(count: int, height: int, width: int) -> Iterator[HeldOutPerson]:
    """Render the first `count` people of the test split.

    Sources are among the first four views of an identity (`sample_view_specs`), targets among the second four; of the
    two sides in each the first is taken.

    Args:
        count: number of people.
        height, width: pixels of a view.

    Raises:
        ValueError: there are not as many people in the split.
    """
    if isinstance(count, bool) or not 1 <= count <= len(TEST_SEEDS):
        raise ValueError(f"identities is {count}; 1 to {len(TEST_SEEDS):,} expected")
    return (_render_person(seed, height, width) for seed in TEST_SEEDS[:count])


def _render_person(seed: int, height: int, width: int) -> HeldOutPerson:
    identity = make_identity(seed)
    specs = sample_view_specs(seed, 8)
    sources, targets = (
        {name: render_view(identity, spec, height, width) for name, spec in _first_of_each(part).items()}
        for part in (specs[:4], specs[4:])
    )
    return HeldOutPerson(seed, sources["front"], sources["side"], sources["back"], targets)


def _first_of_each(specs: list[ViewSpec]) -> dict[str, ViewSpec]:
    """The first view from the front, from a side and from the back, in this order."""
    found = {direction(spec): spec for spec in reversed(specs)}
    return {name: found[name] for name in ("front", "side", "back")}
