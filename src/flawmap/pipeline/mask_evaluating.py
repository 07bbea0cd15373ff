"""Measure a model that gives masks on photos with true masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from flawmap.errors import DatasetError
from flawmap.pipeline.running import run_photos
from flawmap.records import Dataset, MaskEvaluation, ModelSpec, Progress
from flawmap.stages.evaluate_masks import MaskedPhoto, count_photo, evaluate_counts
from flawmap.tools.cascade import Cascade
from flawmap.tools.mask_scores import to_levels
from flawmap.tools.masks import to_pixels
from flawmap.tools.segmenting import Segmenter
from flawmap.tools.words import counted

if TYPE_CHECKING:
    from flawmap.pipeline.settings import RunOptions


def evaluate_mask_model(
    model: Segmenter | Cascade,
    dataset: Dataset,
    rows: Sequence[int],
    groups: Sequence[str] | None,
    options: RunOptions,
    progress: Progress,
) -> MaskEvaluation:
    """Judge the rows; counts alone are kept of each photo. Raises DatasetError for labels that do not fit."""
    spec, cleaning = model.spec, model.mask_spec.cleaning
    places = match_labels(dataset, spec)
    photos = [dataset.photos[row] for row in rows]
    found = run_photos(model.n_threads, _to_work(model), photos, options.photos, progress)
    counts = []
    for row, photo, (levels, predicted) in zip(rows, photos, found, strict=True):
        masks = to_pixels(dataset.masks[row])
        truth = np.zeros(levels.shape, bool)
        for place, mask in zip(places, masks, strict=True):
            if place is not None:
                truth[place] |= mask
        judged = MaskedPhoto(photo.name, truth, levels, predicted)
        counts.append(count_photo(judged, cleaning, options.evaluate_masks))
    evaluation = evaluate_counts(
        [photo.name for photo in photos],
        counts,
        spec.labels,
        cleaning,
        None if groups is None else [groups[row] for row in rows],
        options.evaluate_masks,
    )
    seen = set(spec.training_digests)
    n_seen = sum(photo.digest in seen for photo in photos)
    notes = list(evaluation.metrics["notes"])
    if n_seen:
        notes.append(f"{n_seen:,} of these photos were seen in training: these figures flatter")
    return replace(evaluation, metrics={**evaluation.metrics, "n_seen_in_training": n_seen, "notes": notes})


def _to_work(model: Segmenter | Cascade) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]:
    """Of one image levels of probability (n_labels, H, W), and of a cascade, whose masks depend on more than
    these, its masks."""
    if isinstance(model, Segmenter):
        return lambda image: (to_levels(model.probabilities(image)), None)

    def see(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _, masks, probabilities = model.see(image)
        return to_levels(probabilities), masks

    return see


def match_labels(dataset: Dataset, spec: ModelSpec) -> list[int | None]:
    """The model's label for each label of the data set; where both have one, that one, whatever its name.

    None for a label that the model does not know and no photo shows. Raises DatasetError where one does.
    """
    if not dataset.has_masks:
        raise DatasetError(
            f"{dataset.root} holds labels ({dataset.layout}); this model gives masks: give photos with masks"
        )
    if len(dataset.labels) == len(spec.labels) == 1:
        return [0]
    for i, label in enumerate(dataset.labels):
        showing = np.flatnonzero(dataset.targets[:, i])
        if label not in spec.labels and len(showing):
            raise DatasetError(
                f"{dataset.root} marks '{label}' ({counted(len(showing), 'photo')}, such as "
                f"{dataset.photos[showing[0]].name}), which this model does not know; it knows "
                f"{', '.join(spec.labels)}. Correct it there, or name the classes in classes.txt"
            )
    return [spec.labels.index(label) if label in spec.labels else None for label in dataset.labels]
