"""What is generated for a set: for each picture its source, whose pose it takes, its camera and name. Source: own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from imagpose.data.reid import GENERATED_FROM, ReidPicture, market_name

CAMERAS = ("source", "donor", "new")
"""Whose camera a generated picture is labelled with: the source's, the donor's of the pose, or one of its own."""
_AT_ONCE = 3  # poses of one source: what a 2x2 canvas holds beside it


@dataclass(frozen=True)
class WantedPicture:
    """One picture to generate.

    Attributes:
        name: of its file.
        camera: of its label.
        donor: who gives the pose.
    """

    name: str
    camera: int
    donor: ReidPicture


@dataclass(frozen=True)
class WantedGroup:
    """Pictures of one person that are drawn together.

    Attributes:
        identity: whose.
        source: a real picture of the person.
        pictures: at most three.
        seed: of the noise.
    """

    identity: int
    source: ReidPicture
    pictures: tuple[WantedPicture, ...]
    seed: int


def counts_per_identity(real: Sequence[ReidPicture], per_identity: int | None, full: int) -> dict[int, int]:
    """How many pictures each identity gets.

    Args:
        real: the pictures that are used.
        per_identity: so many for each; None: as many as fill the set to `full` pictures, spread evenly.
        full: pictures of the whole set.

    Raises:
        ValueError: nothing is missing to the full set and no number is given.
    """
    identities = sorted({own.identity for own in real})
    if per_identity is not None:
        return dict.fromkeys(identities, per_identity)
    each, more = divmod(full - len(real), len(identities))
    if full <= len(real):
        raise ValueError("the subset is the whole set, so nothing fills it: give --per-identity")
    return {identity: each + (place < more) for place, identity in enumerate(identities)}


def wanted_groups(
    real: Sequence[ReidPicture], with_pose: set[str], counts: dict[int, int], camera: str, seed: int
) -> list[WantedGroup]:
    """The groups of all identities, in the identities' order.

    Sources are drawn from the person's real pictures, those with a known pose first; donors from those of all others.

    Args:
        real: the pictures that are used.
        with_pose: names of those whose pose is known.
        counts: pictures of each identity.
        camera: one of `CAMERAS`.
        seed: of sources, donors and noise.

    Raises:
        ValueError: nobody else has a pose.
    """
    new_camera = 1 + max(own.camera for own in real)
    donors = [own for own in real if own.file.name in with_pose]
    groups: list[WantedGroup] = []
    for identity, count in counts.items():
        own = [picture for picture in real if picture.identity == identity]
        sources = [picture for picture in own if picture.file.name in with_pose] or own
        others = [picture for picture in donors if picture.identity != identity]
        if not others and count:
            raise ValueError(f"no picture of another person than {identity} has a known pose, of which to take it")
        rng = np.random.default_rng([seed, identity, 0xA06])
        for start in range(0, count, _AT_ONCE):
            source = sources[rng.integers(len(sources))]
            pictures = tuple(
                _wanted(source, others[rng.integers(len(others))], number, camera, new_camera)
                for number in range(start, min(start + _AT_ONCE, count))
            )
            groups.append(WantedGroup(identity, source, pictures, int(rng.integers(2**31))))
    return groups


def _wanted(source: ReidPicture, donor: ReidPicture, number: int, camera: str, new_camera: int) -> WantedPicture:
    labelled = {"source": source.camera, "donor": donor.camera, "new": new_camera}[camera]
    return WantedPicture(market_name(source.identity, labelled, GENERATED_FROM + number), labelled, donor)


def grouped(groups: Sequence[WantedGroup], count: int) -> Iterator[Sequence[WantedGroup]]:
    """Groups some at a time."""
    for start in range(0, len(groups), count):
        yield groups[start : start + count]
