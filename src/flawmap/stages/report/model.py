"""The report's sections on single photos (mistakes, label suspects), on the model and on the run."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flawmap.records import Photo
from flawmap.stages.report.facts import ReportFacts, ReportOptions, RunFacts
from flawmap.stages.report.heats import mistake_label, suspect_label
from flawmap.stages.report.pictures import Picture
from flawmap.stages.report.verdict import Outcome
from flawmap.stages.report.wording import (
    count,
    duration,
    is_number,
    listed,
    macs_text,
    millions,
    number,
    percent,
    plural,
    size_text,
    small_number,
)
from flawmap.tools.scores import has_threshold

Show = Callable[[Photo], Picture]
ShowHeat = Callable[[str, str], Picture | None]
"""Photo name, label → the heat map, if one was drawn."""

_POOLED = {
    "average": "averaged over the whole photo",
    "average+maximum": "averaged and, beside it, the strongest answer kept",
}


def mistakes_section(
    facts: ReportFacts, outcome: Outcome, options: ReportOptions, show: Show, show_heat: ShowHeat
) -> dict[str, Any]:
    """The worst mistakes on the test part, worst first."""
    place = {photo.name: photo for photo in facts.dataset.photos}
    cards = []
    for row in facts.test.worst[: options.n_mistakes]:
        name, truth = facts.test.names[row], outcome.targets[row]
        label = mistake_label(facts.test, row, truth, facts.spec)
        kind = _kind_of_mistake(outcome, row)
        is_true = bool(truth[facts.spec.labels.index(label)])
        why = "said wrongly" if not is_true else "the flaw it missed" if kind["css"] == "miss" else "left out"
        cards.append(
            {
                "name": name,
                "picture": show(place[name]),
                "heat": _heat(show_heat, name, label, why),
                "kind": kind,
                "truth": _labels(facts, truth),
                "printed": _labels(facts, facts.test.printed[row]),
                "score": _score_words(facts, row, outcome),
            }
        )
    n_wrong, n = int((~outcome.right).sum()), len(outcome.rows)
    return {
        "cards": cards,
        "summary": _mistakes_summary(n_wrong, n, len(cards)),
        "has_heats": any(card["heat"] for card in cards),
    }


def _mistakes_summary(n_wrong: int, n: int, n_shown: int) -> str:
    if n_wrong == 0:
        if n == 1:
            return "The only test photo got the right answer. One photo proves nothing."
        return (
            f"Not one of the {count(n)} test photos got a wrong answer. That is no proof: see the intervals."
        )
    start = f"{count(n_wrong)} of the {plural(n, 'test photo')} got a wrong answer"
    if n_shown == 0:
        return f"{start}; none is shown here."
    if n_shown < n_wrong:
        return f"{start}. Here are the {count(n_shown)} of which it was most certain, worst first."
    return f"{start}, shown here." if n_wrong == 1 else f"{start}; all are shown, the most certain first."


def _heat(show_heat: ShowHeat, name: str, label: str, why: str) -> dict[str, Any] | None:
    """A heat map with the label that it speaks for, and what that label is to the photo."""
    picture = show_heat(name, label)
    return None if picture is None else {"picture": picture, "label": label, "why": why}


def _kind_of_mistake(outcome: Outcome, row: int) -> dict[str, str]:
    if outcome.flawed[row] and not outcome.said_flawed[row]:
        return {"css": "miss", "word": "missed flaw"}
    if outcome.said_flawed[row] and not outcome.flawed[row]:
        return {"css": "alarm", "word": "false alarm"}
    return {"css": "kind", "word": "wrong kind"}


def _labels(facts: ReportFacts, chosen: np.ndarray) -> str:
    names = [label for label, is_on in zip(facts.spec.labels, chosen, strict=True) if is_on]
    return listed(names) if names else "no flaw"


def _score_words(facts: ReportFacts, row: int, outcome: Outcome) -> str:
    """The scores behind a mistake: of the flaw, where a threshold decides; else of both classes."""
    if has_threshold(facts.spec.is_flaw_label, facts.spec.is_multilabel):
        score = number(float(np.asarray(facts.test.flaw_scores)[row]))
        return f"flaw score {score}, threshold {number(facts.spec.thresholds.threshold)}"
    probabilities = np.asarray(facts.test.probabilities)[row]
    said, true = int(np.asarray(facts.test.printed)[row].argmax()), int(outcome.targets[row].argmax())
    names = facts.spec.labels
    return (
        f"score of {names[said]} {number(float(probabilities[said]))}, of {names[true]} "
        f"{number(float(probabilities[true]))}"
    )


def suspects_section(
    facts: ReportFacts, options: ReportOptions, show: Show, show_heat: ShowHeat
) -> dict[str, Any]:
    """Photos whose label the out-of-fold model disagrees with, surest first."""
    place = {photo.name: photo for photo in facts.dataset.photos}
    suspects = [s for s in facts.audit.label_suspects if s.path in place]
    shown = suspects[: options.n_suspects]
    cards = []
    for s in shown:
        label = suspect_label(s, facts.spec)
        why = "the label suggested" if label == s.suggested else "the label given"
        cards.append(
            {
                "name": s.path,
                "picture": show(place[s.path]),
                "heat": _heat(show_heat, s.path, label, why),
                "label": s.label,
                "suggested": s.suggested,
                "score": percent(s.score, 0),
            }
        )
    return {
        "cards": cards,
        "n": plural(len(suspects), "label"),
        "has_heats": any(card["heat"] for card in cards),
        "n_more": count(len(suspects) - len(shown)) if len(suspects) > len(shown) else "",
    }


def model_section(facts: ReportFacts) -> dict[str, Any]:
    """The way of a photo through the model, and what the model weighs."""
    spec, cost = facts.spec, facts.ranking.chosen.cost
    input_h, input_w = spec.preprocessing.input_hw
    n_inputs = cost.n_channels * (2 if spec.cut.pooling == "average+maximum" else 1)
    head = n_inputs * len(spec.labels) + len(spec.labels)
    last = (
        "sigmoid per label"
        if spec.is_multilabel
        else f"softmax at temperature {spec.thresholds.temperature:.2f}"
    )
    steps = [
        ("Photo", f"{_usual_size(facts)}; looked at whole, in RGB, turned upright"),
        (
            "Resize",
            f"to {input_w} × {input_h}, {spec.preprocessing.interpolation}; padded, not stretched or cropped",
        ),
        (
            "Backbone",
            f"{spec.backbone_id} to depth {spec.cut.depth}; {millions(cost.n_parameters)} parameters",
        ),
        (
            "Pooling",
            f"{count(cost.n_channels)} channels, {_POOLED[spec.cut.pooling]}: {count(n_inputs)} numbers",
        ),
        ("Head", f"one linear layer: {count(head)} parameters"),
        ("Answer", f"{len(spec.labels)} scores, {last}"),
    ]
    rows = [
        ("Shipped state", spec.winner or "not recorded"),
        ("Parameters", millions(cost.n_parameters + head)),
        ("Multiply-accumulates per photo", macs_text(cost.macs)),
        ("Weights (float32)", size_text(cost.n_bytes + 4 * head)),
        ("Licence of the backbone", spec.licence or "not recorded"),
    ]
    if is_number(facts.ranking.chosen.ms_per_photo):
        rows.append(
            ("Measured while embedding", f"{number(facts.ranking.chosen.ms_per_photo, 1)} ms per photo")
        )
    return {
        "steps": steps,
        "rows": rows,
        "files": [(name, size_text(size)) for name, size in sorted(facts.file_sizes.items())],
        "agreement": agreement_words(spec.agreement),
    }


def _usual_size(facts: ReportFacts) -> str:
    """The size of the photos, where most have the same."""
    n_usual = sum(photo.size_hw == facts.spec.tile_hw for photo in facts.dataset.photos)
    tile_h, tile_w = facts.spec.tile_hw
    return f"{tile_w} × {tile_h} px" if 2 * n_usual > len(facts.dataset) else "of any size"


def agreement_words(agreement: Mapping[str, Any]) -> str:
    """What the export check found: the largest difference, on how many photos, in which runtimes."""
    largest, n = agreement.get("max_difference"), agreement.get("n_photos")
    if not is_number(largest):
        return ""
    on = f" on {plural(int(n), 'real photo')}" if is_number(n) else ""
    runtimes = agreement.get("runtimes")
    where = f" in {listed(sorted(map(str, runtimes)))}" if runtimes else ""
    limit = f" ({agreement['limit']:g} is allowed)" if is_number(agreement.get("limit")) else ""
    return (
        f"The exported file was run against the trained network{on}{where}: no probability differs by more "
        f"than {small_number(largest)}{limit}."
    )


def run_section(facts: RunFacts) -> dict[str, Any]:
    """Timings, the command, versions and the resolved options."""
    timings = [(name, float(s)) for name, s in facts.timings.items() if is_number(s)]
    longest = max((s for _, s in timings), default=0.0)
    total = sum(s for _, s in timings)
    versions = dict(facts.spec.versions) or {"python": platform.python_version()}
    return {
        "timings": [
            {"name": name, "time": duration(s), "width": s / longest if longest else 0.0}
            for name, s in timings
        ],
        "total": duration(total) if timings else "",
        "command": facts.command,
        "versions": sorted((str(k), str(v)) for k, v in versions.items()),
        "options": json.dumps(facts.spec.options, indent=2, sort_keys=True, ensure_ascii=False, default=str)
        if facts.spec.options
        else "",
    }
