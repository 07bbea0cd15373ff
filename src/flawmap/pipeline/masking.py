"""The main job for photos with masks: train a segmenter, choose how its masks are made, judge the file."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import BackboneError, option
from flawmap.pipeline import texts
from flawmap.pipeline.preparing import Prepared, Timings, select_entries
from flawmap.pipeline.runfolder import RunFolder
from flawmap.pipeline.settings import RunOptions
from flawmap.pipeline.using import run_photos
from flawmap.records import (
    Cleaning,
    Cut,
    MaskEvaluation,
    MaskSpec,
    ModelSpec,
    Progress,
    Thresholds,
    TrainedSegmenter,
)
from flawmap.stages.evaluate_masks import CleaningChoice, MaskedPhoto, choose_cleaning, evaluate_masks
from flawmap.tools.bundle import Bundle, write_spec
from flawmap.tools.mask_scores import to_levels
from flawmap.tools.masks import to_pixels
from flawmap.tools.options import to_mapping
from flawmap.tools.runtime import RuntimeOptions
from flawmap.tools.segmenting import Segmenter
from flawmap.tools.zoo import BackboneEntry

FLIPS_GAIN = 0.01
"""Looking at a photo mirrored too takes four times as long: it has to gain this much on validation."""
_NO_BAND = Thresholds(1.0, 0.5, 0.5, 0.5, 1.0, 1.0, 0.01, "masks are made by the thresholds of `masks`")


@dataclass(frozen=True)
class Masked:
    """What a run that learns masks ends with."""

    lines: tuple[str, ...]
    bundle: Bundle
    metrics: dict[str, Any]


@dataclass(frozen=True)
class JudgedMasks:
    """The shipped file on both parts, and how its masks are made."""

    bundle: Bundle
    choice: CleaningChoice
    flips: dict[str, float]
    """Validation figure with and without mirrored looks."""
    validation: MaskEvaluation
    test: MaskEvaluation
    cascade: dict[str, Any] | None = None
    """What each stage of a cascade adds."""


def train_masks(
    prepared: Prepared,
    run: RunFolder,
    options: RunOptions,
    timings: Timings,
    command: str,
    progress: Progress,
) -> Masked:
    """Everything after the split. Raises FlawmapError for what the user has to change."""
    from flawmap.pipeline.mask_results import write_mask_results

    entry = choose_entry(options, progress)
    with timings.measure("train"):
        model = learn_masks(prepared, entry, options, run.work, progress)
    with timings.measure("export"):
        bundle = export_masks(prepared, entry, model, options, run.model, progress)
    with timings.measure("evaluate"):
        judged = judge_masks(bundle, prepared, options, run.work, progress)
    metrics = write_mask_results(prepared, model, judged, run, options, timings, command)
    lines = texts.mask_training_lines(prepared, model, judged.test, judged.bundle, run.path)
    return Masked(lines, judged.bundle, metrics)


def choose_entry(options: RunOptions, progress: Progress) -> BackboneEntry:
    """The backbone under the decoder: the one of the options, or the only one that --backbones names."""
    if options.backbones == "bundled" and not options.weights:
        wanted = options.train_masks.backbone
        entries, skipped = select_entries(options, progress)
        found = [entry for entry in entries if entry.id == wanted]
        if not found:
            reasons = [one.reason for one in skipped if one.path == wanted]
            known = ", ".join(entry.id for entry in entries)
            raise BackboneError(
                f"the backbone '{wanted}' for masks cannot be had ({', '.join(reasons) or 'not bundled'}); "
                f"here are: {known or 'none'}"
            )
        return found[0]
    entries, skipped = select_entries(options, progress)
    usable = [entry for entry in entries if entry.is_convolutional]
    if len(usable) != 1:
        names = ", ".join(entry.id for entry in usable[:6]) or "none"
        raise BackboneError(
            f"masks are learnt on one convolutional backbone; {option('--backbones')} names {len(usable)} "
            f"({names}): name one"
        )
    return usable[0]


def learn_masks(
    prepared: Prepared, entry: BackboneEntry, options: RunOptions, work: Path, progress: Progress
) -> TrainedSegmenter:
    from flawmap.stages.train.segmenter import train_segmenter
    from flawmap.tools.backbones import default_depth

    asked = options.train_masks
    if options.rank.max_depth is not None:
        depth = default_depth(entry) if asked.depth is None else asked.depth
        asked = replace(asked, depth=min(depth, options.rank.max_depth))
    return train_segmenter(prepared.dataset, prepared.split, entry, asked, work, progress)


def export_masks(
    prepared: Prepared,
    entry: BackboneEntry,
    model: TrainedSegmenter,
    options: RunOptions,
    folder: Path,
    progress: Progress,
) -> Bundle:
    """The model folder, agreement checked on validation photos; not judged yet."""
    from flawmap.stages.export import export_segmenter

    dataset, split = prepared.dataset, prepared.split
    sizes = Counter(dataset.photos[row].size_hw for row in split.train)
    n_labels = len(dataset.labels)
    spec = ModelSpec(
        task="segmentation",
        labels=dataset.labels,
        good_labels=(),
        backbone_id=entry.id,
        cut=Cut(model.depth, "average"),
        preprocessing=entry.preprocessing,
        thresholds=_NO_BAND,
        tile_hw=max(sizes, key=lambda size: (sizes[size], size)),
        licence=entry.licence,
        winner="fine-tuned",
        training_digests=tuple(sorted({dataset.photos[row].digest for row in split.development})),
        options=to_mapping(options),
        masks=MaskSpec(
            backbone_id=entry.id,
            depth=model.depth,
            decoder=model.decoder,
            cleaning=Cleaning((0.5,) * n_labels, is_exclusive=_is_exclusive(prepared)),
            macs_per_px=model.macs_per_px,
        ),
    )
    photos = [dataset.photos[row] for row in np.asarray(split.validation)]
    return export_segmenter(model, spec, photos, folder, replace(options.export, overwrite=True), progress)


def _is_exclusive(prepared: Prepared) -> bool:
    return len(prepared.dataset.labels) > 1 and not prepared.dataset.masks_overlap


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
        self.folder, self.rows, self.dataset = folder, [int(row) for row in rows], prepared.dataset
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

    def groups(self, groups: Sequence[str]) -> list[str]:
        """The source of every photo."""
        return [groups[row] for row in self.rows]


def judge_masks(
    bundle: Bundle, prepared: Prepared, options: RunOptions, work: Path, progress: Progress
) -> JudgedMasks:
    """Choose the cleaning on validation, then read the test part once; both go into the model folder."""
    labels, split = prepared.dataset.labels, prepared.split
    runtime = RuntimeOptions(n_threads=options.embed.n_threads)
    cleaning_options = replace(options.cleaning, is_exclusive=_is_exclusive(prepared))
    folder = work / "levels"
    choices: dict[bool, CleaningChoice] = {}
    for flips in (False, True):
        segmenter = Segmenter(_with_masks(bundle, flips=flips), runtime)
        looked = Looked(segmenter, prepared, split.validation, options, folder / str(flips), progress)
        choices[flips] = choose_cleaning(looked.pairs, labels, looked.groups(split.groups), cleaning_options)
    figures = {flips: _main_figure(choice, cleaning_options.criterion) for flips, choice in choices.items()}
    flips = figures[True] - figures[False] >= FLIPS_GAIN
    choice = choices[flips]
    bundle = _with_masks(bundle, flips=flips, cleaning=choice.cleaning)
    segmenter = Segmenter(bundle, runtime)
    evaluations = []
    for part in (split.validation, split.test):
        looked = Looked(segmenter, prepared, part, options, folder / "judged", progress)
        groups = looked.groups(split.groups)
        evaluations.append(
            evaluate_masks(looked.masked(), labels, choice.cleaning, groups, options.evaluate_masks)
        )
    shutil.rmtree(folder, ignore_errors=True)
    validation, test = evaluations
    spec = replace(bundle.spec, metrics={"test": test.metrics, "validation": validation.metrics})
    compared = {"once": figures[False], "mirrored": figures[True]}
    return JudgedMasks(write_spec(bundle, spec), choice, compared, validation, test)


def _with_masks(bundle: Bundle, **changes: Any) -> Bundle:
    assert bundle.spec.masks is not None
    return Bundle(bundle.folder, replace(bundle.spec, masks=replace(bundle.spec.masks, **changes)))


def _main_figure(choice: CleaningChoice, criterion: str) -> float:
    value = choice.figures["chosen"].get("dice" if criterion == "f1" else criterion)
    return float("nan") if value is None else float(value)
