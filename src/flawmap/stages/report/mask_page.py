"""From the facts of a run that trained a segmenter to the page's text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from flawmap.errors import PhotoError
from flawmap.records import Photo, PhotoMask
from flawmap.stages.report.facts import MaskReportFacts, ReportOptions
from flawmap.stages.report.folder import Show, class_block, folder_facts, split_facts
from flawmap.stages.report.mask_cascade import cascade_section
from flawmap.stages.report.mask_choosing import cleaning_section
from flawmap.stages.report.mask_drawing import (
    FALSE,
    MISSED,
    RIGHT,
    WRONG_KIND,
    draw_outline,
    draw_panels,
    label_colours,
)
from flawmap.stages.report.mask_examples import KINDS, chosen_rows
from flawmap.stages.report.mask_model import mask_model_section, mask_training_section
from flawmap.stages.report.mask_results import mask_figures_section, whole_photos_section
from flawmap.stages.report.mask_verdict import (
    count_masks,
    key_figures,
    mask_caveats,
    pixel_words,
    tolerant_name,
    verdict_sentence,
)
from flawmap.stages.report.model import run_section
from flawmap.stages.report.pictures import Picture, to_picture
from flawmap.stages.report.rendering import CARD_PX, bytes_per_picture, render_page
from flawmap.stages.report.wording import count, number, percent, plural
from flawmap.tools import rle
from flawmap.tools.photos import read_image

_SAMPLE_PX, _BANNER_PX = 360, 800
_BANNER = 2.2
"""Photos so many times as wide as high are shown one below the other, and larger."""
_DIFFERENCE = 2
"""How many times the bytes of another picture the difference of two masks may take."""

SECTIONS = (
    ("verdict", "Verdict"),
    ("folder", "The photos"),
    ("split", "The split"),
    ("training", "Training"),
    ("cleaning", "The masks"),
    ("figures", "Test figures"),
    ("chain", "The chain"),
    ("whole", "Whole photos"),
    ("examples", "Examples"),
    ("model", "The model"),
    ("run", "The run"),
)


def render_masks(facts: MaskReportFacts, options: ReportOptions) -> str:
    """The whole page. Raises MissingExtraError without jinja2."""
    shown = [section for section in SECTIONS if section[0] != "chain" or facts.cascade is not None]
    return render_page("masks.html", shown, mask_context(facts, options))


def mask_context(facts: MaskReportFacts, options: ReportOptions) -> dict[str, Any]:
    """All that the template prints, by section."""
    outcome = count_masks(facts)
    n_labels = len(facts.dataset.labels)
    n_pictures = options.n_samples_per_class * (n_labels + 1) + 3 * (3 + _DIFFERENCE) * options.n_examples
    allowance = bytes_per_picture(n_pictures, options)
    kinds = f"{count(n_labels)} {'kind of flaw' if n_labels == 1 else 'kinds of flaws'}"
    return {
        "title": facts.dataset.root.name or "photos",
        "task": f"{plural(len(facts.dataset), 'photo')} with masks, {kinds}",
        "made_at": facts.made_at,
        "verdict": {
            "sentence": verdict_sentence(facts, outcome),
            "interval": pixel_words(facts),
            "figures": key_figures(facts, outcome),
            "caveats": mask_caveats(facts, outcome),
        },
        "folder": mask_folder_section(facts, options, allowance),
        "split": split_facts(facts),
        "training": mask_training_section(facts),
        "cleaning": cleaning_section(facts),
        "figures": mask_figures_section(facts, outcome),
        "chain": cascade_section(facts.cascade),
        "whole": whole_photos_section(facts, outcome, options),
        "examples": examples_section(facts, options, allowance),
        "model": mask_model_section(facts),
        "run": run_section(facts),
    }


# --- the folder ---------------------------------------------------------------------------------------------


def mask_folder_section(facts: MaskReportFacts, options: ReportOptions, allowance: int) -> dict[str, Any]:
    """Kinds of flaws with outlined samples, the photos without any, and the problems that were found."""
    dataset = facts.dataset
    by_name = {photo.name: mask for photo, mask in zip(dataset.photos, dataset.masks, strict=True)}
    n_px = np.array([height * width for height, width in (photo.size_hw for photo in dataset.photos)])
    areas = np.array([mask.areas_px for mask in dataset.masks], np.int64).reshape(len(n_px), -1)
    blocks = []
    for i, label in enumerate(dataset.labels):
        has_it = dataset.targets[:, i].astype(bool)
        show = _outlined(by_name, i, allowance)
        block = class_block(facts, options, show, label, has_it, is_good=False)
        share = areas[has_it, i].sum() / max(int(n_px[has_it].sum()), 1)
        blocks.append(block | {"area": f"{percent(float(share), 2)} of their pixels" if has_it.any() else ""})
    good = ~dataset.is_flawed
    if good.any():
        show = _outlined(by_name, None, allowance)
        blocks.append(class_block(facts, options, show, "no flaw", good, is_good=True))
    noun = "kind of flaw" if len(dataset.labels) == 1 else "kinds of flaws"
    found = folder_facts(facts, options, (count(len(dataset.labels)), noun))
    flawed_px = sum(int(rle.union(mask.runs)[:, 1].sum()) for mask in dataset.masks)
    found["totals"].insert(2, (percent(flawed_px / max(int(n_px.sum()), 1), 2), "of all pixels are flaw"))
    return found | {"classes": blocks, "has_masks": True}


def _outlined(masks: Mapping[str, PhotoMask], label: int | None, allowance: int) -> Show:
    """Draws photos with a line around one kind of flaw, or without a line."""

    def show(photo: Photo) -> Picture:
        try:
            image = read_image(photo.path)
        except (PhotoError, OSError):
            return Picture("", 0, 0)
        mask = np.zeros(image.shape[:2], bool)
        if label is not None and mask.shape == photo.size_hw:
            mask = rle.decode(masks[photo.name].runs[label], photo.size_hw)
        return to_picture(draw_outline(image, mask, _SAMPLE_PX), _SAMPLE_PX, allowance)

    return show


# --- examples -----------------------------------------------------------------------------------------------


def examples_section(facts: MaskReportFacts, options: ReportOptions, allowance: int) -> dict[str, Any]:
    """Photos with true masks, found masks and their difference: worst, typical, best."""
    chosen = chosen_rows(facts.test, options)
    titles = {"worst": "The worst", "typical": "Typical ones", "best": "The best"}
    labels = facts.dataset.labels
    differences = {"right": RIGHT, "missed": MISSED, "false alarm": FALSE}
    if len(labels) > 1:
        differences["found, but as another kind"] = WRONG_KIND
    return {
        "groups": [
            {"title": titles[kind], "cards": [_card(facts, row, allowance) for row in chosen[kind]]}
            for kind in KINDS
            if chosen[kind]
        ],
        "differences": list(differences.items()),
        "labels": list(zip(labels, label_colours(len(labels)), strict=True)) if len(labels) > 1 else [],
    }


def _card(facts: MaskReportFacts, row: int, allowance: int) -> dict[str, Any]:
    own = facts.test.rows[row]
    picture = facts.pictures.get(own.name)
    panels, is_banner = {}, False
    if picture is not None:
        height, width = picture.image.shape[:2]
        is_banner = width > _BANNER * height
        side = _BANNER_PX if is_banner else CARD_PX
        drawn = draw_panels(picture, side)
        difference = to_picture(drawn.pop("difference"), 2 * side, _DIFFERENCE * allowance)
        panels = {name: to_picture(image, side, allowance) for name, image in drawn.items()}
        panels = {"difference": difference, **panels}
    figures = [f"Dice {number(own.dice, 2)}"]
    if own.f1_tolerant is not None:
        figures.append(f"{tolerant_name(facts.test.metrics)} {number(own.f1_tolerant, 2)}")
    kind = None
    if not own.true_px:
        kind = {"css": "alarm", "word": "false alarm on a good photo"} if own.found_px else None
    elif not own.found_px:
        kind = {"css": "miss", "word": "missed flaw"}
    elif own.name in facts.test.metrics["masks_to_check"]:
        kind = {"css": "alarm", "word": "another photo's mask?"}
    elif not own.dice:
        kind = {"css": "miss", "word": "marked beside the flaw"}
    return {
        "name": own.name,
        "panels": panels,
        "is_banner": is_banner,
        "kind": kind,
        "figures": ("" if len(facts.dataset.labels) == 1 else "any flaw: ") + ", ".join(figures),
        "areas": f"{count(own.true_px)} px are flaw, {count(own.found_px)} px were marked",
    }
