"""What is kept of every photo besides its findings: to order photos, and to notice drift."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from flawmap.records import InspectedPhoto
from flawmap.tools.likeness import describe
from flawmap.tools.runtime import Model
from flawmap.tools.sharpness import sharpness

MEASURES = ("flaw_score", "sharpness", "brightness", "contrast")
"""The facts that are single numbers."""


@dataclass(frozen=True, eq=False)
class NotedPhoto(InspectedPhoto):
    """A photo as it was looked at, with what is kept of it; None where it was not read."""

    facts: dict[str, Any] | None = None


def note(seen: InspectedPhoto, model: Model) -> NotedPhoto:
    """The photo with its facts: MEASURES, features (see tools.likeness), score and features of one window,
    and how much of the photo is unlike the training photos."""
    values = {one.name: getattr(seen, one.name) for one in fields(InspectedPhoto)}
    if seen.preview is None or seen.heat is None or not seen.heat.size:
        return NotedPhoto(**values)
    grey = seen.preview.mean(axis=2)
    facts = {
        "flaw_score": round(float(seen.heat.max()), 6),
        "sharpness": round(sharpness(seen.preview), 4),
        "brightness": round(float(grey.mean()), 3),
        "contrast": round(float(grey.std()), 3),
        # None where the model's folder does not tell what is foreign to it.
        "share_foreign": seen.inspection.share_foreign,
        "features": _rounded(describe(seen.preview, model)),
    }
    window = seen.window
    if window is not None and window.image is not None:
        is_whole = window.image.shape == seen.preview.shape
        features = facts["features"] if is_whole else _rounded(describe(window.image, model))
        facts |= {"window_score": round(window.flaw_score, 6), "window_features": features}
    return NotedPhoto(**values, facts=facts)


def _rounded(features: np.ndarray) -> list[float]:
    return [round(float(value), 5) for value in features]
