"""What stands for the softness and noise of generated pictures."""

import torch

from imagpose.judges.degrade import coarsen, degrade


def test_degrading_depends_on_the_generator_only_and_keeps_the_range() -> None:
    pixels = torch.rand(4, 3, 20, 16) * 2 - 1
    one, other = (degrade(pixels, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, other)
    assert float(one.abs().max()) <= 1
    assert not torch.allclose(one, pixels, atol=0.02)


def test_what_is_not_blurred_stays_as_sharp() -> None:
    checks = ((torch.arange(24)[:, None] + torch.arange(20)) % 2).float().expand(40, 3, 24, 20) - 0.5

    def swing(**options: bool) -> torch.Tensor:
        found = degrade(checks, torch.Generator().manual_seed(2), **options)
        return (found[..., 1:] - found[..., :-1]).abs().mean(dim=(1, 2, 3))

    assert float(swing(blur=False).min()) > 0.5
    assert 10 < int((swing() < 0.5).sum()) < 30


def test_coarsening_leaves_out_what_is_small_and_keeps_what_is_large() -> None:
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(36), indexing="ij")
    checks = ((rows + columns) % 2).float() * 2 - 1
    halves = torch.where(columns < 18, -0.5, 0.5)
    pixels = torch.stack([checks, halves])[:, None].expand(2, 3, 24, 36)
    fine, plain = coarsen(pixels, 1.0, torch.Generator().manual_seed(0))
    assert float(fine[:, 4:-4, 4:-4].abs().max()) < 0.35
    torch.testing.assert_close(plain[:, :, 4:12], torch.full((3, 24, 8), -0.5), atol=0.02, rtol=0)
    torch.testing.assert_close(plain[:, :, -12:-4], torch.full((3, 24, 8), 0.5), atol=0.02, rtol=0)
    assert torch.equal(coarsen(pixels, 0.0, torch.Generator()), pixels)
