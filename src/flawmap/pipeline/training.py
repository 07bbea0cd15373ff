"""The main job: from a folder of photos to a model, an honest evaluation and a report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flawmap import __version__
from flawmap.errors import require_extra
from flawmap.pipeline import mask_texts, texts
from flawmap.pipeline.cascading import train_cascade
from flawmap.pipeline.held_back import keep_held_back
from flawmap.pipeline.judging import Judged, choose_limits, judge, judge_random_split
from flawmap.pipeline.labelling import export_labels, learn_shallow_or_deep, refit_labels
from flawmap.pipeline.looking import write_ranking_files
from flawmap.pipeline.masking import choose_entry, train_masks
from flawmap.pipeline.photo_findings import choose_photo_findings, keep_limits
from flawmap.pipeline.preparing import (
    Chosen,
    Prepared,
    Timings,
    choose,
    prepare,
    read_material,
    select_candidates,
)
from flawmap.pipeline.results import Finished, write_results
from flawmap.pipeline.runfolder import RunFolder, check_run, start_run
from flawmap.pipeline.settings import RunOptions
from flawmap.pipeline.using import Outcome
from flawmap.records import Progress, TrainedModel, no_progress
from flawmap.stages.split import write_splits
from flawmap.tools.bundle import Bundle
from flawmap.tools.options import to_mapping


@dataclass(frozen=True)
class Trained(Outcome):
    """Outcome of `train`: the run folder, the model in it, and every figure of metrics.json."""

    run: Path | None = None
    bundle: Bundle | None = None
    metrics: dict[str, Any] | None = None


def train(
    dataset: Path | str,
    out: Path | str,
    options: RunOptions | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    command: str = "",
    progress: Progress = no_progress,
) -> Trained:
    """Read `dataset`, choose and train a model, judge the exported file, and write all of it to `out`.

    `command` is printed in the report as the way to repeat the run. Raises FlawmapError for what the user has
    to change; an interrupted run goes on with `resume`.
    """
    require_extra("torch", "train")
    given = options or RunOptions()
    for logger in (given.train.logger, given.train_masks.logger):
        if logger is not None:
            require_extra(logger)
    asked = {"dataset": str(Path(dataset).resolve()), "options": to_mapping(given), "version": __version__}
    options = given.resolved()
    timings = Timings()
    run = check_run(Path(out), asked, overwrite=overwrite, resume=resume)
    candidates = select_candidates(options, progress)
    material = read_material(Path(dataset), options, timings, progress)
    entry = choose_entry(candidates, options) if material.learns_masks else None
    prepared = prepare(material, options, timings, progress)
    start_run(run, asked, resume=resume)
    write_splits(prepared.split, prepared.dataset, run.path / "splits.csv")
    if entry is not None:
        learn = train_cascade if options.cascade else train_masks
        masked = learn(prepared, entry, run, options, timings, command, progress)
        lines = (*masked.lines, *mask_texts.unused_cost_lines(options.evaluate))
        return Trained(lines, prepared.left_out, run.path, masked.bundle, masked.metrics)
    ranked = choose(prepared, candidates, options, timings, progress)
    write_ranking_files(ranked.ranking, run.path)
    chosen, model, judged = _make_classifier(prepared, ranked, run, options, timings, progress)
    with timings.measure("evaluate"):
        random_split = judge_random_split(prepared, chosen, options)
    finished = Finished(prepared, chosen, model, judged, random_split, timings, command)
    metrics = write_results(finished, run, options)
    lines = texts.training_lines(prepared, chosen.ranking, model, judged.test, judged.bundle, run.path)
    return Trained(lines, prepared.left_out, run.path, judged.bundle, metrics)


def _make_classifier(
    prepared: Prepared,
    ranked: Chosen,
    run: RunFolder,
    options: RunOptions,
    timings: Timings,
    progress: Progress,
) -> tuple[Chosen, TrainedModel, Judged]:
    """Learn, decide on validation, learn the validation photos too, and judge what ships on the test part."""
    with timings.measure("train"):
        chosen, model = learn_shallow_or_deep(prepared, ranked, options, run.work, progress)
    if chosen is not ranked:
        write_ranking_files(chosen.ranking, run.path)
    with timings.measure("export"):
        bundle = export_labels(prepared, chosen, model, options, run.model, progress)
    with timings.measure("evaluate"):
        bundle, validation = choose_limits(bundle, prepared, options, progress)
    with timings.measure("choose findings"):
        bundle = choose_photo_findings(bundle, prepared, options, progress)
    with timings.measure("train"):
        final = refit_labels(prepared, chosen, model, options, run.work / "refit", progress)
    if final.network is not model.network:
        limits = bundle.spec
        with timings.measure("export"):
            bundle = export_labels(prepared, chosen, final, options, run.model, progress)
        with timings.measure("choose findings"):
            bundle = keep_limits(bundle, limits, prepared, options, progress)
    with timings.measure("evaluate"):
        judged = judge(bundle, validation, prepared, chosen, final, options, progress)
    with timings.measure("choose findings"):
        kept = keep_held_back(judged.bundle, prepared, options, progress)
    return chosen, final, replace(judged, bundle=kept)
