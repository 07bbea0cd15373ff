"""The model card (README.md of a model folder), in the form that Hugging Face reads."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping
from typing import Any

from flawmap.records import LinearHead, ModelSpec
from flawmap.tools.scores import has_threshold

HUB_LICENCES = {"apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc0-1.0"}
"""Licence names that the hub knows; any other is written as "other" with its own name."""
FIGURES = {
    "f1": "F1",
    "macro_f1": "F1, macro",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "loss": "Loss (lower is better)",
}
HUB_FIGURES = ("f1", "macro_f1", "accuracy", "precision", "recall")
WINNERS = {
    "probe": "a linear probe on the frozen backbone",
    "head": "a head trained with augmentation on the frozen backbone",
    "fine-tuned": "a head trained with augmentation, then fine-tuned together with the later layers",
}
POOLING = {
    "average": "the average of its last map",
    "average+maximum": "the average and the maximum of its last map",
}


def to_card(spec: ModelSpec, head: LinearHead | None) -> str:
    """Markdown with YAML front matter. The figures are those of `spec.metrics["test"]`, if it is there."""
    if head is None:
        return to_mask_card(spec)
    test = spec.metrics.get("test") or {}
    parts = [_front_matter(spec, test), _purpose(spec), _use(spec), _figures(test, spec), _making(spec, head)]
    return "\n".join([*parts, _limits(spec, test)])


def _front_matter(spec: ModelSpec, test: Mapping[str, Any]) -> str:
    licence = spec.licence.lower()
    is_known = licence in HUB_LICENCES
    lines = ["---", f"license: {licence if is_known else 'other'}"]
    if not is_known:
        lines.append(f"license_name: {json.dumps(spec.licence or 'unknown')}")
    lines += ["library_name: flawmap", "pipeline_tag: image-classification", "tags:"]
    tags = ["flawmap", "onnx", "surface-inspection", "flaw-detection", *_words(spec.backbone_id)]
    lines += [f"- {json.dumps(tag)}" for tag in tags]
    figures = [name for name in HUB_FIGURES if _is_figure(test.get(name))]
    if figures:
        lines += ["metrics:", *(f"- {name}" for name in sorted({f.removeprefix("macro_") for f in figures}))]
        lines += ["model-index:", f"- name: {json.dumps(_title(spec))}", "  results:", "  - task:"]
        lines += ["      type: image-classification", "    dataset:", "      type: imagefolder"]
        lines += ["      name: held-back test photos", "      split: test", "    metrics:"]
        for name in figures:
            lines += [f"    - type: {name.removeprefix('macro_')}", f"      name: {FIGURES[name]}"]
            lines.append(f"      value: {float(test[name]):.6f}")
    return "\n".join([*lines, "---", ""])


def _purpose(spec: ModelSpec) -> str:
    flaws = [label for label in spec.labels if label not in spec.good_labels]
    good = f"good: {_list(spec.good_labels)}" if spec.good_labels else "no label means good"
    several = "A photo may carry several labels. " if spec.is_multilabel else ""
    height, width = spec.tile_hw
    text = _wrapped(
        f"Says what a photo of a surface shows. Flaws: {_list(flaws)}; {good}. {several}It looks at "
        f"photos whole and expects them to show about as much surface as those it was trained on, whose most "
        f"frequent size was {width} × {height} pixels (width × height)."
    )
    return f"# {_title(spec)}\n\n{text}\n"


def _use(spec: ModelSpec) -> str:
    return f"""## Use

```sh
pip install flawmap
flawmap predict THIS_FOLDER photos/ --out results.csv
flawmap explain THIS_FOLDER photo.jpg --out heat.png
```

```python
import flawmap

model = flawmap.load("THIS_FOLDER")
predictions = model.predict([image])  # (H, W, 3) uint8 RGB
```

{_without_flawmap(spec)}
"""


def _without_flawmap(spec: ModelSpec) -> str:
    height, width = spec.preprocessing.input_hw
    return _wrapped(
        f"Without flawmap: `model.onnx` takes `image` float32 (n, 3, {height}, {width}), RGB from 0 to 255, "
        f"and gives `features` and `logits`. Resize the whole photo ({spec.preprocessing.interpolation}), "
        "keep its proportions, pad with its mean colour; normalisation happens inside. Divide the logits by "
        f"{spec.thresholds.temperature:.4g}, then take the {'sigmoid' if spec.is_multilabel else 'softmax'}. "
        f"The outputs are, in this order: {_list(spec.labels)}."
    )


def _figures(test: Mapping[str, Any], spec: ModelSpec) -> str:
    lines = ["## How good it is", ""]
    names = [name for name in FIGURES if _is_figure(test.get(name))]
    if not names:
        return "\n".join([*lines, "Not measured on held-back photos.", ""])
    counted = f"{test['n']} photos" if test.get("n") else "photos"
    lines += [
        _wrapped(
            f"On {counted} held back from training and from every choice, split so that no source photo is "
            "on both sides. Intervals: 95 %, bootstrapped over the sources. The trivial answer calls every "
            "photo flawed (F1) or gives the most frequent label (accuracy)."
        ),
        "",
        "| | Value | 95 % interval | Trivial answer |",
        "|---|---|---|---|",
    ]
    intervals, trivial = test.get("interval95") or {}, test.get("trivial") or {}
    for name in names:
        low, high = intervals.get(name) or (None, None)
        interval = f"{_number(low)} to {_number(high)}" if _is_figure(low) and _is_figure(high) else "–"
        lines.append(
            f"| {FIGURES[name]} | {_number(test[name])} | {interval} | {_number(trivial.get(name))} |"
        )
    return "\n".join([*lines, "", *_thresholds(spec)])


def _thresholds(spec: ModelSpec) -> list[str]:
    t = spec.thresholds
    if not (spec.good_labels or spec.is_multilabel) or not _is_figure(t.threshold):
        return []
    if spec.is_multilabel:
        rule = f"Every flaw is printed whose probability reaches {t.threshold:.4g} ({t.chosen_by})."
    elif has_threshold(spec.is_flaw_label, spec.is_multilabel):
        rule = f"A photo is called flawed if its `flaw_score` reaches {t.threshold:.4g} ({t.chosen_by})."
    else:
        rule = "The likeliest class is printed."
    band = (
        f"A person should look (`review` is true) at photos with a `flaw_score` from {t.review_low:.4g} to "
        f"{t.review_high:.4g}. Of the flawed validation photos at most {_share(t.max_miss_rate)} lie below "
        f"this band, of the good ones at most {_share(t.max_miss_rate)} above it. On other photos like these "
        f"it may be more: with 95 % confidence no more than {_share(t.miss_rate_upper95)} of the flawed and "
        f"{_share(t.false_alarm_rate_upper95)} of the good."
    )
    return [_wrapped(f"{rule} {band}"), ""]


def _making(spec: ModelSpec, head: LinearHead) -> str:
    shipped = WINNERS.get(spec.winner, spec.winner or "not recorded")
    depth = spec.cut.depth
    text = (
        f"Backbone {spec.backbone_id}, ended at depth {depth} (its stages 0 to {depth}); one linear layer "
        f"({head.weight.shape[1]} inputs) over {POOLING[spec.cut.pooling]}. What shipped is {shipped}: the "
        "best on the validation photos by F1, of equals the one of lower loss. "
        f"{len(spec.training_digests)} photos trained or chose it; their digests are in `flawmap.json`, "
        "beside all options."
    )
    difference = spec.agreement.get("max_difference")
    if _is_figure(difference):
        text += (
            f" The file was compared with the trained network on {spec.agreement.get('n_photos')} photos: no "
            f"probability differs by more than {difference:.1e}."
        )
    return f"## How it was made\n\n{_wrapped(text)}\n"


def _limits(spec: ModelSpec, test: Mapping[str, Any]) -> str:
    unreliable = "\n- The test photos come from few sources: the intervals above are not reliable."
    return f"""## Limits

- It knows the surfaces, lighting and cameras it was trained on; try it on your own labelled photos first
  (`flawmap evaluate`).
- It answers for a whole photo. Heat maps show where the evidence lies, not the outline of a flaw.
- It says nothing of safety: an engineer judges what a flaw means.{unreliable if _is_unreliable(test) else ""}

Weights of the backbone: {spec.licence or "licence not recorded"}.
"""


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def _is_unreliable(test: Mapping[str, Any]) -> bool:
    return test.get("intervals_reliable") is False


def _title(spec: ModelSpec) -> str:
    flaws = [label for label in spec.labels if label not in spec.good_labels]
    shown = ", ".join(flaws[:4]) + (", …" if len(flaws) > 4 else "")
    return f"flawmap model for {shown}"


def _words(backbone_id: str) -> list[str]:
    return [backbone_id.split(":")[-1].split("/")[-1]]


def _list(labels: tuple[str, ...] | list[str]) -> str:
    return ", ".join(f"`{label.replace('`', chr(39))}`" for label in labels)


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: Any) -> str:
    return f"{value:.3f}" if _is_figure(value) else "–"


def _share(value: Any) -> str:
    return f"{100 * value:.3g} %" if _is_figure(value) else "an unknown share"


def to_mask_card(spec: ModelSpec) -> str:
    """The card of a segmenter."""
    return f"# {_title(spec)}\n"
