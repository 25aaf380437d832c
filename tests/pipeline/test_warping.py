"""Warped views of rendered people: what a photo shows comes back, and comes from the photo that shows it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import binary_erosion

from imagpose.metrics.pixels import psnr
from imagpose.models.appearance_flow import FlowInputs, FoundFlow
from imagpose.people import VALIDATION_SEEDS, View, make_identity, render_view, sample_view_specs
from imagpose.pipeline import warping
from imagpose.pipeline.warping import WarpSource, warp
from imagpose.pose import Pose

HEIGHT, WIDTH = 256, 176


@pytest.fixture(scope="module")
def views() -> list[View]:
    """From the front, from behind, from the front in another pose; of one person."""
    seed = VALIDATION_SEEDS[5]
    identity, specs = make_identity(seed), sample_view_specs(seed, 2)
    front, other = (replace(spec, yaw=0.0, camera=specs[0].camera) for spec in specs)
    return [render_view(identity, spec, HEIGHT, WIDTH) for spec in (front, replace(front, yaw=180.0), other)]


@pytest.fixture(scope="module")
def sources(views: list[View]) -> list[WarpSource]:
    return [source(view.picture, view.pose) for view in views]


def source(picture: np.ndarray, own: Pose) -> WarpSource:
    found = WarpSource.of(picture, own)
    assert found is not None
    return found


def warped(target: Pose, *sources: WarpSource) -> np.ndarray:
    result = warp(sources, target)
    assert result is not None and result.dtype == np.uint8 and result.shape == (target.height, target.width, 3)
    return result


def likeness(picture: np.ndarray, view: View) -> float:
    """PSNR in the person's mask, dB."""
    return psnr(picture, view.picture, view.foreground)


def all_kept(found: FoundFlow) -> FoundFlow:
    """As it is, but with the photo's colours alone."""
    return replace(found, kept=torch.full_like(found.kept, torch.inf))


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def test_the_own_pose_gives_the_person_back(views: list[View], sources: list[WarpSource]) -> None:
    for view, own in zip(views, sources, strict=True):
        assert likeness(warped(view.pose, own), view) > 15


def test_another_pose_is_nearer_to_its_truth_than_a_copy(views: list[View], sources: list[WarpSource]) -> None:
    front, _, other = views
    assert likeness(warped(other.pose, sources[0]), other) > 2 + likeness(front.picture, other)
    assert likeness(warped(front.pose, sources[2]), front) > 2 + likeness(other.picture, front)


@pytest.mark.parametrize("paints", [False, True])
def test_each_place_comes_from_the_photo_that_shows_it(
    views: list[View], sources: list[WarpSource], monkeypatch: pytest.MonkeyPatch, paints: bool
) -> None:
    """Photos from the front and from behind, in either order: both poses are as good as from the right one alone.

    The wrong one is in negative colours, so that what is painted from it is wrong too.
    """
    if not paints:
        network = warping.load_appearance_flow()
        monkeypatch.setattr(warping, "load_appearance_flow", lambda: lambda inputs: all_kept(network(inputs)))
    for view, right, other in ((views[0], sources[0], views[1]), (views[1], sources[1], views[0])):
        negative = np.where(other.foreground[..., None], 255 - other.picture, other.picture)
        wrong = source(negative, other.pose)
        alone, mistaken = likeness(warped(view.pose, right), view), likeness(warped(view.pose, wrong), view)
        assert alone > 5 + mistaken
        for order in ((right, wrong), (wrong, right)):
            assert likeness(warped(view.pose, *order), view) > alone - 0.5


def test_the_ground_is_the_first_photos(views: list[View], sources: list[WarpSource]) -> None:
    """Far from the person, to the level; none of the person stays where they stood."""
    green = np.where(views[1].foreground[..., None], views[1].picture, np.array((20, 200, 20), np.uint8))
    back = source(green.astype(np.uint8), views[1].pose)
    result = warped(views[1].pose, sources[0], back)
    far = np.zeros((HEIGHT, WIDTH), bool)
    far[:, :12] = far[:, -12:] = True
    far &= ~views[0].foreground & ~views[1].foreground
    assert far.sum() > 3000
    np.testing.assert_array_equal(result[far], sources[0].ground[far])
    assert (warped(views[1].pose, back, sources[0])[far] == (20, 200, 20)).all()


def oracle(monkeypatch: pytest.MonkeyPatch, aside: float, *told: tuple[float, float], shown: float = 1.0) -> None:
    """A network that leads every place `aside` pixels to the right, and says outline and visibility of each photo.

    What is not `shown` is painted, green.
    """
    y, x = torch.meshgrid(2 * torch.arange(HEIGHT // 2) + 1.0, 2 * torch.arange(WIDTH // 2) + 1.0, indexing="ij")
    flow, said = torch.stack([x + aside, y])[None], iter(told)

    def network(_: FlowInputs) -> SimpleNamespace:
        outline, visibility = (torch.full((1, HEIGHT // 2, WIDTH // 2), own) for own in next(said))
        painted = torch.tensor([-1.0, 1.0, -1.0])[None, :, None, None].expand(1, 3, *outline.shape[1:])
        share = torch.full_like(outline, shown)[:, None]
        return SimpleNamespace(flow=flow, outline=outline, visibility=visibility, shown=share, painted=painted)

    monkeypatch.setattr(warping, "load_appearance_flow", lambda: network)


def test_outlines_of_several_photos_are_averaged(
    views: list[View], sources: list[WarpSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is sure of the person, one as sure of the ground: half of each, in the colours of the one that sees more."""
    oracle(monkeypatch, 0, (3.0, -1.0), (-3.0, 1.0))
    result = warped(views[0].pose, *sources[:2])
    expected = (sources[1].picture.astype(float) + sources[0].ground) / 2
    np.testing.assert_allclose(result[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1)


def test_colours_between_pixels_are_bicubic(
    views: list[View], sources: list[WarpSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a pixel aside, by Keys' kernel with a = -.75: -3/32, 19/32, 19/32, -3/32."""
    oracle(monkeypatch, 0.5, (20.0, 0.0))
    result, picture = warped(views[0].pose, sources[0]), sources[0].picture.astype(float)
    expected = (19 * (picture[:, 1:-2] + picture[:, 2:-1]) - 3 * (picture[:, :-3] + picture[:, 3:])) / 32
    np.testing.assert_allclose(result[2:-2, 3:-4], expected.clip(0, 255)[2:-2, 2:-2], atol=1)


def test_what_the_photo_hides_is_painted(
    views: list[View], sources: list[WarpSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter from the photo, the rest in green; of two photos the painted colours of the one that sees more."""
    oracle(monkeypatch, 0, (20.0, -1.0), (20.0, 1.0), shown=0.25)
    result = warped(views[0].pose, *sources[:2])
    expected = 0.25 * sources[1].picture.astype(float) + 0.75 * np.array([0, 255, 0])
    np.testing.assert_allclose(result[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1)


def test_a_photo_that_shows_none_of_the_target_still_gives_the_ground(
    views: list[View], sources: list[WarpSource]
) -> None:
    first, second = sources[0], sources[1]
    nobody = replace(first.framed, parts=np.zeros_like(first.framed.parts))
    blind = replace(first, framed=nobody, ground=np.full_like(first.ground, 200))
    result = warped(views[1].pose, blind, second)
    far = np.zeros((HEIGHT, WIDTH), bool)
    far[:, :12] = far[:, -12:] = True
    far &= ~views[1].foreground
    assert far.sum() > 3000 and (result[far] == 200).all()
    inside = binary_erosion(views[1].foreground, iterations=6)
    np.testing.assert_allclose(result[inside], warped(views[1].pose, second)[inside], atol=3)


def test_a_larger_photo_gives_the_same_larger(views: list[View], sources: list[WarpSource]) -> None:
    """512x352 has the frame's shape: the network sees the same, and its places lie twice as far."""
    large = [
        source(resized(view.picture, 2 * WIDTH, 2 * HEIGHT), view.pose.resize(2 * WIDTH, 2 * HEIGHT)) for view in views
    ]
    for target in (0, 2):
        small = warped(views[target].pose, sources[0])
        result = warped(views[target].pose.resize(2 * WIDTH, 2 * HEIGHT), large[0])
        assert psnr(resized(result, WIDTH, HEIGHT), small) > 28


def test_a_photo_of_another_shape_gives_the_same_in_its_frame(views: list[View], sources: list[WarpSource]) -> None:
    """The middle 128 columns at half the size are 128x64; they are fitted between blank sides."""
    left = (WIDTH - 128) // 2

    def cropped(picture: np.ndarray) -> np.ndarray:
        return resized(picture[:, left : left + 128], 64, 128)

    own, target = (views[view].pose.crop(left, 0, 128, HEIGHT).resize(64, 128) for view in (0, 2))
    result = warped(target, source(cropped(views[0].picture), own))
    assert psnr(result, cropped(warped(views[2].pose, sources[0]))) > 20


def test_the_same_whatever_the_precision_around_it_and_what_was_warped_before(
    views: list[View], sources: list[WarpSource]
) -> None:
    once = warped(views[2].pose, sources[0])
    warped(views[1].pose, *sources)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(warped(views[2].pose, sources[0]), once)
    np.testing.assert_array_equal(warped(views[2].pose, source(views[0].picture, views[0].pose)), once)


def test_who_has_no_parts_is_not_warped(views: list[View], sources: list[WarpSource]) -> None:
    nobody = Pose(np.zeros((18, 3), np.float32), WIDTH, HEIGHT)
    assert WarpSource.of(views[0].picture, None) is None and WarpSource.of(views[0].picture, nobody) is None
    assert warp(sources[:1], nobody) is None
    away = replace(views[0].pose, keypoints=views[0].pose.keypoints + np.array((4000, 0, 0), np.float32))
    assert warp(sources[:1], away) is None
    assert warp([source(views[0].picture, away)], views[0].pose) is None
    # A photo that shows nobody does not hinder another that does.
    found = warped(views[0].pose, sources[0], source(views[0].picture, away))
    np.testing.assert_array_equal(found, warped(views[0].pose, sources[0]))


def test_no_source_and_frames_of_another_size_are_refused(views: list[View], sources: list[WarpSource]) -> None:
    with pytest.raises(ValueError, match="no source"):
        warp([], views[0].pose)
    with pytest.raises(ValueError, match=r"the picture is 100x80, its pose's frame 256x176"):
        WarpSource.of(np.zeros((100, 80, 3), np.uint8), views[0].pose)
    with pytest.raises(ValueError, match=r"the target's frame is 128x88, a source 256x176"):
        warp(sources[:1], views[0].pose.resize(88, 128))
