"""Learn labels and write the classifier's model folder; judged elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flawmap.pipeline.judging import to_probe
from flawmap.pipeline.preparing import Chosen, Prepared
from flawmap.pipeline.settings import RunOptions
from flawmap.records import ModelSpec, Progress, Thresholds, TrainedModel
from flawmap.tools.bundle import Bundle
from flawmap.tools.options import to_mapping

_UNCALIBRATED = Thresholds(1.0, 0.5, 0.0, 1.0, 1.0, 1.0, 0.01, "not chosen yet")


def learn_labels(
    prepared: Prepared, chosen: Chosen, options: RunOptions, work: Path, progress: Progress
) -> TrainedModel:
    """Train the chosen backbone; the best contender."""
    from flawmap.stages.train import train_classifier

    return train_classifier(
        prepared.dataset,
        prepared.split,
        chosen.entry,
        chosen.ranking.chosen.cut,
        to_probe(prepared, chosen, prepared.split.train),
        options.train,
        work,
        progress,
    )


def export_labels(
    prepared: Prepared,
    chosen: Chosen,
    model: TrainedModel,
    options: RunOptions,
    folder: Path,
    progress: Progress,
) -> Bundle:
    """The model folder, agreement checked on validation photos; not judged yet."""
    from flawmap.stages.export import export

    dataset, best = prepared.dataset, chosen.ranking.chosen
    spec = ModelSpec(
        task="multilabel" if dataset.is_multilabel else "classification",
        labels=dataset.labels,
        good_labels=dataset.good_labels,
        backbone_id=best.backbone_id,
        cut=best.cut,
        preprocessing=chosen.entry.preprocessing,
        thresholds=_UNCALIBRATED,
        tile_hw=prepared.tile_hw,
        licence=chosen.entry.licence,
        winner=model.winner,
        training_digests=prepared.training_digests,
        options=to_mapping(options),
    )
    photos = prepared.validation_photos
    return export(model, spec, photos, folder, replace(options.export, overwrite=True), progress)
