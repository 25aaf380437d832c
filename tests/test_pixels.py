import numpy as np
import pytest
import torch
from PIL import Image

from imagpose.pixels import (
    Padding,
    bytes_to_signed,
    encoder_pixels,
    pad_views,
    padded_size,
    pictures_to_signed,
    signed_to_bytes,
    signed_to_pictures,
    signed_to_unit,
    texture_pixels,
)


def ramp(height: int = 24, width: int = 32) -> np.ndarray:
    """uint8 (H, W, 3): every pixel differs from its neighbours."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 8 % 256, columns * 7 % 256, (rows + columns) * 3 % 256], 2).astype(np.uint8)


def test_every_byte_survives_both_ways_and_the_ranges_are_what_the_names_say():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    every[..., 1] = 255 - every[..., 1]
    signed = bytes_to_signed(every)
    assert signed.shape == (1, 3, 16, 16) and signed.dtype == torch.float32
    assert signed.amin() == -1 and signed.amax() == 1
    assert signed[0, 0, 0, 1] == pytest.approx(1 / 127.5 - 1) and signed[0, 1, 0, 1] == pytest.approx(254 / 127.5 - 1)
    assert torch.equal(signed_to_bytes(signed), torch.from_numpy(every))
    assert torch.equal(bytes_to_signed(torch.from_numpy(every)), signed)
    assert signed_to_unit(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0, 0.5, 1]


def test_half_precision_is_rounded_as_its_own_values():
    """In bfloat16 itself (x + 1) * 127.5 would be off by up to half a level of 256."""
    pixels = torch.linspace(-1, 1, 999).to(torch.bfloat16).reshape(1, 3, 9, 37)
    exact = (pixels.double().numpy() + 1) * 127.5
    assert np.abs(signed_to_bytes(pixels).movedim(-1, 1).numpy() - exact).max() < 0.5001


def test_tensors_and_pictures():
    values = ramp()
    pixels = pictures_to_signed([Image.fromarray(values), Image.fromarray(values[::-1].copy())])
    assert pixels.shape == (2, 3, 24, 32)
    assert pixels[0, 1, 2, 3].item() == pytest.approx(values[2, 3, 1] / 255 * 2 - 1)
    for index, flip in enumerate((values, values[::-1])):
        np.testing.assert_array_equal(np.asarray(signed_to_pictures(pixels)[index]), flip)
    out_of_range = torch.tensor([-3.0, 3.0, 0.0]).view(1, 3, 1, 1).bfloat16()
    assert signed_to_pictures(out_of_range)[0].getpixel((0, 0)) == (0, 255, 128)


def test_encoder_pixels_are_those_of_pillow_and_normalised():
    values = np.asarray(Image.fromarray(ramp(60, 45)).resize((90, 120), Image.Resampling.BICUBIC))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    result = encoder_pixels(pictures_to_signed([Image.fromarray(values)]), (64, 48), mean, std)
    reference = np.asarray(Image.fromarray(values).resize((48, 64), Image.Resampling.BICUBIC)) / 255.0
    reference = (reference - mean) / std
    assert result.shape == (1, 3, 64, 48)
    assert np.abs(result[0].movedim(0, -1).numpy() - reference).mean() < 0.01
    same = encoder_pixels(pictures_to_signed([Image.fromarray(values)]), (120, 90), mean, std)
    np.testing.assert_allclose(same[0].movedim(0, -1).numpy(), (values / 255.0 - mean) / std, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "long_side", "expected"),
    [
        ((128, 96), 512, (512, 384)),
        ((256, 176), 512, (512, 384)),
        ((256, 176), 256, (256, 128)),
        ((128, 64), 512, (512, 256)),
        ((96, 512), 512, (128, 512)),
        ((1024, 20), 256, (256, 128)),
    ],
)
def test_texture_pixels_take_sides_that_are_multiples_of_128(size, long_side, expected):
    pixels = torch.full((1, 3, *size), 0.25)
    result = texture_pixels(pixels, long_side)
    assert tuple(result.shape[-2:]) == expected
    torch.testing.assert_close(result, torch.full((1, 3, *expected), 0.25))


def test_texture_side_must_be_a_multiple_of_128():
    with pytest.raises(ValueError, match="texture_long_side is 200"):
        texture_pixels(torch.zeros(1, 3, 64, 64), 200)


@pytest.mark.parametrize(
    ("size", "multiple", "padded"),
    [
        ((256, 176), 64, (256, 192)),
        ((512, 352), 64, (512, 384)),
        ((128, 64), 64, (128, 64)),
        ((128, 96), 32, (128, 96)),
        ((33, 31), 32, (64, 32)),
        ((1, 1), 8, (8, 8)),
    ],
)
def test_padding_replicates_edges_and_comes_off_again(size, multiple, padded):
    pixels = torch.rand(2, 4, 3, *size, generator=torch.Generator().manual_seed(2))
    result, padding = pad_views(pixels, multiple)
    assert result.shape == (2, 4, 3, *padded)
    assert torch.equal(padding.crop(result), pixels)
    assert padded_size(*size, multiple) == padded
    assert torch.equal(padding.pad(pixels), result)
    top, left = (padded[0] - size[0]) // 2, (padded[1] - size[1]) // 2
    rows = [min(max(row - top, 0), size[0] - 1) for row in range(padded[0])]
    cols = [min(max(col - left, 0), size[1] - 1) for col in range(padded[1])]
    assert torch.equal(result, pixels[..., rows, :][..., cols])


def test_an_odd_padding_has_its_larger_half_at_the_right_and_below():
    assert Padding.to_multiple(5, 7, 8) == Padding(left=0, top=1, right=1, bottom=2)
    drawing = torch.arange(35, dtype=torch.uint8).reshape(1, 5, 7)
    assert pad_views(drawing, 8)[0].dtype == torch.uint8
