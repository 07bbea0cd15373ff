"""What two files must agree in before one may stand for the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from flawmap.records import Cleaning, ModelSpec, Precision
from flawmap.tools.figures import Judged, figures_of_set
from flawmap.tools.scores import printed_labels, to_probabilities
from flawmap.tools.words import counted

MAX_DIFFERENCE = 1e-3
"""Of any probability of a label, in float32."""
MAX_PIXEL_SHARE = 1e-4
"""Of the pixels may lie on the other side of the threshold, in float32."""
MAX_PIXEL_DIFFERENCE = 1e-2
"""Of any pixel's probability, in float32. Rounding, which sharp edges enlarge, stays far below it."""
MAX_FALL = 0.005
"""Of F1 (of masks: Dice), in a reduced precision."""
MAX_CHANGED = 0.01
"""Of the labels (of masks: pixels), in a reduced precision."""
Figure = Literal["f1", "macro_f1", "dice"]
_NAMES = {"f1": "F1", "macro_f1": "macro F1", "dice": "Dice"}


@dataclass(frozen=True)
class Agreement:
    """What two files say of the same photos. `failures` holds a plain sentence per limit that is broken."""

    n_photos: int
    changed_of: Literal["labels", "pixels"]
    changed: float
    """Share of photos with another printed label, or of pixels with another mask."""
    max_difference: float | None
    """Of any probability; None where it was not compared."""
    figure: Figure | None = None
    """What `before` and `after` are; None where the photos carry no labels."""
    before: float | None = None
    after: float | None = None
    failures: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        return not self.failures

    @property
    def name(self) -> str:
        """Of the figure, in words; empty where there is none."""
        return "" if self.figure is None else _NAMES[self.figure]

    @property
    def n_changed(self) -> int | None:
        """Photos with another printed label; None where pixels were compared."""
        return round(self.changed * self.n_photos) if self.changed_of == "labels" else None

    @property
    def n_needed(self) -> int | None:
        """About how many photos it takes for one with another label to keep within the limits of a reduced
        precision, where one of these breaks them by itself; else None."""
        if not self.n_changed or self.before is None or self.after is None:
            return None
        fall_of_one = (self.before - self.after) / self.n_changed
        least = max(self.n_photos * fall_of_one / MAX_FALL, 1 / MAX_CHANGED)
        return math.ceil(least) if least > self.n_photos else None

    @property
    def text(self) -> str:
        """The measured figures in words."""
        parts = [f"{self.changed:.2%} of the {self.changed_of} changed"]
        if self.figure is not None and self.before is not None and self.after is not None:
            parts.insert(0, f"{self.name} {self.after:.4f} (before: {self.before:.4f})")
        if self.max_difference is not None:
            parts.append(f"no probability differs by more than {self.max_difference:.1e}")
        return f"on {counted(self.n_photos, 'photo')} {', '.join(parts)}"


def compare_labels(
    before: np.ndarray,
    after: np.ndarray,
    spec: ModelSpec,
    precision: Precision,
    targets: np.ndarray | None = None,
) -> Agreement:
    """Logits (n, n_labels) of two files for the same photos; `targets` (n, n_labels) is the truth.

    In float32 probabilities count, in a reduced precision F1 (macro F1, where there are several classes) and
    the printed labels, for which the truth must be given.
    """
    probabilities = [
        to_probabilities(logits, spec.thresholds.temperature, spec.is_multilabel)
        for logits in (before, after)
    ]
    printed = [
        printed_labels(one, spec.thresholds.threshold, spec.is_flaw_label, spec.is_multilabel)
        for one in probabilities
    ]
    changed = float((printed[0] != printed[1]).any(axis=1).mean())
    difference = float(np.abs(probabilities[0] - probabilities[1]).max())
    found = Agreement(len(before), "labels", changed, difference)
    if targets is not None:
        judged = [
            figures_of_set(Judged(targets, one, said, spec.is_flaw_label, spec.is_multilabel))
            for one, said in zip(probabilities, printed, strict=True)
        ]
        figure: Figure = "f1" if "f1" in judged[0] else "macro_f1"
        first, second = (float(one[figure]) for one in judged)
        found = replace(found, figure=figure, before=first, after=second)
    if precision == "float32":
        failures = _exceeded("a probability differs by", difference, MAX_DIFFERENCE)
    else:
        failures = _reduced_failures(found)
    return _with(found, failures)


@dataclass(frozen=True)
class MaskCounts:
    """Sums over pixels of one photo, or of several, of what two files mark there."""

    n_pixels: int = 0
    n_changed: int = 0
    """Pixels with another mask of any label."""
    n_true: int = 0
    n_before: int = 0
    n_after: int = 0
    hits_before: int = 0
    hits_after: int = 0

    def __add__(self, other: MaskCounts) -> MaskCounts:
        names = self.__dataclass_fields__
        return MaskCounts(**{name: getattr(self, name) + getattr(other, name) for name in names})


def count_masks(before: np.ndarray, after: np.ndarray, truth: np.ndarray | None) -> MaskCounts:
    """Masks (n_labels, H, W) bool of two files and the true ones, for one photo."""
    said_before, said_after = before.any(axis=0), after.any(axis=0)
    true = np.zeros_like(said_before) if truth is None else truth.any(axis=0)
    return MaskCounts(
        n_pixels=true.size,
        n_changed=int((before != after).any(axis=0).sum()),
        n_true=int(true.sum()),
        n_before=int(said_before.sum()),
        n_after=int(said_after.sum()),
        hits_before=int((said_before & true).sum()),
        hits_after=int((said_after & true).sum()),
    )


def count_sides_changed(before: np.ndarray, after: np.ndarray, cleaning: Cleaning) -> int:
    """Of probabilities (n_labels, H, W): on another side of the threshold or, where that differs, of the low
    threshold."""
    changed = np.zeros(before.shape, bool)
    for limits in (cleaning.thresholds, cleaning.lows):
        sides = np.array(limits)[:, None, None]
        changed |= (before >= sides) != (after >= sides)
    return int(changed.sum())


@dataclass(frozen=True)
class MapDifferences:
    """In float32, of the probabilities before they become masks."""

    share_changed: float
    """Of the pixels, on another side of a threshold."""
    pixel: float
    """The largest of any pixel's probability."""
    label: float = 0.0
    """The largest of any label's score, where a cascade gives such."""


def compare_masks(
    counts: MaskCounts, n_photos: int, has_truth: bool, differences: MapDifferences | None = None
) -> Agreement:
    """The sums over all photos; `differences` are given in float32 and then decide."""
    largest = None if differences is None else max(differences.pixel, differences.label)
    found = Agreement(n_photos, "pixels", counts.n_changed / max(counts.n_pixels, 1), largest)
    if has_truth:
        found = replace(
            found,
            figure="dice",
            before=_dice(counts.hits_before, counts.n_before, counts.n_true),
            after=_dice(counts.hits_after, counts.n_after, counts.n_true),
        )
    if differences is None:
        return _with(found, _reduced_failures(found))
    return _with(
        found,
        _exceeded(
            "the share of pixels that change sides of the threshold is",
            differences.share_changed,
            MAX_PIXEL_SHARE,
        )
        + _exceeded("a pixel's probability differs by", differences.pixel, MAX_PIXEL_DIFFERENCE)
        + _exceeded("a label's score differs by", differences.label, MAX_DIFFERENCE),
    )


def _dice(hits: int, said: int, true: int) -> float:
    return 2 * hits / (said + true) if said + true else math.nan


def _reduced_failures(found: Agreement) -> tuple[str, ...]:
    if found.figure is None or found.before is None or found.after is None:
        return ("the photos carry no labels, and a reduced precision is checked on labelled ones",)
    name, fall = found.name, found.before - found.after
    of_all = "" if found.n_changed is None else f" ({found.n_changed:,} of {found.n_photos:,} changed)"
    failures = []
    if not fall <= MAX_FALL:  # so that not-a-number fails too
        failures.append(
            f"{name} falls from {found.before:.4f} to {found.after:.4f}{of_all}, at most {MAX_FALL:g} is "
            "allowed"
        )
    if not found.changed <= MAX_CHANGED:
        failures.append(
            f"{found.changed:.2%} of the {found.changed_of} change{of_all}, at most {MAX_CHANGED:.0%} may"
        )
    return tuple(failures)


def _exceeded(what: str, found: float, limit: float) -> tuple[str, ...]:
    return () if found <= limit else (f"{what} {found:.2g}, at most {limit:g} is allowed",)


def _with(found: Agreement, failures: Sequence[str]) -> Agreement:
    return replace(found, failures=tuple(failures))
