"""How far a figure can be trusted: resampling whole groups, and exact bounds on rates.

Photos of one source resemble one another, so the source is drawn, never the photo. Every figure that is a
function of sums (all but the ranked ones) is resampled through the sums per group: one matrix product for all
resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flawmap.errors import option
from flawmap.tools.words import counted

_CHUNK_ELEMENTS = 1_000_000
MIN_RELIABLE_GROUPS = 20
"""Under this many groups a bootstrap over groups is known to be too narrow; its intervals are marked."""
NO_WIDTH = "no error met, so no interval"
"""What is printed for an interval of two equal ends at the best value: it only says that no resample met an
error, which is no certainty."""
ONE_SOURCE = "all from one source: no interval"
TOO_FEW_SOURCES = "no interval: too few sources"
ALIKE = "every resample alike, so no interval"
LOWER_IS_BETTER = frozenset({"escape_rate", "overkill_rate", "loss", "brier", "ece"})
"""Figures whose best value is 0."""
_WIDTH = 1e-9
"""Ends this near one another are equal: sums in another order differ in the last digits."""


@dataclass(frozen=True)
class GroupResamples:
    """How often each group stands in each resample. `codes` (n,) is the group of each photo."""

    codes: np.ndarray
    counts: np.ndarray
    """(n_resamples, n_groups) float32; every row sums to n_groups."""

    @property
    def n_groups(self) -> int:
        return self.counts.shape[1]

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(n, ...) values of photos → (n_resamples, ...) float64 sums over each resample."""
        flat = np.asarray(values, np.float64).reshape(len(values), math.prod(np.shape(values)[1:]))
        return (self.counts @ sum_by_group(flat, self.codes, self.n_groups)).reshape(-1, *values.shape[1:])


def to_codes(groups: Sequence[str] | None, n_photos: int) -> tuple[np.ndarray, int]:
    """Group names → ((n,) codes in the order of the sorted names, n_groups); None: each photo its own."""
    if groups is None:
        return np.arange(n_photos), n_photos
    names, codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    return codes.reshape(-1), len(names)


def sum_by_group(values: np.ndarray, codes: np.ndarray, n_groups: int) -> np.ndarray:
    """(n, k) values and (n,) codes → (n_groups, k) float64 sums."""
    columns = [np.bincount(codes, weights=column, minlength=n_groups) for column in np.transpose(values)]
    return np.stack(columns, axis=1) if columns else np.zeros((n_groups, 0))


def draw_groups(groups: Sequence[str] | None, n_photos: int, n_resamples: int, seed: int) -> GroupResamples:
    """Draw as many groups as there are, with replacement, `n_resamples` times (None: photos are drawn)."""
    codes, n_groups = to_codes(groups, n_photos)
    drawn = np.random.default_rng(seed).integers(n_groups, size=(n_resamples, n_groups), dtype=np.int64)
    drawn += np.arange(n_resamples)[:, None] * n_groups
    counts = np.bincount(drawn.ravel(), minlength=n_resamples * n_groups).astype(np.float32)
    return GroupResamples(codes, counts.reshape(n_resamples, n_groups))


def group_notes(n_groups: int | None, origin: str = "") -> list[str]:
    """What a reader of intervals has to know of the groups that were drawn; None: they are not known.

    `origin` says in words where the groups were learnt from.
    """
    if n_groups is None:
        return [
            "the sources of the photos are not known: single photos were resampled, so the intervals "
            "are too narrow if several photos show one object; name the sources with "
            f"{option('--group-by')} or a manifest's group column"
        ]
    notes = [f"intervals are over {counted(n_groups, 'source')}, {origin}"] if origin else []
    if n_groups < MIN_RELIABLE_GROUPS:
        notes.append(f"only {counted(n_groups, 'group')}: intervals are unreliable")
    return notes


def ranked_figures(truth: np.ndarray, scores: np.ndarray, resamples: GroupResamples) -> np.ndarray:
    """(n_resamples, 2) AUROC and average precision of every resample; NaN where it lacks a class.

    Photos are sorted once; a resample is a weight per photo, and both figures are sums over running totals.
    """
    order = np.argsort(-scores, kind="stable")
    positive = np.asarray(truth, bool)[order]
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    per_group = np.ascontiguousarray(resamples.counts.T)
    codes = resamples.codes[order]
    n_resamples = resamples.counts.shape[0]
    step = max(1, _CHUNK_ELEMENTS // max(len(order), 1))
    figures = [
        _ranked_chunk(per_group[:, start : start + step][codes], positive, ends)
        for start in range(0, n_resamples, step)
    ]
    return np.concatenate(figures)


def _ranked_chunk(weights: np.ndarray, positive: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """`ranked_figures` for (n, k) weights of photos in falling order of score."""
    hits = np.cumsum(np.where(positive[:, None], weights, np.float32(0)), axis=0, dtype=np.float32)[ends]
    both = np.cumsum(weights, axis=0, dtype=np.float32)[ends]
    steps = np.diff(hits, axis=0, prepend=np.float32(0))
    false = both - hits
    n_hits, n_false = hits[-1].astype(np.float64), false[-1].astype(np.float64)
    middle = false - 0.5 * np.diff(false, axis=0, prepend=np.float32(0))
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.einsum("ij,ij->j", steps, middle, dtype=np.float64)
        area = np.where(n_hits * n_false > 0, 1.0 - below / (n_hits * n_false), np.nan)
        precision = np.where(both > 0, hits / both, np.float32(0))
        average = np.einsum("ij,ij->j", steps, precision, dtype=np.float64) / n_hits
    return np.stack([area, average], axis=1)


def interval95(values: np.ndarray) -> tuple[float, float] | None:
    """The middle 95 % of the resampled values, those without meaning (NaN) left out; None if all are."""
    kept = values[~np.isnan(values)]
    if not len(kept):
        return None
    low, high = np.quantile(kept, [0.025, 0.975])
    return float(low), float(high)


def no_interval(interval: Sequence[float], best: float = 1.0, n_sources: int | None = None) -> str:
    """Why there is no interval to print, where its ends are equal; empty where they differ.

    `best` is the figure of an answer without error; `n_sources` is how many sources it was resampled over.
    """
    low, high = interval
    if high - low > _WIDTH:
        return ""
    if abs(low - best) <= _WIDTH:
        return NO_WIDTH
    if n_sources == 1:
        return ONE_SOURCE
    return ALIKE if n_sources is not None and n_sources >= MIN_RELIABLE_GROUPS else TOO_FEW_SOURCES


def beta_quantile(q: float, a: float, b: float) -> float:
    """Quantile of the Beta(a, b) distribution by bisection on the regularised incomplete beta function."""
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        if _incomplete_beta(middle, a, b) < q:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b) by its continued fraction (DLMF 8.17.22, evaluated by Lentz's method)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _incomplete_beta(1.0 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    tiny, c, d = 1e-300, 1.0, 0.0
    fraction = 1.0
    for step in range(1000):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 / (1.0 + term * d or tiny)
        c = 1.0 + term / c or tiny
        fraction *= c * d
        if abs(1.0 - c * d) < 1e-13 and step > 0:
            break
    return math.exp(log_front) * (fraction - 1.0) / a


def upper_bound(n_events: float, n: float, confidence: float = 0.95) -> float:
    """One-sided exact (Clopper-Pearson) upper bound on a rate; 1.0 where nothing was observed.

    Zero events in n: 1 − 0.05^(1/n), the "rule of three". Counts need not be whole, so that an effective
    number of photos can be given.
    """
    if n <= 0 or n_events >= n:
        return 1.0
    return beta_quantile(confidence, n_events + 1.0, n - n_events)


def is_rate_below(rate: float, n_events: float, n: float, confidence: float = 0.95) -> bool:
    """Whether `upper_bound` of the same counts lies below `rate`, without searching for it."""
    return 0 <= n_events < n and _incomplete_beta(rate, n_events + 1.0, n - n_events) > confidence


def lower_bound(n_events: float, n: float, confidence: float = 0.95) -> float:
    """One-sided exact (Clopper-Pearson) lower bound on a rate; 0.0 where nothing was observed."""
    return 1.0 - upper_bound(n - n_events, n, confidence) if n > 0 else 0.0


def design_effect(values: np.ndarray, groups: Sequence[str] | None) -> float:
    """By how much photos of one group carry less than as many independent ones: n / this is the effective n.

    Kish's 1 + (m − 1) ρ, with ρ the intra-class correlation of `values` (one-way analysis of variance) and m
    the mean group size as a photo sees it. 1.0 where groups are unknown or hold one photo each.
    """
    n = len(values)
    codes, n_groups = to_codes(groups, n)
    if n_groups in (0, n):
        return 1.0
    sizes = np.bincount(codes, minlength=n_groups).astype(np.float64)
    seen_size = float((sizes**2).sum() / n)
    if n_groups == 1:
        return seen_size
    means = np.bincount(codes, weights=values, minlength=n_groups) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum() / (n_groups - 1))
    within = float(((values - means[codes]) ** 2).sum() / (n - n_groups))
    typical_size = (n - seen_size) / (n_groups - 1)
    spread = between + (typical_size - 1.0) * within
    correlation = min(1.0, max(0.0, (between - within) / spread)) if spread > 0 else 0.0
    return 1.0 + (seen_size - 1.0) * correlation
