"""Sliding windows say what each window says by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.records import LinearHead, Pooling
from flawmap.tools.windows import score_windows, slide_windows, sliding_maxima


def make_head(pooling: Pooling, n_channels: int, seed: int = 0) -> LinearHead:
    rng = np.random.default_rng(seed)
    n_inputs = n_channels * (2 if pooling == "average+maximum" else 1)
    return LinearHead(
        rng.normal(size=(3, n_inputs)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    )


def by_itself(window: np.ndarray, head: LinearHead, pooling: Pooling) -> np.ndarray:
    pooled = window.mean(axis=(1, 2))
    if pooling == "average+maximum":
        pooled = np.concatenate([pooled, window.max(axis=(1, 2))])
    return head.weight @ pooled + head.bias


@pytest.mark.parametrize("pooling", ["average", "average+maximum"])
@settings(max_examples=25, deadline=None)
@given(
    map_hw=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    window=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    band=st.integers(1, 15),
)
def test_every_window_says_what_it_says_alone(
    pooling: Pooling, map_hw: tuple[int, int], window: tuple[int, int], band: int
) -> None:
    window_hw = (min(window[0], map_hw[0]), min(window[1], map_hw[1]))
    features = np.random.default_rng(1).normal(size=(4, *map_hw)).astype(np.float32)
    head = make_head(pooling, 4)
    bands = [features[:, top : top + band] for top in range(0, map_hw[0], band)]
    logits, evidence = slide_windows(bands, map_hw, window_hw, head, pooling)
    for i, j in np.ndindex(*logits.shape[1:]):
        alone = by_itself(features[:, i : i + window_hw[0], j : j + window_hw[1]], head, pooling)
        np.testing.assert_allclose(logits[:, i, j], alone, atol=1e-4)
    if pooling == "average":  # the cells' parts sum to the logit less the bias
        own = evidence[:, : window_hw[0], : window_hw[1]].sum(axis=(1, 2))
        np.testing.assert_allclose(own + head.bias, logits[:, 0, 0], atol=1e-4)


def test_cells_get_the_windows_around_them() -> None:
    features = np.zeros((1, 9, 9), np.float32)
    features[0, 4, 4] = 9.0
    head = LinearHead(np.ones((1, 1), np.float32), np.zeros(1, np.float32))
    found = score_windows([features], (9, 9), (3, 3), head, "average")
    assert found.logits.shape == (1, 9, 9)
    expected = np.zeros((9, 9), bool)
    expected[3:6, 3:6] = True
    np.testing.assert_array_equal(found.logits[0] > 0.5, expected)


def test_a_maximum_lights_up_where_it_stands() -> None:
    features = np.zeros((1, 8, 8), np.float32)
    features[0, 2, 5], features[0, 2, 6] = 4.0, 1.0
    head = LinearHead(np.array([[0.0, 1.0]], np.float32), np.zeros(1, np.float32))
    evidence = score_windows([features], (8, 8), (4, 4), head, "average+maximum").evidence[0]
    assert np.argwhere(evidence > 0).tolist() == [[2, 5]]


def test_sliding_maxima() -> None:
    maps = np.arange(20, dtype=np.float32).reshape(1, 4, 5)
    assert sliding_maxima(maps, (3, 2))[0].tolist() == [[11, 12, 13, 14], [16, 17, 18, 19]]


def test_a_map_smaller_than_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted a map of"):
        slide_windows([np.zeros((1, 2, 2), np.float32)], (2, 2), (3, 3), make_head("average", 1), "average")
