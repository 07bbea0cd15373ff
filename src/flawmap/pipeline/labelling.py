"""Learn labels and write the classifier's model folder; judged elsewhere."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

from flawmap.pipeline.judging import to_probe
from flawmap.pipeline.preparing import Chosen, Prepared
from flawmap.pipeline.settings import RunOptions
from flawmap.records import ModelSpec, Progress, Thresholds, TrainedModel, within
from flawmap.stages.rank import TOLERATED_LOSS
from flawmap.tools.bundle import Bundle
from flawmap.tools.options import to_mapping

_UNCALIBRATED = Thresholds(1.0, 0.5, 0.0, 1.0, 1.0, 1.0, 0.01, "not chosen yet")


def learn_labels(
    prepared: Prepared, chosen: Chosen, options: RunOptions, work: Path, progress: Progress
) -> TrainedModel:
    """Train the chosen backbone; the best contender."""
    from flawmap.stages.train import train_classifier

    cut = chosen.ranking.chosen.cut
    return train_classifier(
        prepared.dataset,
        prepared.split,
        chosen.entry,
        cut,
        to_probe(prepared, chosen, prepared.split.train),
        options.train,
        work,
        progress,
        chosen.embeddings.features(cut),
    )


def learn_shallow_or_deep(
    prepared: Prepared, chosen: Chosen, options: RunOptions, work: Path, progress: Progress
) -> tuple[Chosen, TrainedModel]:
    """Train the choice and, where that is a shallow cut, a deeper one too; what ships of the two.

    What cuts are worth as they come says little of how much they learn. The deeper one costs more, so it has
    to gain TOLERATED_LOSS on validation where the choice weighs cost.
    """
    model = learn_labels(prepared, chosen, options, work, progress)
    deeper = chosen.deeper
    if deeper is None or options.train.epochs == 0:
        return chosen, model
    told = within(progress, "a deeper cut")
    other = learn_labels(prepared, deeper, options, work / "deeper", told)
    f1, deep_f1 = (one.contenders[one.winner]["f1"] for one in (model, other))
    least = TOLERATED_LOSS if options.rank.prefer == "balanced" else 0.0
    is_better = deep_f1 > f1 and deep_f1 - f1 >= least
    shallow, deep = (
        f"{one.ranking.chosen.backbone_id}, {one.ranking.chosen.cut.words}," for one in (chosen, deeper)
    )
    if not is_better:
        gained = f"gained under {100 * least:g} points" if deep_f1 > f1 else "did no better"
        then = f"{deep} was trained too and {gained}: validation F1 {deep_f1:.3f} against {f1:.3f}"
        why = f"{chosen.ranking.why}; {then}"
        return replace(chosen, ranking=replace(chosen.ranking, why=why)), model
    why = (
        f"trained, it reached a validation F1 of {deep_f1:.3f} against {f1:.3f} of {shallow} which came "
        f"first before training: {chosen.ranking.why}"
    )
    return replace(deeper, ranking=replace(deeper.ranking, why=why)), other


def refit_labels(
    prepared: Prepared,
    chosen: Chosen,
    model: TrainedModel,
    options: RunOptions,
    work: Path,
    progress: Progress,
) -> TrainedModel:
    """The model, gone on with the validation photos too once they have decided all; itself where that is no
    gain."""
    from flawmap.stages.train import refit_classifier

    if model.winner == "probe" and options.train.refit_share:
        network = copy.deepcopy(model.network)
        network.set_head(to_probe(prepared, chosen, prepared.split.development))
        return replace(model, network=network, refit="by fitting the probe to both parts")
    cut, told = chosen.ranking.chosen.cut, within(progress, "validation photos too")
    return refit_classifier(
        model, prepared.dataset, prepared.split, chosen.entry, cut, options.train, work, told
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
