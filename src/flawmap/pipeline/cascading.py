"""Flaw or not → which flaws → masks: trained one after the other, joined in one model folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from flawmap.pipeline import texts
from flawmap.pipeline.labelling import export_labels, learn_labels
from flawmap.pipeline.mask_evaluating import evaluate_mask_model
from flawmap.pipeline.mask_judging import JudgedMasks, Looked, judge_masks
from flawmap.pipeline.mask_results import write_mask_results
from flawmap.pipeline.masking import Masked, export_masks, learn_masks
from flawmap.pipeline.preparing import Prepared, Timings, choose
from flawmap.pipeline.runfolder import RunFolder
from flawmap.pipeline.running import run_logits
from flawmap.pipeline.settings import RunOptions
from flawmap.pipeline.tasks import ANY_FLAW
from flawmap.records import CascadeSpec, Dataset, MaskEvaluation, ModelSpec, Progress
from flawmap.stages.evaluate import choose_thresholds
from flawmap.stages.evaluate_masks import MaskedPhoto, evaluate_masks
from flawmap.tools.bundle import MASKS, MODEL, WEIGHTS, Bundle, write_files
from flawmap.tools.cascade import Cascade, Look, clean_chained, to_look
from flawmap.tools.photos import read_image
from flawmap.tools.runtime import Classifier, RuntimeOptions
from flawmap.tools.segmenting import Segmenter
from flawmap.tools.zoo import BackboneEntry

MAX_LOST_SHARE = 0.005
"""Of the validation photos with a flaw may fall below the skip threshold."""
MARGIN_LOGITS = 1.0
"""By which the skip threshold lies below the least score of the validation photos that must pass: others of
their kind will score a little lower."""
_MOST = (4.0, 16.0, 64.0)
_N_TIMED = 24
_COMPARED = ("flaw_dice", "dice", "severstal_score", "escape_rate", "overkill_rate")


def train_cascade(
    prepared: Prepared,
    entry: BackboneEntry,
    run: RunFolder,
    options: RunOptions,
    timings: Timings,
    command: str,
    progress: Progress,
) -> Masked:
    """Everything after the split. Raises FlawmapError for what the user has to change."""
    gated = replace(prepared, dataset=to_gate(prepared.dataset))
    chosen = choose(gated, options, timings, progress)
    with timings.measure("train"):
        gate = learn_labels(gated, chosen, options, run.work / "labels", progress)
        model = learn_masks(prepared, entry, options, run.work / "masks", progress)
    with timings.measure("export"):
        labels = export_labels(gated, chosen, gate, options, run.work / "labels" / "model", progress)
        masks = export_masks(prepared, entry, model, options, run.work / "masks" / "model", progress)
    with timings.measure("evaluate"):
        judged = judge_masks(masks, prepared, options, run.work, progress)
        bundle, facts, chained = _join(labels, judged, gated, prepared, options, run, progress)
    judged = replace(judged, bundle=bundle, test=chained, cascade=facts)
    metrics = write_mask_results(prepared, model, judged, run, options, timings, command)
    lines = texts.mask_training_lines(prepared, model, chained, bundle, run.path)
    return Masked((*lines[:-2], *texts.cascade_lines(facts), *lines[-2:]), bundle, metrics)


def to_gate(dataset: Dataset) -> Dataset:
    """The photos as the first two stages learn them: whether there is any flaw, then each kind."""
    if len(dataset.labels) == 1:
        return replace(dataset, masks=())
    first = ANY_FLAW if ANY_FLAW not in dataset.labels else f"any {ANY_FLAW}"
    return replace(
        dataset,
        labels=(first, *dataset.labels),
        targets=np.concatenate([dataset.is_flawed[:, None].astype(np.uint8), dataset.targets], axis=1).astype(
            np.uint8
        ),
        masks=(),
    )


def choose_skip(flaw_scores: np.ndarray, flawed: np.ndarray) -> tuple[float, float]:
    """(skip threshold, share of the flawed photos below it) of validation photos.

    The highest threshold at which at most MAX_LOST_SHARE of the photos with a flaw are lost, lowered by
    MARGIN_LOGITS.
    """
    passing = np.sort(flaw_scores[flawed])
    least = float(np.clip(passing[int(MAX_LOST_SHARE * len(passing))], 1e-6, 1 - 1e-6))
    lowered = np.log(least / (1 - least)) - MARGIN_LOGITS
    threshold = float(1 / (1 + np.exp(-lowered)))
    return threshold, float((passing < threshold).mean())


def _join(
    labels: Bundle,
    judged: JudgedMasks,
    gated: Prepared,
    prepared: Prepared,
    options: RunOptions,
    run: RunFolder,
    progress: Progress,
) -> tuple[Bundle, dict[str, Any], MaskEvaluation]:
    """The joined model folder, what the report says of the chain, and the chain on the test part."""
    dataset, split = prepared.dataset, prepared.split
    runtime = RuntimeOptions(n_threads=options.embed.n_threads)
    photos = [dataset.photos[row] for row in split.validation]
    logits = run_logits(Classifier(labels, runtime), photos, options.photos, progress)
    thresholds = choose_thresholds(
        logits[:, :1],
        gated.dataset.targets[split.validation][:, :1],
        gated.dataset.labels[:1],
        (),
        True,
        options.evaluate,
        groups=[split.groups[row] for row in split.validation],
    )
    looks = [to_look(row, thresholds.temperature, len(dataset.labels)) for row in logits]
    flawed = dataset.is_flawed[split.validation]
    skip, lost = choose_skip(np.array([look.flaw_score for look in looks]), flawed)
    with_labels = _label_thresholds(looks, dataset.targets[split.validation])
    segmenter = Segmenter(judged.bundle, runtime)
    looked = Looked(segmenter, prepared, split.validation, options, run.work / "levels", progress)
    cascade, compared = _choose_rule(looked, looks, skip, with_labels, judged, options, split.groups)
    spec = _to_spec(labels.spec, judged.bundle.spec, cascade, replace(thresholds, threshold=skip))
    files = {
        MODEL: labels.model_path.read_bytes(),
        WEIGHTS: (labels.folder / WEIGHTS).read_bytes(),
        MASKS: judged.bundle.masks_path.read_bytes(),
    }
    bundle = write_files(run.model, spec, files, overwrite=True)
    chained = _judge_chain(Cascade(bundle, runtime), prepared, options, progress)
    spec = replace(
        spec,
        metrics={**judged.bundle.spec.metrics, "test": chained.metrics},
        file_digests=bundle.spec.file_digests,
    )
    bundle = write_files(run.model, spec, files, overwrite=True)
    facts = {
        "skip_threshold": skip,
        "lost_share": lost,
        "rule": cascade.rule,
        "compared": compared,
        "table": [
            {"name": name, "figures": {key: one.metrics.get(key) for key in _COMPARED}}
            for name, one in (("mask network alone", judged.test), ("chain", chained))
        ],
        **_measure_times(Cascade(bundle, RuntimeOptions(n_threads=1)), prepared, options),
    }
    return bundle, facts, chained


def _label_thresholds(looks: Sequence[Look], targets: np.ndarray) -> tuple[float, ...]:
    """Per label the score with the best F1 on validation, at most 0.5; 0.5 where no photo shows it."""
    table = np.stack([look.label_scores for look in looks])
    found = []
    for scores, truth in zip(table.T, targets.astype(bool).T, strict=True):
        candidates = np.unique(np.minimum(scores, 0.5))
        f1 = [
            2 * (truth & (scores >= t)).sum() / max(1, truth.sum() + (scores >= t).sum()) for t in candidates
        ]
        found.append(float(candidates[int(np.argmax(f1))]) if truth.any() else 0.5)
    return tuple(max(one, 1e-6) for one in found)


def _choose_rule(
    looked: Looked,
    looks: Sequence[Look],
    skip: float,
    label_thresholds: tuple[float, ...],
    judged: JudgedMasks,
    options: RunOptions,
    groups: Sequence[str],
) -> tuple[CascadeSpec, list[dict[str, Any]]]:
    """Raising areas by doubt against plain vetoing, on validation photos; the first of equals is taken."""
    cleaning = judged.choice.cleaning
    rules = [("none", 16.0), *(("area", most) for most in _MOST), ("veto", 16.0)]
    tried, rows = [], []
    for rule, most in rules:
        cascade = CascadeSpec(skip, rule, label_thresholds, most)  # type: ignore[arg-type]
        pairs = zip(looked.rows, looks, strict=True)
        photos = (
            MaskedPhoto(
                looked.dataset.photos[row].name,
                looked.truth(row),
                predicted=_chain(looked.levels(row), look, cleaning, cascade),
            )
            for row, look in pairs
        )
        found = evaluate_masks(
            photos, looked.dataset.labels, None, looked.groups(groups), options.evaluate_masks
        )
        value = found.metrics["severstal_score"]
        tried.append((value, cascade))
        rows.append(
            {"rule": rule, "most": most, "severstal_score": value, "flaw_dice": found.metrics["flaw_dice"]}
        )
    best = max(range(len(tried)), key=lambda i: (tried[i][0], -i))
    for i, row in enumerate(rows):
        row["is_chosen"] = i == best
    return tried[best][1], rows


def _chain(levels: np.ndarray, look: Look, cleaning: Any, cascade: CascadeSpec) -> np.ndarray:
    if look.flaw_score < cascade.skip_threshold:
        return np.zeros(levels.shape, bool)
    return clean_chained(levels, look, cleaning, cascade)


def _to_spec(labels: ModelSpec, masks: ModelSpec, cascade: CascadeSpec, thresholds: Any) -> ModelSpec:
    """The classifier's half and the masks' half as one."""
    return replace(
        labels,
        task="cascade",
        labels=masks.labels,
        good_labels=(),
        thresholds=thresholds,
        masks=masks.masks,
        cascade=cascade,
        metrics=masks.metrics,
        agreement={"labels": labels.agreement, **masks.agreement},
    )


def _judge_chain(
    cascade: Cascade, prepared: Prepared, options: RunOptions, progress: Progress
) -> MaskEvaluation:
    """The joined file on the test part."""
    split = prepared.split
    return evaluate_mask_model(
        cascade, prepared.dataset, [int(row) for row in split.test], split.groups, options, progress
    )


def _measure_times(cascade: Cascade, prepared: Prepared, options: RunOptions) -> dict[str, Any]:
    """Milliseconds per photo on one thread, reading not counted: the chain, and the mask network alone."""
    dataset, test = prepared.dataset, prepared.split.test
    flawed = dataset.is_flawed[test]
    found = {}
    for name, rows in (("ms_good", test[~flawed]), ("ms_flawed", test[flawed])):
        images = [read_image(dataset.photos[row].path, options.photos) for row in rows[:_N_TIMED]]
        ways = (("chain", cascade.find), ("alone", cascade.segmenter.find))
        found[name] = {way: _time(run, images) for way, run in ways}
    return found


def _time(run: Callable[[np.ndarray], Any], images: Sequence[np.ndarray]) -> float | None:
    if not images:
        return None
    run(images[0])
    start = time.perf_counter()
    for image in images:
        run(image)
    return 1000 * (time.perf_counter() - start) / len(images)
