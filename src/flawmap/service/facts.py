"""What is kept of every photo that was looked at, besides its findings: to order photos and to notice drift.

Features are those of the model's own network where it has any, of the whole photo made as small as its input;
else a histogram of gradients. They are projected on few random axes, which keeps distances (Johnson and
Lindenstrauss 1984), so that a row of the database holds them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np

from flawmap.records import InspectedPhoto
from flawmap.stages.inspection import score_one_window
from flawmap.tools.runtime import Classifier, Model
from flawmap.tools.sharpness import sharpness

N_AXES = 24
MEASURES = ("flaw_score", "sharpness", "brightness", "contrast")
"""The facts that are single numbers."""
_GRADIENTS_PX = 128


@dataclass(frozen=True, eq=False)
class NotedPhoto(InspectedPhoto):
    """A photo as it was looked at, with what is kept of it; None where it was not read."""

    facts: dict[str, Any] | None = None


def note(seen: InspectedPhoto, model: Model) -> NotedPhoto:
    """The photo with its facts: MEASURES, the score of one window, features as a list of N_AXES numbers, and
    how much of the photo is unlike the training photos."""
    values = {one.name: getattr(seen, one.name) for one in fields(InspectedPhoto)}
    if seen.preview is None or seen.heat is None or not seen.heat.size:
        return NotedPhoto(**values)
    grey = seen.preview.mean(axis=2)
    facts = {
        "flaw_score": round(float(seen.heat.max()), 6),
        "window_score": round(score_one_window(seen, model.spec) or 0.0, 6),
        "sharpness": round(sharpness(seen.preview), 4),
        "brightness": round(float(grey.mean()), 3),
        "contrast": round(float(grey.std()), 3),
        # None where the model's folder does not tell what is foreign to it.
        "share_foreign": seen.inspection.share_foreign,
        "features": [round(float(value), 5) for value in _features(seen.preview, model)],
    }
    return NotedPhoto(**values, facts=facts)


def _features(image: np.ndarray, model: Model) -> np.ndarray:
    """(N_AXES,) float."""
    is_known = isinstance(model, Classifier)
    found = model.run(image)[0].mean(axis=(1, 2)) if is_known else _gradients(image)
    return found @ _axes(len(found))


def _gradients(image: np.ndarray) -> np.ndarray:
    """(256,): directions of edges in 16 parts of the photo (Dalal and Triggs 2005)."""
    from PIL import Image
    from skimage.feature import hog

    small = Image.fromarray(np.ascontiguousarray(image)).convert("L").resize((_GRADIENTS_PX, _GRADIENTS_PX))
    cell = (_GRADIENTS_PX // 4,) * 2
    return hog(np.asarray(small), orientations=16, pixels_per_cell=cell, cells_per_block=(1, 1))


@cache
def _axes(n_features: int) -> np.ndarray:
    """(n_features, N_AXES), the same for ever."""
    return np.random.default_rng(20_261_121).normal(size=(n_features, N_AXES)) / np.sqrt(N_AXES)
