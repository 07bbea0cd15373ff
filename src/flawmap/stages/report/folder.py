"""The report's sections on what was in the folder, how it was split, and what was chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flawmap.records import Candidate, Photo, Ranking
from flawmap.stages.report.charts import best_ten_chart, id_of, ranking_chart
from flawmap.stages.report.facts import RandomSplit, ReportFacts, ReportOptions, RunFacts
from flawmap.stages.report.pictures import Picture, spread_rows
from flawmap.stages.report.verdict import headline, interval_of, interval_text
from flawmap.stages.report.wording import (
    DASH,
    count,
    is_number,
    macs_text,
    millions,
    number,
    percent,
    plural,
    size_text,
)

Show = Callable[[Photo], Picture]
PARTS = ("train", "validation", "test")
_MOST_SIZES = 4
_OF_LABELS = ("Identical files, different labels", "Label suspects")
"""Problems that are not looked for where flaws are marked pixel by pixel."""


def folder_section(facts: ReportFacts, options: ReportOptions, show: Show) -> dict[str, Any]:
    """Classes with samples, totals, and the problems that were found."""
    dataset = facts.dataset
    kinds = (count(len(dataset.labels)), "labels" if dataset.is_multilabel else "classes")
    classes = [
        class_block(facts, options, show, label, dataset.targets[:, i], label in dataset.good_labels)
        for i, label in enumerate(dataset.labels)
    ]
    return folder_facts(facts, options, kinds) | {"classes": classes, "has_masks": False}


def folder_facts(facts: RunFacts, options: ReportOptions, kinds: tuple[str, str]) -> dict[str, Any]:
    """What a folder of any kind has: totals, `kinds` (count, noun) among them, sizes, light, problems."""
    dataset = facts.dataset
    return {
        "totals": [
            (count(len(dataset)), "photos"),
            kinds,
            (count(len(set(facts.split.groups))), "sources"),
            (count(len(dataset.unreadable)), "files unreadable"),
        ],
        "layout": dataset.layout,
        "sizes": _sizes(dataset.photos),
        "light": _light(facts.audit.summary),
        "notes": _pixel_notes(dataset.photos),
        "problems": problems(facts, options),
    }


def _sizes(photos: Sequence[Photo]) -> str:
    """Every size, or, where there are many, their range."""
    sizes = Counter(photo.size_hw for photo in photos)
    if len(sizes) <= _MOST_SIZES:
        ranked = sorted(sizes.items(), key=lambda s: (-s[1], s[0]))
        return f"Width × height in pixels: {', '.join(f'{w} × {h} ({count(n)})' for (h, w), n in ranked)}."
    heights, widths = zip(*sizes, strict=True)
    return (
        f"{count(len(sizes))} different sizes: {count(min(widths))} to {count(max(widths))} pixels wide, "
        f"{count(min(heights))} to {count(max(heights))} high."
    )


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


def class_block(
    facts: RunFacts, options: ReportOptions, show: Show, label: str, has_it: np.ndarray, is_good: bool
) -> dict[str, Any]:
    """The photos of one class with samples; `has_it` (n_photos,) says which those are."""
    dataset = facts.dataset
    rows = np.flatnonzero(has_it).tolist()
    chosen = spread_rows(rows, facts.split.groups, options.n_samples_per_class)
    return {
        "label": label,
        "is_good": is_good,
        "n": count(len(rows)),
        "share": percent(len(rows) / max(len(dataset), 1), 0),
        "width": len(rows) / max(int(dataset.targets.sum(axis=0).max()), 1),
        "n_sources": plural(len({facts.split.groups[row] for row in rows}), "source"),
        "area": "",
        "samples": [
            {"picture": show(dataset.photos[row]), "name": dataset.photos[row].name} for row in chosen
        ],
    }


def problems(facts: RunFacts, options: ReportOptions) -> list[dict[str, Any]]:
    """Every kind of problem that the audit looks for, found or not, with the first of its rows."""
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
        for title, meaning, columns, rows in _problem_kinds(facts)
        if not (facts.dataset.has_masks and title in _OF_LABELS)
    ]


def _problem_kinds(facts: RunFacts) -> list[tuple[str, str, tuple[str, ...], list[tuple[str, ...]]]]:
    """(title, meaning, columns, rows) of each kind."""
    dataset, audit = facts.dataset, facts.audit
    pairs = ("photo", "looks almost like")
    return [
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
            "Counted as one source: on one side of the split, unless the parts were given.",
            ("files with the same content",),
            [(", ".join(names),) for names in audit.exact_duplicates],
        ),
        (
            "Near duplicates",
            "Almost the same picture: kept, and counted as one source too.",
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


def split_section(facts: ReportFacts) -> dict[str, Any]:
    """Photos, sources and class shares of each part, and what a random split would have claimed."""
    return split_facts(facts) | {"random": _random(facts)}


def split_facts(facts: RunFacts) -> dict[str, Any]:
    """Photos, sources and class shares of each part; photos without any flaw are a class where masks say what
    is flawed."""
    split, dataset = facts.split, facts.dataset
    names = [(label, label in dataset.good_labels) for label in dataset.labels]
    targets = dataset.targets
    if dataset.has_masks:
        names.append(("no flaw", True))
        targets = np.column_stack([targets, ~dataset.is_flawed])
    sizes = sorted(Counter(split.groups).values()) or [0]
    parts = [_part(facts, name, targets, getattr(split, name)) for name in PARTS]
    if len(split.left_out):
        parts.append(_part(facts, "left out", targets, split.left_out))
    return {
        "why": split.why,
        "origin": "" if facts.audit.group_origin in split.why else facts.audit.group_origin,
        "seed": split.seed,
        "parts": parts,
        "labels": names,
        "sources": f"{plural(len(sizes), 'source')}; the middle one gives "
        f"{plural(sizes[len(sizes) // 2], 'photo')}, the largest {count(sizes[-1])}.",
    }


def _part(facts: RunFacts, name: str, targets: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    counts = targets[rows].sum(axis=0).astype(int)
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
    gap = 100 * (claim.f1 - claim.honest_f1)
    start = max(0.0, np.floor((min(claim.f1, claim.honest_f1) - 0.02) * 20) / 20)
    rows = [
        ("Sources kept apart", claim.honest_f1, "honest"),
        ("Dealt out at random", claim.f1, "random"),
    ]
    return {
        "words": _random_words(claim, name, gap),
        "sisters": _sister_words(claim),
        "n_train": count(len(facts.split.train)),
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


def _random_words(claim: RandomSplit, name: str, gap: float) -> str:
    """What dealing photos out at random does to the figure of the linear probe; `gap` in points."""
    figures = f"{number(claim.f1)} instead of {number(claim.honest_f1)}"
    if gap >= 0.05:
        return (
            f"Had photos been dealt out at random, regardless of their source, the test would have claimed "
            f"{gap:.1f} {'point' if f'{gap:.1f}' == '1.0' else 'points'} of {name} too much: {figures} for "
            "the linear probe."
        )
    return (
        f"Had photos been dealt out at random, regardless of their source, the test would not have claimed "
        f"more here: {name} {figures} for the linear probe."
    )


def _sister_words(claim: RandomSplit) -> str:
    if claim.share_with_sister is None:
        return ""
    n, share = round(claim.share_with_sister * claim.n), percent(claim.share_with_sister, 0)
    return (
        f"In the random split {count(n)} of the {plural(claim.n, 'test photo')} ({share}) "
        f"{'has' if n == 1 else 'have'} a sister in training, another photo of the same source; in the split "
        "of this report none has."
    )


def choice_section(facts: ReportFacts) -> dict[str, Any]:
    """The ranking: charts, the ten best, the chosen one, the control and what was skipped."""
    ranking = facts.ranking
    shown = [*ranking.choosable[:10]]
    known = {id_of(c) for c in shown}
    for candidate in (ranking.chosen, ranking.control):
        if id_of(candidate) not in known:
            known.add(id_of(candidate))
            shown.append(candidate)
    ranks = {id_of(c): str(i) for i, c in enumerate(ranking.choosable, 1)}
    n_beyond = len(ranking.candidates) - len(ranking.choosable)
    return {
        "chart": ranking_chart(ranking),
        "ten": best_ten_chart(ranking),
        "rows": [_candidate(ranking, c, ranks.get(id_of(c), DASH)) for c in shown],
        "chosen": f"{ranking.chosen.backbone_id}, {ranking.chosen.cut.words}",
        "why": ranking.why,
        "prefer": ranking.prefer,
        "n_folds": ranking.n_folds,
        "n": plural(len(ranking.choosable), "candidate"),
        "n_backbones": plural(len({c.backbone_id for c in ranking.choosable}), "backbone"),
        "n_skipped": f"{plural(len(ranking.skipped), 'backbone')} left out",
        "skipped": [(s.path, s.reason) for s in ranking.skipped],
        "control": _control_words(ranking),
        "beyond": _beyond_words(ranking, n_beyond) if n_beyond else "",
        "has_unmarked_beyond": n_beyond > (not ranking.control.is_choosable),
    }


def _beyond_words(ranking: Ranking, n_beyond: int) -> str:
    deepest = max(c.cut.depth for c in ranking.choosable)
    were = "the last layer of one backbone was" if n_beyond == 1 else f"{count(n_beyond)} last layers were"
    return (
        f"No cut deeper than {deepest} was allowed (--max-depth); for comparison only, {were} scored too, "
        "which could not be chosen and are not counted as candidates."
    )


def _candidate(ranking: Ranking, candidate: Candidate, rank: str) -> dict[str, Any]:
    marks = {
        "chosen": id_of(candidate) == id_of(ranking.chosen),
        "control": id_of(candidate) == id_of(ranking.control),
    }
    return {
        "rank": rank,
        "backbone": candidate.backbone_id,
        "depth": str(candidate.cut.depth),
        "pooling": candidate.cut.pooling.replace("+", " + "),
        "f1": f"{number(candidate.f1)} ± {number(candidate.standard_error)}",
        "parameters": millions(candidate.cost.n_parameters),
        "size": size_text(candidate.cost.n_bytes),
        "macs": macs_text(candidate.cost.macs),
        "ms": f"{number(candidate.ms_per_photo, 1)}",
        "marks": [word for word, holds in marks.items() if holds],
        "note": "" if candidate.is_choosable else "for comparison only",
    }


def _control_words(ranking: Ranking) -> str:
    chosen, control = ranking.chosen, ranking.control
    if id_of(chosen) == id_of(control):
        return "The chosen candidate is also the usual choice: the last layer, average pooled."
    gap = 100 * (chosen.f1 - control.f1)
    if abs(gap) < 0.05:
        compared = "gets the same"
    else:
        compared = f"lies {abs(gap):.1f} points of F1 {'above' if gap > 0 else 'below'} it"
    share = chosen.cost.macs / max(control.cost.macs, 1)
    return (
        f"The usual choice (control: the last layer of {control.backbone_id}, average pooled) would have got "
        f"{number(control.f1)}; the chosen candidate {compared}, at {percent(share, 0)} of its "
        f"multiply-accumulates."
    )


def honest_interval(facts: ReportFacts) -> str:
    """The test part's ranking figure with its interval, for the comparison with the random split."""
    key, name = headline(facts)
    value, interval = facts.test.metrics.get(key), interval_of(facts.test.metrics, key)
    if not is_number(value):
        return ""
    spread = f" ({interval_text(interval, number, '95 % interval: ')})" if interval else ""
    return f"The final model’s {name} on the test part: {number(value)}{spread}."
