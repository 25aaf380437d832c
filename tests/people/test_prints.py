"""Prints: large enough to be told apart at 256x176, in colours that contrast, on a fair share of garments."""

import numpy as np
import pytest
from scipy.ndimage import binary_opening

from imagpose.people.body import load_body
from imagpose.people.outfit import sample_outfit
from imagpose.people.prints import MOTIFS, PATTERNS, Cloth, Print, paint, sample_top_print
from imagpose.people.shading import _cloth
from imagpose.people.template import load_template

SKIN = (0.83, 0.63, 0.48)


@pytest.fixture(scope="module")
def outfits():
    rng = np.random.default_rng(0)
    return [sample_outfit(rng, female=bool(rng.random() < 0.5), skin=SKIN) for _ in range(1000)]


def _printed(print_):
    return print_.pattern != "plain" or print_.chest is not None or print_.back is not None


def test_a_third_of_garments_and_two_thirds_of_tops_have_a_print(outfits):
    tops = np.mean([_printed(outfit.top_print) for outfit in outfits])
    bottoms = np.mean([_printed(outfit.bottom_print) for outfit in outfits if outfit.bottom != "dress"])
    assert 0.6 < tops < 0.85
    assert 0.25 < bottoms < 0.55
    assert (tops + bottoms) / 2 > 1 / 3


def test_tops_are_various_and_their_backs_tell_something():
    rng = np.random.default_rng(1)
    prints = [sample_top_print(rng, (SKIN,)) for _ in range(600)]
    assert len({p.pattern for p in prints}) >= 12 and len(PATTERNS) >= 12
    assert {p.chest for p in prints} == {None, *MOTIFS}
    assert np.mean([p.back != p.chest for p in prints]) > 0.3


def test_every_print_repeats_no_sooner_than_every_25_mm_and_contrasts(outfits):
    luma = np.array((0.2126, 0.7152, 0.0722))
    for outfit in outfits:
        for print_ in (outfit.top_print, outfit.bottom_print):
            assert _finest_period(print_) >= 0.025
            assert print_.motif_size >= 0.07
            levels = np.array(print_.colours) @ luma
            assert abs(np.subtract.outer(levels, levels)[np.triu_indices(3, 1)]).min() >= 0.15


def _finest_period(print_):
    """Shortest distance between two like changes of colour along a row and a column of cloth, metres.

    Read off the painted cloth of a limb of the girth of a calf: 1 mm steps, all around and along 0.8 m.
    """
    girth, step = 0.34, 0.001
    finest = np.inf
    for around, up in (
        (np.arange(-girth / 2, girth / 2, step), np.array([0.21])),
        (np.array([0.013]), np.arange(-0.7, 0.1, step)),
    ):
        around, up = np.broadcast_arrays(around, up)
        cloth = Cloth(around, up, around / girth, 0 * up + girth, around, 0 * up - 1, up > 1)
        shade = paint(Print(print_.pattern, ((0, 0, 0), (1, 1, 1), (1, 0, 0)), print_.period, print_.phase), cloth)[
            :, 0
        ]
        rising = np.flatnonzero((shade[1:] >= 0.5) & (shade[:-1] < 0.5))
        if len(rising) > 1:
            finest = min(finest, np.diff(rising).min() * step)
    return finest


@pytest.mark.parametrize("name", [*PATTERNS, *MOTIFS])
def test_no_part_of_a_print_is_finer_than_two_pixels_at_256x176(name):
    """A standing person takes about 220 pixels, one pixel is 8 mm: little is lost where a coin of 1.8 cm must fit."""
    step = 0.002
    around, up = np.meshgrid(np.arange(-0.40, 0.40, step), np.arange(-0.1, 0.55, step))
    flat, zero = around.ravel(), np.zeros(around.size)
    girth = 2 * np.pi * 0.15
    cloth = Cloth(flat, up.ravel(), flat / girth, zero + girth, flat, zero - 1, zero == 0)
    black, white = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    for phase in (0.0, 0.37):
        if name in MOTIFS:
            print_ = Print("plain", (black, black, white), chest=name, motif_size=0.075)
        else:
            print_ = Print(name, (black, white, white), period=0.065, phase=phase)
        colours = paint(print_, cloth)
        assert ((colours >= 0) & (colours <= 1)).all()
        levels = np.unique(colours[:, 0]) if name != "gradient" else []
        assert len(levels) <= 3  # patterns of two or three shades, or a smooth course
        y, x = np.mgrid[-5:6, -5:6]
        coin = x**2 + y**2 <= 20
        for level in levels:
            region = (colours[:, 0] == level).reshape(up.shape)
            kept = binary_opening(np.pad(region, 12, mode="edge"), coin)[12:-12, 12:-12]
            assert kept.sum() > 0.85 * region.sum()


def test_a_motif_is_printed_on_one_side_only():
    x, up = (grid.ravel() for grid in np.meshgrid(np.linspace(-0.15, 0.15, 60), np.linspace(0.2, 0.5, 60)))
    zero = np.zeros_like(x)
    grounds = ((1.0, 1.0, 1.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
    front, back = (
        paint(
            Print("plain", grounds, chest="disc", motif_size=0.07), Cloth(x, up, x, zero + 1, x, zero + side, zero == 0)
        )
        for side in (-1.0, 1.0)
    )
    black = front.sum(1) == 0
    np.testing.assert_array_equal(black, x**2 + (up - 0.36) ** 2 < 0.07**2)
    assert (back == 1).all()


def test_patterns_are_measured_in_metres_of_cloth_all_around_the_trunk():
    """A tape around the template's chest: equal steps of the pattern's coordinate are nearly equal lengths of tape."""
    template, body = load_template(), load_body()
    shirt = np.unique(body.faces["tights"])
    ring = shirt[(abs(template.vertices[shirt, 2] - 0.35) < 0.03) & (template.arm[shirt] < 0.2)]
    cloth = _cloth(template.attributes[ring], legs=False)
    order = np.argsort(cloth.turns)
    tape, turns = template.vertices[ring][order, :2], cloth.turns[order]
    bins = np.linspace(-0.4, 0.4, 9)
    places = np.stack([np.interp(bins, turns, tape[:, axis]) for axis in (0, 1)], 1)
    lengths = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert lengths.min() > 0.6 * lengths.mean()
    assert np.interp(0.0, turns, tape[:, 1]) < -0.1  # no turn is the front
