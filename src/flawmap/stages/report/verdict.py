"""What the test part says, in plain words: the verdict, its key figures, and what to bear in mind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flawmap.errors import option
from flawmap.records import Evaluation
from flawmap.stages.report.facts import ReportFacts, RunFacts
from flawmap.stages.report.wording import capital, count, is_number, listed, number, percent, plural
from flawmap.tools.bootstrap import LOWER_IS_BETTER, MIN_RELIABLE_GROUPS, no_interval
from flawmap.tools.scores import is_flaw_against_good
from flawmap.tools.words import kin_words

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


def on_photos(n: int, n_groups: int, metrics: Mapping[str, Any]) -> str:
    """How a verdict begins: the test photos, and whether their sources were new to the model."""
    start = f"On {plural(n, 'photo')} from {plural(n_groups, 'source')}"
    n_seen = metrics.get("n_source_seen_in_training")
    if not n_seen:
        return f"{start} it had never seen"
    return f"{start} (of these photos {kin_words(n_seen, metrics.get('are_sources_found'))})"


def verdict_sentence(facts: ReportFacts, outcome: Outcome) -> str:
    """One sentence with true counts, never with shares alone."""
    start = f"{on_photos(len(outcome.rows), outcome.n_groups, facts.test.metrics)}, this model "
    if not facts.spec.can_be_good:
        n_right = int(outcome.right.sum())
        what = "named all the flaws right on" if facts.spec.is_multilabel else "named the right class for"
        return f"{start}{what} {count(n_right)} of {count(len(outcome.rows))}."
    n_flawed, n_good = int(outcome.flawed.sum()), int((~outcome.flawed).sum())
    found = int((outcome.flawed & outcome.said_flawed).sum())
    rejected = int((~outcome.flawed & outcome.said_flawed).sum())
    if not n_good:
        return f"{start}found {count(found)} of {plural(n_flawed, 'flawed photo')}; none was good."
    if not n_flawed:
        return f"{start}rejected {count(rejected)} of {plural(n_good, 'good photo')}; none was flawed."
    return (
        f"{start}found {count(found)} of {plural(n_flawed, 'flawed photo')} and rejected "
        f"{count(rejected)} of {plural(n_good, 'good one')}."
    )


def key_figures(facts: ReportFacts, outcome: Outcome) -> list[dict[str, Any]]:
    """The three or four figures of the head of the page, each with interval, trivial answer and meaning."""
    metrics = facts.test.metrics
    trivial = metrics.get("trivial") or {}
    key, name = headline(facts)
    found = []
    if outcome.has_good:
        escapes = (int((outcome.flawed & ~outcome.said_flawed).sum()), int(outcome.flawed.sum()))
        rejects = (int((~outcome.flawed & outcome.said_flawed).sum()), int((~outcome.flawed).sum()))
        passed, rejected = rate_interval(facts, "escape_rate"), rate_interval(facts, "overkill_rate")
        found.append(rate_tile("Escape rate", escapes, passed, "flawed photos that it passed as good"))
        found.append(rate_tile("Overkill rate", rejects, rejected, "good photos that it rejected"))
    meanings = {
        "accuracy": "share of photos with exactly the right label",
        "f1": "precision and recall of the flaw in one figure",
        "macro_f1": "mean of every class’s F1, rare ones too",
    }
    shown = {} if is_two_class(facts) else {"accuracy": "Accuracy"}
    for shown_key, shown_name in {**shown, key: capital(name)}.items():
        without = trivial.get(shown_key)
        counted = f"trivial answer: {number(without)}" if is_number(without) else ""
        found.append(figure_tile(metrics, shown_key, shown_name, meanings[shown_key], counted))
    return [figure for figure in found if figure]


def rate_tile(name: str, counts: tuple[int, int], interval: Interval, meaning: str) -> dict[str, Any] | None:
    """A share of photos; `counts`: how many of how many. None where there is none to count."""
    n_events, n = counts
    if n == 0:
        return None
    return {
        "name": name,
        "value": percent(n_events / n),
        "counted": f"{count(n_events)} of {count(n)}",
        "interval": interval_text(interval, percent, "95 %: ", 0.0),
        "meaning": meaning,
    }


def figure_tile(
    metrics: Mapping[str, Any], key: str, name: str, meaning: str, counted: str = ""
) -> dict[str, Any] | None:
    """A figure with its interval; `counted` is what to compare it with. None where it has no value."""
    if not is_number(metrics.get(key)):
        return None
    return {
        "name": name,
        "value": number(metrics[key]),
        "counted": counted,
        "interval": interval_text(
            interval_of(metrics, key),
            number,
            "95 %: ",
            1.0 - (key in LOWER_IS_BETTER),
            metrics.get("n_groups"),
        ),
        "meaning": meaning,
    }


def interval_text(
    interval: Interval,
    write: Callable[[Any], str],
    before: str = "",
    best: float = 1.0,
    n_sources: int | None = None,
) -> str:
    """Both ends, with `before` in front; where they are equal, why (see no_interval)."""
    if interval is None:
        return ""
    return no_interval(interval, best, n_sources) or f"{before}{write(interval[0])} to {write(interval[1])}"


def caveats(facts: ReportFacts, outcome: Outcome) -> list[dict[str, str]]:
    """What a reader must know before relying on the figures, gravest first: {"level", "title", "text"}."""
    return gravest_first([*_trust(facts, outcome), *_folder(facts), *_use(facts, outcome)])


def gravest_first(found: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Caveats in the order that a reader needs them."""
    order = {"grave": 0, "warn": 1, "note": 2}
    return sorted(found, key=lambda c: order[c["level"]])


def to_caveat(level: str, title: str, text: str) -> dict[str, str]:
    return {"level": level, "title": title, "text": text}


def _trust(facts: ReportFacts, outcome: Outcome) -> list[dict[str, str]]:
    found = []
    if not is_reliable(facts, outcome):
        found.append(few_sources(outcome.n_groups))
    key, name = headline(facts)
    interval = interval_of(facts.test.metrics, key)
    trivial = (facts.test.metrics.get("trivial") or {}).get(key)
    if interval and is_number(trivial) and interval[0] <= trivial:
        text = (
            f"The interval of {name} ({interval_text(interval, number)}) reaches down to what the trivial "
            f"answer gets without looking ({number(trivial)})."
        )
        found.append(to_caveat("grave", "Not shown to beat the trivial answer", text))
    if facts.spec.can_be_good and not outcome.has_good:
        absent, rate = ("good", "overkill") if outcome.flawed.any() else ("flawed", "escape")
        text = f"So nothing is known of the {rate} rate. Add {absent} photos from other sources."
        found.append(to_caveat("grave", f"The test part holds no {absent} photo", text))
    found += seen_in_training(facts.test.metrics)
    found += seen_sources(facts.test.metrics)
    found += found_sources(facts)
    rare = _rare_labels(facts, outcome)
    if rare:
        text = f"Fewer than 20 test photos for {listed(rare)}: one photo more or less moves the figures."
        found.append(to_caveat("warn", "Some classes are thinly tested", text))
    return found


def seen_in_training(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """The caveat of test photos that were learnt from; none where there are none."""
    n_seen = metrics.get("n_seen_in_training")
    if not is_number(n_seen) or not n_seen:
        return []
    text = f"{plural(int(n_seen), 'test photo')} also stood in training or validation: the figures flatter."
    return [to_caveat("grave", "Test photos were seen in training", text)]


def seen_sources(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """The caveat of given parts that share sources; none where they do not."""
    n_seen = metrics.get("n_source_seen_in_training")
    if not n_seen:
        return []
    text = (
        f"Of {plural(metrics['n'], 'test photo')} {kin_words(n_seen, metrics.get('are_sources_found'))} or "
        "validation: the figures flatter. The parts that were given were kept; leave them out, and the "
        "photos are split by source."
    )
    return [to_caveat("grave", "The given parts share sources", text)]


def few_sources(n_groups: int) -> dict[str, str]:
    """The caveat of intervals from fewer sources than they need."""
    text = (
        f"The test part comes from {plural(n_groups, 'source')} only. With fewer than "
        f"{MIN_RELIABLE_GROUPS}, 95 % intervals come out too narrow: take them as a rough guide, and add "
        "photos from other sources."
    )
    return to_caveat("grave", "Too few sources for reliable intervals", text)


def found_sources(facts: RunFacts) -> list[dict[str, str]]:
    """The caveat of sources that nobody named; none where they were."""
    if not facts.audit.are_groups_found:
        return []
    text = (
        f"Which photos show one place was told from {facts.audit.group_origin}. A place taken for two can "
        "stand on both sides, and then the figures flatter. If you know the places or parts, name them: "
        f"{option('--group-by')}, or a manifest's group column."
    )
    return [to_caveat("note", "Sources were found, not given", text)]


def _rare_labels(facts: ReportFacts, outcome: Outcome) -> list[str]:
    counts = outcome.targets.sum(axis=0)
    return [f"{label} ({count(n)})" for label, n in zip(facts.spec.labels, counts, strict=True) if n < 20]


def _folder(facts: ReportFacts) -> list[dict[str, str]]:
    audit, found = facts.audit, part_caveats(facts)
    if audit.conflicting_duplicates:
        text = (
            f"{plural(len(audit.conflicting_duplicates), 'set')} of identical files carry different labels; "
            "at least one label of each is wrong."
        )
        found.append(to_caveat("warn", "Identical files, different labels", text))
    if audit.label_suspects:
        found.append(to_caveat("warn", "Labels to check", _suspect_words(facts)))
    return found


def part_caveats(facts: RunFacts) -> list[dict[str, str]]:
    """What is odd about the parts, and photos and files that took none, whatever was trained."""
    audit, found = facts.audit, []
    if facts.split.uneven:
        text = f"{capital(facts.split.uneven)}. Photos of more sources let the parts be alike."
        found.append(to_caveat("warn", "The parts of the split are uneven", text))
    if audit.leaks:
        text = (
            f"{plural(len(audit.leaks), 'pair')} of photos stand in two of the parts that were given. The "
            "copies were left out of training."
        )
        found.append(to_caveat("warn", "The given parts share photos", text))
    if facts.dataset.unreadable:
        left_out = plural(len(facts.dataset.unreadable), "file")
        text = f"{left_out} could not be read and took no part (listed below)."
        found.append(to_caveat("warn", "Files left out", text))
    return found


def _suspect_words(facts: ReportFacts) -> str:
    names = {s.path for s in facts.audit.label_suspects}
    n_tested = len(names & set(facts.test.names))
    if len(names) == 1:
        where = f"1 photo may carry a wrong label; it is listed below and is {'' if n_tested else 'not '}in"
    else:
        tested = "none is" if not n_tested else "1 is" if n_tested == 1 else f"{count(n_tested)} are"
        where = f"{count(len(names))} photos may carry a wrong label; they are listed below, and {tested} in"
    return f"{where} the test part. Where a test photo’s label is wrong, the figures are wrong by that photo."


def _use(facts: ReportFacts, outcome: Outcome) -> list[dict[str, str]]:
    found = []
    if outcome.has_good:
        found.append(to_caveat("note", "Alarms depend on how common flaws are", _alarm_words(facts, outcome)))
    found.append(another_kind())
    return found


def another_kind() -> dict[str, str]:
    """The caveat that holds for every model."""
    text = (
        "The figures hold for photos like these: same kind of surface, camera, distance and light. Before "
        "using the model elsewhere, label some photos from there and run flawmap evaluate on them."
    )
    return to_caveat("note", "Photos of another kind are another question", text)


def _alarm_words(facts: ReportFacts, outcome: Outcome) -> str:
    """How many alarms would be real where flaws are rare, at the rates of the test part."""
    found = float(outcome.said_flawed[outcome.flawed].mean())
    rejected = float(outcome.said_flawed[~outcome.flawed].mean())
    share = percent(float(outcome.flawed.mean()), 0)
    start = f"Here {share} of the test photos are flawed. Where only 1 in 100 is, "
    end = " Escape and overkill rate do not depend on that share; precision and F1 do."
    real = _real_alarms(found, rejected)
    if real is None:
        return f"{start}this model would hardly raise an alarm: it called no test photo flawed.{end}"
    upper = rate_interval(facts, "overkill_rate")
    worst = None if upper is None else _real_alarms(found, upper[1])
    least = ""
    if worst is not None and _in_hundred(worst) != _in_hundred(real):
        least = f"; if the overkill rate lies at the upper end of its interval, {_in_hundred(worst)}"
    return f"{start}{_in_hundred(real)} alarms would be real flaws{least}.{end}"


def _real_alarms(found: float, rejected: float) -> float | None:
    """The share of alarms that are flaws where 1 photo in 100 is flawed; None where there is no alarm."""
    alarms = 0.01 * found + 0.99 * rejected
    return 0.01 * found / alarms if alarms else None


def _in_hundred(share: float) -> str:
    """Such as "about 21 in 100"."""
    if share in (0.0, 1.0):
        return "all" if share else "none of the"
    if share < 0.01:
        return "fewer than 1 in 100"
    return "more than 99 in 100" if share > 0.99 else f"about {round(100 * share)} in 100"
