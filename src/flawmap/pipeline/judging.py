"""Thresholds from validation, then the test part, read once: through the exported file."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from flawmap.pipeline.preparing import Chosen, Prepared
from flawmap.pipeline.running import run_logits
from flawmap.pipeline.settings import RunOptions
from flawmap.records import (
    Evaluation,
    LinearHead,
    ModelSpec,
    Progress,
    Thresholds,
    TrainedModel,
    no_progress,
    within,
)
from flawmap.stages.evaluate import Truth, choose_thresholds, evaluate
from flawmap.stages.rank import fit_probe
from flawmap.stages.report import RandomSplit
from flawmap.tools import scores
from flawmap.tools.bundle import Bundle, write_spec
from flawmap.tools.runtime import Classifier, RuntimeOptions


@dataclass(frozen=True)
class Judged:
    """The shipped file and the untrained state, each with thresholds chosen by the same rule."""

    bundle: Bundle
    test: Evaluation
    validation: Evaluation
    before_training: Evaluation


def choose_limits(
    bundle: Bundle, prepared: Prepared, options: RunOptions, progress: Progress = no_progress
) -> tuple[Bundle, Evaluation]:
    """The thresholds, by what the file says of the validation photos; what it is worth on these with them."""
    rows = prepared.split.validation
    logits = _run(bundle, prepared, rows, options, within(progress, "choosing the thresholds"))
    spec = replace(bundle.spec, thresholds=_thresholds(logits, prepared, options))
    return write_spec(bundle, spec), _evaluate(logits, rows, prepared, spec, options)


def judge(
    bundle: Bundle,
    validation: Evaluation,
    prepared: Prepared,
    chosen: Chosen,
    model: TrainedModel,
    options: RunOptions,
    progress: Progress = no_progress,
) -> Judged:
    """Read the test part, once, with the thresholds chosen on `validation`; all figures go into the model
    folder."""
    split = prepared.split
    on_test = _run(bundle, prepared, split.test, options, within(progress, "evaluating"))
    test = _evaluate(on_test, split.test, prepared, bundle.spec, options)
    before = _probe_logits(chosen, model.untrained_head)
    before_spec = replace(bundle.spec, thresholds=_thresholds(before[split.validation], prepared, options))
    before_training = _evaluate(before[split.test], split.test, prepared, before_spec, options)
    spec = replace(bundle.spec, metrics={"test": test.metrics, "validation": validation.metrics})
    return Judged(write_spec(bundle, spec), test, validation, before_training)


def _run(
    bundle: Bundle, prepared: Prepared, rows: np.ndarray, options: RunOptions, progress: Progress
) -> np.ndarray:
    """(n, n_labels) logits of some photos, through the file."""
    classifier = Classifier(bundle, RuntimeOptions(n_threads=options.embed.n_threads))
    return run_logits(classifier, [prepared.dataset.photos[row] for row in rows], options.photos, progress)


def to_probe(prepared: Prepared, chosen: Chosen, rows: np.ndarray) -> LinearHead:
    """The linear probe at the chosen cut, fitted on some rows."""
    best = chosen.ranking.chosen
    return fit_probe(chosen.embeddings, best.cut, best.regularisation, prepared.dataset, rows)


def judge_random_split(prepared: Prepared, chosen: Chosen, options: RunOptions) -> RandomSplit | None:
    """What the probe would score if photos were dealt out at random, beside its score by source.

    None where the user's parts were given, or where chance leaves a class without training photos.
    """
    dataset, split = prepared.dataset, prepared.split
    if any(dataset.parts):
        return None
    order = np.random.default_rng(options.split.seed).permutation(len(dataset))
    n_test, n_train = len(split.test), len(split.train)
    test, training = order[:n_test], np.sort(order[n_test : n_test + n_train])
    if (dataset.targets[training].sum(axis=0) == 0).any():
        return None
    trained = {split.groups[row] for row in training}
    return RandomSplit(
        f1=_probe_f1(prepared, chosen, training, test),
        honest_f1=_probe_f1(prepared, chosen, split.train, split.test),
        n=n_test,
        share_with_sister=float(np.mean([split.groups[row] in trained for row in test])),
    )


def _probe_f1(prepared: Prepared, chosen: Chosen, training: np.ndarray, test: np.ndarray) -> float:
    """F1, at the threshold 0.5, of a probe trained on some rows and judged on others."""
    dataset = prepared.dataset
    logits = _probe_logits(chosen, to_probe(prepared, chosen, training))[test]
    is_flaw = np.array([label not in dataset.good_labels for label in dataset.labels])
    probabilities = scores.to_probabilities(logits, 1.0, dataset.is_multilabel)
    printed = scores.printed_labels(probabilities, 0.5, is_flaw, dataset.is_multilabel)
    return float(np.nan_to_num(scores.f1_of(dataset.targets[test], printed, is_flaw)))


def _probe_logits(chosen: Chosen, head: LinearHead) -> np.ndarray:
    """(n, n_labels) of all photos through the backbone as it was before fine-tuning."""
    return chosen.embeddings.features(chosen.ranking.chosen.cut) @ head.weight.T + head.bias


def _thresholds(logits: np.ndarray, prepared: Prepared, options: RunOptions) -> Thresholds:
    dataset, split = prepared.dataset, prepared.split
    return choose_thresholds(
        logits,
        dataset.targets[split.validation],
        dataset.labels,
        dataset.good_labels,
        dataset.is_multilabel,
        options.evaluate,
        groups=[split.groups[row] for row in split.validation],
    )


def _evaluate(
    logits: np.ndarray, rows: np.ndarray, prepared: Prepared, spec: ModelSpec, options: RunOptions
) -> Evaluation:
    truth = Truth.from_dataset(prepared.dataset, spec.labels, rows, prepared.split.groups)
    return prepared.with_seen_sources(evaluate(logits, truth, spec, options.evaluate), rows)
