"""Flaw or not → which flaws → masks: trained one after the other, joined in one model folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flawmap.pipeline import mask_texts
from flawmap.pipeline.held_back import keep_held_back
from flawmap.pipeline.labelling import export_labels, learn_labels, refit_labels
from flawmap.pipeline.mask_evaluating import evaluate_mask_model
from flawmap.pipeline.mask_judging import JudgedMasks
from flawmap.pipeline.mask_results import write_mask_results
from flawmap.pipeline.masking import Masked, make_masks
from flawmap.pipeline.preparing import Prepared, Timings, choose, select_candidates
from flawmap.pipeline.runfolder import RunFolder
from flawmap.pipeline.running import run_logits
from flawmap.pipeline.settings import RunOptions
from flawmap.pipeline.tasks import ANY_FLAW
from flawmap.records import (
    CascadeSpec,
    Cleaning,
    Dataset,
    MaskEvaluation,
    Progress,
    Thresholds,
    within,
)
from flawmap.stages.evaluate import choose_thresholds
from flawmap.stages.evaluate_masks import MaskedPhoto, evaluate_masks
from flawmap.tools.bundle import MASKS, MODEL, WEIGHTS, Bundle, write_files, write_spec
from flawmap.tools.cascade import Cascade, Look, clean_chained, to_look
from flawmap.tools.mask_cleaning import clean_masks
from flawmap.tools.mask_scores import balanced
from flawmap.tools.photos import read_image
from flawmap.tools.runtime import Classifier, RuntimeOptions
from flawmap.tools.scores import sigmoid
from flawmap.tools.zoo import BackboneEntry

MAX_LOST_SHARE = 0.005
"""Of the validation photos with a flaw may be lost below the skip threshold."""
MARGIN_LOGITS = 1.0
"""By which the skip threshold lies below the least score of the validation photos that must pass: others of
their kind will score a little lower."""
MAX_LOST_DICE = 0.005
"""Flaw Dice that a rule may cost on validation photos, however many good photos it leaves alone."""
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
    chosen = choose(gated, select_candidates(options, progress), _for_gate(options), timings, progress)
    with timings.measure("train"):
        gate = learn_labels(gated, chosen, options, run.work / "labels", progress)
    with timings.measure("export"):
        labels = export_labels(gated, chosen, gate, options, run.work / "labels" / "model", progress)
    work = run.work / "masks"
    model, judged = make_masks(prepared, entry, work, work / "model", options, timings, progress)
    with timings.measure("evaluate"):
        chosen_chain = _choose(labels, judged, gated, options, progress)
    with timings.measure("train"):
        final = refit_labels(gated, chosen, gate, options, run.work / "labels" / "refit", progress)
    if final.network is not gate.network:
        with timings.measure("export"):
            labels = export_labels(gated, chosen, final, options, labels.folder, progress)
    with timings.measure("evaluate"):
        judged = _join(labels, judged, chosen_chain, run, options, progress)
        kept = keep_held_back(judged.bundle, prepared, options, progress)
        judged = replace(judged, bundle=kept)
    metrics = write_mask_results(model, judged, run, options, timings, command)
    lines = mask_texts.mask_training_lines(prepared, model, judged.test, judged.bundle, run.path)
    chain_lines = mask_texts.cascade_lines(judged.cascade or {})
    return Masked((*lines[:-2], *chain_lines, *lines[-2:]), judged.bundle, metrics)


def _for_gate(options: RunOptions) -> RunOptions:
    """The first stage runs on every photo to spare the last one: where nothing else is asked for, the
    cheapest classifier within one standard error of the best."""
    if options.rank.prefer != "balanced":
        return options
    return replace(options, rank=replace(options.rank, prefer="speed"))


def to_gate(dataset: Dataset) -> Dataset:
    """The photos as the first two stages learn them: whether there is any flaw, then each kind."""
    if len(dataset.labels) == 1:
        return replace(dataset, masks=())
    first = ANY_FLAW if ANY_FLAW not in dataset.labels else f"any {ANY_FLAW}"
    return replace(
        dataset,
        labels=(first, *dataset.labels),
        targets=np.column_stack([dataset.is_flawed, dataset.targets]).astype(np.uint8),
        masks=(),
    )


@dataclass(frozen=True)
class Skip:
    """Below which flaw score no masks are computed, and what that costs on validation photos."""

    threshold: float
    lost_share: float
    """Of the photos with a flaw: those below, of whose flaw the masks would mark some."""
    skipped_share: float
    """Of the photos with a flaw: all those below."""


def choose_skip(flaw_scores: np.ndarray, is_flawed: np.ndarray, is_marked: np.ndarray) -> Skip:
    """When photos are skipped, from validation photos; each argument (n,).

    A photo is lost where the masks would mark some of its flaw (`is_marked`): skipping another costs nothing.
    The threshold is the highest at which at most MAX_LOST_SHARE of the photos with a flaw are lost, lowered
    by MARGIN_LOGITS. Where nothing is marked, every flawed photo counts.
    """
    n_flawed = np.count_nonzero(is_flawed)
    passing = np.sort(flaw_scores[is_marked if is_marked.any() else is_flawed])
    allowed = min(int(MAX_LOST_SHARE * n_flawed), len(passing) - 1)
    least = float(np.clip(passing[allowed], 1e-6, 1 - 1e-6))
    threshold = float(sigmoid(np.log(least / (1 - least)) - MARGIN_LOGITS))
    n_lost = np.count_nonzero(passing < threshold)
    n_skipped = np.count_nonzero(flaw_scores[is_flawed] < threshold)
    return Skip(threshold, n_lost / n_flawed, n_skipped / n_flawed)


@dataclass(frozen=True)
class _Chosen:
    """How the stages hand on, chosen on validation photos, and what was compared."""

    cascade: CascadeSpec
    band: Thresholds
    skip: Skip
    compared: list[dict[str, Any]]
    validation: MaskEvaluation
    """Of the chain."""


def _choose(
    labels: Bundle, judged: JudgedMasks, gated: Prepared, options: RunOptions, progress: Progress
) -> _Chosen:
    """The skip threshold, the labels' thresholds and the rule, each from validation photos."""
    dataset, split = gated.dataset, gated.split
    runtime = RuntimeOptions(n_threads=options.embed.n_threads)
    told = within(progress, "choosing what to skip")
    logits = run_logits(Classifier(labels, runtime), gated.validation_photos, options.photos, told)
    truth = dataset.targets[split.validation]
    groups = judged.chosen.on_validation.groups()
    band = choose_thresholds(
        logits[:, :1], truth[:, :1], dataset.labels[:1], (), True, options.evaluate, groups=groups
    )
    n_labels = len(judged.bundle.spec.labels)
    looks = [to_look(row, band.temperature, n_labels) for row in logits]
    skip = choose_skip(np.array([look.flaw_score for look in looks]), truth[:, 0] > 0, _marked(judged))
    thresholds = _label_thresholds(looks, truth[:, -n_labels:])
    start = CascadeSpec(skip.threshold, "none", thresholds)
    cascade, compared = _choose_rule(looks, start, judged, options)
    validation = _judge_chain(looks, cascade, judged, options)
    return _Chosen(cascade, replace(band, threshold=skip.threshold), skip, compared, validation)


def _marked(judged: JudgedMasks) -> np.ndarray:
    """(n,) bool: validation photos of whose flaw the masks alone mark some."""
    looked, cleaning = judged.chosen.on_validation, judged.chosen.choice.cleaning
    return np.array(
        [
            truth.any() and bool((clean_masks(levels, cleaning) & truth).any())
            for truth, levels in looked.pairs()
        ]
    )


def _join(
    labels: Bundle,
    judged: JudgedMasks,
    chosen: _Chosen,
    run: RunFolder,
    options: RunOptions,
    progress: Progress,
) -> JudgedMasks:
    """The joined model folder, judged on the test part, and what the report says of the chain."""
    spec = replace(
        labels.spec,
        task="cascade",
        labels=judged.bundle.spec.labels,
        good_labels=(),
        thresholds=chosen.band,
        masks=judged.bundle.spec.masks,
        cascade=chosen.cascade,
        agreement={"labels": labels.spec.agreement, **judged.bundle.spec.agreement},
    )
    files = {
        MODEL: labels.model_path.read_bytes(),
        WEIGHTS: (labels.folder / WEIGHTS).read_bytes(),
        MASKS: judged.bundle.masks_path.read_bytes(),
    }
    bundle = write_files(run.model, spec, files, overwrite=True)
    prepared, split = judged.prepared, judged.prepared.split
    loaded = Cascade(bundle, RuntimeOptions(n_threads=options.embed.n_threads))
    rows = [int(row) for row in split.test]
    test = evaluate_mask_model(loaded, prepared.dataset, rows, split.groups, options, progress)
    test = prepared.with_seen_sources(test, split.test)
    metrics = {"test": test.metrics, "validation": chosen.validation.metrics}
    bundle = write_spec(bundle, replace(bundle.spec, metrics=metrics))
    facts = {
        "skip_threshold": chosen.cascade.skip_threshold,
        "lost_share": chosen.skip.lost_share,
        "skipped_share": chosen.skip.skipped_share,
        "rule": chosen.cascade.rule,
        "compared": chosen.compared,
        "table": [
            {"name": name, "figures": {key: one.metrics.get(key) for key in _COMPARED}}
            for name, one in (("mask network alone", judged.test), ("chain", test))
        ],
        **_measure_times(Cascade(bundle, RuntimeOptions(n_threads=1)), prepared, options),
    }
    masks = replace(judged.chosen, validation=chosen.validation)
    return replace(judged, bundle=bundle, chosen=masks, test=test, cascade=facts)


def _label_thresholds(looks: Sequence[Look], targets: np.ndarray) -> tuple[float, ...]:
    """Per label the score with the best F1 on validation, at most 0.5; 0.5 where no photo shows it."""
    table = np.stack([look.label_scores for look in looks])
    found = []
    for scores, truth in zip(table.T, targets.astype(bool).T, strict=True):
        candidates = np.unique(np.clip(scores, 1e-6, 0.5))
        said = scores >= candidates[:, None]
        f1 = 2 * (said & truth).sum(axis=1) / np.maximum(1, truth.sum() + said.sum(axis=1))
        found.append(float(candidates[int(np.argmax(f1))]) if truth.any() else 0.5)
    return tuple(found)


def _choose_rule(
    looks: Sequence[Look], start: CascadeSpec, judged: JudgedMasks, options: RunOptions
) -> tuple[CascadeSpec, list[dict[str, Any]]]:
    """Raising areas by doubt against plain vetoing, on validation photos; see best_rule()."""
    raising = [replace(start, rule="area", most=most) for most in _MOST]
    tried = [start, *raising, replace(start, rule="veto")]
    rows: list[dict[str, Any]] = []
    for cascade in tried:
        found = _judge_chain(looks, cascade, judged, options, has_ceilings=False).metrics
        figures = {key: found[key] for key in ("flaw_dice", "overkill_rate")}
        both = balanced(figures["flaw_dice"], 1 - (figures["overkill_rate"] or 0.0))
        rows.append({"rule": cascade.rule, "most": cascade.most, **figures, "balanced": float(both)})
    best = best_rule(rows)
    for i, row in enumerate(rows):
        row["is_chosen"] = i == best
    return tried[best], rows


def best_rule(tried: Sequence[Mapping[str, Any]]) -> int:
    """Figures {"flaw_dice", "balanced"} of each rule, that of doing nothing first → which to take.

    The best harmonic mean of flaw Dice and the share of good photos left alone, of those that lose at most
    MAX_LOST_DICE against doing nothing; the first of equals.
    """
    least = tried[0]["flaw_dice"] - MAX_LOST_DICE
    kept = [i for i, one in enumerate(tried) if one["flaw_dice"] >= least]
    return max(kept, key=lambda i: (tried[i]["balanced"], -i))


def _judge_chain(
    looks: Sequence[Look],
    cascade: CascadeSpec,
    judged: JudgedMasks,
    options: RunOptions,
    *,
    has_ceilings: bool = True,
) -> MaskEvaluation:
    """What the chain finds on the validation photos; ceilings take a while."""
    looked, cleaning = judged.chosen.on_validation, judged.chosen.choice.cleaning
    photos = (
        chained(photo, look, cleaning, cascade) for photo, look in zip(looked.masked(), looks, strict=True)
    )
    if not has_ceilings:
        photos = (replace(photo, probabilities=None) for photo in photos)
    labels = judged.prepared.dataset.labels
    return evaluate_masks(photos, labels, cleaning, looked.groups(), options.evaluate_masks)


def chained(photo: MaskedPhoto, look: Look, cleaning: Cleaning, cascade: CascadeSpec) -> MaskedPhoto:
    """What the mask network says of a photo → what the chain says of it, as Cascade.see() would."""
    levels = photo.probabilities
    assert levels is not None
    if look.flaw_score < cascade.skip_threshold:
        levels = np.zeros_like(levels)
    return replace(photo, probabilities=levels, predicted=clean_chained(levels, look, cleaning, cascade))


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
