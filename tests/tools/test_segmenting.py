"""Probabilities are those of the network, whatever the photo's size and however it is cut into pieces."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from flawmap.records import Cleaning, MaskSpec
from flawmap.tools.segmenting import pad_image, to_probabilities
from flawmap.tools.tiles import lay_tiles


def make_spec(**changes: object) -> MaskSpec:
    values: dict = {"backbone_id": "drawn", "depth": 0, "decoder": "unet", "cleaning": Cleaning((0.5, 0.5))}
    return MaskSpec(**(values | changes))


def logit(probabilities: np.ndarray) -> np.ndarray:
    return np.log(probabilities / (1 - probabilities))


def red_and_green(batch: np.ndarray) -> np.ndarray:
    """Two labels: how red and how green a pixel is, as logits; it looks at nothing else."""
    assert batch.dtype == np.float32 and batch.shape[:2] == (1, 3)
    assert batch.shape[2] % 32 == 0 and batch.shape[3] % 32 == 0
    return logit((batch[:, :2] + 1) / 257)


def local_mean(batch: np.ndarray) -> np.ndarray:
    """Mean of red over 3 × 3 pixels, with zeros beyond the border, as convolutions have."""
    red = np.pad(batch[:, :1], ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = batch.shape[2:]
    mean = sum(red[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)) / 9
    return logit((mean + 1) / 257)


def leans_right_and_down(batch: np.ndarray) -> np.ndarray:
    """Its first label says how far right in the array a pixel stands, its second how far down."""
    right = np.broadcast_to(np.arange(batch.shape[3]) / 100 - 0.3, batch.shape[2:])
    down = np.broadcast_to(np.arange(batch.shape[2])[:, None] / 50 - 0.2, batch.shape[2:])
    return (np.stack([right, down])[None] + batch[:, :1] / 255).astype(np.float32)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("hw", [(1, 1), (5, 40), (31, 33), (64, 96), (300, 210)])
@pytest.mark.parametrize("flips", [False, True])
def test_every_pixel_gets_the_network_s_answer_in_its_place(hw: tuple[int, int], flips: bool) -> None:
    image = photo(*hw)
    found = to_probabilities(red_and_green, image, make_spec(piece_px=128, overlap_px=32, flips=flips))
    assert found.shape == (2, *hw) and found.dtype == np.float32
    np.testing.assert_allclose(found, (image[..., :2].transpose(2, 0, 1) + 1.0) / 257, atol=1e-5)


@pytest.mark.parametrize("piece_px", [64, 100, 160])
def test_pieces_change_nothing_away_from_their_borders(piece_px: int) -> None:
    """Within 1e-5 where no border of a piece is near; there a zero beyond it is seen, but weighs little."""
    image, overlap_px = photo(230, 310), 24
    whole = to_probabilities(local_mean, image, make_spec(piece_px=1024))
    pieces = to_probabilities(local_mean, image, make_spec(piece_px=piece_px, overlap_px=overlap_px))
    is_border = np.zeros(image.shape[:2], bool)
    for top, left, bottom, right in lay_tiles(image.shape[:2], piece_px, overlap_px):
        edge = np.ones((bottom - top, right - left), bool)
        edge[1:-1, 1:-1] = False
        is_border[top:bottom, left:right] |= edge
    difference = np.abs(whole - pieces)[0]
    assert difference[~is_border].max() < 1e-5
    inner = difference[2:-2, 2:-2]
    assert 1e-4 < inner.max() < 0.1
    assert is_border.mean() < 0.2


@pytest.mark.parametrize("hw", [(64, 96), (40, 50)])
def test_each_flip_is_turned_back_and_they_are_averaged(hw: tuple[int, int]) -> None:
    image = photo(*hw)
    padded = pad_image(image, 32)

    def turned_by_hand(turn: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        batch = np.ascontiguousarray(turn(padded)).transpose(2, 0, 1)[None].astype(np.float32)
        answer = 1 / (1 + np.exp(-leans_right_and_down(batch)[0]))
        return turn(answer.transpose(1, 2, 0)).transpose(2, 0, 1)[:, : hw[0], : hw[1]]

    turns = [lambda a: a, lambda a: a[:, ::-1], lambda a: a[::-1], lambda a: a[::-1, ::-1]]
    wanted = [turned_by_hand(turn) for turn in turns]
    assert all(np.abs(wanted[0] - other).max() > 0.1 for other in wanted[1:])
    alone = to_probabilities(leans_right_and_down, image, make_spec())
    np.testing.assert_allclose(alone, wanted[0], atol=1e-6)
    mean = to_probabilities(leans_right_and_down, image, make_spec(flips=True))
    np.testing.assert_allclose(mean, np.mean(wanted, axis=0), atol=1e-6)


def test_photos_are_filled_up_by_mirroring() -> None:
    image = photo(5, 40)
    filled = pad_image(image, 32)
    assert filled.shape == (32, 64, 3)
    np.testing.assert_array_equal(filled[:5, :40], image)
    np.testing.assert_array_equal(filled[5:10, :40], image[::-1])
    np.testing.assert_array_equal(filled[:5, 40:], image[:, :-25:-1])
    assert (pad_image(photo(1, 1), 32) == photo(1, 1)).all()
    assert pad_image(photo(64, 32), 32).shape == (64, 32, 3)


def test_extreme_logits_give_0_and_1_without_a_warning() -> None:
    def sure(batch: np.ndarray) -> np.ndarray:
        return np.where(batch[:, :1] > 127, np.float32(1e4), np.float32(-1e4))

    image = np.zeros((8, 8, 3), np.uint8)
    image[:4] = 255
    found = to_probabilities(sure, image, make_spec())
    assert found[0, :4].min() == 1 and found[0, 4:].max() < 1e-20


def test_a_long_strip_is_looked_at_piece_by_piece() -> None:
    """70,000 × 40 pixels: the mask has its size, and memory is that of the answer and of a few pieces."""
    image = np.zeros((40, 70_000, 3), np.uint8)
    image[10:20, 33_000:34_000, 0] = 255
    widest = 0

    def network(batch: np.ndarray) -> np.ndarray:
        nonlocal widest
        widest = max(widest, batch.shape[3])
        return red_and_green(batch)

    tracemalloc.start()
    found = to_probabilities(network, image, make_spec())
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (2, 40, 70_000) and widest == 1024
    np.testing.assert_array_equal(found[0] >= 0.5, image[..., 0] > 0)
    answer_bytes = found.nbytes + image[..., 0].size * 4
    assert peak_bytes < answer_bytes + 12 * 1024 * 64 * 3 * 4
