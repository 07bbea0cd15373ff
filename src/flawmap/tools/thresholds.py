"""From validation logits to a temperature, a threshold and a review band (numpy only).

Middles are taken between log-odds, where the scores of a linear head are spread evenly, so that a threshold
between two photos lies as far from the one as from the other.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from flawmap.tools.bootstrap import GroupResamples
from flawmap.tools.scores import (
    count_hits,
    f1_from_hits,
    has_any,
    has_threshold,
    is_flaw_against_good,
    printed_labels,
    to_flaw_scores,
    to_probabilities,
)

_TEMPERATURES = (0.05, 20.0)
_EXTREME_LOG_ODDS = math.log(1e6)
_MAX_TRIED = 512
_MAX_RESAMPLED = 200


def fit_temperature(logits: np.ndarray, targets: np.ndarray, is_multilabel: bool) -> float:
    """The temperature of least log loss on validation photos, between 0.05 and 20; 1.0 without photos.

    The labels are softened by one photo's worth of "any label" (as Platt, 1999, does), so that a set without
    a mistake does not claim more certainty than its size supports. The loss is convex in 1/T, hence has one
    valley in log T: golden-section search.
    """
    n = len(logits)
    if n == 0:
        return 1.0
    middle = 0.5 if is_multilabel else 1.0 / logits.shape[1]
    wanted = (n * np.asarray(targets, np.float64) + middle) / (n + 1)
    scores = np.asarray(logits, np.float64)

    def loss(log_temperature: float) -> float:
        scaled = scores / math.exp(log_temperature)
        if is_multilabel:
            return float((np.logaddexp(0.0, scaled) - wanted * scaled).mean())
        top = scaled.max(axis=1)
        norm = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float((norm - (wanted * scaled).sum(axis=1)).mean())

    low, high = (math.log(limit) for limit in _TEMPERATURES)
    golden = (math.sqrt(5.0) - 1.0) / 2.0
    left, right = high - golden * (high - low), low + golden * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > 1e-5:
        if loss_left <= loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - golden * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + golden * (high - low)
            loss_right = loss(right)
    return math.exp(0.5 * (low + high))


def best_threshold(
    probabilities: np.ndarray,
    targets: np.ndarray,
    is_flaw: np.ndarray,
    is_multilabel: bool,
    costs: tuple[float, float] | None = None,
    resamples: GroupResamples | None = None,
) -> tuple[float, float]:
    """The threshold of best F1, or of least cost for costs = (a miss, a false alarm), and the F1 there.

    Ties: the middle of the widest plateau. With `resamples` of the photos, and flawed against good, every
    threshold ties that falls behind by no more than a standard error, and the one nearest to where calibrated
    scores would put it is taken: the very best of a small set is mostly chance. Where labels are printed by
    argmax, or the photos hold only one of flawed and good, nothing can be chosen and the threshold is 0.5.
    """
    threshold = 0.5
    if has_threshold(is_flaw, is_multilabel) and len(targets):
        flawed = has_any(targets, is_flaw)
        scores = to_flaw_scores(probabilities, is_flaw, is_multilabel)
        if costs is not None or is_flaw_against_good(is_flaw):
            if 0 < flawed.sum() < len(flawed):
                threshold = _best_for_flaws(scores, flawed, costs)
                if resamples is not None:
                    threshold = _steadied(threshold, scores, flawed, costs, resamples)
        elif flawed.any():
            threshold = _best_for_labels(probabilities, targets, is_flaw)
    printed = printed_labels(probabilities, threshold, is_flaw, is_multilabel)
    return threshold, float(f1_from_hits(count_hits(targets, printed).sum(axis=0), is_flaw))


def best_f1(logits: np.ndarray, targets: np.ndarray, is_flaw: np.ndarray, is_multilabel: bool) -> float:
    """F1 of raw logits at their best threshold: what contenders are compared by on validation photos."""
    return best_threshold(to_probabilities(logits, 1.0, is_multilabel), targets, is_flaw, is_multilabel)[1]


def _best_for_flaws(scores: np.ndarray, flawed: np.ndarray, costs: tuple[float, float] | None) -> float:
    """Of all ways to cut the ranking flawed | good, the middle of the widest best run."""
    distinct, index = np.unique(-scores, return_inverse=True)
    hits = np.concatenate([[0], np.cumsum(np.bincount(index, weights=flawed))])
    false = np.concatenate([[0], np.cumsum(np.bincount(index, weights=~flawed))])
    quality = _quality(hits, false, hits[-1], costs)
    return _widest_middle(quality, np.concatenate([[1.0], -distinct, [0.0]]))


def _quality(
    hits: np.ndarray, false: np.ndarray, n_flawed: np.ndarray, costs: tuple[float, float] | None
) -> np.ndarray:
    """F1, or the cost with its sign turned; higher is better. 0 where there is no flaw and no alarm."""
    if costs is None:
        return 2 * hits / np.maximum(hits + false + n_flawed, 1)
    return -(costs[0] * (n_flawed - hits) + costs[1] * false)


def calibrated_threshold(costs: tuple[float, float] | None) -> float:
    """Where the threshold lies for scores that are probabilities: 0.5, or by cost alarm / (miss + alarm).

    Above the latter an alarm is expected to cost less than a miss (C. Elkan, The foundations of
    cost-sensitive learning, 2001).
    """
    return 0.5 if costs is None else costs[1] / (costs[0] + costs[1])


def _steadied(
    best: float,
    scores: np.ndarray,
    flawed: np.ndarray,
    costs: tuple[float, float] | None,
    resamples: GroupResamples,
) -> float:
    """The threshold nearest to the calibrated one, of those that are as good as the best.

    As good: what it loses against the best, resample by resample, is on average within one standard error.
    """
    distinct = np.unique(scores)
    if len(distinct) > _MAX_RESAMPLED:
        distinct = distinct[np.linspace(0, len(distinct) - 1, _MAX_RESAMPLED).astype(int)]
    wanted = calibrated_threshold(costs)
    between = [_middle(low, high) for low, high in itertools.pairwise(distinct.tolist())]
    tried = np.unique([*between, best, wanted])
    said = scores[:, None] >= tried
    counts = resamples.sums(np.stack([said & flawed[:, None], said & ~flawed[:, None]], axis=1))
    n_flawed = resamples.sums(flawed)[:, None]
    quality = _quality(counts[:, 0], counts[:, 1], n_flawed, costs)
    lost = quality[:, [int(np.searchsorted(tried, best))]] - quality
    is_as_good = lost.mean(axis=0) <= lost.std(axis=0)
    return float(min(tried[is_as_good], key=lambda t: abs(_log_odds(t) - _log_odds(wanted))))


def _best_for_labels(probabilities: np.ndarray, targets: np.ndarray, is_flaw: np.ndarray) -> float:
    """One threshold for all labels: tried between the distinct flaw probabilities (at most 512 of them)."""
    distinct = -np.unique(-probabilities[:, np.asarray(is_flaw, bool)])
    if len(distinct) > _MAX_TRIED:
        distinct = distinct[np.linspace(0, len(distinct) - 1, _MAX_TRIED).astype(int)]
    edges = np.concatenate([[1.0], distinct, [0.0]])
    hits = [
        count_hits(targets, printed_labels(probabilities, _middle(high, low), is_flaw, True)).sum(axis=0)
        for high, low in itertools.pairwise(edges)
    ]
    return _widest_middle(f1_from_hits(np.stack(hits), is_flaw), edges)


def _widest_middle(quality: np.ndarray, edges: np.ndarray) -> float:
    """Middle of the widest best run; quality[i] holds between edges[i + 1] and edges[i] (edges fall)."""
    best = quality >= quality.max() - 1e-12
    bounds = np.flatnonzero(np.diff(np.concatenate([[False], best, [False]]).astype(np.int8)))
    runs = [(float(edges[start]), float(edges[stop])) for start, stop in bounds.reshape(-1, 2)]
    widths = [_log_odds(high) - _log_odds(low) for high, low in runs]
    high, low = runs[int(np.argmax(widths))]
    middle = _middle(high, low)
    return middle if middle > low else float(high)


def _log_odds(p: float) -> float:
    if p <= 0.0 or p >= 1.0:
        return math.copysign(_EXTREME_LOG_ODDS, p - 0.5)
    return min(_EXTREME_LOG_ODDS, max(-_EXTREME_LOG_ODDS, math.log(p) - math.log1p(-p)))


def _middle(a: float, b: float) -> float:
    """Half-way in log-odds, and never outside [a, b]."""
    middle = 1.0 / (1.0 + math.exp(-0.5 * (_log_odds(a) + _log_odds(b))))
    return float(min(max(middle, min(a, b)), max(a, b)))


def review_band(
    flaw_scores: np.ndarray, flawed: np.ndarray, threshold: float, max_miss_rate: float
) -> tuple[float, float]:
    """(low, high) around the threshold: the narrowest band that keeps to `max_miss_rate` on both sides.

    At most that share of the flaws scores below `low`, and of the good photos above `high`. Without a flaw
    `low` is 0, without a good photo `high` is 1 (a band as wide as can be: nothing is known).
    """
    flawed = np.asarray(flawed, bool)
    low, high = 0.0, 1.0
    flaws, good = np.sort(flaw_scores[flawed]), np.sort(flaw_scores[~flawed])[::-1]
    if len(flaws):
        kept = float(flaws[min(math.floor(max_miss_rate * len(flaws) + 1e-9), len(flaws) - 1)])
        low = _middle(kept, flaw_scores[flaw_scores < kept].max(initial=0.0))
    if len(good):
        kept = float(good[min(math.floor(max_miss_rate * len(good) + 1e-9), len(good) - 1)])
        high = _middle(kept, flaw_scores[flaw_scores > kept].min(initial=1.0))
    return min(low, threshold), max(high, threshold)
