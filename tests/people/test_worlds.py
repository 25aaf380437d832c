"""Worlds: how often what is drawn, and what the views of a person share. Styles: what they change and what they keep."""

import warnings
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from imagpose.people import make_identity, render_view, sample_view_specs
from imagpose.people.backdrop import Ground
from imagpose.people.outfit import Material
from imagpose.people.shoot import make_shoot
from imagpose.people.style import Seen, draw_view
from imagpose.people.world import HELD_OUT_STYLE, STYLE_NAMES, WORLDS, find_world

PEOPLE, HEIGHT, WIDTH = 2000, 128, 88
DRAWN = [style for style in STYLE_NAMES if style != "photographic"]


@pytest.fixture(scope="module")
def specs() -> dict[str, list]:
    return {world: [sample_view_specs(seed, 2, world) for seed in range(PEOPLE)] for world in WORLDS}


def test_studio_has_plain_grounds_whole_bodies_and_some_drawn_people(specs) -> None:
    people = specs["studio"]
    shoots = [make_shoot(views[0].background, WORLDS["studio"].plain) for views in people]
    # The other backdrops hold some plain ones too: 5.0 of 11.5 by weight.
    assert np.mean([shoot.plain for shoot in shoots]) == pytest.approx(0.85 + 0.15 * 5 / 11.5, abs=0.025)
    assert {"brick", "outdoors", "white", "grey", "paper"} <= {shoot.kind for shoot in shoots}
    framings = Counter(views[1].camera.framing for views in people)
    assert [framings[name] / PEOPLE for name in ("full", "upper", "close")] == pytest.approx(
        [0.85, 0.10, 0.05], abs=0.03
    )
    styles = Counter(views[0].style for views in people)
    assert styles["photographic"] / PEOPLE == pytest.approx(0.88, abs=0.025)
    assert all(styles[name] / PEOPLE == pytest.approx(0.04, abs=0.02) for name in ("toon", "ink", "low-poly"))


def test_varied_is_photographed_and_mostly_not_plain(specs) -> None:
    people = specs["varied"]
    assert {view.style for views in people for view in views} == {"photographic"}
    assert np.mean([make_shoot(views[0].background).plain for views in people]) == pytest.approx(5 / 11.5, abs=0.04)
    framings = Counter(views[1].camera.framing for views in people)
    assert framings["full"] / PEOPLE == pytest.approx(0.74, abs=0.03)


def test_no_world_draws_the_style_that_is_held_out(specs) -> None:
    assert HELD_OUT_STYLE not in {view.style for people in specs.values() for views in people for view in views}
    assert all(HELD_OUT_STYLE not in world.styles for world in WORLDS.values())
    assert sample_view_specs(3, 1, style=HELD_OUT_STYLE)[0].style == HELD_OUT_STYLE


def test_papers_have_muted_and_saturated_colours() -> None:
    papers = [shoot.wall for seed in range(PEOPLE) if (shoot := make_shoot(seed, 1.0)).kind == "paper"]
    saturation = np.array([(colour.max() - colour.min()) / colour.max() for colour in papers])
    assert 0.35 < (saturation > 0.3).mean() < 0.65
    for seed in range(200):
        white, tint = make_shoot(seed, 1.0), make_shoot(seed, 1.0).tint
        assert abs(tint - 1).max() < 0.06  # light that leaves colours as they are
        if white.kind == "white":
            assert white.wall.min() > 0.94


@pytest.mark.parametrize("world", list(WORLDS))
def test_views_of_a_person_share_place_light_and_style(world: str) -> None:
    specs = sample_view_specs(11, 12, world)
    assert len(specs) == 12
    assert {(spec.background, spec.world, spec.style) for spec in specs} == {
        (specs[0].background, world, specs[0].style)
    }
    assert len({spec.camera for spec in specs}) == 12


def test_a_plain_ground_is_the_same_in_all_views_and_without_texture() -> None:
    seed = next(s for s in range(50) if make_shoot(sample_view_specs(s, 1)[0].background, 0.85).kind == "paper")
    identity = make_identity(seed)
    walls = []
    for spec in sample_view_specs(seed, 3, style="photographic"):
        view = render_view(identity, spec, HEIGHT, WIDTH)
        top = view.picture[:8, :20].reshape(-1, 3).astype(int)
        assert not view.foreground[:8, :20].any()
        assert abs(np.diff(view.picture[:8, :20].astype(int), axis=1)).max() <= 2
        walls.append(top.mean(0))
    assert all(abs(first - second).max() < 12 for first, second in pairwise(walls))


@pytest.fixture(scope="module")
def drawings() -> dict[str, tuple]:
    identity = make_identity(4)
    spec = {style: sample_view_specs(4, 1, style=style)[0] for style in STYLE_NAMES}
    return {style: tuple(render_view(identity, spec[style], HEIGHT, WIDTH) for _ in range(2)) for style in STYLE_NAMES}


@pytest.mark.parametrize("style", DRAWN)
def test_a_style_alters_the_picture_and_nothing_else(drawings, style: str) -> None:
    view, again = drawings[style]
    photograph = drawings["photographic"][0]
    assert np.array_equal(view.picture, again.picture)
    assert np.array_equal(view.parts, photograph.parts)
    assert np.array_equal(view.pose.keypoints, photograph.pose.keypoints)
    difference = abs(view.picture.astype(int) - photograph.picture).mean(-1)
    assert difference[view.foreground].mean() > 5
    assert difference[~view.foreground].mean() > 1  # the ground is drawn too


def test_toon_has_dark_outlines_and_few_tones(drawings) -> None:
    toon, photograph = drawings["toon"][0], drawings["photographic"][0]
    inside = toon.foreground
    outline = inside & ~(
        np.roll(inside, 1, 1) & np.roll(inside, -1, 1) & np.roll(inside, 1, 0) & np.roll(inside, -1, 0)
    )
    dark = [view.picture[outline].max(-1).mean() for view in (toon, photograph)]
    assert dark[0] < 0.75 * dark[1]
    tones = [len(np.unique(view.picture[inside] // 4, axis=0)) for view in (toon, photograph)]
    assert tones[0] < 0.75 * tones[1]


def test_ink_is_grey(drawings) -> None:
    picture = drawings["ink"][0].picture.astype(int)
    assert (picture.max(-1) - picture.min(-1)).max() < 20


def test_ink_needs_no_skin_in_sight() -> None:
    shoot, size = make_shoot(3), (16, 16)
    ground = Ground(
        np.full((*size, 3), 0.9, np.float32), np.ones(size, np.float32), np.zeros((3, *size)), np.zeros(size, bool)
    )
    pixel = np.arange(40)
    up = np.tile(np.array([0.0, 0.0, 1.0]), (40, 1))
    glasses = Seen(
        sampling=1, pixel=pixel, coarse=pixel, material=np.full(40, Material.GLASSES), normals=up, depth=np.full(40, 4.0),
        rest=up, albedo=np.full((40, 3), 0.1, np.float32), specular=np.zeros(40, np.float32), forward=np.array([0.0, 1, 0]),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = draw_view("ink", shoot, ground, glasses)
    assert picture.reshape(-1, 3)[pixel].min() > 0  # dark as its own colour makes it, no hole


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="world is 'beach'; it must be one of studio, varied"):
        find_world("beach")
    with pytest.raises(ValueError, match="style is 'oil'; it must be one of photographic"):
        sample_view_specs(1, 1, style="oil")
