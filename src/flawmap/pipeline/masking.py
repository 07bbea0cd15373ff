"""The main job for photos with masks: train a segmenter, choose how its masks are made, judge the file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flawmap.errors import BackboneError, option
from flawmap.pipeline import mask_texts
from flawmap.pipeline.held_back import keep_held_back
from flawmap.pipeline.mask_judging import JudgedMasks, choose_masks, judge_masks
from flawmap.pipeline.mask_results import write_mask_results
from flawmap.pipeline.preparing import Candidates, Prepared, Timings
from flawmap.pipeline.runfolder import RunFolder
from flawmap.pipeline.settings import RunOptions
from flawmap.records import (
    Cleaning,
    Cut,
    MaskSpec,
    ModelSpec,
    Progress,
    Thresholds,
    TrainedSegmenter,
)
from flawmap.tools.bundle import Bundle
from flawmap.tools.options import to_mapping
from flawmap.tools.zoo import BackboneEntry

_NO_BAND = Thresholds(1.0, 0.5, 0.5, 0.5, 1.0, 1.0, 0.01, "masks are made by the thresholds of `masks`")


@dataclass(frozen=True)
class Masked:
    """What a run that learns masks ends with."""

    lines: tuple[str, ...]
    bundle: Bundle
    metrics: dict[str, Any]


def train_masks(
    prepared: Prepared,
    entry: BackboneEntry,
    run: RunFolder,
    options: RunOptions,
    timings: Timings,
    command: str,
    progress: Progress,
) -> Masked:
    """Everything after the split. Raises FlawmapError for what the user has to change."""
    model, judged = make_masks(prepared, entry, run.work, run.model, options, timings, progress)
    with timings.measure("evaluate"):
        kept = keep_held_back(judged.bundle, prepared, options, progress)
        judged = replace(judged, bundle=kept)
    metrics = write_mask_results(model, judged, run, options, timings, command)
    lines = mask_texts.mask_training_lines(prepared, model, judged.test, judged.bundle, run.path)
    return Masked(lines, judged.bundle, metrics)


def make_masks(
    prepared: Prepared,
    entry: BackboneEntry,
    work: Path,
    folder: Path,
    options: RunOptions,
    timings: Timings,
    progress: Progress,
) -> tuple[TrainedSegmenter, JudgedMasks]:
    """Learn, decide on validation, learn the validation photos too, and judge what ships on the test part."""
    from flawmap.stages.train.segmenter import refit_segmenter

    with timings.measure("train"):
        model = learn_masks(prepared, entry, options, work, progress)
    with timings.measure("export"):
        bundle = export_masks(prepared, entry, model, options, folder, progress)
    with timings.measure("evaluate"):
        chosen = choose_masks(bundle, prepared, options, work / "levels", progress)
    with timings.measure("train"):
        final = refit_segmenter(
            model, prepared.dataset, prepared.split, options.train_masks, work / "refit", progress
        )
    if final.network is not model.network:
        with timings.measure("export"):
            bundle = export_masks(prepared, entry, final, options, folder, progress)
    with timings.measure("evaluate"):
        judged = judge_masks(bundle, chosen, prepared, options, work / "levels", progress)
    return final, judged


def choose_entry(candidates: Candidates, options: RunOptions) -> BackboneEntry:
    """The backbone under the decoder: the one of the options, or the only one that --backbones names."""
    entries, skipped = candidates
    if options.backbones == "bundled" and not options.weights:
        wanted = options.train_masks.backbone
        found = [entry for entry in entries if entry.id == wanted]
        if not found:
            reasons = [one.reason for one in skipped if one.path == wanted]
            known = ", ".join(entry.id for entry in entries)
            raise BackboneError(
                f"the backbone '{wanted}' for masks cannot be had ({', '.join(reasons) or 'not bundled'}); "
                f"here are: {known or 'none'}"
            )
        return found[0]
    usable = [entry for entry in entries if entry.is_convolutional]
    exact = [entry for entry in usable if entry.id == options.backbones]
    usable = exact or usable  # the name of one may begin those of others
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
    """Train the decoder on the backbone, which --max-depth may cut earlier."""
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

    dataset = prepared.dataset
    n_labels = len(dataset.labels)
    spec = ModelSpec(
        task="segmentation",
        labels=dataset.labels,
        good_labels=(),
        backbone_id=entry.id,
        cut=Cut(model.depth, "average"),
        preprocessing=entry.preprocessing,
        thresholds=_NO_BAND,
        tile_hw=prepared.tile_hw,
        licence=entry.licence,
        winner="fine-tuned",
        training_digests=prepared.training_digests,
        options=to_mapping(options),
        masks=MaskSpec(
            backbone_id=entry.id,
            depth=model.depth,
            decoder=model.decoder,
            cleaning=Cleaning((0.5,) * n_labels, is_exclusive=dataset.has_exclusive_masks),
            macs_per_px=model.macs_per_px,
        ),
    )
    photos = prepared.validation_photos
    return export_segmenter(model, spec, photos, folder, replace(options.export, overwrite=True), progress)
