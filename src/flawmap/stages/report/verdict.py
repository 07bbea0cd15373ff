"""What the test part says, in plain words: the verdict, its key figures, and what to bear in mind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flawmap.records import Evaluation
from flawmap.stages.report.facts import ReportFacts
from flawmap.stages.report.wording import count, is_number, listed, number, percent, plural
from flawmap.tools.bootstrap import MIN_RELIABLE_GROUPS
from flawmap.tools.scores import is_flaw_against_good

Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Outcome:
    """The test photos, counted. Arrays have one row per photo of the evaluation."""

    rows: np.ndarray
    """Row of each photo in the data set."""
    targets: np.ndarray
    flawed: np.ndarray
    said_flawed: np.ndarray
    right: np.ndarray
    """Whether exactly the true labels were printed."""
    n_groups: int

    @property
    def has_good(self) -> bool:
        """Whether flawed and good photos can be told apart at all."""
        return bool(self.flawed.any() and not self.flawed.all())


def count_outcome(facts: ReportFacts, evaluation: Evaluation) -> Outcome:
    """Join an evaluation with the data set by photo name."""
    place = {photo.name: i for i, photo in enumerate(facts.dataset.photos)}
    rows = np.array([place[name] for name in evaluation.names], np.int64)
    targets = facts.dataset.targets[rows]
    printed = np.asarray(evaluation.printed)
    is_flaw = facts.spec.is_flaw_label
    return Outcome(
        rows=rows,
        targets=targets,
        flawed=np.any(targets[:, is_flaw], axis=1),
        said_flawed=np.any(printed[:, is_flaw], axis=1),
        right=np.all(targets == printed, axis=1),
        n_groups=len({facts.split.groups[row] for row in rows}),
    )


def is_two_class(facts: ReportFacts) -> bool:
    """One flaw against one good label: the case in which F1, precision and recall are those of the flaw."""
    return not facts.spec.is_multilabel and is_flaw_against_good(facts.spec.is_flaw_label)


def headline(facts: ReportFacts) -> tuple[str, str]:
    """(key, name) of the figure that ranks: the flaw's F1 for two classes, otherwise macro F1."""
    return ("f1", "F1") if is_two_class(facts) else ("macro_f1", "macro F1")


def interval_of(metrics: Mapping[str, Any], key: str) -> Interval:
    """The 95 % interval of a figure, or None."""
    pair = (metrics.get("interval95") or {}).get(key)
    if pair is None or len(pair) != 2 or not all(is_number(v) for v in pair):
        return None
    return float(pair[0]), float(pair[1])


def rate_interval(facts: ReportFacts, key: str) -> Interval:
    """The interval of the escape or overkill rate; for two classes it may come from recall or specificity."""
    direct = interval_of(facts.test.metrics, key)
    if direct or not is_two_class(facts):
        return direct
    mirrored = interval_of(facts.test.metrics, {"escape_rate": "recall", "overkill_rate": "specificity"}[key])
    return (1 - mirrored[1], 1 - mirrored[0]) if mirrored else None


def is_reliable(facts: ReportFacts, outcome: Outcome) -> bool:
    """Whether the test part holds enough sources for its intervals to mean what they say."""
    return outcome.n_groups >= MIN_RELIABLE_GROUPS


def verdict_sentence(facts: ReportFacts, outcome: Outcome) -> str:
    """One sentence with true counts, never with shares alone."""
    sources = plural(outcome.n_groups, "source")
    start = f"On {plural(len(outcome.rows), 'photo')} from {sources} it had never seen, this model "
    if not outcome.has_good:
        n_right = int(outcome.right.sum())
        what = "named all the flaws right on" if facts.spec.is_multilabel else "named the right class for"
        return f"{start}{what} {count(n_right)} of {count(len(outcome.rows))}."
    n_flawed, n_good = int(outcome.flawed.sum()), int((~outcome.flawed).sum())
    found = int((outcome.flawed & outcome.said_flawed).sum())
    rejected = int((~outcome.flawed & outcome.said_flawed).sum())
    return (
        f"{start}found {count(found)} of {count(n_flawed)} flawed photos and rejected "
        f"{count(rejected)} of {count(n_good)} good ones."
    )


def key_figures(facts: ReportFacts, outcome: Outcome) -> list[dict[str, Any]]:
    """The three or four figures of the head of the page, each with interval, trivial answer and meaning."""
    metrics = facts.test.metrics
    key, name = headline(facts)
    found = []
    if outcome.has_good:
        escapes = int((outcome.flawed & ~outcome.said_flawed).sum())
        rejects = int((~outcome.flawed & outcome.said_flawed).sum())
        n_flawed, n_good = int(outcome.flawed.sum()), int((~outcome.flawed).sum())
        found.append(
            _rate(
                facts,
                "escape_rate",
                "Escape rate",
                (escapes, n_flawed),
                "flawed photos that it passed as good",
            )
        )
        found.append(
            _rate(facts, "overkill_rate", "Overkill rate", (rejects, n_good), "good photos that it rejected")
        )
    if not is_two_class(facts):
        found.append(_figure(metrics, "accuracy", "Accuracy", "photos with exactly the right label"))
    meaning = "precision and recall of the flaw in one figure"
    found.append(
        _figure(metrics, key, name, meaning if key == "f1" else "mean of every class’s F1, rare ones too")
    )
    return [figure for figure in found if figure]


def _rate(
    facts: ReportFacts, key: str, name: str, counts: tuple[int, int], meaning: str
) -> dict[str, Any] | None:
    n_events, n = counts
    if n == 0:
        return None
    return {
        "name": name,
        "value": percent(n_events / n),
        "counted": f"{count(n_events)} of {count(n)}",
        "interval": _interval_text(rate_interval(facts, key), as_percent=True),
        "meaning": meaning,
    }


def _figure(metrics: Mapping[str, Any], key: str, name: str, meaning: str) -> dict[str, Any] | None:
    if not is_number(metrics.get(key)):
        return None
    trivial = (metrics.get("trivial") or {}).get(key)
    return {
        "name": name,
        "value": number(metrics[key]),
        "counted": f"trivial answer: {number(trivial)}" if is_number(trivial) else "",
        "interval": _interval_text(interval_of(metrics, key)),
        "meaning": meaning,
    }


def _interval_text(interval: Interval, as_percent: bool = False) -> str:
    if interval is None:
        return ""
    if as_percent:
        return f"{percent(interval[0])} to {percent(interval[1])}"
    return f"{number(interval[0])} to {number(interval[1])}"


def caveats(facts: ReportFacts, outcome: Outcome) -> list[dict[str, str]]:
    """What a reader must know before relying on the figures, gravest first: {"level", "title", "text"}."""
    found = [
        *_trust(facts, outcome),
        *_folder(facts),
        *_use(facts, outcome),
    ]
    order = {"grave": 0, "warn": 1, "note": 2}
    return sorted(found, key=lambda c: order[c["level"]])


def _caveat(level: str, title: str, text: str) -> dict[str, str]:
    return {"level": level, "title": title, "text": text}


def _trust(facts: ReportFacts, outcome: Outcome) -> list[dict[str, str]]:
    found = []
    if not is_reliable(facts, outcome):
        text = (
            f"The test part comes from {plural(outcome.n_groups, 'source')} only; under "
            f"{MIN_RELIABLE_GROUPS} the 95 % intervals come out too narrow. Take them as a rough guide and "
            "add photos from other sources."
        )
        found.append(_caveat("grave", "Too few sources for reliable intervals", text))
    key, name = headline(facts)
    interval = interval_of(facts.test.metrics, key)
    trivial = (facts.test.metrics.get("trivial") or {}).get(key)
    if interval and is_number(trivial) and interval[0] <= trivial:
        text = (
            f"The interval of {name} ({_interval_text(interval)}) reaches down to what the trivial answer "
            f"gets without looking ({number(trivial)})."
        )
        found.append(_caveat("grave", "Not shown to beat the trivial answer", text))
    n_seen = facts.test.metrics.get("n_seen_in_training")
    if is_number(n_seen) and n_seen:
        text = (
            f"{plural(int(n_seen), 'test photo')} also stood in training or validation: the figures flatter."
        )
        found.append(_caveat("grave", "Test photos were seen in training", text))
    rare = _rare_labels(facts, outcome)
    if rare:
        text = f"Fewer than 20 test photos for {listed(rare)}: one photo more or less moves the figures."
        found.append(_caveat("warn", "Some classes are thinly tested", text))
    return found


def _rare_labels(facts: ReportFacts, outcome: Outcome) -> list[str]:
    counts = outcome.targets.sum(axis=0)
    return [f"{label} ({count(n)})" for label, n in zip(facts.spec.labels, counts, strict=True) if n < 20]


def _folder(facts: ReportFacts) -> list[dict[str, str]]:
    audit, found = facts.audit, []
    if audit.leaks:
        text = (
            f"{plural(len(audit.leaks), 'pair')} of photos stand in two of the parts that were given. The "
            "copies were left out of training."
        )
        found.append(_caveat("warn", "The given parts share photos", text))
    if audit.conflicting_duplicates:
        text = (
            f"{plural(len(audit.conflicting_duplicates), 'set')} of identical files carry different labels; "
            "at least one label of each is wrong."
        )
        found.append(_caveat("warn", "Identical files, different labels", text))
    if audit.label_suspects:
        text = (
            f"{plural(len(audit.label_suspects), 'photo')} may carry the wrong label (shown below). No "
            "figure here is better than the labels it is measured against."
        )
        found.append(_caveat("warn", "Labels to check", text))
    if facts.dataset.unreadable:
        left_out = plural(len(facts.dataset.unreadable), "file")
        text = f"{left_out} could not be read and took no part (listed below)."
        found.append(_caveat("warn", "Files left out", text))
    return found


def _use(facts: ReportFacts, outcome: Outcome) -> list[dict[str, str]]:
    found = []
    if outcome.has_good:
        recall = float((outcome.flawed & outcome.said_flawed).sum() / outcome.flawed.sum())
        false = float((~outcome.flawed & outcome.said_flawed).sum() / (~outcome.flawed).sum())
        alarms = 0.01 * recall + 0.99 * false
        share = percent(float(outcome.flawed.mean()), 0)
        upper = rate_interval(facts, "overkill_rate")
        worst = 0.01 * recall / max(0.01 * recall + 0.99 * upper[1], 1e-9) if upper else None
        least = f" (as few as {percent(worst, 0)} at the upper end of the overkill rate)" if worst else ""
        text = (
            f"Here {share} of the test photos are flawed. Where only 1 in 100 is, "
            f"{percent(0.01 * recall / alarms, 0) if alarms else 'none'} of the alarms would be real "
            f"flaws{least}. Escape and overkill rate do not depend on that share; precision and F1 do."
        )
        found.append(_caveat("note", "Alarms depend on how common flaws are", text))
    text = (
        "The figures hold for photos like these: same kind of surface, camera, distance and light. Before "
        "using the model elsewhere, label some photos from there and run flawmap evaluate on them."
    )
    found.append(_caveat("note", "Photos of another kind are another question", text))
    return found
