"""Whether the latest photos are like the training set, whatever share of them is flawed.

The model folder keeps what the model says of photos that training never read. Where the look of photos has
not changed, the latest ones are a mixture of its flawed and its good photos, in whatever shares; the usual
comparison of two distributions would ring for every other share of flaws. So one window of each photo, as
large as a training photo, is held against the mixture whose scores come nearest: first the scores, then the
features, axis by axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flawmap.records import HeldBackCounts
from flawmap.service.shapes_quality import DriftMeasure, TrainingDrift
from flawmap.tools.bundle import Bundle

LEAST_LATEST = 50
LEAST_KNOWN = 20
"""Held-back photos of either kind, below which they say too little."""
SCORE_STEP = 0.05
"""Scores are told apart no finer: whether a clear answer is 0.001 or 0.003 matters to nobody."""
LEAST_STATISTIC, LEAST_FEATURES, MOST_P = 0.25, 0.4, 0.01
"""Statistics that are an alarm, where chance gives them less often than that. Features of the training set's
own photos reached 0.33, where they came from other sources; those of other surfaces 0.5 to 1."""
_SHARES = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class _Sides:
    """One number of each window."""

    latest: np.ndarray
    flawed: np.ndarray
    good: np.ndarray

    def statistics(self, shares: np.ndarray) -> np.ndarray:
        """(n,) Kolmogorov and Smirnov's distances of the latest from mixtures with these shares flawed."""
        at = np.unique(np.concatenate([self.latest, self.flawed, self.good]))
        latest, flawed, good = (
            np.searchsorted(np.sort(values), at, side="right") / len(values)
            for values in (self.latest, self.flawed, self.good)
        )
        mixtures = shares[:, None] * flawed + (1 - shares[:, None]) * good
        return np.abs(mixtures - latest).max(axis=1)

    def mean(self, share: float) -> float:
        """Of the mixture."""
        return float(share * self.flawed.mean() + (1 - share) * self.good.mean())


def hold_against_training(facts: Sequence[Mapping[str, Any]], bundle: Bundle) -> TrainingDrift | None:
    """Facts of the latest photos (see service.facts) against the model's training set; None where either side
    holds too few."""
    seen = [one for one in facts if one.get("window_score") is not None]
    known, counts = bundle.held_back, bundle.spec.held_back
    if known is None or counts is None or len(seen) < LEAST_LATEST:
        return None
    if min(counts.n_flawed, counts.n_good) < LEAST_KNOWN:
        return None
    latest = np.array([one["window_score"] for one in seen])
    steps = [np.rint(scores / SCORE_STEP) for scores in (latest, known.flawed_scores, known.good_scores)]
    statistics = _Sides(*steps).statistics(_SHARES)
    share = float(_SHARES[statistics.argmin()])
    n = _n_effective(len(seen), counts, share)
    scores = _Sides(latest, known.flawed_scores, known.good_scores)
    measures = [
        _measure("window score", scores, share, float(statistics.min()), n, least=LEAST_STATISTIC),
        _measure_features(np.array([one["window_features"] for one in seen]), bundle, share, n),
    ]
    return TrainingDrift(
        n_latest=len(seen),
        n_flawed=counts.n_flawed,
        n_good=counts.n_good,
        share_flawed=share,
        measures=measures,
        is_alarm=any(one.is_alarm for one in measures),
    )


def _measure_features(latest: np.ndarray, bundle: Bundle, share: float, n: float) -> DriftMeasure:
    """The axis that differs most; by chance one of all does so more often than a given one (Bonferroni)."""
    known = bundle.held_back
    assert known is not None
    axes = [
        _Sides(*columns)
        for columns in zip(latest.T, known.flawed_features.T, known.good_features.T, strict=True)
    ]
    statistics = [float(axis.statistics(np.array([share]))[0]) for axis in axes]
    worst = int(np.argmax(statistics))
    return _measure(
        "window features", axes[worst], share, statistics[worst], n, len(axes), least=LEAST_FEATURES
    )


def _measure(
    name: str, sides: _Sides, share: float, statistic: float, n: float, n_tried: int = 1, *, least: float
) -> DriftMeasure:
    from scipy.stats import kstwobign

    p_value = min(1.0, n_tried * float(kstwobign.sf(statistic * np.sqrt(n))))
    return DriftMeasure(
        name=name,
        reference_mean=sides.mean(share),
        latest_mean=float(sides.latest.mean()),
        statistic=statistic,
        p_value=p_value,
        is_alarm=statistic >= least and p_value <= MOST_P,
    )


def _n_effective(n_latest: int, counts: HeldBackCounts, share: float) -> float:
    """Of the test of Kolmogorov and Smirnov. Of the training set sources count: photos of one are alike."""
    n_known = 1 / (share**2 / counts.n_flawed_sources + (1 - share) ** 2 / counts.n_good_sources)
    return n_latest * n_known / (n_latest + n_known)
