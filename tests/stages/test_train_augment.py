"""The colour matrix against torchvision and colorsys; flips and turns against numpy."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from flawmap.errors import OptionError  # noqa: E402 - after the skip
from flawmap.stages.train.augment import augment, draw_changes, to_colour_matrix, to_network_input  # noqa: E402
from flawmap.stages.train.options import AugmentOptions  # noqa: E402

STILL = AugmentOptions(0, 0, 0, 0, flip_left_right=False, flip_up_down=False)


def middling_photos(n: int = 3, side: int = 8) -> torch.Tensor:
    """(n, side, side, 3) uint8 far enough from black and white that small changes clip nothing."""
    return torch.from_numpy(np.random.default_rng(1).integers(90, 160, (n, side, side, 3)).astype(np.uint8))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def recolour(images: torch.Tensor, brightness: float, contrast: float, saturation: float, hue: float):
    values = images.double() / 255
    grey = values @ torch.tensor([0.2989, 0.587, 0.114], dtype=torch.float64)
    changes = torch.tensor([[brightness, contrast, saturation, hue]]).repeat(len(images), 1)
    matrix = to_colour_matrix(changes, grey.mean(dim=(1, 2)).float()).double()
    return torch.einsum("nij,nhwj->nhwi", matrix[:, :, :3], values) + matrix[:, None, None, :, 3]


@pytest.mark.parametrize("factors", [(1.2, 1, 1), (1, 0.8, 1), (1, 1, 0.7), (0.9, 1.2, 1.3), (1.1, 0.7, 0.8)])
def test_brightness_contrast_saturation_are_those_of_torchvision(factors: tuple[float, float, float]) -> None:
    transforms = pytest.importorskip("torchvision.transforms.functional")
    images = middling_photos()
    expected = images.permute(0, 3, 1, 2).double() / 255
    expected = transforms.adjust_brightness(expected, factors[0])
    expected = transforms.adjust_contrast(expected, factors[1])
    expected = transforms.adjust_saturation(expected, factors[2]).permute(0, 2, 3, 1)
    assert torch.allclose(recolour(images, *factors, 0.0), expected, atol=1e-6)


@pytest.mark.parametrize("angle", [-0.4, 0.2, 1.0])
def test_hue_turns_the_colour_plane_of_yiq(angle: float) -> None:
    images = middling_photos(1, 4)
    changed = recolour(images, 1, 1, 1, angle)[0].reshape(-1, 3).tolist()
    for before, after in zip((images[0].reshape(-1, 3) / 255).tolist(), changed, strict=True):
        (y, i, q), (y_after, i_after, q_after) = colorsys.rgb_to_yiq(*before), colorsys.rgb_to_yiq(*after)
        assert y_after == pytest.approx(y, abs=2e-3)
        assert i_after == pytest.approx(math.cos(angle) * i - math.sin(angle) * q, abs=2e-3)
        assert q_after == pytest.approx(math.sin(angle) * i + math.cos(angle) * q, abs=2e-3)


def test_grey_photos_have_no_hue_and_no_saturation_to_change() -> None:
    grey = middling_photos()[..., :1].expand(-1, -1, -1, 3)
    assert torch.allclose(recolour(grey, 1, 1, 1.5, 1.0), grey.double() / 255, atol=2e-4)


def test_without_changes_only_the_layout_differs() -> None:
    images = middling_photos()
    result = augment(images, STILL, generator())
    assert result.shape == (3, 3, 8, 8) and result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result, to_network_input(images), atol=1e-3, rtol=0)


def test_flips_move_nothing_else() -> None:
    images = middling_photos(64)
    options = AugmentOptions(0, 0, 0, 0)
    result = augment(images, options, generator()).permute(0, 2, 3, 1).round().to(torch.uint8).numpy()
    kinds = set()
    for before, after in zip(images.numpy(), result, strict=True):
        forms = {"as is": before, "lr": before[:, ::-1], "ud": before[::-1], "both": before[::-1, ::-1]}
        kinds |= {(matches := [k for k, form in forms.items() if np.array_equal(after, form)])[0]}
        assert len(matches) == 1
    assert kinds == {"as is", "lr", "ud", "both"}


def test_turns_are_quarter_turns_and_need_a_square() -> None:
    images = middling_photos(64)
    options = AugmentOptions(0, 0, 0, 0, flip_left_right=False, flip_up_down=False, turns=True)
    result = augment(images, options, generator()).permute(0, 2, 3, 1).round().to(torch.uint8).numpy()
    quarters = [
        next(k for k in range(4) if np.array_equal(after, np.rot90(before, k)))
        for before, after in zip(images.numpy(), result, strict=True)
    ]
    assert set(quarters) == {0, 1, 2, 3}
    with pytest.raises(OptionError, match="square"):
        augment(images[:, :4], options, generator())


def test_photos_stay_within_the_range_and_the_input_is_left_alone() -> None:
    images = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (8, 8, 8, 3)).astype(np.uint8))
    before = images.clone()
    result = augment(images, AugmentOptions(0.9, 0.9, 0.9, 0.5), generator())
    assert result.min() >= 0 and result.max() <= 255
    assert torch.equal(images, before)


def test_draws_fill_their_ranges_and_repeat() -> None:
    options = AugmentOptions(0.3, 0.2, 0.1, 0.05)
    changes = draw_changes(4000, options, generator(7))
    assert torch.equal(changes, draw_changes(4000, options, generator(7)))
    reach = torch.tensor([0.3, 0.2, 0.1, 0.05 * 2 * math.pi])
    centre = torch.tensor([1.0, 1.0, 1.0, 0.0])
    torch.testing.assert_close((changes - centre).abs().amax(dim=0), reach, rtol=0.01, atol=0)
    torch.testing.assert_close(changes.mean(dim=0), centre, rtol=0, atol=0.02)


def test_each_photo_is_changed_by_itself() -> None:
    images = middling_photos(1).repeat(16, 1, 1, 1)
    options = AugmentOptions(flip_left_right=False, flip_up_down=False)
    result = augment(images, options, generator())
    assert len({photo.numpy().tobytes() for photo in result}) == 16
