"""Temperature, threshold and review band on logits whose best answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from flawmap.tools import thresholds
from flawmap.tools.bootstrap import draw_groups
from flawmap.tools.scores import f1_of, printed_labels, to_probabilities

FLAW_SECOND = np.array([False, True])


def two_class(flawed: list[bool] | np.ndarray, at: list[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(targets, probabilities) with the flaw in the second column."""
    score = np.asarray(at, float)
    return np.eye(2, dtype=np.uint8)[np.asarray(flawed, int)], np.stack([1 - score, score], axis=1)


@pytest.mark.parametrize("wanted", [0.4, 1.0, 3.0])
@pytest.mark.parametrize("is_multilabel", [False, True])
def test_the_temperature_that_made_the_labels_is_found(wanted: float, is_multilabel: bool) -> None:
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(20_000, 3))
    p = to_probabilities(logits, wanted, is_multilabel)
    if is_multilabel:
        targets = (rng.random(p.shape) < p).astype(np.uint8)
    else:
        targets = np.eye(3, dtype=np.uint8)[(p.cumsum(axis=1) < rng.random((len(p), 1))).sum(axis=1)]
    assert thresholds.fit_temperature(logits, targets, is_multilabel) == pytest.approx(wanted, rel=0.1)


def test_without_a_mistake_more_photos_allow_more_certainty() -> None:
    def certainty(n: int) -> float:
        targets = np.eye(2, dtype=np.uint8)[np.arange(n) % 2]
        logits = 4.0 * targets
        return float(
            to_probabilities(logits, thresholds.fit_temperature(logits, targets, False), False).max()
        )

    assert certainty(10) == pytest.approx(1 - 0.5 / 11, abs=1e-3)
    assert certainty(10) < certainty(100) < 1 - 1 / 400


def test_no_photo_leaves_the_logits_as_they_are() -> None:
    assert thresholds.fit_temperature(np.zeros((0, 2)), np.zeros((0, 2)), False) == 1.0
    nothing = np.zeros((0, 2))
    assert thresholds.best_threshold(nothing, nothing.astype(np.uint8), FLAW_SECOND, False)[0] == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_has_a_better_f1(seed: int) -> None:
    rng = np.random.default_rng(seed)
    flawed = rng.random(50) < 0.4
    flawed[:2] = [False, True]
    targets, p = two_class(flawed, np.clip(np.round(0.4 * flawed + 0.6 * rng.random(50), 2), 0, 1))
    threshold, f1 = thresholds.best_threshold(p, targets, FLAW_SECOND, False)
    others = [
        f1_of(targets, printed_labels(p, t, FLAW_SECOND, False), FLAW_SECOND) for t in np.linspace(0, 1, 1001)
    ]
    assert f1 == pytest.approx(max(others))
    assert f1 == f1_of(targets, printed_labels(p, threshold, FLAW_SECOND, False), FLAW_SECOND)


def test_of_equal_thresholds_the_middle_of_the_widest_run_is_taken() -> None:
    targets, p = two_class([False, False, True, True], [0.1, 0.2, 0.8, 0.9])
    assert thresholds.best_threshold(p, targets, FLAW_SECOND, False)[0] == pytest.approx(0.5)


def test_costs_move_the_threshold_towards_the_cheaper_mistake() -> None:
    rng = np.random.default_rng(0)
    flawed = rng.random(4000) < 0.5
    targets, p = two_class(flawed, 1 / (1 + np.exp(-(2 * flawed - 1) - rng.normal(size=4000))))
    dear_miss, _ = thresholds.best_threshold(p, targets, FLAW_SECOND, False, (10.0, 1.0))
    dear_alarm, _ = thresholds.best_threshold(p, targets, FLAW_SECOND, False, (1.0, 10.0))
    even, _ = thresholds.best_threshold(p, targets, FLAW_SECOND, False, (1.0, 1.0))
    assert dear_miss < even < dear_alarm
    said = p[:, 1] >= dear_miss
    cost = 10 * (flawed & ~said).sum() + (~flawed & said).sum()
    for t in np.linspace(0, 1, 501):
        other = p[:, 1] >= t
        assert cost <= 10 * (flawed & ~other).sum() + (~flawed & other).sum()


def _noisy(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated scores: log-odds that are normal around ±1, with the slope that makes them probabilities."""
    rng = np.random.default_rng(seed)
    flawed = rng.random(n) < 0.5
    return two_class(flawed, 1 / (1 + np.exp(-2 * (2 * flawed - 1 + rng.normal(size=n)))))


def test_a_small_set_decides_less_than_chance_would_have_it() -> None:
    """Over many small sets the steadied threshold scatters less, and serves unseen photos better."""
    unseen_targets, unseen = _noisy(20_000, 99)
    plain, steady = [], []
    for seed in range(30):
        targets, p = _noisy(40, seed)
        resamples = draw_groups(None, len(targets), 300, 0)
        plain.append(thresholds.best_threshold(p, targets, FLAW_SECOND, False)[0])
        steady.append(thresholds.best_threshold(p, targets, FLAW_SECOND, False, None, resamples)[0])
    assert np.std(steady) < 0.5 * np.std(plain)

    def f1(threshold: float) -> float:
        return f1_of(unseen_targets, printed_labels(unseen, threshold, FLAW_SECOND, False), FLAW_SECOND)

    assert np.mean([f1(t) for t in steady]) > np.mean([f1(t) for t in plain]) + 0.005


def test_what_resampling_is_sure_of_moves_the_threshold_away_from_the_middle() -> None:
    targets, p = two_class([False] * 300 + [True] * 300, [0.6] * 300 + [0.9] * 300)
    resamples = draw_groups(None, 600, 200, 0)
    threshold, f1 = thresholds.best_threshold(p, targets, FLAW_SECOND, False, None, resamples)
    assert 0.6 < threshold < 0.9 and f1 == 1.0


def test_by_cost_the_calibrated_threshold_is_where_an_alarm_and_a_miss_cost_the_same() -> None:
    assert thresholds.calibrated_threshold(None) == 0.5
    assert thresholds.calibrated_threshold((9.0, 1.0)) == pytest.approx(0.1)
    targets, p = _noisy(40, 0)
    resamples = draw_groups(None, len(targets), 300, 0)
    dear_miss, _ = thresholds.best_threshold(p, targets, FLAW_SECOND, False, (9.0, 1.0), resamples)
    dear_alarm, _ = thresholds.best_threshold(p, targets, FLAW_SECOND, False, (1.0, 9.0), resamples)
    assert dear_miss < 0.5 < dear_alarm


def test_a_single_resample_still_leaves_the_best() -> None:
    targets, p = two_class([False, False, True, True], [0.1, 0.2, 0.8, 0.9])
    one = draw_groups(None, 4, 1, 0)
    assert thresholds.best_threshold(p, targets, FLAW_SECOND, False, None, one)[1] == 1.0


@pytest.mark.parametrize("flawed", [[True, True], [False, False]])
def test_one_class_alone_chooses_nothing(flawed: list[bool]) -> None:
    targets, p = two_class(flawed, [0.2, 0.9])
    assert thresholds.best_threshold(p, targets, FLAW_SECOND, False)[0] == 0.5


def test_several_labels_share_the_threshold_of_best_macro_f1() -> None:
    rng = np.random.default_rng(0)
    targets = (rng.random((80, 3)) < 0.4).astype(np.uint8)
    p = np.clip(0.2 + 0.3 * targets + 0.2 * rng.random((80, 3)), 0, 1)
    is_flaw = np.array([True, True, True])
    threshold, f1 = thresholds.best_threshold(p, targets, is_flaw, True)
    assert f1 == 1.0 and p[targets == 0].max() < threshold < p[targets == 1].min()


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_the_band_keeps_both_rates_and_cannot_be_narrower(rate: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    flawed = rng.random(120) < 0.5
    at = np.round(1 / (1 + np.exp(-2 * (2 * flawed - 1) - 2 * rng.normal(size=120))), 3)
    low, high = thresholds.review_band(at, flawed, 0.5, rate)
    assert low <= 0.5 <= high
    assert (at[flawed] < low).mean() <= rate and (at[~flawed] > high).mean() <= rate
    next_up = at[at >= low].min()
    if next_up < 0.5:
        assert (at[flawed] <= next_up).mean() > rate
    next_down = at[at <= high].max()
    if next_down > 0.5:
        assert (at[~flawed] >= next_down).mean() > rate


def test_a_perfect_model_needs_no_band() -> None:
    at, flawed = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])
    assert thresholds.review_band(at, flawed, 0.5, 0.01) == (0.5, 0.5)


def test_an_unknown_side_leaves_the_band_open() -> None:
    at = np.array([0.3, 0.7])
    assert thresholds.review_band(at, np.array([True, True]), 0.5, 0.01)[1] == 1.0
    assert thresholds.review_band(at, np.array([False, False]), 0.5, 0.01)[0] == 0.0
