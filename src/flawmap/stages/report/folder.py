"""The report's sections on what was in the folder, how it was split, and what was chosen and trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flawmap.records import Candidate, Photo, Ranking
from flawmap.stages.report.charts import best_ten_chart, id_of, ranking_chart, training_chart
from flawmap.stages.report.facts import ReportFacts, ReportOptions
from flawmap.stages.report.pictures import Picture, spread_rows
from flawmap.stages.report.verdict import headline, interval_of
from flawmap.stages.report.wording import (
    count,
    cut_name,
    is_number,
    listed,
    macs_text,
    millions,
    number,
    percent,
    plural,
    size_text,
)

Show = Callable[[Photo], Picture]
PARTS = ("train", "validation", "test")
CONTENDERS = {
    "untrained": "Untrained head",
    "probe": "Linear probe of the ranking",
    "head": "Head trained with augmentation",
    "fine-tuned": "Fine-tuned",
}


def folder_section(facts: ReportFacts, options: ReportOptions, show: Show) -> dict[str, Any]:
    """Classes with samples, totals, and the problems that were found."""
    dataset = facts.dataset
    sizes = Counter(photo.size_hw for photo in dataset.photos)
    common = [
        f"{w} × {h} ({count(n)})" for (h, w), n in sorted(sizes.items(), key=lambda s: (-s[1], s[0]))[:3]
    ]
    more = f" and {plural(len(sizes) - 3, 'other size')}" if len(sizes) > 3 else ""
    return {
        "totals": [
            (count(len(dataset)), "photos"),
            (count(len(dataset.labels)), "labels" if dataset.is_multilabel else "classes"),
            (count(len(set(facts.split.groups))), "sources"),
            (count(len(dataset.unreadable)), "files unreadable"),
        ],
        "layout": dataset.layout,
        "sizes": f"Width × height in pixels: {', '.join(common)}{more}.",
        "light": _light(facts.audit.summary),
        "notes": _pixel_notes(dataset.photos),
        "classes": [_class(facts, options, show, i) for i in range(len(dataset.labels))],
        "problems": problems(facts, options),
    }


def _light(summary: Mapping[str, Any]) -> str:
    """Brightness and colour, as far as the audit measured them."""
    brightness, modes, words = summary.get("brightness") or {}, summary.get("modes") or {}, []
    if is_number(brightness.get("p5")) and is_number(brightness.get("p95")):
        low, high = number(brightness["p5"], 0), number(brightness["p95"], 0)
        words.append(f"Mean brightness, on a scale to 255: {low} to {high} for nine photos in ten.")
    if is_number(modes.get("grey")) and is_number(modes.get("colour")):
        n_grey, n_colour = int(modes["grey"]), int(modes["colour"])
        mixed = f"{plural(n_grey, 'photo')} grey, {count(n_colour)} in colour."
        words.append(mixed if n_grey and n_colour else f"All are {'grey' if n_grey else 'in colour'}.")
    return " ".join(words)


def _pixel_notes(photos: Sequence[Photo]) -> list[str]:
    notes = Counter(photo.note for photo in photos if photo.note)
    return [f"{plural(n, 'photo')}: {note}" for note, n in sorted(notes.items(), key=lambda n: (-n[1], n[0]))]


def _class(facts: ReportFacts, options: ReportOptions, show: Show, index: int) -> dict[str, Any]:
    dataset = facts.dataset
    label = dataset.labels[index]
    rows = np.flatnonzero(dataset.targets[:, index]).tolist()
    chosen = spread_rows(rows, facts.split.groups, options.n_samples_per_class)
    return {
        "label": label,
        "is_good": label in dataset.good_labels,
        "n": count(len(rows)),
        "share": percent(len(rows) / max(len(dataset), 1), 0),
        "width": len(rows) / max(int(dataset.targets.sum(axis=0).max()), 1),
        "n_sources": plural(len({facts.split.groups[row] for row in rows}), "source"),
        "samples": [
            {"picture": show(dataset.photos[row]), "name": dataset.photos[row].name} for row in chosen
        ],
    }


def problems(facts: ReportFacts, options: ReportOptions) -> list[dict[str, Any]]:
    """Every kind of problem that the audit looks for, found or not, with the first of its rows."""
    dataset, audit = facts.dataset, facts.audit
    pairs = ("photo", "looks almost like")
    kinds: list[tuple[str, str, tuple[str, ...], list[tuple[str, ...]]]] = [
        (
            "Unreadable files",
            "Left out, never guessed at.",
            ("file", "reason"),
            [(u.path, u.reason) for u in dataset.unreadable],
        ),
        (
            "Same photo in two given parts",
            "A test photo that was trained on proves nothing.",
            ("photo", "same as"),
            [tuple(pair) for pair in audit.leaks],
        ),
        (
            "Identical files, different labels",
            "At least one of the labels is wrong.",
            ("files with the same content",),
            [(", ".join(names),) for names in audit.conflicting_duplicates],
        ),
        (
            "Identical files",
            "Counted as one source, so that they stay on one side of the split.",
            ("files with the same content",),
            [(", ".join(names),) for names in audit.exact_duplicates],
        ),
        (
            "Near duplicates",
            "Almost the same picture: kept, and kept on one side.",
            pairs,
            [tuple(pair) for pair in audit.near_duplicates],
        ),
        (
            "Label suspects",
            "A model that had not seen the photo says otherwise; see “Labels to check”.",
            ("photo", "label", "suggested", "score"),
            [(s.path, s.label, s.suggested, number(s.score, 2)) for s in audit.label_suspects],
        ),
        (
            "Files passed over",
            "By a stated rule: hidden, outside the folder, or not a photo’s extension.",
            ("file", "rule"),
            [(u.path, u.reason) for u in dataset.ignored],
        ),
    ]
    return [
        {
            "title": title,
            "n": len(rows),
            "count": count(len(rows)),
            "meaning": meaning,
            "columns": columns,
            "rows": rows[: options.n_listed],
            "more": max(len(rows) - options.n_listed, 0),
        }
        for title, meaning, columns, rows in kinds
    ]


def split_section(facts: ReportFacts) -> dict[str, Any]:
    """Photos, sources and class shares of each part, and what a random split would have claimed."""
    split, dataset = facts.split, facts.dataset
    sizes = sorted(Counter(split.groups).values()) or [0]
    parts = [_part(facts, name, getattr(split, name)) for name in PARTS]
    if len(split.left_out):
        parts.append(_part(facts, "left out", split.left_out))
    return {
        "why": split.why,
        "origin": facts.audit.group_origin,
        "seed": split.seed,
        "parts": parts,
        "labels": [(label, label in dataset.good_labels) for label in dataset.labels],
        "sources": f"{plural(len(sizes), 'source')}; the middle one gives "
        f"{plural(sizes[len(sizes) // 2], 'photo')}, the largest {count(sizes[-1])}.",
        "random": _random(facts),
    }


def _part(facts: ReportFacts, name: str, rows: np.ndarray) -> dict[str, Any]:
    targets = facts.dataset.targets[rows]
    counts = targets.sum(axis=0).astype(int)
    total = max(int(counts.sum()), 1)
    return {
        "name": name,
        "n": count(len(rows)),
        "share": percent(len(rows) / max(len(facts.dataset), 1), 0),
        "n_sources": count(len({facts.split.groups[row] for row in rows})),
        "counts": [
            {"n": count(int(n)), "share": percent(n / max(len(rows), 1), 0), "width": n / total}
            for n in counts
        ],
    }


def _random(facts: ReportFacts) -> dict[str, Any] | None:
    claim = facts.random_split
    if claim is None:
        return None
    _, name = headline(facts)
    gap = claim.f1 - claim.honest_f1
    if gap >= 0.0005:
        words = f"A random split flatters by {number(100 * gap, 1)} points of {name}."
    else:
        words = f"Here a random split would not have flattered: {name} comes out no higher."
    sisters = ""
    if claim.share_with_sister is not None:
        sisters = (
            f"In the random split, {percent(claim.share_with_sister, 0)} of the test photos share their "
            "source with a training photo."
        )
    low = min(claim.f1, claim.honest_f1)
    start = max(0.0, np.floor((low - 0.02) * 20) / 20)
    rows = [
        ("Sources kept apart", claim.honest_f1, "honest"),
        ("Dealt out at random", claim.f1, "random"),
    ]
    return {
        "words": words,
        "sisters": sisters,
        "n": count(claim.n),
        "start": number(start, 2),
        "rows": [
            {
                "name": what,
                "value": number(value),
                "at": f"{100 * (value - start) / max(1 - start, 1e-9):.1f}%",
                "css": css,
            }
            for what, value, css in rows
        ],
        "figure": name,
    }


def choice_section(facts: ReportFacts) -> dict[str, Any]:
    """The ranking: charts, the ten best, the chosen one, the control and what was skipped."""
    ranking = facts.ranking
    shown = [*ranking.candidates[:10]]
    known = {id_of(c) for c in shown}
    rows = [_candidate(ranking, c, str(i)) for i, c in enumerate(shown, 1)]
    for candidate in (ranking.chosen, ranking.control):
        if id_of(candidate) not in known:
            known.add(id_of(candidate))
            rows.append(_candidate(ranking, candidate, str(_rank_of(ranking, candidate))))
    backbones = sorted({c.backbone_id for c in ranking.candidates})
    return {
        "chart": ranking_chart(ranking),
        "ten": best_ten_chart(ranking),
        "rows": rows,
        "why": ranking.why,
        "prefer": ranking.prefer,
        "n_folds": ranking.n_folds,
        "n": plural(len(ranking.candidates), "candidate"),
        "n_backbones": plural(len(backbones), "backbone"),
        "n_skipped": f"{plural(len(ranking.skipped), 'backbone')} left out",
        "skipped": [(s.path, s.reason) for s in ranking.skipped],
        "control": _control_words(ranking),
    }


def _rank_of(ranking: Ranking, candidate: Candidate) -> int:
    ids = [id_of(c) for c in ranking.candidates]
    return ids.index(id_of(candidate)) + 1 if id_of(candidate) in ids else len(ids) + 1


def _candidate(ranking: Ranking, candidate: Candidate, rank: str) -> dict[str, Any]:
    is_chosen = id_of(candidate) == id_of(ranking.chosen)
    is_control = id_of(candidate) == id_of(ranking.control)
    return {
        "rank": rank,
        "backbone": candidate.backbone_id,
        "cut": cut_name(candidate.cut),
        "f1": f"{number(candidate.f1)} ± {number(candidate.standard_error)}",
        "parameters": millions(candidate.cost.n_parameters),
        "size": size_text(candidate.cost.n_bytes),
        "macs": macs_text(candidate.cost.macs),
        "ms": f"{number(candidate.ms_per_photo, 1)}",
        "marks": [word for word, holds in (("chosen", is_chosen), ("control", is_control)) if holds],
    }


def _control_words(ranking: Ranking) -> str:
    chosen, control = ranking.chosen, ranking.control
    if id_of(chosen) == id_of(control):
        return "The chosen candidate is also the usual choice: the last layer, average pooled."
    gap = 100 * (chosen.f1 - control.f1)
    compared = f"{number(abs(gap), 1)} points of F1 {'above' if gap >= 0 else 'below'} it"
    share = chosen.cost.macs / max(control.cost.macs, 1)
    return (
        f"The usual choice (control: the last layer of {control.backbone_id}, average pooled) would have got "
        f"{number(control.f1)}; the chosen candidate lies {compared}, at {percent(share, 0)} of its "
        f"multiply-accumulates."
    )


def training_section(facts: ReportFacts) -> dict[str, Any]:
    """Curves, contenders and the winner; plain sentences where nothing was trained."""
    winner = facts.spec.winner
    levels = {}
    for key, name in (("probe", "probe"), ("untrained", "untrained")):
        value = facts.contenders.get(key, {}).get("f1")
        if value is not None and is_number(value):
            levels[name] = float(value)
    contenders = [
        {
            "name": CONTENDERS.get(key, key),
            "f1": number(figures.get("f1")),
            "loss": number(figures.get("loss")),
            "won": key == winner,
        }
        for key, figures in facts.contenders.items()
    ]
    return {
        "chart": training_chart(facts.history, levels, f"shipped: {winner or 'not recorded'}"),
        "contenders": contenders,
        "winner": CONTENDERS.get(winner, winner),
        "won_by_probe": winner == "probe",
        "epochs": plural(len(facts.history), "epoch"),
        "weights": _weights(facts),
    }


def _weights(facts: ReportFacts) -> str:
    weights = facts.class_weights
    if len(weights) != len(facts.spec.labels) or len({round(w, 3) for w in weights}) < 2:
        return ""
    ranked = sorted(zip(weights, facts.spec.labels, strict=True))
    if len(ranked) > 6:
        (least, common), (most, rare) = ranked[0], ranked[-1]
        ends = f"from {number(least, 2)} ({common}) to {number(most, 2)} ({rare})"
        return f"Rare classes weighed more in training: {ends}."
    pairs = [f"{label} {number(w, 2)}" for label, w in zip(facts.spec.labels, weights, strict=True)]
    return f"Rare classes weighed more in training: {listed(pairs)}."


def honest_interval(facts: ReportFacts) -> str:
    """The test part's ranking figure with its interval, for the comparison with the random split."""
    key, name = headline(facts)
    value, interval = facts.test.metrics.get(key), interval_of(facts.test.metrics, key)
    if not is_number(value):
        return ""
    spread = f" (95 % interval {number(interval[0])} to {number(interval[1])})" if interval else ""
    return f"The final model’s {name} on the test part: {number(value)}{spread}."
