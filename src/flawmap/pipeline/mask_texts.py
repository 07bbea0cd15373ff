"""What the commands print of masks: plain lines, each with a figure and what it stands beside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flawmap.pipeline.texts import dataset_lines, interval_words, refit_words, split_lines
from flawmap.records import MaskEvaluation, TrainedSegmenter
from flawmap.stages.evaluate import EvaluateOptions
from flawmap.tools.bundle import Bundle
from flawmap.tools.words import counted, held_back_words

if TYPE_CHECKING:
    from flawmap.pipeline.preparing import Prepared

_MASK_FIGURES = (
    ("F1", "f1"),
    ("mean IoU", "mean_iou"),
    ("IoU", "iou"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("clDice", "cldice"),
    ("flaw Dice", "flaw_dice"),
    ("Severstal score", "severstal_score"),
    ("escape rate", "escape_rate"),
    ("overkill rate", "overkill_rate"),
)


def mask_evaluation_lines(evaluation: MaskEvaluation, title: str, origin: str) -> tuple[str, ...]:
    """The main figures of masks with their intervals, the ceiling named so, and every note."""
    m = evaluation.metrics
    tolerant = (f"F1 within {m['tolerance_px']:g} px", "f1_tolerant")
    lines = [f"{title}: {counted(m['n'], 'photo')} {origin}, {m['n_with_flaw']:,} with a flaw"]
    empty = {"severstal_score": m.get("severstal_score_empty")}
    for name, key in (tolerant, *_MASK_FIGURES):
        if m.get(key) is not None:
            beside = f"   without any mask {empty[key]:.3f}" if empty.get(key) is not None else ""
            lines.append(f"  {name:<18}{m[key]:.3f}{interval_words(m, key)}{beside}")
    lines += _ceiling_lines(m)
    if len(m["per_class"]) > 1:
        lines += [_label_line(label, figures) for label, figures in m["per_class"].items()]
    lines += [f"  note: {note}" for note in m.get("notes", ())]
    return tuple(lines)


def _label_line(label: str, figures: dict[str, Any]) -> str:
    said, n_sources = "no photo shows it", figures["n_groups_with"]
    if figures["flaw_dice"] is not None:
        interval = interval_words({**figures, "n_groups": n_sources}, "flaw_dice")
        said = f"flaw Dice {figures['flaw_dice']:.3f}{interval}"
    return f"  {label}: {said} ({counted(figures['n_photos_with'], 'photo')})"


def _ceiling_lines(metrics: dict[str, Any]) -> list[str]:
    """What the best single threshold would get, were the truth known; no line where that was not counted."""
    lines = []
    for name, key in (("F1", "f1"), (f"F1 within {metrics['tolerance_px']:g} px", "f1_tolerant")):
        ods, ois = metrics.get(f"ods_{key}"), metrics.get(f"ois_{key}")
        if ods is not None and ois is not None:
            lines.append(
                f"  ceiling of {name}: {ods:.3f} at the best threshold for all photos (ODS), {ois:.3f} at "
                "the best for each (OIS)"
            )
    return lines


def cascade_lines(facts: dict[str, Any]) -> tuple[str, ...]:
    """What the chain does beside the mask network alone."""
    alone, chain = (row["figures"] for row in facts["table"])
    lines = [
        f"chain: masks from a flaw score of {facts['skip_threshold']:.3g} on "
        f"({100 * facts['skipped_share']:.1f} % of the flawed validation photos lie below; of the flaws of "
        f"{100 * facts['lost_share']:.1f} % the masks would mark some); rule {facts['rule']}"
    ]
    for name, key in (("flaw Dice", "flaw_dice"), ("Severstal score", "severstal_score")):
        if chain[key] is not None and alone[key] is not None:
            lines.append(f"  {name:<18}{chain[key]:.3f}   mask network alone {alone[key]:.3f}")
    for name, key in (("good photos", "ms_good"), ("flawed photos", "ms_flawed")):
        times = facts[key]
        if times["chain"]:
            lines.append(
                f"  {name:<18}{times['chain']:.0f} ms   mask network alone {times['alone']:.0f} ms "
                f"({times['alone'] / times['chain']:.1f} times as long)"
            )
    return tuple(lines)


def unused_cost_lines(options: EvaluateOptions) -> tuple[str, ...]:
    """That costs were given to a run that learns masks."""
    if options.costs is None:
        return ()
    return (
        "  note: the costs of misses and false alarms have no effect: masks have thresholds of their own, "
        "chosen by how well they fit",
    )


def mask_training_lines(
    prepared: Prepared, model: TrainedSegmenter, test: MaskEvaluation, bundle: Bundle, run: Path
) -> tuple[str, ...]:
    """The run in a screen: data, split, network, the honest figures, where everything is."""
    size_mb = bundle.masks_path.stat().st_size / 1e6
    agreement = bundle.spec.agreement
    changed = max(agreement["pixels_changed"].values())
    return (
        *dataset_lines(prepared.dataset, prepared.audit),
        *split_lines(prepared),
        f"trained: {model.decoder} on {model.backbone_id} cut at depth {model.depth}; {model.note}"
        f"{refit_words(model)}",
        *mask_evaluation_lines(test, "test", held_back_words(test.metrics)),
        f"model: {bundle.folder} ({size_mb:.1f} MB; {changed:.1g} of the pixels change sides against the "
        f"network, on {counted(agreement['n_photos'], 'photo')})",
        f"report: {run / 'report.html'}",
    )
