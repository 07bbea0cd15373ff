"""From logits to probabilities, from probabilities to printed labels, and the figures that judge them.

Numpy only: predict, explain and evaluate run where nothing else is installed. Throughout, `targets` and
`printed` are (n, n_labels) 0/1, `probabilities` (n, n_labels) calibrated, `is_flaw` (n_labels,) bool.
A figure that has no meaning (recall without a single flaw) is NaN here and null in the files.
"""

from __future__ import annotations

import math

import numpy as np

_LEAST_PROBABILITY = 1e-12


def to_probabilities(logits: np.ndarray, temperature: float, is_multilabel: bool) -> np.ndarray:
    """(n, n_labels) logits → float64 probabilities: softmax, or sigmoid for several labels per photo."""
    scaled = np.asarray(logits, np.float64) / temperature
    if is_multilabel:
        return sigmoid(scaled)
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    powers = np.exp(scaled)
    return powers / powers.sum(axis=1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x) in float64, of any size of x."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, np.float64)))


def has_threshold(is_flaw: np.ndarray, is_multilabel: bool) -> bool:
    """Whether labels are printed by a threshold (a flaw against good, or several labels), not by argmax."""
    return is_multilabel or is_flaw_against_good(is_flaw)


def is_flaw_against_good(is_flaw: np.ndarray) -> bool:
    """Two classes of which exactly one is good: the case in which F1 is that of the flaw."""
    return len(is_flaw) == 2 and int(np.sum(is_flaw)) == 1


def to_flaw_scores(probabilities: np.ndarray, is_flaw: np.ndarray, is_multilabel: bool) -> np.ndarray:
    """(n,) in 0..1: 1 − Σ p(good); with several labels per photo the highest flaw probability."""
    is_flaw = np.asarray(is_flaw, bool)
    if not is_flaw.any():
        return np.zeros(len(probabilities))
    if is_multilabel:
        return probabilities[:, is_flaw].max(axis=1, initial=0.0)
    if is_flaw_against_good(is_flaw):
        return probabilities[:, int(np.argmax(is_flaw))].astype(np.float64)
    return np.clip(1.0 - probabilities[:, ~is_flaw].sum(axis=1), 0.0, 1.0)


def printed_labels(
    probabilities: np.ndarray, threshold: float, is_flaw: np.ndarray, is_multilabel: bool
) -> np.ndarray:
    """(n, n_labels) uint8: the labels that predict prints.

    Two classes, one good: the flaw where its probability reaches the threshold. Several classes: the
    likeliest. Several labels per photo: every flaw that reaches the threshold; where none does, the likeliest
    good label, if there is one, and otherwise nothing.
    """
    is_flaw = np.asarray(is_flaw, bool)
    printed = np.zeros(probabilities.shape, np.uint8)
    if is_multilabel:
        printed[:, is_flaw] = probabilities[:, is_flaw] >= threshold
        if not is_flaw.all():
            clean = np.flatnonzero(printed.sum(axis=1) == 0)
            good = np.flatnonzero(~is_flaw)
            printed[clean, good[probabilities[clean][:, good].argmax(axis=1)]] = 1
        return printed
    chosen = probabilities.argmax(axis=1)
    if is_flaw_against_good(is_flaw):
        flaw = int(np.argmax(is_flaw))
        chosen = np.where(probabilities[:, flaw] >= threshold, flaw, 1 - flaw)
    printed[np.arange(len(chosen)), chosen] = 1
    return printed


def printed_scores(
    probabilities: np.ndarray, printed: np.ndarray, is_flaw: np.ndarray, is_multilabel: bool
) -> np.ndarray:
    """(n,) the probability of the printed label: the likeliest of several; 1 − flaw score where none is."""
    best = np.where(printed > 0, probabilities, 0.0).max(axis=1, initial=0.0)
    nothing = printed.sum(axis=1) == 0
    return np.where(nothing, 1.0 - to_flaw_scores(probabilities, is_flaw, is_multilabel), best)


def has_any(labels: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(n,) bool: photos whose (n, n_labels) 0/1 labels include any of the chosen (n_labels,) bool."""
    return np.asarray(np.asarray(labels, bool)[:, np.asarray(chosen, bool)].any(axis=1))


def needs_review(flaw_scores: np.ndarray, review_low: float, review_high: float) -> np.ndarray:
    """(n,) bool: neither passed (below the band) nor rejected (above it)."""
    return (flaw_scores >= review_low) & (flaw_scores <= review_high)


def state_rank(f1: float, loss: float) -> tuple[float, float]:
    """What training keeps is the state (an epoch, a contender) of the highest rank: validation F1 to six
    places, then the lower loss. A state without an F1 comes last, without a loss last of its equals."""
    return (round(f1, 6) if f1 == f1 else -1.0), (-loss if loss == loss else -math.inf)


def count_hits(targets: np.ndarray, printed: np.ndarray) -> np.ndarray:
    """(n, 3, n_labels) float64 of 0/1: true positive, false positive, false negative of each label.

    Sums over any set of photos, weighted or not, are what `rates` turns into figures.
    """
    truth, said = np.asarray(targets, bool), np.asarray(printed, bool)
    return np.stack([truth & said, ~truth & said, truth & ~said], axis=1).astype(np.float64)


def rates(hits: np.ndarray, n_photos: np.ndarray | float) -> dict[str, np.ndarray]:
    """(..., 3, n_labels) summed hits and (...,) photos → precision, recall, specificity, f1: (..., n_labels).

    A label without truth has no recall and no F1 (NaN); one that has truth but is never printed has
    precision 0, as scikit-learn counts it.
    """
    tp, fp, fn = hits[..., 0, :], hits[..., 1, :], hits[..., 2, :]
    tn = np.asarray(n_photos, np.float64)[..., None] - tp - fp - fn
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where((tp + fp == 0) & (fn > 0), 0.0, tp / (tp + fp))
        recall = tp / (tp + fn)
        f1 = np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan)
        specificity = tn / (tn + fp)
    return {"precision": precision, "recall": recall, "specificity": specificity, "f1": f1}


def mean_over_labels(values: np.ndarray, has_truth: np.ndarray) -> np.ndarray:
    """(..., n_labels) → (...): the mean over the labels that have truth and a value; NaN where none has."""
    used = has_truth & ~np.isnan(values)
    n_used = used.sum(axis=-1)
    total = np.where(used, values, 0.0).sum(axis=-1)
    return np.where(n_used > 0, total / np.maximum(n_used, 1), np.nan)


def f1_from_hits(hits: np.ndarray, is_flaw: np.ndarray) -> np.ndarray:
    """(..., 3, n_labels) summed hits → (...): F1 of the flaw (two classes, one good), otherwise macro F1."""
    f1 = rates(hits, hits.sum(axis=(-2, -1)))["f1"]
    if is_flaw_against_good(is_flaw):
        return f1[..., int(np.argmax(is_flaw))]
    return mean_over_labels(f1, hits[..., 0, :] + hits[..., 2, :] > 0)


def f1_of(targets: np.ndarray, printed: np.ndarray, is_flaw: np.ndarray) -> float:
    """F1 of the flaw for two classes with exactly one good; otherwise the mean F1 of all labels with truth.

    This is the figure that ranks candidates and picks the state that is kept. NaN without any truth.
    """
    return float(f1_from_hits(count_hits(targets, printed).sum(axis=0), is_flaw))


def _ranked(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positives, false positives and score at each distinct score, from the highest score down."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True)) if len(order) else order
    hits = np.cumsum(np.asarray(truth, bool)[order])[ends]
    return hits.astype(np.float64), (ends + 1 - hits).astype(np.float64), scores[order][ends]


def auroc(truth: np.ndarray, scores: np.ndarray) -> float:
    """Chance that a photo with the label (truth 1) scores higher than one without; a tie counts one half."""
    tp, fp, _ = _ranked(truth, scores)
    if not len(tp) or tp[-1] == 0 or fp[-1] == 0:
        return float("nan")
    heights = np.diff(tp, prepend=0.0)
    return float(1.0 - np.sum(heights * (fp - 0.5 * np.diff(fp, prepend=0.0))) / (tp[-1] * fp[-1]))


def average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Σ (recall step) × precision over the distinct scores, not interpolated (scikit-learn's definition)."""
    tp, fp, _ = _ranked(truth, scores)
    if not len(tp) or tp[-1] == 0:
        return float("nan")
    return float(np.sum(np.diff(tp, prepend=0.0) * tp / (tp + fp)) / tp[-1])


def roc_curve(truth: np.ndarray, scores: np.ndarray) -> dict[str, list[float]]:
    """False-alarm rate, hit rate and threshold at every distinct score; empty lists without both classes."""
    tp, fp, at = _ranked(truth, scores)
    if not len(tp) or tp[-1] == 0 or fp[-1] == 0:
        return {"false_alarm_rate": [], "recall": [], "threshold": []}
    return {
        "false_alarm_rate": [0.0, *(fp / fp[-1]).tolist()],
        "recall": [0.0, *(tp / tp[-1]).tolist()],
        "threshold": [1.0, *at.tolist()],
    }


def precision_recall_curve(truth: np.ndarray, scores: np.ndarray) -> dict[str, list[float]]:
    """Recall, precision and threshold at every distinct score, recall rising; empty without any truth."""
    tp, fp, at = _ranked(truth, scores)
    if not len(tp) or tp[-1] == 0:
        return {"recall": [], "precision": [], "threshold": []}
    return {
        "recall": (tp / tp[-1]).tolist(),
        "precision": (tp / (tp + fp)).tolist(),
        "threshold": at.tolist(),
    }


def photo_losses(targets: np.ndarray, probabilities: np.ndarray, is_multilabel: bool) -> np.ndarray:
    """(n,) −log p(true label) in nats; with several labels per photo the mean binary cross-entropy."""
    p = np.clip(probabilities, _LEAST_PROBABILITY, 1.0)
    if not is_multilabel:
        return -np.log(p[np.arange(len(p)), np.asarray(targets).argmax(axis=1)])
    q = np.clip(1.0 - probabilities, _LEAST_PROBABILITY, 1.0)
    return -np.where(np.asarray(targets, bool), np.log(p), np.log(q)).mean(axis=1)


def photo_briers(targets: np.ndarray, probabilities: np.ndarray, is_multilabel: bool) -> np.ndarray:
    """(n,) squared error of the probabilities, 0..1: the mean over labels, or half the sum over classes
    (which for two classes is the usual (p − y)²)."""
    squares = (probabilities - targets) ** 2
    return squares.mean(axis=1) if is_multilabel else 0.5 * squares.sum(axis=1)


def calibration_sums(scores: np.ndarray, is_right: np.ndarray, n_bins: int = 10) -> np.ndarray:
    """(n, 3, n_bins): per photo 1, score and outcome, in its bin of equal width, for `calibration_error`.

    `is_right` is what the score is the probability of: that the photo is flawed, or the printed label right.
    """
    index = np.clip((scores * n_bins).astype(np.int64), 0, n_bins - 1)
    sums = np.zeros((len(scores), 3, n_bins))
    rows = np.arange(len(scores))
    for column, values in enumerate((1.0, scores, is_right)):
        sums[rows, column, index] = values
    return sums


def calibration_error(sums: np.ndarray) -> np.ndarray:
    """(..., 3, n_bins) summed → (...): expected calibration error, Σ share of photos × |score − outcome|."""
    n = sums[..., 0, :].sum(axis=-1)
    gap = np.abs(sums[..., 1, :] - sums[..., 2, :]).sum(axis=-1)
    return np.where(n > 0, gap / np.maximum(n, 1), np.nan)


def confusion_matrix(targets: np.ndarray, printed: np.ndarray, is_multilabel: bool) -> np.ndarray:
    """(n_labels, n_labels) int64, rows true, columns printed; several labels: (n_labels, 2, 2) likewise."""
    truth, said = np.asarray(targets, np.int64), np.asarray(printed, np.int64)
    if not is_multilabel:
        return truth.T @ said
    pairs = [((1 - truth) * (1 - said)), (1 - truth) * said, truth * (1 - said), truth * said]
    return np.stack([pair.sum(axis=0) for pair in pairs], axis=1).reshape(-1, 2, 2)
