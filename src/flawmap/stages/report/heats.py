"""Which photos get a heat map, and for which label: the report and whoever draws the maps agree here."""

from __future__ import annotations

import numpy as np

from flawmap.records import Audit, Dataset, Evaluation, LabelSuspect, ModelSpec
from flawmap.stages.report.facts import ReportOptions


def wanted_heats(
    dataset: Dataset, audit: Audit, test: Evaluation, spec: ModelSpec, options: ReportOptions
) -> tuple[tuple[str, str], ...]:
    """(photo name, label) of every heat map that the report would show, each once."""
    place = {photo.name: row for row, photo in enumerate(dataset.photos)}
    found = [
        (test.names[row], mistake_label(test, row, dataset.targets[place[test.names[row]]], spec))
        for row in test.worst[: options.n_mistakes]
    ]
    suspects = [s for s in audit.label_suspects if s.path in place][: options.n_suspects]
    found += [(s.path, suspect_label(s, spec)) for s in suspects]
    return tuple(dict.fromkeys(found))


def mistake_label(test: Evaluation, row: int, truth: np.ndarray, spec: ModelSpec) -> str:
    """The label whose evidence explains a mistake: of a missed flaw the flaw that is there, else the label
    that was printed wrongly, else the one that was left out; of several, the likeliest.

    `truth`: (n_labels,) 0/1 of the photo in that row of the evaluation.
    """
    truth, said = np.asarray(truth, bool), np.asarray(test.printed[row], bool)
    missed, wrong = truth & ~said, said & ~truth
    is_passed = bool((truth & spec.is_flaw_label).any() and not (said & spec.is_flaw_label).any())
    in_question = missed & spec.is_flaw_label if is_passed else wrong if wrong.any() else missed
    return spec.labels[int(np.where(in_question, test.probabilities[row], -1.0).argmax())]


def suspect_label(suspect: LabelSuspect, spec: ModelSpec) -> str:
    """The flaw in question: the suggested label; the given one where the suggestion is good or "not X"."""
    known = [label for label in (suspect.suggested, suspect.label) if label in spec.labels]
    return next((label for label in known if label not in spec.good_labels), known[0])
