"""Every figure of the report as plain JSON values: what `metrics.json` holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.records import Candidate, Evaluation
from flawmap.stages.report.facts import ReportFacts
from flawmap.stages.report.wording import is_number


def to_figures(facts: ReportFacts) -> dict[str, Any]:
    """Plain values only (what has no meaning is None). `test`, `validation` and `before_training` are the
    objects that `flawmap evaluate --json` writes; confusion, curves and mistakes stand beside them."""
    evaluations = {
        "test": facts.test,
        "validation": facts.validation,
        "before_training": facts.before_training,
    }
    known = {name: e for name, e in evaluations.items() if e is not None}
    spec = facts.spec
    figures = {
        **{name: e.metrics if e else None for name, e in evaluations.items()},
        "confusion": {name: e.confusion for name, e in known.items()},
        "curves": {name: e.curves for name, e in known.items()},
        "mistakes": _mistakes(facts.test, spec.labels),
        "dataset": _dataset(facts),
        "audit": _audit(facts),
        "split": _split(facts),
        "random_split": facts.random_split,
        "ranking": _ranking(facts),
        "training": {
            "winner": spec.winner,
            "contenders": facts.contenders,
            "class_weights": facts.class_weights,
            "history": facts.history,
        },
        "thresholds": spec.thresholds,
        "model": {
            "backbone": spec.backbone_id,
            "cut": spec.cut,
            "cost": facts.ranking.chosen.cost,
            "licence": spec.licence,
            "tile_hw": spec.tile_hw,
            "preprocessing": spec.preprocessing,
            "file_sizes": facts.file_sizes,
            "agreement": spec.agreement,
        },
        "timings_s": facts.timings,
        "command": facts.command,
        "versions": spec.versions,
        "options": spec.options,
        "notes": facts.notes,
    }
    return _plain(figures)


def _mistakes(evaluation: Evaluation, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """The worst mistakes, worst first."""
    return [
        {
            "path": evaluation.names[row],
            "printed": [label for label, on in zip(labels, evaluation.printed[row], strict=True) if on],
            "flaw_score": evaluation.flaw_scores[row],
            "probabilities": dict(zip(labels, evaluation.probabilities[row], strict=True)),
        }
        for row in evaluation.worst
    ]


def _dataset(facts: ReportFacts) -> dict[str, Any]:
    dataset = facts.dataset
    return {
        "name": dataset.root.name,
        "layout": dataset.layout,
        "n_photos": len(dataset),
        "labels": dataset.labels,
        "good_labels": dataset.good_labels,
        "is_multilabel": dataset.is_multilabel,
        "class_counts": dict(zip(dataset.labels, dataset.targets.sum(axis=0), strict=True)),
        "unreadable": dataset.unreadable,
        "ignored": dataset.ignored,
    }


def _audit(facts: ReportFacts) -> dict[str, Any]:
    audit = dataclasses.asdict(facts.audit)
    del audit["groups"]  # splits.csv holds the group of every photo
    return audit | {"n_groups": len(set(facts.audit.groups))}


def _split(facts: ReportFacts) -> dict[str, Any]:
    split, dataset = facts.split, facts.dataset
    return {
        "why": split.why,
        "seed": split.seed,
        "parts": {
            name: {
                "n": len(rows),
                "n_groups": len({split.groups[row] for row in rows}),
                "class_counts": dict(zip(dataset.labels, dataset.targets[rows].sum(axis=0), strict=True)),
            }
            for name in ("train", "validation", "test", "left_out")
            for rows in [getattr(split, name)]
        },
    }


def _ranking(facts: ReportFacts) -> dict[str, Any]:
    ranking = facts.ranking
    return {
        "n_candidates": len(ranking.candidates),
        "best": [_candidate(c) for c in ranking.candidates[:10]],
        "chosen": _candidate(ranking.chosen),
        "control": _candidate(ranking.control),
        "why": ranking.why,
        "prefer": ranking.prefer,
        "n_folds": ranking.n_folds,
        "skipped": ranking.skipped,
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return dataclasses.asdict(candidate)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not is_number(value) else value
