"""The report's sections on single photos (mistakes, label suspects), on the model and on the run."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flawmap.records import Photo
from flawmap.stages.report.facts import ReportFacts, ReportOptions
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
ShowHeat = Callable[[str], Picture | None]

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
        name = facts.test.names[row]
        cards.append(
            {
                "name": name,
                "picture": show(place[name]),
                "heat": show_heat(name),
                "kind": _kind_of_mistake(outcome, row),
                "truth": _labels(facts, outcome.targets[row]),
                "printed": _labels(facts, facts.test.printed[row]),
                "score": _score_words(facts, row),
            }
        )
    return {
        "cards": cards,
        "n_wrong": plural(int((~outcome.right).sum()), "photo"),
        "n": count(len(outcome.rows)),
        "has_any": bool((~outcome.right).any()),
        "has_heats": any(card["heat"] for card in cards),
    }


def _kind_of_mistake(outcome: Outcome, row: int) -> dict[str, str]:
    if outcome.flawed[row] and not outcome.said_flawed[row]:
        return {"css": "miss", "word": "missed flaw"}
    if outcome.said_flawed[row] and not outcome.flawed[row]:
        return {"css": "alarm", "word": "false alarm"}
    return {"css": "kind", "word": "wrong kind"}


def _labels(facts: ReportFacts, chosen: np.ndarray) -> str:
    names = [label for label, is_on in zip(facts.spec.labels, chosen, strict=True) if is_on]
    return listed(names) if names else "no flaw"


def _score_words(facts: ReportFacts, row: int) -> str:
    if has_threshold(facts.spec.is_flaw_label, facts.spec.is_multilabel):
        return f"flaw score {number(float(np.asarray(facts.test.flaw_scores)[row]))}"
    probabilities = np.asarray(facts.test.probabilities)[row]
    return f"score {number(float(probabilities.max()))}"


def suspects_section(
    facts: ReportFacts, options: ReportOptions, show: Show, show_heat: ShowHeat
) -> dict[str, Any]:
    """Photos whose label the out-of-fold model disagrees with, surest first."""
    place = {photo.name: photo for photo in facts.dataset.photos}
    suspects = [s for s in facts.audit.label_suspects if s.path in place]
    shown = suspects[: options.n_suspects]
    return {
        "cards": [
            {
                "name": s.path,
                "picture": show(place[s.path]),
                "heat": show_heat(s.path),
                "label": s.label,
                "suggested": s.suggested,
                "score": percent(s.score, 0),
            }
            for s in shown
        ],
        "n": plural(len(suspects), "photo"),
        "n_more": count(len(suspects) - len(shown)) if len(suspects) > len(shown) else "",
    }


def model_section(facts: ReportFacts) -> dict[str, Any]:
    """The way of a photo through the model, and what the model weighs."""
    spec, cost = facts.spec, facts.ranking.chosen.cost
    tile_h, tile_w = spec.tile_hw
    input_h, input_w = spec.preprocessing.input_hw
    n_inputs = cost.n_channels * (2 if spec.cut.pooling == "average+maximum" else 1)
    head = n_inputs * len(spec.labels) + len(spec.labels)
    last = (
        "sigmoid per label"
        if spec.is_multilabel
        else f"softmax at temperature {spec.thresholds.temperature:.2f}"
    )
    steps = [
        ("Photo", f"{tile_w} × {tile_h} px, whole; RGB, turned upright"),
        (
            "Resize",
            f"to {input_w} × {input_h}, {spec.preprocessing.interpolation}; padded, not stretched or cropped",
        ),
        (
            "Backbone",
            f"{spec.backbone_id}, stages 0 to {spec.cut.depth}; {millions(cost.n_parameters)} parameters",
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


def run_section(facts: ReportFacts) -> dict[str, Any]:
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
        "notes": list(facts.notes),
    }
