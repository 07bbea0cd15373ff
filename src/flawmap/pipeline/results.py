"""What a finished run leaves behind: report.html, and metrics.json with every figure in it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from flawmap.pipeline.judging import Judged
from flawmap.pipeline.preparing import Chosen, Prepared, Timings
from flawmap.pipeline.runfolder import FINISHED, RunFolder
from flawmap.pipeline.settings import RunOptions
from flawmap.records import Evaluation, TrainedModel
from flawmap.stages.audit import audit_to_dict
from flawmap.stages.explain import draw_heat, explain_photo
from flawmap.stages.report import RandomSplit, ReportFacts, wanted_heats, write_report
from flawmap.tools.photos import read_image
from flawmap.tools.plain import to_plain
from flawmap.tools.runtime import Classifier


@dataclass(frozen=True)
class Finished:
    """All that one training run found."""

    prepared: Prepared
    chosen: Chosen
    model: TrainedModel
    judged: Judged
    random_split: RandomSplit | None
    timings: Timings
    command: str


def write_results(finished: Finished, run: RunFolder, options: RunOptions) -> dict[str, Any]:
    """report.html, then metrics.json, whose presence says that the run is finished. Returns the latter."""
    with finished.timings.measure("report"):
        write_report(_to_facts(finished, options), run.path / "report.html", options.report)
    return finish_run(run, _to_metrics(finished))


def finish_run(run: RunFolder, values: dict[str, Any]) -> dict[str, Any]:
    """Write metrics.json, the last of a run's files, and drop what only an unfinished run needs."""
    metrics = to_plain(values)
    run.write_json(FINISHED, metrics)
    run.finish()
    return metrics


def _to_facts(finished: Finished, options: RunOptions) -> ReportFacts:
    prepared, judged, model = finished.prepared, finished.judged, finished.model
    return ReportFacts(
        dataset=prepared.dataset,
        audit=prepared.audit,
        split=prepared.split,
        ranking=finished.chosen.ranking,
        spec=judged.bundle.spec,
        test=judged.test,
        validation=judged.validation,
        before_training=judged.before_training,
        history=model.history,
        refit=model.refit,
        contenders=model.contenders,
        class_weights=model.class_weights,
        random_split=finished.random_split,
        heats=_draw_heats(finished, options),
        file_sizes={file.name: file.stat().st_size for file in sorted(judged.bundle.folder.iterdir())},
        timings=finished.timings.seconds,
        command=finished.command,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d"),
    )


def _draw_heats(finished: Finished, options: RunOptions) -> dict[tuple[str, str], np.ndarray]:
    """(photo name, label) → the photo under the evidence for that label."""
    dataset, audit, judged = finished.prepared.dataset, finished.prepared.audit, finished.judged
    by_name = {photo.name: photo for photo in dataset.photos}
    classifier = Classifier(judged.bundle)
    heats = {}
    for name, label in wanted_heats(dataset, audit, judged.test, classifier.spec, options.report):
        image = read_image(by_name[name].path, options.photos)
        heats[name, label] = draw_heat(image, explain_photo(classifier, image, label).heat)
    return heats


def _to_metrics(finished: Finished) -> dict[str, Any]:
    prepared, chosen, model, judged = finished.prepared, finished.chosen, finished.model, finished.judged
    spec = judged.bundle.spec
    return {
        "test": _evaluation(judged.test),
        "validation": _evaluation(judged.validation),
        "before_training": _evaluation(judged.before_training),
        "random_split": None if finished.random_split is None else asdict(finished.random_split),
        **dataset_metrics(prepared),
        "split": split_metrics(prepared),
        "ranking": asdict(chosen.ranking),
        "training": {
            "winner": model.winner,
            "contenders": model.contenders,
            "history": [asdict(epoch) for epoch in model.history],
            "class_weights": model.class_weights,
            "note": model.note,
            "refit": model.refit,
        },
        "model": {
            "backbone": spec.backbone_id,
            "cut": spec.cut.key,
            "thresholds": asdict(spec.thresholds),
            "agreement": spec.agreement,
            "bytes": {file.name: file.stat().st_size for file in sorted(judged.bundle.folder.iterdir())},
            "versions": spec.versions,
        },
        "timings_s": finished.timings.seconds,
        "command": finished.command,
        "options": spec.options,
    }


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """The object that `flawmap evaluate --json` writes, with the curves and the confusion matrix."""
    return {
        **evaluation.metrics,
        "confusion": evaluation.confusion,
        "curves": evaluation.curves,
        "worst": [evaluation.names[row] for row in evaluation.worst],
    }


def dataset_metrics(prepared: Prepared) -> dict[str, Any]:
    """What is in the folder, and what the audit found."""
    dataset = prepared.dataset
    return {
        "dataset": {
            "n_photos": len(dataset),
            "labels": list(dataset.labels),
            "good_labels": list(dataset.good_labels),
            "layout": dataset.layout,
            "ignored": [asdict(item) for item in dataset.ignored],
        },
        "audit": {**audit_to_dict(prepared.audit, dataset), "summary": prepared.audit.summary},
    }


def split_metrics(prepared: Prepared) -> dict[str, Any]:
    """Photos, sources and labels of each part."""
    split = prepared.split
    return {
        **{part: _part(prepared, getattr(split, part)) for part in ("train", "validation", "test")},
        "n_left_out": len(split.left_out),
        "seed": split.seed,
        "why": split.why,
    }


def _part(prepared: Prepared, rows: np.ndarray) -> dict[str, Any]:
    dataset, split = prepared.dataset, prepared.split
    counts = dataset.targets[rows].sum(axis=0)
    return {
        "n": len(rows),
        "n_groups": len({split.groups[row] for row in rows}),
        "class_counts": dict(zip(dataset.labels, counts.tolist(), strict=True)),
    }
