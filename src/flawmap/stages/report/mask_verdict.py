"""What the test part says of masks, in plain words: the verdict, its key figures, what to bear in mind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flawmap.errors import some_of
from flawmap.records import MaskRow
from flawmap.stages.report.facts import MaskReportFacts
from flawmap.stages.report.verdict import (
    another_kind,
    few_sources,
    figure_tile,
    found_sources,
    gravest_first,
    interval_of,
    interval_text,
    on_photos,
    part_caveats,
    rate_tile,
    seen_in_training,
    seen_sources,
    to_caveat,
)
from flawmap.stages.report.wording import count, is_number, kind_text, listed, number, percent, plural
from flawmap.tools.bootstrap import MIN_RELIABLE_GROUPS

_FEW_PHOTOS = 20
_NOT_FOUND = 0.1
"""A kind of flaw with a flaw Dice below this is as good as not found."""
_FALL, _RISE = 2 / 3, 3.0
"""From validation to test: a Dice below this share of it, a rate this many times as high is told."""


@dataclass(frozen=True)
class MaskOutcome:
    """The test photos, counted."""

    flawed: tuple[MaskRow, ...]
    good: tuple[MaskRow, ...]
    n_groups: int

    @property
    def n(self) -> int:
        return len(self.flawed) + len(self.good)

    @property
    def escaped(self) -> list[MaskRow]:
        """Flawed photos without any mark, the largest flaws first."""
        return sorted((r for r in self.flawed if not r.found_px), key=lambda r: (-r.true_px, r.name))

    @property
    def beside(self) -> list[MaskRow]:
        """Flawed photos with marks, none of which lies on the flaw."""
        return [row for row in self.flawed if row.found_px and not row.dice]

    @property
    def overkilled(self) -> list[MaskRow]:
        """Good photos with a mark, the largest marks first."""
        return sorted((r for r in self.good if r.found_px), key=lambda r: (-r.found_px, r.name))


def count_masks(facts: MaskReportFacts) -> MaskOutcome:
    """Join the evaluation with the split by photo name."""
    group = {p.name: g for p, g in zip(facts.dataset.photos, facts.split.groups, strict=True)}
    rows = facts.test.rows
    return MaskOutcome(
        flawed=tuple(row for row in rows if row.true_px),
        good=tuple(row for row in rows if not row.true_px),
        n_groups=len({group[row.name] for row in rows}),
    )


def tolerant_name(metrics: Mapping[str, Any]) -> str:
    """Such as "F1 within 2 px"."""
    return f"F1 within {metrics.get('tolerance_px', 2):g} px"


def empty_answer(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What each figure is for an answer that marks nothing, by its definition."""
    nothing = ("dice", "iou", "f1_tolerant", "flaw_dice", "recall", "cldice", "overkill_rate")
    accuracy = metrics.get("pixel_accuracy_empty")
    return {
        **dict.fromkeys(nothing, 0.0),
        "escape_rate": 1.0,
        "pixel_accuracy": accuracy,
        "mean_iou": accuracy / 2 if is_number(accuracy) else None,
        "severstal_score": metrics.get("severstal_score_empty"),
    }


def verdict_sentence(facts: MaskReportFacts, outcome: MaskOutcome) -> str:
    """One sentence with true counts; a flaw counts as found where some mark lies on it."""
    start = f"{on_photos(outcome.n, outcome.n_groups, facts.test.metrics)}, "
    n_beside, n_flawed = len(outcome.beside), len(outcome.flawed)
    n_hit = n_flawed - len(outcome.escaped) - n_beside
    n_false, n_good = len(outcome.overkilled), len(outcome.good)
    found = f"this model marked the flaw on {count(n_hit)} of {plural(n_flawed, 'flawed photo')}"
    if n_beside:
        found += f" (on {count(n_beside)} more only something beside it)"
    if not n_good:
        return f"{start}{found}; none was good."
    if not n_flawed:
        return f"{start}this model marked something on {count(n_false)} of {plural(n_good, 'good photo')}."
    return f"{start}{found} and something on {count(n_false)} of {plural(n_good, 'good one')}."


def pixel_words(facts: MaskReportFacts) -> str:
    """How much of the flaws it marked, and how much of its marks is flaw."""
    metrics = facts.test.metrics
    recall, precision = metrics.get("recall"), metrics.get("precision")
    if not is_number(recall) or not is_number(precision):
        return ""
    tolerant = metrics.get("f1_tolerant")
    words = (
        f"Counted pixel by pixel, it marked {percent(recall, 0)} of what is flawed, and "
        f"{percent(precision, 0)} of what it marked is flawed"
    )
    if not is_number(tolerant):
        return f"{words}."
    tolerance = f"{metrics.get('tolerance_px', 2):g}"
    return f"{words}; with a shift of up to {tolerance} pixels forgiven, F1 is {number(tolerant)}."


def key_figures(facts: MaskReportFacts, outcome: MaskOutcome) -> list[dict[str, Any]]:
    """The figures of the head of the page."""
    metrics = facts.test.metrics
    empty = empty_answer(metrics)
    shown = {
        "f1_tolerant": (tolerant_name(metrics), "of marked against true pixels, small shifts forgiven"),
        "dice": ("Dice", "marked against true pixels, exactly (the strict F1)"),
        "mean_iou": ("Mean IoU", "overlap over union, mean of flaw and background"),
    }
    if len(facts.dataset.labels) > 1:
        shown["flaw_dice"] = ("Flaw Dice", "Dice of each photo and kind of flaw that it shows, mean")
        shown["severstal_score"] = ("Severstal score", "Dice of every photo and kind, 1 where both are empty")
    found = [
        figure_tile(metrics, key, name, meaning, f"empty answer: {number(empty[key])}" if empty[key] else "")
        for key, (name, meaning) in shown.items()
    ]
    if outcome.flawed and outcome.good:
        escapes = (len(outcome.escaped), len(outcome.flawed))
        rejects = (len(outcome.overkilled), len(outcome.good))
        passed, rejected = interval_of(metrics, "escape_rate"), interval_of(metrics, "overkill_rate")
        found.append(rate_tile("Escape rate", escapes, passed, "flawed photos without any mark"))
        found.append(rate_tile("Overkill rate", rejects, rejected, "good photos with a mark"))
    return [figure for figure in found if figure]


def mask_caveats(facts: MaskReportFacts, outcome: MaskOutcome) -> list[dict[str, str]]:
    """What a reader must know before relying on the figures, gravest first."""
    found = _not_found(facts)
    if outcome.n_groups < MIN_RELIABLE_GROUPS:
        found.append(few_sources(outcome.n_groups))
    found += seen_in_training(facts.test.metrics)
    found += seen_sources(facts.test.metrics)
    found += found_sources(facts)
    found += _against_nothing(facts)
    if not outcome.good:
        text = "So nothing is known of what it marks on surfaces without a flaw. Add photos of good surfaces."
        found.append(to_caveat("grave", "The test part holds no good photo", text))
    if not outcome.flawed:
        text = "So nothing is known of what it finds. Add photos with flaws, and their masks."
        found.append(to_caveat("grave", "The test part holds no flawed photo", text))
    found += _worse_than_validation(facts)
    rare = _rare_labels(facts)
    if rare:
        text = f"Fewer than {_FEW_PHOTOS} test photos show {listed(rare, 'or')}: one photo more or less "
        found.append(to_caveat("warn", "Some flaws are thinly tested", f"{text}moves the figures."))
    found += _masks_to_check(facts)
    found += part_caveats(facts)
    text = (
        "Where a flaw is a few pixels wide, a mask that lies one pixel beside the truth already loses much "
        "of its Dice, and two people who draw the same flaw differ by as much. The figure with tolerance "
        "forgives that; neither says how long or how wide a flaw is."
    )
    found.append(to_caveat("note", "Thin flaws have low Dice", text))
    return gravest_first([*found, another_kind(), *_without_names(facts)])


def _not_found(facts: MaskReportFacts) -> list[dict[str, str]]:
    """Kinds of flaws that test photos show, but of which next to nothing is marked."""
    rows = facts.test.metrics.get("per_class") or {}
    dice = {label: row.get("flaw_dice") for label, row in rows.items()}
    lost = {label: value for label, value in dice.items() if is_number(value) and value < _NOT_FOUND}
    if not lost:
        return []
    title = f"{count(len(lost))} of {count(len(rows))} kinds are practically not found: {', '.join(lost)}"
    if len(lost) == 1:
        title = f"1 of {count(len(rows))} kinds is practically not found: {next(iter(lost))}"
    if len(rows) == 1:
        title = "The flaws are practically not found"
    figures = listed([f"{number(value)} for {kind_text(label)}" for label, value in lost.items()])
    text = (
        f"On the test photos, flaw Dice is {figures}. Do not rely on the model there. Photos that show more "
        "such flaws, from other sources, help most."
    )
    return [to_caveat("grave", title, text)]


def _worse_than_validation(facts: MaskReportFacts) -> list[dict[str, str]]:
    """Where the test part came out far worse than the photos on which thresholds were chosen."""
    test, validation = facts.test.metrics, facts.validation.metrics
    said = []
    for key, name in (("flaw_dice", "flaw Dice"), ("dice", "Dice")):
        now, before = test.get(key), validation.get(key)
        if is_number(now) and is_number(before) and now < _FALL * before:
            said.append(f"{name} fell from {number(before)} to {number(now)}")
    now, before = test.get("overkill_rate"), validation.get("overkill_rate")
    if is_number(now) and is_number(before):
        one_photo = 1 / max(validation["n"] - validation["n_with_flaw"], 1)
        if now > _RISE * max(before, one_photo):
            said.append(f"the overkill rate rose from {percent(before)} to {percent(now)}")
    if not said:
        return []
    text = (
        f"From validation to test {listed(said)}: what was chosen on the validation photos suits others "
        "less, and new photos may come out as differently again."
    )
    return [to_caveat("warn", "Much worse on test than on validation", text)]


def _against_nothing(facts: MaskReportFacts) -> list[dict[str, str]]:
    """Where the Severstal score does not beat an answer without any mask. It is decided by good photos."""
    metrics = facts.test.metrics
    interval, empty = interval_of(metrics, "severstal_score"), metrics.get("severstal_score_empty")
    if interval is None or not is_number(empty) or interval[0] > empty or len(facts.dataset.labels) == 1:
        return []
    text = (
        f"The interval of the Severstal score ({interval_text(interval, number)}) reaches down to what an "
        f"answer without any mask gets ({number(empty)})."
    )
    return [to_caveat("grave", "Severstal score not shown to beat an empty answer", text)]


def _masks_to_check(facts: MaskReportFacts) -> list[dict[str, str]]:
    """Photos of both judged parts whose true mask may be another photo's."""
    parts = {"test": facts.test, "validation": facts.validation}
    names = [f"{name} ({part})" for part, of in parts.items() for name in of.metrics["masks_to_check"]]
    if not names:
        return []
    text = (
        f"As much was found there as is marked, but elsewhere: {some_of(names, 5)}. Look whether these masks "
        "belong to their photos; a wrong one costs the figures as much as a missed flaw and a false alarm."
    )
    return [to_caveat("warn", "Masks to check", text)]


def _without_names(facts: MaskReportFacts) -> list[dict[str, str]]:
    """How kinds that have but numbers get names, in the layouts where a file of names is read for them."""
    is_read = re.search(r"runs of masks in|photos and masks$", facts.dataset.layout)
    if not is_read or not all(label.isdecimal() for label in facts.dataset.labels):
        return []
    text = (
        "Put a classes.txt beside the masks or their table, with the name of kind 1 in its first line, of "
        "kind 2 in the second and so on: the next training writes names in place of the numbers."
    )
    return [to_caveat("note", "The kinds of flaws have numbers only", text)]


def _rare_labels(facts: MaskReportFacts) -> list[str]:
    rows = facts.test.metrics.get("per_class") or {}
    counts = {label: row.get("n_photos_with", 0) for label, row in rows.items()}
    return [f"{kind_text(label)} ({plural(n, 'photo')})" for label, n in counts.items() if n < _FEW_PHOTOS]
