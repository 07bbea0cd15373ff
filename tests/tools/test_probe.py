"""The probe reaches scikit-learn's optimum, for one fold and for all folds at once."""

from __future__ import annotations

import numpy as np
import pytest

from flawmap.tools.probe import ProbeFit, Problem, Scaling, fit_head, to_axes, to_logits


def blobs(n: int, d: int, n_labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(features (n, d) float32 of very different scales, one-hot targets), overlapping classes."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % n_labels
    centres = rng.normal(size=(n_labels, d))
    features = (0.5 * centres[classes] + rng.normal(size=(n, d))) * np.geomspace(0.01, 100, d) + 3.0
    return features.astype(np.float32), np.eye(n_labels, dtype=np.uint8)[classes]


@pytest.mark.parametrize(("n", "d"), [(120, 20), (40, 90)], ids=["more photos", "more features"])
@pytest.mark.parametrize("n_labels", [2, 4])
@pytest.mark.parametrize("c", [0.01, 1.0])
def test_a_head_is_scikit_learns_optimum_on_scaled_features(n: int, d: int, n_labels: int, c: float) -> None:
    from sklearn.linear_model import LogisticRegression

    features, targets = blobs(n, d, n_labels)
    targets[: n // 4] = targets[0]
    weight = "balanced" if n_labels > 2 else None
    scaling = Scaling.of(features)
    scaled = (features - scaling.mean) / scaling.spread
    model = LogisticRegression(C=c, tol=1e-10, max_iter=50_000, class_weight=weight)
    wanted = model.fit(scaled, targets.argmax(axis=1)).decision_function(scaled)
    head = fit_head(features, targets, c, is_multilabel=False)
    logits = features.astype(np.float64) @ head.weight.T.astype(np.float64) + head.bias
    if n_labels == 2:
        assert logits[:, 1] - logits[:, 0] == pytest.approx(wanted, abs=2e-3)
    else:
        centred = logits - logits.mean(axis=1, keepdims=True)
        assert centred == pytest.approx(wanted - wanted.mean(axis=1, keepdims=True), abs=2e-3)


def test_several_labels_are_one_yes_or_no_each() -> None:
    from sklearn.linear_model import LogisticRegression

    features, _ = blobs(100, 12, 2)
    rng = np.random.default_rng(1)
    labels = (features[:, :3] - features[:, :3].mean(axis=0) + rng.normal(size=(100, 3)) > 0).astype(np.uint8)
    head = fit_head(features, labels, 0.3, is_multilabel=True)
    logits = features.astype(np.float64) @ head.weight.T.astype(np.float64) + head.bias
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    for column in range(3):
        model = LogisticRegression(C=0.3, tol=1e-10, max_iter=50_000).fit(scaled, labels[:, column])
        assert logits[:, column] == pytest.approx(model.decision_function(scaled), abs=2e-3)


@pytest.mark.parametrize("n_labels", [2, 3])
def test_folds_fitted_together_are_what_each_would_be_alone(n_labels: int) -> None:
    features, targets = blobs(90, 15, n_labels)
    fold_of = np.arange(90) // 7 % 3
    weights = (fold_of[:, None] != np.arange(3)).astype(np.float32)
    axes = to_axes(Scaling.of(features).apply(features))
    together = ProbeFit(axes, Problem.of(targets, weights, False), tolerance=1e-5)
    together.at(0.01)
    found = to_logits(together.at(0.1), n_labels)
    for fold in range(3):
        alone = ProbeFit(axes, Problem.of(targets, weights[:, [fold]], False), tolerance=1e-5)
        assert found[:, fold] == pytest.approx(to_logits(alone.at(0.1), n_labels)[:, 0], abs=2e-3)
    held_out = together.held_out_scores(fold_of)
    row = 50
    assert held_out[row] == pytest.approx(axes.rows[row] @ together.weights[:, fold_of[row]], rel=1e-4)


def test_axes_give_back_the_features_products() -> None:
    for n, d in ((30, 12), (12, 30)):
        features = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
        axes = to_axes(features)
        assert axes.rows.shape[1] - 1 == axes.back.shape[1] <= min(n, d)
        assert axes.rows[:, :-1] == pytest.approx(features @ axes.back, abs=1e-4)
        assert axes.rows[:, :-1] @ axes.rows[:, :-1].T == pytest.approx(features @ features.T, abs=1e-3)


def test_channels_without_variation_carry_nothing_and_nearly_constant_ones_are_not_blown_up() -> None:
    features, targets = blobs(60, 5, 2)
    dead = np.concatenate([features, np.full((60, 1), 7.0, np.float32)], axis=1)
    assert fit_head(dead, targets, 1.0, False).weight[:, :5] == pytest.approx(
        fit_head(features, targets, 1.0, False).weight, abs=1e-4
    )
    still = np.arange(240, dtype=np.float32).reshape(60, 4)
    still[:, 1] = 1 + 1e-6 * np.arange(60).astype(np.float32)
    assert Scaling.of(still).spread.min() > 100 * 1e-6
    assert np.isfinite(fit_head(np.ones((60, 3), np.float32), targets, 1.0, False).bias).all()


@pytest.mark.parametrize("is_multilabel", [False, True])
def test_a_label_that_no_training_photo_carries_is_hardly_ever_given(is_multilabel: bool) -> None:
    features, targets = blobs(60, 6, 3)
    absent = np.concatenate([targets, np.zeros((60, 1), np.uint8)], axis=1)
    head = fit_head(features, absent, 0.1, is_multilabel)
    logits = features @ head.weight.T + head.bias
    assert np.isfinite(logits).all()
    if is_multilabel:
        assert (logits[:, 3] < -4).all()
    else:
        assert (logits.argmax(axis=1) != 3).all()
