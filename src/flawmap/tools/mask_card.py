"""The model card of a segmenter, and of a classifier and a segmenter in a chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flawmap.records import MaskSpec, ModelSpec
from flawmap.tools.card_parts import (
    Task,
    common_limits,
    figure_row,
    form_words,
    front_matter,
    install_line,
    is_figure,
    listing,
    network_file,
    title,
    wrapped,
)
from flawmap.tools.words import counted, split_words

_TASK = Task(
    "image-segmentation",
    {
        "f1_tolerant": ("f1", "F1, small shifts forgiven"),
        "dice": ("dice", "Dice"),
        "mean_iou": ("mean_iou", "Mean IoU"),
        "flaw_dice": ("dice", "Flaw Dice"),
    },
)
_FIGURES = {
    "f1_tolerant": "F1, shifts of up to {tolerance:g} pixels forgiven",
    "dice": "Dice (strict F1)",
    "precision": "Precision",
    "recall": "Recall",
    "iou": "IoU",
    "mean_iou": "Mean IoU, flaw and background",
    "cldice": "clDice",
    "flaw_dice": "Flaw Dice",
    "severstal_score": "Severstal score",
    "escape_rate": "Escape rate (lower is better)",
    "overkill_rate": "Overkill rate (lower is better)",
}
_EMPTY = {"severstal_score": "severstal_score_empty"}
"""Figures that an answer without any mask may get high, and where that is written."""


def to_mask_card(spec: ModelSpec) -> str:
    """Markdown with YAML front matter. The figures are those of `spec.metrics["test"]`, if it is there."""
    masks = spec.masks
    if masks is None:
        raise ValueError(f"wanted a model with masks; got a {spec.task} without")
    test = spec.metrics.get("test") or {}
    front = front_matter(spec, test, _TASK, masks.backbone_id)
    parts = [front, _purpose(spec, masks), _use(spec, masks), _figures(test), _making(spec, masks)]
    return "\n".join([*parts, _limits(spec, test)])


def _purpose(spec: ModelSpec, masks: MaskSpec) -> str:
    height, width = spec.tile_hw
    first = (
        "A classifier looks first; masks are made where it sees a flaw. " if spec.task == "cascade" else ""
    )
    text = (
        f"Marks where the flaws of a surface are in a photo, pixel by pixel: {listing(_flaws(spec))}. "
        f"{first}It looks at photos at their full resolution, larger ones in pieces of {masks.piece_px} "
        "pixels, and expects flaws to be about as large, in pixels, as in the photos it was trained on, "
        f"whose most frequent size was {width} × {height} pixels (width × height)."
    )
    return f"# {title(spec)}\n\n{wrapped(text)}\n"


def _flaws(spec: ModelSpec) -> list[str]:
    """What has masks: of a chain, the classifier's good labels have none."""
    return [label for label in spec.labels if label not in spec.good_labels]


def _use(spec: ModelSpec, masks: MaskSpec) -> str:
    return f"""## Use

```sh
{install_line(spec)}
flawmap predict THIS_FOLDER photos/ --masks png --out masks/
```

```python
import flawmap

model = flawmap.load("THIS_FOLDER")
found = model.find(image)  # (H, W, 3) uint8 RGB
```

{_without_flawmap(spec, masks)}
"""


def _without_flawmap(spec: ModelSpec, masks: MaskSpec) -> str:
    labels = _flaws(spec)
    flips = " Average the probabilities of the photo and its three mirror images." if masks.flips else ""
    return wrapped(
        f"Without flawmap: `{network_file(spec, 'masks')}` takes `image` float32 (n, 3, h, w), RGB from "
        f"0 to 255, h and w multiples of {masks.multiple}, and gives logits (n, {len(labels)}, h, w); "
        "normalisation happens inside. Fill the photo up by mirroring, do not resize it, and take the "
        f"sigmoid of the logits.{flips} The outputs are, in this order: {listing(labels)}. "
        f"{_cleaning_words(spec, masks)}"
    )


def _cleaning_words(spec: ModelSpec, masks: MaskSpec) -> str:
    """The rule that makes masks, label by label."""
    cleaning = masks.cleaning
    rules = []
    each = zip(_flaws(spec), cleaning.thresholds, cleaning.lows, cleaning.min_area_px, strict=True)
    for label, high, low, area in each:
        rule = f"{listing([label])} from {high:.4g}"
        rule += f" (and what reaches {low:.4g} around it)" if low != high else ""
        rules.append(rule + (f", patches of {area} pixels or more" if area > 1 else ""))
    exclusive = " A pixel that several claim goes to the likeliest." if cleaning.is_exclusive else ""
    return f"Marked is: {'; '.join(rules)}.{exclusive}"


def _figures(test: Mapping[str, Any]) -> str:
    names = [key for key in _FIGURES if is_figure(test.get(key))]
    if not names:
        return "\n".join(["## How good it is", "", "Not measured on held-back photos.", ""])
    photos = counted(test["n"], "photo") if test.get("n") else "photos"
    tolerance = test.get("tolerance_px", 2)
    text = (
        f"On {photos} {split_words(test)} The pixels of all photos are counted together. Flaw Dice is the "
        "mean over photos and the kinds of flaws that they show; the Severstal score is the mean over all "
        "photos and kinds, 1 where nothing is and nothing is marked. Intervals: 95 %, bootstrapped over the "
        "sources. The empty answer marks nothing."
    )
    lines = ["## How good it is", "", wrapped(text), ""]
    lines += ["| | Value | 95 % interval | Empty answer |", "|---|---|---|---|"]
    for key in names:
        empty = test.get(_EMPTY[key]) if key in _EMPTY else None
        lines.append(figure_row(_FIGURES[key].format(tolerance=tolerance), test, key, empty))
    return "\n".join([*lines, "", *_kinds(test)])


def _kinds(test: Mapping[str, Any]) -> list[str]:
    """A row for each kind of flaw, where there are several."""
    rows = test.get("per_class") or {}
    if len(rows) < 2:
        return []
    lines = ["| Dice of a kind, in the photos that show it | Value | 95 % interval | |", "|---|---|---|---|"]
    for label, row in rows.items():
        if is_figure(row.get("flaw_dice")):
            name = f"{listing([label]).replace('|', '/')}, {counted(row.get('n_photos_with', 0), 'photo')}"
            lines.append(figure_row(name, row, "flaw_dice").removesuffix("– |") + "|")
    return [*lines, ""]


def _making(spec: ModelSpec, masks: MaskSpec) -> str:
    text = (
        f"Backbone {masks.backbone_id}, to depth {masks.depth}, with a decoder of the kind `{masks.decoder}` "
        f"(segmentation_models_pytorch). Thresholds, hysteresis and smallest areas were chosen on the "
        f"validation photos. {counted(len(spec.training_digests), 'photo')} trained or chose it; their "
        "digests are in `flawmap.json`, beside all options."
    )
    if masks.macs_per_px:
        text += f" One pass costs {masks.macs_per_px / 1e3:.3g} thousand multiply-accumulates a pixel."
    changed = (spec.agreement.get("pixels_changed") or {}).values()
    if changed:
        text += (
            f" The file was compared with the trained network on {spec.agreement.get('n_photos')} photos: at "
            f"most {max(changed):.1e} of the pixels change sides."
        )
    return f"## How it was made\n\n{wrapped(text + form_words(spec))}\n"


def _limits(spec: ModelSpec, test: Mapping[str, Any]) -> str:
    return f"""## Limits

- It knows the surfaces, lighting, cameras and distances it was trained on; try it on your own photos with
  masks first (`flawmap evaluate`).
- A mask says which pixels look flawed. It is no measured length or width, and thin flaws may be broken up.
{common_limits(spec, test)}"""
