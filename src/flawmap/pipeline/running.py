"""Photos through a model: decoded ahead, in order, on threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from flawmap.records import Photo, Progress, no_progress
from flawmap.tools.photos import PhotoOptions, read_again
from flawmap.tools.runtime import Classifier, map_ordered

T = TypeVar("T")


def run_photos(
    n_threads: int,
    work: Callable[[np.ndarray], T],
    photos: Sequence[Photo],
    options: PhotoOptions,
    progress: Progress = no_progress,
) -> Iterator[T]:
    """work(image) of every photo, in order, decoded and computed ahead on threads.

    Raises PhotoError where a photo can no longer be read.
    """

    def images() -> Iterator[np.ndarray]:
        for n_done, image in enumerate(read_again(photos, options), start=1):
            yield image
            progress("running the model on photos", n_done, len(photos))

    return map_ordered(work, images(), n_threads)


def run_logits(
    classifier: Classifier, photos: Sequence[Photo], options: PhotoOptions, progress: Progress = no_progress
) -> np.ndarray:
    """(n, n_labels) logits of photos, as run_photos."""
    found = list(
        run_photos(classifier.n_threads, lambda image: classifier.run(image)[1], photos, options, progress)
    )
    return np.stack(found) if found else np.zeros((0, len(classifier.spec.labels)), np.float32)
