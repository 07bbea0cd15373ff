"""The model card (README.md of a model folder), in the form that Hugging Face reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flawmap.records import LinearHead, ModelSpec
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
    share,
    title,
    wrapped,
)
from flawmap.tools.mask_card import to_mask_card
from flawmap.tools.scores import has_threshold
from flawmap.tools.words import counted, split_words

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
_TASK = Task(
    "image-classification",
    {
        key: (key.removeprefix("macro_"), FIGURES[key])
        for key in ("f1", "macro_f1", "accuracy", "precision", "recall")
    },
)
WINNERS = {
    "probe": "a linear probe on the frozen backbone",
    "head": "a head trained with augmentation on the frozen backbone",
    "fine-tuned": "a head trained with augmentation, then fine-tuned together with the later layers",
}
POOLING = {
    "average": "the average of its last map",
    "average+maximum": "the average and the maximum of its last map",
}


_FOREIGN = """ `reference.safetensors` holds what they look like to the network (no photo can be
  made from it): an inspection compares photos with it, marks findings on foreign surfaces, and calls no photo
  clean that is mostly foreign or was taken from several times as far. It does not recognise all of them."""


def to_card(spec: ModelSpec, head: LinearHead | None) -> str:
    """Markdown with YAML front matter. The figures are those of `spec.metrics["test"]`, if it is there."""
    if head is None or spec.task == "cascade":
        return to_mask_card(spec)
    test = spec.metrics.get("test") or {}
    parts = [
        front_matter(spec, test, _TASK, spec.backbone_id),
        _purpose(spec),
        _use(spec),
        _figures(test, spec),
        _making(spec, head),
    ]
    return "\n".join([*parts, _limits(spec, test)])


def _purpose(spec: ModelSpec) -> str:
    flaws = [label for label in spec.labels if label not in spec.good_labels]
    good = f"good: {listing(spec.good_labels)}" if spec.good_labels else "no label means good"
    several = "A photo may carry several labels. " if spec.is_multilabel else ""
    height, width = spec.tile_hw
    text = wrapped(
        f"Says what a photo of a surface shows. Flaws: {listing(flaws)}; {good}. {several}It looks at "
        f"photos whole and expects them to show about as much surface as those it was trained on, whose most "
        f"frequent size was {width} × {height} pixels (width × height)."
    )
    return f"# {title(spec)}\n\n{text}\n"


def _use(spec: ModelSpec) -> str:
    return f"""## Use

```sh
{install_line(spec)}
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
    return wrapped(
        f"Without flawmap: `{network_file(spec, 'model')}` takes `image` float32 (n, 3, {height}, "
        f"{width}), RGB from 0 to 255, and gives `features` and `logits`. Resize the whole photo "
        f"({spec.preprocessing.interpolation}), "
        "keep its proportions, pad with its mean colour; normalisation happens inside. Divide the logits by "
        f"{spec.thresholds.temperature:.4g}, then take the {'sigmoid' if spec.is_multilabel else 'softmax'}. "
        f"The outputs are, in this order: {listing(spec.labels)}."
    )


def _figures(test: Mapping[str, Any], spec: ModelSpec) -> str:
    lines = ["## How good it is", ""]
    names = [name for name in FIGURES if is_figure(test.get(name))]
    if not names:
        return "\n".join([*lines, "Not measured on held-back photos.", ""])
    photos = counted(test["n"], "photo") if test.get("n") else "photos"
    lines += [
        wrapped(
            f"On {photos} {split_words(test)} Intervals: 95 %, bootstrapped over the sources, of rates at "
            "least as wide as the exact one. The trivial answer calls every photo flawed (F1) or gives the "
            "most frequent label (accuracy)."
        ),
        "",
        "| | Value | 95 % interval | Trivial answer |",
        "|---|---|---|---|",
    ]
    trivial = test.get("trivial") or {}
    lines += [figure_row(FIGURES[name], test, name, trivial.get(name)) for name in names]
    return "\n".join([*lines, "", *_thresholds(spec)])


def _thresholds(spec: ModelSpec) -> list[str]:
    t = spec.thresholds
    if not spec.can_be_good:
        text = (
            "The likeliest class is printed. No label is good, so nothing can be passed or rejected: the "
            "model says which flaw it is, not whether there is one, and `review` is empty."
        )
        return [wrapped(text), ""]
    if not is_figure(t.threshold):
        return []
    if spec.is_multilabel:
        rule = f"Every flaw is printed whose probability reaches {t.threshold:.4g} ({t.chosen_by})."
    elif has_threshold(spec.is_flaw_label, spec.is_multilabel):
        rule = f"A photo is called flawed if its `flaw_score` reaches {t.threshold:.4g} ({t.chosen_by})."
    else:
        rule = "The likeliest class is printed."
    band = (
        f"A person should look (`review` is true) at photos with a `flaw_score` from {t.review_low:.4g} to "
        f"{t.review_high:.4g}. Of the flawed validation photos at most {share(t.max_miss_rate)} lie below "
        f"this band, of the good ones at most {share(t.max_miss_rate)} above it. On other photos like these "
        f"it may be more: with 95 % confidence no more than {share(t.miss_rate_upper95)} of the flawed and "
        f"{share(t.false_alarm_rate_upper95)} of the good."
    )
    return [wrapped(f"{rule} {band}"), ""]


def _making(spec: ModelSpec, head: LinearHead) -> str:
    shipped = WINNERS.get(spec.winner, spec.winner or "not recorded")
    depth = spec.cut.depth
    text = (
        f"Backbone {spec.backbone_id}, ended at depth {depth} (its stages 0 to {depth}); one linear layer "
        f"({head.weight.shape[1]} inputs) over {POOLING[spec.cut.pooling]}. What shipped is {shipped}: the "
        "best on the validation photos by F1, of equals the one of lower loss. "
        f"{counted(len(spec.training_digests), 'photo')} trained or chose it; their digests are in "
        "`flawmap.json`, beside all options."
    )
    difference = spec.agreement.get("max_difference")
    if is_figure(difference):
        text += (
            f" The file was compared with the trained network on {spec.agreement.get('n_photos')} photos: no "
            f"probability differs by more than {difference:.1e}."
        )
    return f"## How it was made\n\n{wrapped(text + form_words(spec))}\n"


def _limits(spec: ModelSpec, test: Mapping[str, Any]) -> str:
    foreign = "" if spec.findings is None or spec.findings.most_distance is None else _FOREIGN
    return f"""## Limits

- It knows the surfaces, lighting and cameras it was trained on; try it on your own labelled photos first
  (`flawmap evaluate`).{foreign}
- It answers for a whole photo. Heat maps show where the evidence lies, not the outline of a flaw.
{common_limits(spec, test)}"""
