"""The folder writer: what it writes, that it continues, and that several processes give the same views as one."""

import json

import numpy as np
import pytest
from PIL import Image

from imagpose.people import render_set as render_set_module
from imagpose.people.render_set import iterate_views, render_set
from imagpose.people.world import RENDERER

SIZE = {"height": 48, "width": 32}


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("[!.]*") if path.is_file()
    }


def test_folder_holds_pictures_poses_and_masks(tmp_path):
    assert render_set(7, 2, 2, out=tmp_path, workers=1, **SIZE) == 2
    names = {f"{seed}/{name}" for seed in (7, 8) for k in (0, 1) for name in (f"{k}.png", f"{k}.json", f"{k}_mask.png")}
    assert set(contents(tmp_path)) == names | {"7/set.json", "8/set.json"}
    views = dict(iterate_views([7, 8], 2, workers=1, **SIZE))
    for seed in (7, 8):
        for k, view in enumerate(views[seed]):
            np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{seed}/{k}.png")), view.picture)
            np.testing.assert_array_equal(
                np.asarray(Image.open(tmp_path / f"{seed}/{k}_mask.png")) > 0, view.foreground
            )
            (person,) = json.loads((tmp_path / f"{seed}/{k}.json").read_text())["people"]
            points = np.array(person["pose_keypoints_2d"]).reshape(18, 3)
            seen = view.pose.keypoints[:, 2] > 0
            np.testing.assert_allclose(points[seen], view.pose.keypoints[seen], atol=0.01)


def test_a_complete_set_is_left_alone_and_a_broken_one_is_made_again(tmp_path):
    render_set(3, 2, 2, out=tmp_path, workers=1, **SIZE)
    first = contents(tmp_path)
    assert render_set(3, 2, 2, out=tmp_path, workers=1, **SIZE) == 0
    assert contents(tmp_path) == first
    (tmp_path / "4" / "1.json").unlink()
    assert render_set(3, 3, 2, out=tmp_path, workers=1, **SIZE) == 2  # the broken 4 and the new 5
    second = contents(tmp_path)
    assert {name: second[name] for name in first if name.startswith("3/")} == {
        name: time for name, time in first.items() if name.startswith("3/")
    }
    assert "4/1.json" in second and "5/set.json" in second
    assert not [name for name in second if name.endswith(".partial")]
    assert render_set(3, 1, 3, out=tmp_path, workers=1, **SIZE) == 1  # more views than before


def test_what_somebody_put_into_a_persons_folder_is_neither_removed_nor_overwritten(tmp_path):
    for seed, name in ((5, "0.png"), (6, "thesis.txt")):
        (tmp_path / str(seed)).mkdir()
        (tmp_path / str(seed) / name).write_text("mine")
    (tmp_path / "7").write_text("mine")
    before = contents(tmp_path)
    for seed in (5, 6, 7):
        with pytest.raises(ValueError, match=f"{seed} exists and was not written by this command"):
            render_set(seed, 1, 1, out=tmp_path, workers=1, **SIZE)
    assert contents(tmp_path) == before
    (tmp_path / "8").mkdir()
    render_set(8, 1, 1, out=tmp_path, workers=1, **SIZE)
    (tmp_path / "8" / "notes.txt").write_text("mine")
    assert render_set(8, 1, 1, out=tmp_path, workers=1, **SIZE) == 0  # complete: nothing is replaced
    with pytest.raises(ValueError, match=r"8 holds notes\.txt, which this command did not write"):
        render_set(8, 1, 2, out=tmp_path, workers=1, **SIZE)
    assert (tmp_path / "8" / "notes.txt").read_text() == "mine"


def test_a_person_behind_a_link_is_as_complete_as_what_it_leads_to(tmp_path):
    people, elsewhere = tmp_path / "people", tmp_path / "elsewhere"
    render_set(1, 1, 1, out=people, workers=1, **SIZE)
    (people / "1").rename(elsewhere)
    (people / "1").symlink_to(elsewhere)
    assert render_set(1, 1, 1, out=people, workers=1, **SIZE) == 0
    with pytest.raises(ValueError, match="1 is a link to a person who is not complete"):
        render_set(1, 1, 2, out=people, workers=1, **SIZE)
    assert (people / "1").is_symlink() and len(list(elsewhere.iterdir())) == 4


def test_another_size_or_look_in_the_same_folder_is_refused(tmp_path):
    render_set(1, 1, 1, out=tmp_path, workers=1, **SIZE)
    with pytest.raises(ValueError, match=r"48x32, world studio, style photographic, renderer \d+, not 64x32"):
        render_set(1, 1, 1, height=64, width=32, out=tmp_path, workers=1)
    with pytest.raises(ValueError, match="not 48x32, world varied"):
        render_set(1, 1, 1, out=tmp_path, workers=1, **SIZE, world="varied")
    with pytest.raises(ValueError, match="not 48x32, world studio, style toon"):
        render_set(1, 1, 1, out=tmp_path, workers=1, **SIZE, style="toon")


@pytest.mark.parametrize("wrong", [{"first_seed": -1}, {"count": 0}, {"views": 0}, {"height": 4}])
def test_wrong_numbers_are_refused_and_nothing_is_written(tmp_path, wrong):
    numbers = {"first_seed": 0, "count": 1, "views": 1, **SIZE} | wrong
    with pytest.raises(ValueError):
        render_set(out=tmp_path / "people", **numbers)
    assert not (tmp_path / "people").exists()


def test_processes_give_the_same_views_in_the_same_order():
    seeds = [5, 2, 9]
    alone = list(iterate_views(seeds, 1, workers=1, **SIZE))
    shared = list(iterate_views(iter(seeds), 1, workers=2, **SIZE))
    assert [seed for seed, _ in shared] == seeds
    for (_, mine), (_, theirs) in zip(alone, shared, strict=True):
        # one machine type: equal up to a level; a count above that would mean another person or pose
        difference = abs(mine[0].picture.astype(int) - theirs[0].picture)
        assert difference.max() <= 1
        np.testing.assert_allclose(mine[0].pose.keypoints, theirs[0].pose.keypoints, atol=1e-3)


def test_views_of_another_renderer_are_not_mixed_in(tmp_path, monkeypatch):
    render_set(1, 1, 1, out=tmp_path, workers=1, **SIZE)
    monkeypatch.setattr(render_set_module, "RENDERER", RENDERER + 1)
    with pytest.raises(ValueError, match=f"renderer {RENDERER}, not 48x32, .* renderer {RENDERER + 1}"):
        render_set(1, 2, 1, out=tmp_path, workers=1, **SIZE)
