"""From facts to the page's text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from flawmap.records import Photo
from flawmap.stages.report.facts import ReportFacts, ReportOptions
from flawmap.stages.report.folder import (
    choice_section,
    folder_section,
    honest_interval,
    split_section,
)
from flawmap.stages.report.model import mistakes_section, model_section, run_section, suspects_section
from flawmap.stages.report.pictures import Picture, photo_picture, to_picture
from flawmap.stages.report.rendering import CARD_PX, SAMPLE_PX, bytes_per_picture, render_page
from flawmap.stages.report.results import escape_words, figures_section, review_section
from flawmap.stages.report.training import training_section
from flawmap.stages.report.verdict import caveats, count_outcome, headline, key_figures, verdict_sentence
from flawmap.stages.report.wording import count, plural

SECTIONS = (
    ("verdict", "Verdict"),
    ("folder", "The photos"),
    ("split", "The split"),
    ("choice", "The choice"),
    ("training", "Training"),
    ("figures", "Test figures"),
    ("review", "Threshold"),
    ("mistakes", "Mistakes"),
    ("suspects", "Labels to check"),
    ("model", "The model"),
    ("run", "The run"),
)


def render(facts: ReportFacts, options: ReportOptions) -> str:
    """The whole page. Raises MissingExtraError without jinja2."""
    return render_page("page.html", SECTIONS, context(facts, options))


def context(facts: ReportFacts, options: ReportOptions) -> dict[str, Any]:
    """All that the template prints, by section."""
    outcome = count_outcome(facts, facts.test)
    sample, card, heat = _cameras(facts, options)
    return {
        "title": facts.dataset.root.name or "photos",
        "task": _task(facts),
        "made_at": facts.made_at,
        "verdict": {
            "sentence": verdict_sentence(facts, outcome),
            "interval": escape_words(facts, outcome) if outcome.has_good else "",
            "figures": key_figures(facts, outcome),
            "caveats": caveats(facts, outcome),
            "headline": headline(facts)[1],
        },
        "folder": folder_section(facts, options, sample),
        "split": split_section(facts) | {"honest": honest_interval(facts)},
        "choice": choice_section(facts),
        "training": training_section(facts),
        "figures": figures_section(facts, outcome),
        "review": review_section(facts, outcome),
        "mistakes": mistakes_section(facts, outcome, options, card, heat),
        "suspects": suspects_section(facts, options, card, heat),
        "model": model_section(facts),
        "run": run_section(facts),
    }


Camera = Callable[[Photo], Picture]
HeatCamera = Callable[[str, str], Picture | None]


def _cameras(facts: ReportFacts, options: ReportOptions) -> tuple[Camera, Camera, HeatCamera]:
    """Makers of sample pictures, mistake pictures and heat maps that share the page's allowance of bytes."""
    n_samples = options.n_samples_per_class * len(facts.dataset.labels)
    n_cards = min(options.n_mistakes, len(facts.test.worst)) + min(
        options.n_suspects, len(facts.audit.label_suspects)
    )
    allowance = bytes_per_picture(n_samples + 2 * n_cards, options)

    @cache
    def card(name: str) -> Picture:
        return photo_picture(by_name[name], CARD_PX, allowance)

    by_name: Mapping[str, Photo] = {photo.name: photo for photo in facts.dataset.photos}

    def heat(name: str, label: str) -> Picture | None:
        image = facts.heats.get((name, label))
        return None if image is None else to_picture(np.asarray(image), CARD_PX, allowance)

    return (
        lambda photo: photo_picture(photo, SAMPLE_PX, allowance),
        lambda photo: card(photo.name),
        heat,
    )


def _task(facts: ReportFacts) -> str:
    n = len(facts.spec.labels)
    what = f"{count(n)} labels, several per photo" if facts.spec.is_multilabel else f"{count(n)} classes"
    return f"{plural(len(facts.dataset), 'photo')}, {what}"
