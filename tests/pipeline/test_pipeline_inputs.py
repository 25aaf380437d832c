"""What a call takes: pictures of any kind; and what it refuses, in one line."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from imagpose.pipeline.requests import read_requests
from imagpose.pose import Pose


def run(pipeline, source, pose, **options):
    settings = {"num_inference_steps": 1, "generator": torch.Generator().manual_seed(0), "output_type": "np"}
    return pipeline(source, pose, **{**settings, **options}).images


def test_one_picture_in_many_forms(pipeline, picture, pose, tmp_path):
    upright = picture(0)
    expected = run(pipeline, upright, pose(0))
    path = tmp_path / "source.png"
    upright.save(path)
    transparent = upright.convert("RGBA")
    values = np.asarray(upright)
    for same in (path, str(path), transparent, values, torch.from_numpy(values / 255).movedim(-1, 0)):
        np.testing.assert_allclose(run(pipeline, same, pose(0)), expected, atol=1e-6)

    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise for display
    turned_path = tmp_path / "turned.png"
    turned.save(turned_path, exif=exif)
    np.testing.assert_allclose(run(pipeline, turned_path, pose(0)), expected, atol=1e-6)

    grey = upright.convert("L")
    np.testing.assert_allclose(run(pipeline, grey, pose(0)), run(pipeline, grey.convert("RGB"), pose(0)), atol=1e-6)


def test_a_pose_follows_its_picture_into_the_view(picture, pose):
    # A source twice as large and a pose in its frame: both are halved. A pose file made at another size is first
    # brought to its picture's size.
    large = picture(0).resize((32, 64), Image.Resampling.NEAREST)
    small = pose(0)
    for source_pose in (small.resize(32, 64), small):
        requests, is_batch = read_requests([large], [small.resize(160, 320)], [source_pose], None, None, 32, 16)
        assert not is_batch
        np.testing.assert_allclose(requests[0].source_poses[0].keypoints, small.keypoints, rtol=1e-5)
        np.testing.assert_allclose(requests[0].target_poses[0].keypoints, small.keypoints, rtol=1e-5)
        assert requests[0].sources[0].size == (16, 32)


def test_a_wide_pose_frame_is_fitted_not_stretched():
    points = np.zeros((18, 3), dtype=np.float32)
    points[0] = (32, 16, 1)
    requests, _ = read_requests(Image.new("RGB", (16, 32)), Pose(points, 64, 32), None, None, None, 32, 16)
    # 64 x 32 becomes 16 x 8, centred in 16 x 32: the frame's middle stays the middle
    np.testing.assert_allclose(requests[0].target_poses[0].keypoints[0], (8, 16, 1))


def test_a_pose_on_the_edge_of_its_frame_is_taken(pipeline, picture):
    points = np.zeros((18, 3), dtype=np.float32)
    points[:2] = [(16, 32, 1), (16, 3, 1)]  # the right edge
    assert run(pipeline, picture(0), Pose(points, 16, 32)).shape == (1, 32, 16, 3)


def hidden_pose():
    return Pose(np.zeros((18, 3), dtype=np.float32), 16, 32)


def outside_pose():
    points = np.full((18, 3), -5.0, dtype=np.float32)
    points[:, 2] = 1
    return Pose(points, 16, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": []}, "sources is empty"),
        ({"target_poses": []}, "target_poses is empty"),
        ({"grid": "0x3"}, "0x3"),
        ({"grid": "two"}, "two"),
        ({"grid": 4}, "grid must be"),
        ({"scenario": "T9"}, "T9"),
        ({"guidance": "both"}, "guidance must be one of feature, full"),
        ({"guidance_scale": float("nan")}, "guidance_scale"),
        ({"guidance_interval": (0.8, 0.2)}, "guidance_interval"),
        ({"guidance_interval": 0.5}, "guidance_interval"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"num_inference_steps": 2.5}, "num_inference_steps"),
        ({"output_type": "jpeg"}, "output_type"),
        ({"height": 0}, "height"),
        ({"width": 15}, "width"),
        ({"target_poses": [hidden_pose()]}, "no visible key point"),
        ({"target_poses": [outside_pose()]}, "no visible key point"),
        ({"target_poses": ["pose.json"]}, "must be an imagpose Pose"),
        ({"source_poses": [None, None]}, "2 entries for 1 sources"),
        ({"sources": [np.zeros((4, 4))]}, "sources[0]"),
        ({"latents": torch.zeros(1, 4, 8, 5)}, "(1, 4, 8, 4)"),
        ({"latents": torch.zeros(1, 4, 8, 4, dtype=torch.int64)}, "floating point"),
        ({"latents": np.zeros((1, 4, 8, 4))}, "floating point"),
        ({"generator": [torch.Generator(), torch.Generator()]}, "generator"),
        ({"callback_on_step_end_tensor_inputs": ["noise"]}, "noise"),
        ({"sources": [[Image.new("RGB", (16, 32))]]}, "batch"),
        ({"sources": [[Image.new("RGB", (16, 32))], []], "target_poses": [[outside_pose()], []]}, "request 0"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_any_model_runs(pipeline, picture, pose, monkeypatch, changes, message):
    monkeypatch.setattr(pipeline.unet, "forward", lambda *args, **kwargs: pytest.fail("the UNet ran"))
    arguments = {"sources": [picture(0)], "target_poses": [pose(0)], "num_inference_steps": 1, **changes}
    with pytest.raises(ValueError) as error:
        pipeline(**arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_sources_that_find_no_room_are_spoken_of(pipeline, picture, pose):
    with pytest.warns(UserWarning, match="room for 1 sources beside a target: the other 2 of 3 are not used"):
        run(pipeline, [picture(index) for index in range(3)], [pose(0)], grid="1x2")


def test_a_missing_file_is_named(pipeline, pose):
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        pipeline(["nowhere.png"], [pose(0)])


def test_hands_are_drawn_if_the_model_was_trained_with_them(pipeline, picture, pose, seeded, tmp_path):
    bare = pose(0)
    hands = np.concatenate([np.random.default_rng(0).uniform(2, 14, (2, 21, 2)), np.ones((2, 21, 1))], -1)
    with_hands = replace(bare, hands=hands.astype(np.float32))

    def draw(model, target):
        return np.asarray(model(picture(0), target, num_inference_steps=1, generator=seeded(0)).images[0])

    assert pipeline.config.skeleton == "body"
    np.testing.assert_array_equal(draw(pipeline, with_hands), draw(pipeline, bare))
    pipeline.register_to_config(skeleton="body_hands")
    assert (draw(pipeline, with_hands) != draw(pipeline, bare)).any()
    pipeline.save_pretrained(tmp_path / "model")
    assert type(pipeline).from_pretrained(tmp_path / "model").config.skeleton == "body_hands"
    with pytest.raises(ValueError, match="body_hands"):
        type(pipeline)(**{**pipeline.components, "skeleton": "face"})
