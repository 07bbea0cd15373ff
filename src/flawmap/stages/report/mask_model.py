"""The report's sections on the mask network: how it was trained, and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flawmap.stages.report.facts import MaskReportFacts
from flawmap.stages.report.training import refit_words
from flawmap.stages.report.training_curves import epoch_name, epochs_chart
from flawmap.stages.report.wording import (
    is_number,
    listed,
    macs_text,
    millions,
    number,
    percent,
    plural,
    size_text,
    small_number,
)
from flawmap.tools.scores import state_rank

DECODERS = {
    "unet": "U-Net",
    "unetplusplus": "U-Net++",
    "manet": "MA-Net",
    "linknet": "LinkNet",
    "fpn": "FPN",
    "pspnet": "PSPNet",
    "deeplabv3": "DeepLabV3",
    "deeplabv3plus": "DeepLabV3+",
    "pan": "PAN",
    "upernet": "UPerNet",
}


def mask_training_section(facts: MaskReportFacts) -> dict[str, Any]:
    """Curves and the epoch that was kept: the best Dice, of equals the lower loss, then the earlier one."""
    history = facts.history
    kept = max(
        range(len(history)),
        key=lambda i: state_rank(history[i].validation_f1, history[i].validation_loss),
        default=None,
    )
    return {
        "chart": "" if kept is None else epochs_chart(history, kept, "kept", {}, "Dice"),
        "epochs": plural(len(history), "epoch"),
        "kept": "" if kept is None else epoch_name(history, kept),
        "kept_dice": "" if kept is None else number(history[kept].validation_f1),
        "n_train": plural(len(facts.split.train), "photo"),
        "n_validation": plural(len(facts.split.validation), "photo"),
        "several": len(facts.dataset.labels) > 1,
        "note": facts.training_note,
        "refit": refit_words(facts),
    }


def mask_model_section(facts: MaskReportFacts) -> dict[str, Any]:
    """The way of a photo through the model, and what the model weighs."""
    spec, masks = facts.spec, facts.spec.masks
    assert masks is not None
    n_labels = len(facts.dataset.labels)
    n_passes = 4 if masks.flips else 1
    several = f"; larger ones in overlapping pieces of {masks.piece_px} × {masks.piece_px}"
    mirrored = ", as it is and mirrored (4 passes)" if masks.flips else ""
    decoder = DECODERS.get(masks.decoder, masks.decoder)
    steps = [
        ("Photo", f"at full resolution, in RGB, turned upright{several}"),
        ("Pad", f"to multiples of {masks.multiple} px by mirroring; not resized{mirrored}"),
        ("Backbone", f"{masks.backbone_id} to depth {masks.depth}"),
        ("Decoder", f"{decoder}: the backbone’s maps, coarse and fine, joined back to full size"),
        ("Probabilities", f"{n_labels} for every pixel, sigmoid"),
        ("Masks", "threshold, and patches cleaned (see “The masks”)"),
    ]
    rows = [("Decoder", decoder), ("Backbone", f"{masks.backbone_id}, depth {masks.depth}")]
    if facts.n_parameters is not None:
        rows.append(("Parameters", millions(facts.n_parameters)))
    if masks.macs_per_px:
        per_megapixel = macs_text(1e6 * masks.macs_per_px * n_passes)
        rows.append(("Multiply-accumulates per megapixel", per_megapixel))
    rows.append(("Licence of the backbone", spec.licence or "not recorded"))
    return {
        "steps": steps,
        "rows": rows,
        "files": [(name, size_text(size)) for name, size in sorted(facts.file_sizes.items())],
        "agreement": mask_agreement_words(spec.agreement),
    }


def mask_agreement_words(agreement: Mapping[str, Any]) -> str:
    """What the export check found: pixels that change sides, on how many photos, in which runtimes."""
    shares = agreement.get("pixels_changed") or {}
    largest, n = agreement.get("max_difference"), agreement.get("n_photos")
    if not shares:
        return ""
    on = f" on {plural(int(n), 'real photo')}" if is_number(n) else ""
    worst = max(shares.values())
    share = percent(worst, 3)
    most = share if share.startswith("under") else f"at most {share}"
    changed = f"{most} of the pixels change sides" if worst else "no pixel changes sides"
    differs = f"; no probability differs by more than {small_number(largest)}" if is_number(largest) else ""
    where = listed(sorted(map(str, shares)))
    return f"The exported file was run against the trained network{on} in {where}: {changed}{differs}."
