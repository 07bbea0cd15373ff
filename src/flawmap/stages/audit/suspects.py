"""Labels that look wrong: a model that has not seen the photo, nor its source, is sure of another one."""

from __future__ import annotations

import numpy as np

from flawmap.records import Dataset, Embeddings, LabelSuspect

_N_FOLDS = 5
_REGULARISATION = 0.01
"""Inverse strength of the L2 penalty on standardised features: strong, so that confidence is earned."""
_MIN_PER_CLASS = 10


def label_suspects(
    dataset: Dataset, embeddings: Embeddings, groups: np.ndarray, min_score: float, seed: int
) -> tuple[LabelSuspect, ...]:
    """Photos whose given label gets at most 1 - `min_score` and another at least `min_score`, surest first.

    After confident learning (Northcutt et al., 2021): the suggested label must also be surer than it is on
    average for photos that carry it. Several labels per photo: each label is judged by itself, and a
    suggestion reads "not LABEL" or "LABEL".
    """
    features = _features(embeddings)
    if dataset.is_multilabel:
        found = _several_labels(dataset, features, groups, min_score, seed)
    else:
        found = _one_label(dataset, features, groups, min_score, seed)
    return tuple(sorted(found, key=lambda s: (-s.score, s.path)))


def _features(embeddings: Embeddings) -> np.ndarray:
    """Average and maximum of the last depth but one: the deepest layers know too much of everyday objects."""
    depth = embeddings.depths[-2:][0]
    features = np.concatenate([embeddings.average[depth], embeddings.maximum[depth]], axis=1).astype(
        np.float64
    )
    return (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)


def _one_label(
    dataset: Dataset, features: np.ndarray, groups: np.ndarray, min_score: float, seed: int
) -> list[LabelSuspect]:
    given = dataset.class_indices
    scores = _out_of_fold(features, given, groups, seed)
    if scores is None:
        return []
    usual = _usual_score(scores, given)
    rows = np.arange(len(given))
    others = scores.copy()
    others[rows, given] = -1
    suggested = others.argmax(axis=1)
    sure = np.maximum(min_score, usual[suggested])
    is_suspect = (scores[rows, suggested] >= sure) & (scores[rows, given] <= 1 - min_score)
    return [
        LabelSuspect(
            dataset.photos[i].name,
            dataset.labels[given[i]],
            dataset.labels[suggested[i]],
            round(float(scores[i, suggested[i]]), 4),
        )
        for i in np.flatnonzero(is_suspect)
    ]


def _several_labels(
    dataset: Dataset, features: np.ndarray, groups: np.ndarray, min_score: float, seed: int
) -> list[LabelSuspect]:
    found = []
    for column, label in enumerate(dataset.labels):
        given = dataset.targets[:, column].astype(np.int64)
        scores = _out_of_fold(features, given, groups, seed)
        if scores is None:
            continue
        usual = _usual_score(scores, given)
        for i in np.flatnonzero(
            scores[np.arange(len(given)), 1 - given] >= np.maximum(min_score, usual[1 - given])
        ):
            was, is_rather = (label, f"not {label}") if given[i] else (f"not {label}", label)
            score = round(float(scores[i, 1 - given[i]]), 4)
            found.append(LabelSuspect(dataset.photos[i].name, was, is_rather, score))
    return found


def _usual_score(scores: np.ndarray, given: np.ndarray) -> np.ndarray:
    """(n_labels,): the mean score of a label among the photos that carry it; 1 where none does."""
    return np.array(
        [scores[given == k, k].mean() if (given == k).any() else 1.0 for k in range(scores.shape[1])]
    )


def _out_of_fold(features: np.ndarray, given: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray | None:
    """(n, n_labels) probabilities from models trained on other sources; None where there is too little."""
    from sklearn.model_selection import StratifiedGroupKFold

    counts = np.bincount(given)
    per_class = [len(np.unique(groups[given == k])) for k in np.flatnonzero(counts)]
    if len(per_class) < 2 or min(per_class) < 2 or counts[counts > 0].min() < _MIN_PER_CLASS:
        return None
    n_folds = min(_N_FOLDS, min(per_class))
    scores = np.zeros((len(given), int(given.max()) + 1))
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    for train, held in folds.split(features, given, groups):
        known = np.unique(given[train])
        if len(known) > 1:
            scores[np.ix_(held, known)] = _fit_predict(features[train], given[train], features[held])
    return scores


def _fit_predict(features: np.ndarray, given: np.ndarray, held: np.ndarray) -> np.ndarray:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a score to rank by needs no last digit
        model = LogisticRegression(C=_REGULARISATION, max_iter=200).fit(features, given)
    return model.predict_proba(held)
