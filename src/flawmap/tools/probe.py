"""Linear probes: logistic regression on pooled maps, all folds at once, fast enough for hundreds of them.

Same optimum as scikit-learn's LogisticRegression (its C, its unpenalised intercept), reached another way: the
features are rotated once onto their principal axes, where the curvature of the loss is nearly diagonal and n
photos need at most n axes; then every fold runs through the same matrix products, by conjugate gradients with
that diagonal as preconditioner. A fit takes 10 to 40 steps, and starts from that of a stronger penalty.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np

from flawmap.records import LinearHead

_LEAST_AXIS = 1e-7
_LEAST_SPREAD = 1e-3
_LINE_STEPS = 2


def one_thread() -> contextlib.AbstractContextManager[object]:
    """Keeps numpy's matrix products on one thread, where threadpoolctl (it comes with scikit-learn) is there.

    The products here are small: more threads wait for one another, ten times the work on a busy machine, and
    change the last bits of a sum.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return contextlib.nullcontext()
    return threadpool_limits(1, user_api="blas")


@dataclass(frozen=True)
class Scaling:
    """(x − mean) / spread, per feature.

    A channel that hardly varies is not blown up: its spread is at least a thousandth of the median, so that
    rounding differences between runtimes stay what they are.
    """

    mean: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> Scaling:
        """From (n, d) features; sums in float64."""
        mean = features.mean(axis=0, dtype=np.float64)
        spread = features.std(axis=0, dtype=np.float64)
        varied = spread[spread > 0]
        least = _LEAST_SPREAD * float(np.median(varied)) if len(varied) else 1.0
        return cls(mean, np.maximum(spread, least))

    def apply(self, features: np.ndarray) -> np.ndarray:
        """(n, d) → float32, as far from rounding as float32 allows."""
        return ((features - self.mean) / self.spread).astype(np.float32)


@dataclass(frozen=True)
class Axes:
    """Features on their principal axes."""

    rows: np.ndarray
    """(n, k + 1), the last column ones."""
    strengths: np.ndarray
    """(k,) squared lengths of the other columns."""
    back: np.ndarray
    """(d, k) turns weights on the axes into weights on the features."""


def to_axes(scaled: np.ndarray, dtype: type = np.float32) -> Axes:
    """(n, d) scaled features → at most min(n, d) axes; exact up to axes without any strength."""
    n, d = scaled.shape
    values = scaled.astype(dtype)
    is_tall = d <= n
    strengths, vectors = np.linalg.eigh(values.T @ values if is_tall else values @ values.T)
    kept = strengths > max(float(strengths[-1]), 1e-30) * (_LEAST_AXIS if dtype is np.float32 else 1e-13)
    strengths, vectors = strengths[kept], vectors[:, kept]
    lengths = np.sqrt(strengths)
    rows = values @ vectors if is_tall else vectors * lengths
    back = vectors if is_tall else values.T @ (vectors / lengths)
    return Axes(np.concatenate([rows, np.ones((n, 1), dtype)], axis=1), strengths, back)


@dataclass(frozen=True)
class Problem:
    """What is fitted: (n, c) targets, (n, f) weights of the photos in each of f folds (0: held out).

    c is 1 for two classes (the second against the first); `is_softmax` for one of several classes, otherwise
    every column is a yes or no of its own. Of several classes each weighs the same, however rare, because the
    likeliest is printed and macro F1 is the aim. Two classes, or several labels, keep their shares: there a
    threshold is chosen, and the probabilities stay calibrated.
    """

    targets: np.ndarray
    weights: np.ndarray
    is_softmax: bool

    @classmethod
    def of(cls, targets: np.ndarray, weights: np.ndarray, is_multilabel: bool) -> Problem:
        """From (n, n_labels) 0/1 targets as data sets hold them."""
        if is_multilabel:
            return cls(targets, weights, False)
        if targets.shape[1] == 2:
            return cls(targets[:, 1:], weights, False)
        counts = targets.T.astype(np.float64) @ weights
        n_present = (counts > 0).sum(axis=0)
        fair = np.where(counts > 0, counts.sum(axis=0) / np.maximum(n_present * counts, 1e-30), 0.0)
        return cls(targets, weights * (targets @ fair), True)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """(n, f, c) → the same shape."""
        if not self.is_softmax:
            return 0.5 * (1.0 + np.tanh(0.5 * logits))
        powers = np.exp(logits - logits.max(axis=2, keepdims=True))
        return powers / powers.sum(axis=2, keepdims=True)


def to_logits(scores: np.ndarray, n_labels: int) -> np.ndarray:
    """(..., c) fitted scores → (..., n_labels) logits: one score s of two classes becomes −s/2 and s/2."""
    if scores.shape[-1] == n_labels:
        return scores
    return np.concatenate([-0.5 * scores, 0.5 * scores], axis=-1)


class ProbeFit:
    """Minimises C · Σ weight · loss + |w|²/2 for every fold; `at(C)` goes on from the last solution."""

    def __init__(self, axes: Axes, problem: Problem, tolerance: float = 1e-3, max_steps: int = 200) -> None:
        dtype = axes.rows.dtype
        self.axes, self.problem, self.tolerance, self.max_steps = axes, problem, tolerance, max_steps
        self.targets = problem.targets.astype(dtype)[:, None, :]
        self.photo_weights = problem.weights.astype(dtype)[:, :, None]
        shape = (axes.rows.shape[1], problem.weights.shape[1], problem.targets.shape[1])
        self.weights = np.zeros(shape, dtype)
        self.is_penalised = np.ones((shape[0], 1, 1), dtype)
        self.is_penalised[-1] = 0.0
        start = problem.probabilities(np.zeros((len(axes.rows), *shape[1:]), dtype))
        self.slope_at_zero = self._gather(self.photo_weights * (start - self.targets))

    def at(self, c: float) -> np.ndarray:
        """(k + 1, f, c) weights on the axes, the intercept last.

        Stops where the preconditioned slope has fallen to `tolerance` of its size at zero weights.
        """
        scale = self._preconditioner(c)
        goal = self.tolerance**2 * _dot(c * self.slope_at_zero, scale * (c * self.slope_at_zero))
        logits = self._spread(self.weights)
        direction = slope = size = None
        for _ in range(self.max_steps):
            p = self.problem.probabilities(logits)
            before, slope = slope, self._gather(c * self.photo_weights * (p - self.targets))
            slope += self.is_penalised * self.weights
            step = scale * slope
            size_before, size = size, _dot(slope, step)
            if bool((size <= goal).all()):
                break
            if direction is None or before is None or size_before is None:
                direction = -step
            else:
                turn = np.maximum(0, _dot(slope - before, step) / np.maximum(size_before, 1e-30))
                direction = turn.astype(step.dtype)[:, None] * direction - step
            along = self._spread(direction)
            far = self._walk(c, (logits, p), along, direction)[:, None]
            self.weights = self.weights + far * direction
            logits = logits + far * along
        return self.weights

    def _preconditioner(self, c: float) -> np.ndarray:
        """The inverse of the loss's curvature at zero weights, per axis and fold."""
        n_columns = self.targets.shape[2]
        curvature = c * (1.0 / n_columns if self.problem.is_softmax else 0.25)
        photo_weights = self.photo_weights[:, :, 0].astype(np.float64)
        inverse = np.empty((*self.weights.shape[:2], 1))
        inverse[:-1, :, 0] = 1.0 / (
            curvature * self.axes.strengths[:, None].astype(np.float64) * photo_weights.mean(axis=0) + 1.0
        )
        inverse[-1, :, 0] = 1.0 / (curvature * photo_weights.sum(axis=0))
        return inverse.astype(self.weights.dtype)

    def _walk(
        self, c: float, here: tuple[np.ndarray, np.ndarray], along: np.ndarray, direction: np.ndarray
    ) -> np.ndarray:
        """(f,) how far to go along `direction`: Newton's method on the loss along that line.

        `here`: logits and probabilities where it starts; `along`: by how much a unit step moves the logits.
        """
        logits, p = here
        pulled = self.is_penalised * direction
        slope0, bend0 = _dot(pulled, self.weights), _dot(pulled, direction)
        weighted = c * self.photo_weights * along
        far = np.zeros(along.shape[1], along.dtype)
        for step in range(_LINE_STEPS):
            if step:
                p = self.problem.probabilities(logits + far[:, None] * along)
            slope = _dot(weighted, p - self.targets) + slope0 + far * bend0
            if self.problem.is_softmax:
                bend = _dot(weighted * p, along - (p * along).sum(axis=2, keepdims=True)) + bend0
            else:
                bend = _dot(weighted * p * (1.0 - p), along) + bend0
            far = np.maximum(far - slope / np.maximum(bend, 1e-30), 0.0).astype(along.dtype)
        return far

    def _spread(self, weights: np.ndarray) -> np.ndarray:
        """(k + 1, f, c) → (n, f, c)."""
        return (self.axes.rows @ weights.reshape(len(weights), -1)).reshape(-1, *weights.shape[1:])

    def _gather(self, values: np.ndarray) -> np.ndarray:
        """(n, f, c) → (k + 1, f, c)."""
        return (self.axes.rows.T @ values.reshape(len(values), -1)).reshape(-1, *values.shape[1:])

    def held_out_scores(self, fold_of: np.ndarray) -> np.ndarray:
        """(n, c) score of each photo by the fold that held it out; `fold_of` (n,)."""
        return self._spread(self.weights)[np.arange(len(fold_of)), fold_of]


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Per fold: (k, f, c) × (k, f, c) → (f,)."""
    return np.einsum("kfc,kfc->f", a, b)


def fit_head(features: np.ndarray, targets: np.ndarray, c: float, is_multilabel: bool) -> LinearHead:
    """One probe in float64 on (n, d) features and (n, n_labels) targets; the scaling is folded in."""
    with one_thread():
        return _fit_head(features, targets, c, is_multilabel)


def _fit_head(features: np.ndarray, targets: np.ndarray, c: float, is_multilabel: bool) -> LinearHead:
    scaling = Scaling.of(features)
    axes = to_axes((features - scaling.mean) / scaling.spread, np.float64)
    problem = Problem.of(targets, np.ones((len(features), 1)), is_multilabel)
    found = ProbeFit(axes, problem, tolerance=1e-6, max_steps=2000).at(c)[:, 0, :]
    weight = (axes.back @ found[:-1]) / scaling.spread[:, None]
    bias = found[-1] - scaling.mean @ weight
    return LinearHead(
        to_logits(weight, targets.shape[1]).T.astype(np.float32),
        to_logits(bias, targets.shape[1]).astype(np.float32),
    )
