"""How masks are made is chosen on validation; then the test part is read, once: through the exported file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.pipeline.preparing import Prepared
from flawmap.pipeline.running import run_photos
from flawmap.pipeline.settings import RunOptions
from flawmap.records import MaskEvaluation, Progress, within
from flawmap.stages.evaluate_masks import (
    CleaningChoice,
    MaskedPhoto,
    choose_cleaning,
    count_photo,
    evaluate_counts,
    evaluate_masks,
)
from flawmap.tools.bundle import Bundle, write_spec
from flawmap.tools.mask_scores import balanced, empty_counts, to_levels
from flawmap.tools.masks import to_pixels
from flawmap.tools.runtime import RuntimeOptions
from flawmap.tools.segmenting import Segmenter

FLIPS_GAIN = 0.01
"""Looking at a photo mirrored too takes four times as long: it has to gain this much on validation."""


@dataclass(frozen=True)
class MaskChoice:
    """How masks are made, chosen on what a file sees on the validation photos."""

    choice: CleaningChoice
    has_flips: bool
    flips: dict[str, float]
    """Validation figure with and without mirrored looks."""
    validation: MaskEvaluation
    """Of what ships: of a cascade, of all its stages."""
    on_validation: Looked
    """What the file sees on the validation photos; on disk until the run is finished."""


@dataclass(frozen=True)
class JudgedMasks:
    """The shipped file on the test part, and how its masks are made."""

    prepared: Prepared
    bundle: Bundle
    chosen: MaskChoice
    test: MaskEvaluation
    before: MaskEvaluation
    """The answer without any mask on the test part."""
    cascade: dict[str, Any] | None = None
    """What each stage of a cascade adds."""


class Looked:
    """Probabilities of a part's photos, kept on disk as levels of 1/256, beside their truths."""

    def __init__(
        self,
        segmenter: Segmenter,
        prepared: Prepared,
        rows: np.ndarray,
        options: RunOptions,
        folder: Path,
        progress: Progress,
    ) -> None:
        self.folder, self.rows = folder, [int(row) for row in rows]
        self.dataset, self._groups = prepared.dataset, prepared.split.groups
        folder.mkdir(parents=True, exist_ok=True)
        photos = [self.dataset.photos[row] for row in self.rows]
        found = run_photos(segmenter.n_threads, segmenter.probabilities, photos, options.photos, progress)
        for row, probabilities in zip(self.rows, found, strict=True):
            np.save(self._file(row), to_levels(probabilities))

    def _file(self, row: int) -> Path:
        return self.folder / f"{row}.npy"

    def levels(self, row: int) -> np.ndarray:
        return np.load(self._file(row))

    def truth(self, row: int) -> np.ndarray:
        return to_pixels(self.dataset.masks[row])

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(truth, levels) of every photo, in order."""
        return ((self.truth(row), self.levels(row)) for row in self.rows)

    def masked(self) -> Iterator[MaskedPhoto]:
        """Every photo as it is judged."""
        for row in self.rows:
            yield MaskedPhoto(self.dataset.photos[row].name, self.truth(row), self.levels(row))

    def groups(self) -> list[str]:
        """The source of every photo."""
        return [self._groups[row] for row in self.rows]


def choose_masks(
    bundle: Bundle, prepared: Prepared, options: RunOptions, work: Path, progress: Progress
) -> MaskChoice:
    """Thresholds, cleaning and mirrored looks, by the validation part alone."""
    labels, split = prepared.dataset.labels, prepared.split
    runtime = RuntimeOptions(n_threads=options.embed.n_threads)
    cleaning_options = replace(options.cleaning, is_exclusive=prepared.dataset.has_exclusive_masks)
    choices: dict[bool, CleaningChoice] = {}
    looks: dict[bool, Looked] = {}
    for flips in (False, True):
        segmenter = Segmenter(_with_masks(bundle, flips=flips), runtime)
        told = within(progress, f"choosing the thresholds{', mirrored too' if flips else ''}")
        looked = Looked(segmenter, prepared, split.validation, options, work / str(flips), told)
        choices[flips] = choose_cleaning(looked.pairs, labels, looked.groups(), cleaning_options)
        looks[flips] = looked
    figures = {flips: _main_figure(choice, cleaning_options.criterion) for flips, choice in choices.items()}
    flips = figures[True] - figures[False] >= FLIPS_GAIN
    choice, looked = choices[flips], looks[flips]
    validation = evaluate_masks(
        looked.masked(), labels, choice.cleaning, looked.groups(), options.evaluate_masks
    )
    compared = {"once": figures[False], "mirrored": figures[True]}
    return MaskChoice(choice, flips, compared, validation, looked)


def judge_masks(
    bundle: Bundle,
    chosen: MaskChoice,
    prepared: Prepared,
    options: RunOptions,
    work: Path,
    progress: Progress,
) -> JudgedMasks:
    """Read the test part, once, with masks made as chosen; all goes into the model folder."""
    labels, split, cleaning = prepared.dataset.labels, prepared.split, chosen.choice.cleaning
    runtime = RuntimeOptions(n_threads=options.embed.n_threads)
    bundle = _with_masks(bundle, flips=chosen.has_flips, cleaning=cleaning)
    told = within(progress, "evaluating")
    looked = Looked(Segmenter(bundle, runtime), prepared, split.test, options, work / "test", told)
    names = [prepared.dataset.photos[row].name for row in looked.rows]
    counts = [count_photo(photo, cleaning, options.evaluate_masks) for photo in looked.masked()]
    test = evaluate_counts(names, counts, labels, cleaning, looked.groups(), options.evaluate_masks)
    empty = [empty_counts(count) for count in counts]
    before = evaluate_counts(names, empty, labels, None, looked.groups(), options.evaluate_masks)
    test, before = (prepared.with_seen_sources(one, split.test) for one in (test, before))
    metrics = {"test": test.metrics, "validation": chosen.validation.metrics}
    bundle = write_spec(bundle, replace(bundle.spec, metrics=metrics))
    return JudgedMasks(prepared, bundle, chosen, test, before)


def _with_masks(bundle: Bundle, **changes: Any) -> Bundle:
    assert bundle.spec.masks is not None
    return Bundle(bundle.folder, replace(bundle.spec, masks=replace(bundle.spec.masks, **changes)))


def _main_figure(choice: CleaningChoice, criterion: str | None) -> float:
    """What the thresholds were chosen by, of the masks as they will be."""
    figures = choice.figures["chosen"]
    if criterion == "balanced" or (criterion is None and figures["overkill_rate"] is not None):
        dice, overkill = figures["flaw_dice"], figures["overkill_rate"]
        return float("nan") if dice is None or overkill is None else float(balanced(dice, 1 - overkill))
    value = figures["dice" if criterion in (None, "f1") else criterion]
    return float("nan") if value is None else float(value)
