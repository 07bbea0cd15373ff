"""What a photo looks like, in a few numbers: to order photos by how different they are, and to notice drift.

Features are those of the model's own network where it has any, else a histogram of gradients. They are
projected on few random axes, which keeps distances (Johnson and Lindenstrauss 1984), so that a row of a
database holds them.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from flawmap.tools.runtime import Classifier, Model

N_AXES = 24
_GRADIENTS_PX = 128


def describe(image: np.ndarray, model: Model) -> np.ndarray:
    """(H, W, 3) uint8 RGB → (N_AXES,) float, of the whole image made as small as the network's input."""
    found = model.run(image)[0].mean(axis=(1, 2)) if isinstance(model, Classifier) else _gradients(image)
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
