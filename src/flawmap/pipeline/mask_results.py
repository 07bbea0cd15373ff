"""What a finished run that learns masks leaves behind: report.html, and metrics.json with every figure."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from flawmap.pipeline.mask_judging import JudgedMasks
from flawmap.pipeline.preparing import Timings
from flawmap.pipeline.results import dataset_metrics, finish_run, split_metrics
from flawmap.pipeline.runfolder import RunFolder
from flawmap.pipeline.settings import RunOptions
from flawmap.pipeline.using import load
from flawmap.records import MaskEvaluation, TrainedSegmenter
from flawmap.stages.report import MaskPicture, MaskReportFacts, wanted_pictures, write_mask_report
from flawmap.tools.masks import to_pixels
from flawmap.tools.photos import read_image
from flawmap.tools.runtime import Classifier, RuntimeOptions


def write_mask_results(
    model: TrainedSegmenter,
    judged: JudgedMasks,
    run: RunFolder,
    options: RunOptions,
    timings: Timings,
    command: str,
) -> dict[str, Any]:
    """report.html, then metrics.json, whose presence says that the run is finished. Returns the latter."""
    prepared = judged.prepared
    with timings.measure("report"):
        facts = MaskReportFacts(
            dataset=prepared.dataset,
            audit=prepared.audit,
            split=prepared.split,
            spec=judged.bundle.spec,
            test=judged.test,
            validation=judged.chosen.validation,
            choice_rows=judged.chosen.choice.compared,
            choice_figures=judged.chosen.choice.figures,
            history=model.history,
            refit=model.refit,
            training_note=model.note,
            pictures=_draw(judged, options),
            cascade=judged.cascade,
            file_sizes=_file_sizes(judged),
            timings=timings.seconds,
            command=command,
            made_at=datetime.now(UTC).strftime("%Y-%m-%d"),
        )
        write_mask_report(facts, run.path / "report.html", options.report)
    return finish_run(run, _to_metrics(model, judged, timings, command))


def _draw(judged: JudgedMasks, options: RunOptions) -> dict[str, MaskPicture]:
    """The best, the typical and the worst test photos, with truth and found masks."""
    dataset = judged.prepared.dataset
    row_of = {photo.name: row for row, photo in enumerate(dataset.photos)}
    loaded = load(judged.bundle.folder, RuntimeOptions(n_threads=options.embed.n_threads))
    assert not isinstance(loaded, Classifier)
    pictures = {}
    for name in wanted_pictures(judged.test, options.report):
        row = row_of[name]
        image = read_image(dataset.photos[row].path, options.photos)
        found = loaded.find(image).mask
        assert found is not None
        pictures[name] = MaskPicture(image, to_pixels(dataset.masks[row]), to_pixels(found))
    return pictures


def _file_sizes(judged: JudgedMasks) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in sorted(judged.bundle.folder.iterdir())}


def _to_metrics(
    model: TrainedSegmenter, judged: JudgedMasks, timings: Timings, command: str
) -> dict[str, Any]:
    spec, prepared = judged.bundle.spec, judged.prepared
    return {
        "test": _evaluation(judged.test),
        "validation": _evaluation(judged.chosen.validation),
        "before_training": judged.before.metrics,
        **dataset_metrics(prepared),
        "split": split_metrics(prepared),
        "training": {
            "backbone": model.backbone_id,
            "depth": model.depth,
            "decoder": model.decoder,
            "crop_hw": model.crop_hw,
            "macs_per_px": model.macs_per_px,
            "parameters": model.n_parameters,
            "validation_f1": model.validation_f1,
            "history": [asdict(epoch) for epoch in model.history],
            "note": model.note,
            "refit": model.refit,
        },
        "cleaning": {
            "chosen": judged.chosen.choice.cleaning,
            "compared": judged.chosen.choice.compared,
            "figures": judged.chosen.choice.figures,
            "flips": judged.chosen.flips,
        },
        "cascade": judged.cascade,
        "model": {
            "masks": spec.masks,
            "agreement": spec.agreement,
            "bytes": _file_sizes(judged),
            "versions": spec.versions,
        },
        "timings_s": timings.seconds,
        "command": command,
        "options": spec.options,
    }


def _evaluation(evaluation: MaskEvaluation) -> dict[str, Any]:
    """The object that `flawmap evaluate --json` writes, with every photo's own figures."""
    rows = evaluation.rows
    return {
        **evaluation.metrics,
        "photos": [asdict(row) for row in rows],
        "best": [rows[i].name for i in evaluation.best],
        "typical": [rows[i].name for i in evaluation.typical],
        "worst": [rows[i].name for i in evaluation.worst],
    }
