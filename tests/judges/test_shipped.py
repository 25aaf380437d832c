"""Judges' weights on disk, and the size in which judges look at pictures."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from imagpose.judges.identity import IDENTITY_WEIGHTS, IdentityNetwork
from imagpose.judges.pose import POSE_WEIGHTS, PoseEstimator, find_keypoints
from imagpose.judges.shipped import load_judge, save_judge, working_batches, working_size
from imagpose.judges.silhouette import SILHOUETTE_WEIGHTS, SilhouetteNetwork


def test_a_judge_comes_back_with_its_height(tmp_path):
    torch.manual_seed(0)
    network = PoseEstimator(192).eval()
    save_judge(network, tmp_path / "pose.safetensors")
    loaded = load_judge(PoseEstimator, tmp_path / "pose.safetensors")
    assert loaded.height == 192 and not loaded.training
    assert (tmp_path / "pose.safetensors").stat().st_size < 2.1e6  # half precision
    for name, weight in loaded.state_dict().items():
        torch.testing.assert_close(weight, network.state_dict()[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "path"),
    [(PoseEstimator, POSE_WEIGHTS), (IdentityNetwork, IDENTITY_WEIGHTS), (SilhouetteNetwork, SILHOUETTE_WEIGHTS)],
)
def test_the_shipped_weights_say_their_height(kind, path):
    assert load_judge(kind, path).height in (128, 256)


def test_files_of_others_are_refused(tmp_path):
    save_file(load_file(POSE_WEIGHTS), tmp_path / "old.safetensors")
    with pytest.raises(ValueError, match=r"old.safetensors does not say at which height"):
        load_judge(PoseEstimator, tmp_path / "old.safetensors")
    with pytest.raises(ValueError, match=r"pose_estimator.safetensors holds no IdentityNetwork"):
        load_judge(IdentityNetwork, POSE_WEIGHTS)


def test_pictures_are_brought_to_the_working_height():
    assert working_size((512, 352), 256) == (256, 176)
    assert working_size((128, 96), 256) == (256, 192)
    assert working_size((400, 10), 128) == (128, 16)
    rows, columns = np.mgrid[:128, :96]
    pictures = np.repeat((rows + columns)[None, ..., None], 70, 0).repeat(3, 3).astype(np.uint8)
    small, same = (torch.cat(list(working_batches(pictures, height))) for height in (64, 128))
    assert small.shape == (70, 3, 64, 48) and same.shape == (70, 3, 128, 96)
    assert torch.equal(same, torch.from_numpy(pictures).movedim(-1, 1) / 127.5 - 1)
    # A ramp stays one: pixel (r, c) covers rows 2r, 2r + 1 and columns 2c, 2c + 1, whose mean is 2r + 2c + 1.
    expected = (2 * rows[:64, :48] + 2 * columns[:64, :48] + 1) / 127.5 - 1
    assert np.abs(small[0, 0].numpy() - expected)[2:-2, 2:-2].max() < 1e-3


def test_padding_moves_no_key_point():
    torch.manual_seed(1)
    network = PoseEstimator().eval()
    pixels = torch.rand(2, 3, 75, 51) * 2 - 1
    padded = torch.nn.functional.pad(pixels, (6, 7, 10, 11), mode="replicate")  # 96x64
    with torch.no_grad():
        own, other = network.keypoints(pixels), network.keypoints(padded)
    torch.testing.assert_close(own[..., :2] + torch.tensor([6.0, 10.0]), other[..., :2], atol=1e-3, rtol=0)


def test_no_picture_has_no_key_points():
    assert find_keypoints(np.zeros((0, 40, 30, 3), np.uint8)).shape == (0, 18, 3)
