"""Pieces that the model cards of classifiers and of segmenters share."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from flawmap.records import ModelSpec
from flawmap.tools.bootstrap import LOWER_IS_BETTER, no_interval
from flawmap.tools.words import counted

HUB_LICENCES = {"apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc0-1.0"}
"""Licence names that the hub knows; any other is written as "other" with its own name."""


@dataclass(frozen=True)
class Task:
    """What the hub is told of a kind of model: its task, and its figures by key."""

    pipeline_tag: str
    figures: Mapping[str, tuple[str, str]]
    """Key of the metrics → (type on the hub, name)."""


def front_matter(spec: ModelSpec, test: Mapping[str, Any], task: Task, backbone_id: str) -> str:
    """YAML that the hub reads, between lines of dashes."""
    licence = spec.licence.lower()
    is_known = licence in HUB_LICENCES
    lines = ["---", f"license: {licence if is_known else 'other'}"]
    if not is_known:
        lines.append(f"license_name: {json.dumps(spec.licence or 'unknown')}")
    lines += ["library_name: flawmap", f"pipeline_tag: {task.pipeline_tag}", "tags:"]
    tags = [
        "flawmap",
        spec.form.kind,
        "surface-inspection",
        "flaw-detection",
        backbone_id.split(":")[-1].split("/")[-1],
    ]
    lines += [f"- {json.dumps(tag)}" for tag in tags]
    figures = {key: names for key, names in task.figures.items() if is_figure(test.get(key))}
    if figures:
        lines += ["metrics:", *(f"- {kind}" for kind in sorted({kind for kind, _ in figures.values()}))]
        lines += ["model-index:", f"- name: {json.dumps(title(spec))}", "  results:", "  - task:"]
        lines += [f"      type: {task.pipeline_tag}", "    dataset:", "      type: imagefolder"]
        lines += ["      name: held-back test photos", "      split: test", "    metrics:"]
        for key, (kind, name) in figures.items():
            lines += [f"    - type: {kind}", f"      name: {name}"]
            lines.append(f"      value: {float(test[key]):.6f}")
    return "\n".join([*lines, "---", ""])


def install_line(spec: ModelSpec) -> str:
    """What the reader types to be able to run the model."""
    return "pip install flawmap" if spec.form.kind == "onnx" else f"pip install 'flawmap[{spec.form.kind}]'"


def network_file(spec: ModelSpec, name: str) -> str:
    """The file of a network ("model", "masks") that a runtime opens."""
    return name + {"onnx": ".onnx", "openvino": ".xml", "litert": ".tflite"}[spec.form.kind]


def form_words(spec: ModelSpec) -> str:
    """Of files that were made from those that training wrote: what they are, and how the two compare."""
    found = spec.agreement.get("form")
    if not found:
        return ""
    text = (
        f" These files were made from that one: {spec.form.kind}, {spec.form.precision}. On "
        f"{counted(found['n_photos'], 'photo')} {found['changed']:.2%} of the {found['changed_of']} changed"
    )
    if is_figure(found.get("before")) and is_figure(found.get("after")):
        name = {"f1": "F1", "macro_f1": "macro F1", "dice": "Dice"}[found["figure"]]
        text += f", and {name} went from {found['before']:.4f} to {found['after']:.4f}"
    return f"{text}. The figures above are those of the model before that."


def figure_row(name: str, test: Mapping[str, Any], key: str, trivial: Any = None) -> str:
    """A row of the table: name, value, interval, trivial answer."""
    low, high = (test.get("interval95") or {}).get(key) or (None, None)
    interval = "–"
    if is_figure(low) and is_figure(high):
        n_sources = test.get("n_groups_with", test.get("n_groups"))
        why = no_interval((low, high), 1.0 - (key in LOWER_IS_BETTER), n_sources)
        interval = why or f"{number(low)} to {number(high)}"
    return f"| {name} | {number(test[key])} | {interval} | {number(trivial)} |"


def wrapped(text: str) -> str:
    """Lines of at most 100 characters."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def common_limits(spec: ModelSpec, test: Mapping[str, Any]) -> str:
    """The last limits of any card, as items of a list, and the licence of the weights."""
    items = ["It says nothing of safety: an engineer judges what a flaw means."]
    if spec.held_back is not None:
        n = spec.held_back.n_flawed + spec.held_back.n_good
        items.append(
            f"`held_back.safetensors` holds scores and features of {n:,} photos that training never read (no "
            "photo can be made from them): `flawmap serve` tells by them when photos no longer look like the "
            "training set."
        )
    if test.get("intervals_reliable") is False:
        items.append("The test photos come from few sources: the intervals above are not reliable.")
    listed = "".join(f"- {wrapped(item)}".replace("\n", "\n  ") + "\n" for item in items)
    return f"{listed}\nWeights of the backbone: {spec.licence or 'licence not recorded'}.\n"


def title(spec: ModelSpec) -> str:
    """The name of the model: its flaws."""
    flaws = [label for label in spec.labels if label not in spec.good_labels]
    shown = ", ".join(flaws[:4]) + (", …" if len(flaws) > 4 else "")
    return f"flawmap model for {shown}"


def listing(labels: tuple[str, ...] | list[str]) -> str:
    """Labels as code, with commas."""
    return ", ".join(f"`{label.replace('`', chr(39))}`" for label in labels)


def is_figure(value: Any) -> TypeGuard[float]:
    """Whether a figure is there and finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any) -> str:
    """Three decimals, or a dash."""
    return f"{value:.3f}" if is_figure(value) else "–"


def share(value: Any) -> str:
    """A share in percent."""
    return f"{100 * value:.3g} %" if is_figure(value) else "an unknown share"
