"""Every figure against scikit-learn's, or against a case worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from flawmap.tools import scores

FLAW_SECOND = np.array([False, True])
ALL_FLAWS = np.array([True, True, True])


def one_hot(classes: list[int] | np.ndarray, n_labels: int) -> np.ndarray:
    return np.eye(n_labels, dtype=np.uint8)[classes]


def tied_scores(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth and scores with many equal values."""
    truth = rng.random(n) < 0.3
    return truth, np.round(0.6 * rng.random(n) + 0.3 * truth, 1)


@pytest.mark.parametrize("n", [2, 5, 60, 400])
@pytest.mark.parametrize("seed", range(3))
def test_ranked_figures_agree_with_scikit_learn(n: int, seed: int) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    truth, at = tied_scores(np.random.default_rng(seed), n)
    truth[:2] = [False, True]
    assert scores.auroc(truth, at) == pytest.approx(roc_auc_score(truth, at))
    assert scores.average_precision(truth, at) == pytest.approx(average_precision_score(truth, at))


def test_ranked_figures_have_no_value_without_both_classes() -> None:
    at = np.array([0.2, 0.8])
    assert np.isnan(scores.auroc(np.zeros(2), at)) and np.isnan(scores.auroc(np.ones(2), at))
    assert np.isnan(scores.average_precision(np.zeros(2), at))
    assert np.isnan(scores.auroc(np.zeros(0), np.zeros(0)))
    assert scores.roc_curve(np.ones(2), at)["recall"] == []
    assert scores.precision_recall_curve(np.zeros(2), at)["recall"] == []


def test_curves_hold_every_distinct_score_once() -> None:
    truth, at = np.array([1, 0, 1, 0, 1]), np.array([0.9, 0.8, 0.8, 0.3, 0.3])
    roc = scores.roc_curve(truth, at)
    assert roc["threshold"] == [1.0, 0.9, 0.8, 0.3]
    assert roc["recall"] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert roc["false_alarm_rate"] == pytest.approx([0, 0, 0.5, 1])
    curve = scores.precision_recall_curve(truth, at)
    assert curve["precision"] == pytest.approx([1, 2 / 3, 3 / 5])


@pytest.mark.parametrize("seed", range(3))
def test_rates_and_f1_agree_with_scikit_learn_for_several_classes(seed: int) -> None:
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    rng = np.random.default_rng(seed)
    truth, said = rng.integers(3, size=80), rng.integers(3, size=80)
    hits = scores.count_hits(one_hot(truth, 3), one_hot(said, 3)).sum(axis=0)
    found = scores.rates(hits, 80)
    precision, recall, f1, _ = precision_recall_fscore_support(truth, said)
    assert found["precision"] == pytest.approx(precision)
    assert found["recall"] == pytest.approx(recall)
    assert found["f1"] == pytest.approx(f1)
    macro = scores.f1_of(one_hot(truth, 3), one_hot(said, 3), ALL_FLAWS)
    assert macro == pytest.approx(f1_score(truth, said, average="macro"))


def test_f1_of_a_flaw_against_good_is_that_of_the_flaw() -> None:
    truth, said = one_hot([1, 1, 1, 0], 2), one_hot([1, 1, 0, 1], 2)
    assert scores.f1_of(truth, said, FLAW_SECOND) == pytest.approx(2 / 3)
    assert scores.f1_of(truth, said, ~FLAW_SECOND) == 0.0
    assert scores.f1_of(truth, said, np.array([True, True])) == pytest.approx((2 / 3 + 0) / 2)


def test_a_label_without_truth_is_left_out_of_means_and_has_no_f1() -> None:
    truth, said = one_hot([0, 0, 1], 3), one_hot([0, 2, 1], 3)
    found = scores.rates(scores.count_hits(truth, said).sum(axis=0), 3)
    assert np.isnan(found["f1"][2]) and np.isnan(found["recall"][2]) and found["precision"][2] == 0
    assert scores.f1_of(truth, said, ALL_FLAWS) == pytest.approx((2 / 3 + 1) / 2)
    assert np.isnan(scores.f1_of(np.zeros((2, 3)), np.zeros((2, 3)), ALL_FLAWS))


def test_rates_keep_leading_axes() -> None:
    hits = np.random.default_rng(0).integers(0, 9, (7, 4, 3, 5)).astype(float)
    found = scores.rates(hits, np.full((7, 4), 100.0))
    assert all(values.shape == (7, 4, 5) for values in found.values())
    assert found["f1"][3, 2] == pytest.approx(scores.rates(hits[3, 2], 100.0)["f1"])


def test_probabilities_are_a_tempered_softmax_or_sigmoid_and_never_overflow() -> None:
    logits = np.array([[2.0, -2.0], [1e4, -1e4]])
    soft = scores.to_probabilities(logits, 2.0, False)
    assert soft[0, 0] == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert soft.sum(axis=1) == pytest.approx(1.0)
    each = scores.to_probabilities(logits, 2.0, True)
    assert each[0] == pytest.approx([1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(1.0))])
    assert np.isfinite(soft).all() and np.isfinite(each).all()


def test_two_classes_print_the_flaw_from_the_threshold_on() -> None:
    p = np.array([[0.7, 0.3], [0.71, 0.29], [0.2, 0.8]])
    assert scores.printed_labels(p, 0.3, FLAW_SECOND, False).tolist() == [[0, 1], [1, 0], [0, 1]]
    assert scores.to_flaw_scores(p, FLAW_SECOND, False).tolist() == [0.3, 0.29, 0.8]


def test_several_classes_print_the_likeliest_whatever_the_threshold() -> None:
    p = np.array([[0.4, 0.35, 0.25], [0.1, 0.2, 0.7]])
    is_flaw = np.array([False, True, True])
    assert scores.printed_labels(p, 0.99, is_flaw, False).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert scores.to_flaw_scores(p, is_flaw, False) == pytest.approx([0.6, 0.9])
    assert scores.to_flaw_scores(p, ALL_FLAWS, False) == pytest.approx([1.0, 1.0])
    assert scores.to_flaw_scores(p, ~ALL_FLAWS, False).tolist() == [0.0, 0.0]


def test_several_labels_print_all_flaws_over_the_threshold_or_a_good_label() -> None:
    p = np.array([[0.9, 0.6, 0.7], [0.1, 0.2, 0.3]])
    is_flaw = np.array([True, True, False])
    printed = scores.printed_labels(p, 0.5, is_flaw, True)
    assert printed.tolist() == [[1, 1, 0], [0, 0, 1]]
    assert scores.to_flaw_scores(p, is_flaw, True).tolist() == [0.9, 0.2]
    without_good = scores.printed_labels(p, 0.5, ALL_FLAWS, True)
    assert without_good.tolist() == [[1, 1, 1], [0, 0, 0]]
    assert scores.printed_scores(p, without_good, ALL_FLAWS, True) == pytest.approx([0.9, 0.7])


def test_a_state_without_figures_is_never_the_best() -> None:
    nan = float("nan")
    states = ((nan, nan), (nan, 1.0), (0.0, nan), (0.0, 9.0), (0.5, 1.0))
    ranks = [scores.state_rank(*state) for state in states]
    assert ranks == sorted(ranks) and len(set(ranks)) == len(ranks)


def test_review_is_the_band_with_both_ends() -> None:
    at = np.array([0.1, 0.2, 0.5, 0.8, 0.9])
    assert scores.needs_review(at, 0.2, 0.8).tolist() == [False, True, True, True, False]


def test_losses_and_brier_agree_with_scikit_learn() -> None:
    from sklearn.metrics import brier_score_loss, log_loss

    rng = np.random.default_rng(0)
    classes = rng.integers(3, size=50)
    p = rng.dirichlet(np.ones(3), size=50)
    assert scores.photo_losses(one_hot(classes, 3), p, False).mean() == pytest.approx(log_loss(classes, p))
    two, q = classes > 0, p[:, 1]
    both = np.stack([1 - q, q], axis=1)
    brier = scores.photo_briers(one_hot(two.astype(int), 2), both, False).mean()
    assert brier == pytest.approx(brier_score_loss(two, q))
    labels = np.stack([two, ~two], axis=1)
    expected = np.mean([log_loss(two, q), log_loss(~two, q)])
    assert scores.photo_losses(labels, np.stack([q, q], axis=1), True).mean() == pytest.approx(expected)


def test_certain_and_wrong_is_a_large_loss_but_finite() -> None:
    loss = scores.photo_losses(one_hot([0], 2), np.array([[0.0, 1.0]]), False)
    assert 20 < loss[0] < 40


def test_calibration_error_of_scores_that_are_right_as_often_as_they_say_is_nearly_zero() -> None:
    rng = np.random.default_rng(0)
    at = rng.random(40_000)
    honest = scores.calibration_sums(at, rng.random(40_000) < at).sum(axis=0)
    boastful = scores.calibration_sums(at, rng.random(40_000) < at / 2).sum(axis=0)
    assert scores.calibration_error(honest) < 0.02
    assert scores.calibration_error(boastful) == pytest.approx(0.25, abs=0.02)
    assert np.isnan(scores.calibration_error(np.zeros((3, 10))))


def test_a_score_of_one_falls_into_the_last_bin() -> None:
    assert scores.calibration_sums(np.array([1.0]), np.array([True]))[0, 0].tolist() == [0] * 9 + [1]


def test_confusion_has_the_truth_in_rows() -> None:
    truth, said = one_hot([0, 0, 1], 2), one_hot([0, 1, 1], 2)
    assert scores.confusion_matrix(truth, said, False).tolist() == [[1, 1], [0, 1]]
    per_label = scores.confusion_matrix(truth, said, True)
    assert per_label[1].tolist() == [[1, 1], [0, 1]] and per_label[0].tolist() == [[1, 0], [1, 1]]
