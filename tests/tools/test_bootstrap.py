"""Bounds against scipy; resamples against doing them one by one."""

from __future__ import annotations

import numpy as np
import pytest

from flawmap.tools import bootstrap, scores


@pytest.mark.parametrize(
    ("n_events", "n"), [(0, 1), (0, 299), (1, 50), (3.5, 77.2), (50, 1000), (999, 1000), (3, 100_000)]
)
@pytest.mark.parametrize("confidence", [0.95, 0.975])
def test_bounds_are_quantiles_of_the_beta_distribution(n_events: float, n: float, confidence: float) -> None:
    from scipy.stats import beta

    upper = bootstrap.upper_bound(n_events, n, confidence)
    assert upper == pytest.approx(beta.ppf(confidence, n_events + 1, n - n_events), rel=1e-9)
    lower = beta.ppf(1 - confidence, n_events, n - n_events + 1) if n_events else 0.0
    assert bootstrap.lower_bound(n_events, n, confidence) == pytest.approx(lower, rel=1e-9, abs=1e-12)
    assert bootstrap.is_rate_below(upper * 1.001, n_events, n, confidence)
    assert not bootstrap.is_rate_below(upper * 0.999, n_events, n, confidence)


def test_nothing_seen_bounds_nothing() -> None:
    assert bootstrap.upper_bound(0, 0) == 1.0 and bootstrap.lower_bound(0, 0) == 0.0
    assert bootstrap.upper_bound(5, 5) == 1.0


def test_no_miss_in_n_photos_gives_the_rule_of_three() -> None:
    assert bootstrap.upper_bound(0, 299) == pytest.approx(1 - 0.05 ** (1 / 299))
    assert bootstrap.upper_bound(0, 299) < 0.01 < bootstrap.upper_bound(0, 298)


@pytest.mark.parametrize(
    ("interval", "best", "n_sources", "words"),
    [
        ((0.4, 0.6), 1.0, 1, ""),
        ((1.0, 1.0), 1.0, 1, bootstrap.NO_WIDTH),
        ((1 - 1e-16, 1.0), 1.0, 30, bootstrap.NO_WIDTH),
        ((0.0, 0.0), 0.0, 30, bootstrap.NO_WIDTH),
        ((0.0, 0.0), 1.0, 1, bootstrap.ONE_SOURCE),
        ((0.0, 0.0), 1.0, 4, bootstrap.TOO_FEW_SOURCES),
        ((0.0, 0.0), 1.0, None, bootstrap.TOO_FEW_SOURCES),
        ((0.0, 0.0), 1.0, 30, bootstrap.ALIKE),
        ((1.0, 1.0), 0.0, 4, bootstrap.TOO_FEW_SOURCES),
        ((0.6907306111590071, 0.6907306111590072), 1.0, 1, bootstrap.ONE_SOURCE),
    ],
)
def test_why_there_is_no_interval(
    interval: tuple[float, float], best: float, n_sources: int | None, words: str
) -> None:
    assert bootstrap.no_interval(interval, best, n_sources) == words


def test_a_resample_draws_whole_groups() -> None:
    groups = ["b", "a", "b", "c", "a", "b"]
    drawn = bootstrap.draw_groups(groups, 6, 50, seed=1)
    assert drawn.codes.tolist() == [1, 0, 1, 2, 0, 1]
    assert (drawn.counts.sum(axis=1) == 3).all()
    values = np.arange(12.0).reshape(6, 2)
    for counts, total in zip(drawn.counts, drawn.sums(values), strict=True):
        assert total == pytest.approx((values * counts[drawn.codes][:, None]).sum(axis=0))


def test_sums_keep_the_shape_of_a_photo() -> None:
    drawn = bootstrap.draw_groups(None, 4, 7, seed=0)
    assert drawn.n_groups == 4
    assert drawn.sums(np.ones((4, 3, 2))).shape == (7, 3, 2)
    assert drawn.sums(np.ones(4)).tolist() == [4.0] * 7


def test_ranked_figures_of_a_resample_are_those_of_the_repeated_photos() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(60) < 0.4
    at = np.round(rng.random(60), 1)
    drawn = bootstrap.draw_groups([str(i // 4) for i in range(60)], 60, 20, seed=3)
    found = bootstrap.ranked_figures(truth, at, drawn)
    for counts, (area, average) in zip(drawn.counts, found, strict=True):
        rows = np.repeat(np.arange(60), counts[drawn.codes].astype(int))
        assert area == pytest.approx(scores.auroc(truth[rows], at[rows]), abs=1e-6)
        assert average == pytest.approx(scores.average_precision(truth[rows], at[rows]), abs=1e-6)


def test_a_resample_that_lacks_a_class_has_no_ranked_figure() -> None:
    drawn = bootstrap.draw_groups(None, 2, 40, seed=0)
    found = bootstrap.ranked_figures(np.array([True, False]), np.array([0.9, 0.1]), drawn)
    is_mixed = (drawn.counts == 1).all(axis=1)
    assert np.isnan(found[~is_mixed, 0]).all() and (found[is_mixed, 0] == 1.0).all()


def test_intervals_leave_out_what_has_no_meaning() -> None:
    values = np.concatenate([np.linspace(0, 1, 1001), [np.nan] * 5])
    assert bootstrap.interval95(values) == pytest.approx((0.025, 0.975))
    assert bootstrap.interval95(np.array([np.nan])) is None


def test_the_interval_over_groups_is_wide_where_photos_of_a_group_are_alike() -> None:
    rng = np.random.default_rng(0)
    of_group = rng.random(40) < 0.5
    values = np.repeat(of_group, 25).astype(float)
    groups = [str(i // 25) for i in range(1000)]

    def width(given: list[str] | None) -> float:
        drawn = bootstrap.draw_groups(given, 1000, 500, seed=0)
        low, high = bootstrap.interval95(drawn.sums(values) / drawn.sums(np.ones(1000))) or (0, 0)
        return high - low

    assert width(groups) > 3 * width(None)


def test_the_design_effect_counts_copies_as_one_photo_and_strangers_in_full() -> None:
    rng = np.random.default_rng(0)
    groups = [str(i // 10) for i in range(2000)]
    copies = np.repeat(rng.normal(size=200), 10)
    assert bootstrap.design_effect(copies, groups) == pytest.approx(10, rel=0.01)
    assert bootstrap.design_effect(rng.normal(size=2000), groups) == pytest.approx(1, abs=0.4)
    assert bootstrap.design_effect(copies, None) == 1.0
    assert bootstrap.design_effect(np.ones(5), ["a"] * 5) == 5.0
    assert bootstrap.design_effect(np.zeros(0), []) == 1.0
