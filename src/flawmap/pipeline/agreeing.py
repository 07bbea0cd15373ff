"""Several files of one model over the same photos: do they agree with the first?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flawmap.errors import DatasetError, OptionError, option
from flawmap.pipeline.mask_evaluating import match_labels
from flawmap.pipeline.preparing import read_labelled
from flawmap.pipeline.runfolder import read_dataset_of
from flawmap.pipeline.running import run_photos
from flawmap.pipeline.settings import RunOptions
from flawmap.pipeline.tasks import to_labels
from flawmap.records import Dataset, FileKind, ModelSpec, Photo, Precision, Progress, Unreadable
from flawmap.stages.evaluate import Truth
from flawmap.stages.export.agreement import (
    Agreement,
    MapDifferences,
    MaskCounts,
    compare_labels,
    compare_masks,
    count_masks,
    count_sides_changed,
)
from flawmap.stages.predict import list_photos
from flawmap.tools.cascade import Cascade
from flawmap.tools.mask_cleaning import clean_masks
from flawmap.tools.masks import to_pixels
from flawmap.tools.photos import read_photos
from flawmap.tools.runtime import Classifier
from flawmap.tools.segmenting import Segmenter

Loaded = Classifier | Segmenter | Cascade
Form = tuple[FileKind, Precision]


@dataclass(frozen=True)
class CheckPhotos:
    """Photos on which files of one model are compared, and their truth where they carry any."""

    photos: tuple[Photo, ...]
    targets: np.ndarray | None = None
    """(n, n_labels) in the order of the model's labels, of a classifier."""
    dataset: Dataset | None = None
    """Of photos with masks: where the truth of `rows` stands."""
    rows: tuple[int, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()

    def __post_init__(self) -> None:
        if not self.photos:
            raise DatasetError("files are compared on real photos; got none that can be read. Add photos.")

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(photo.digest for photo in self.photos)

    def take(self, places: Sequence[int]) -> CheckPhotos:
        """Some of the photos, by their place."""
        return CheckPhotos(
            tuple(self.photos[i] for i in places),
            None if self.targets is None else self.targets[list(places)],
            self.dataset,
            tuple(self.rows[i] for i in places) if self.rows else (),
        )

    def true_masks(self, place: int, n_labels: int) -> np.ndarray | None:
        """(n_labels, H, W) bool of one photo: what is marked there, whatever its label."""
        if self.dataset is None:
            return None
        return to_pixels(self.dataset.masks[self.rows[place]])


def read_check_photos(path: Path, spec: ModelSpec, options: RunOptions, progress: Progress) -> CheckPhotos:
    """A data set as photos with the truth that the model's task needs. Raises DatasetError."""
    found = read_labelled(path, options, progress)
    rows = tuple(range(len(found)))
    if spec.masks is not None:
        match_labels(found, spec)
        return CheckPhotos(found.photos, dataset=found, rows=rows, unreadable=found.unreadable)
    if found.has_masks:
        found = to_labels(found, is_multilabel=spec.is_multilabel)
    targets = Truth.from_dataset(found, spec.labels).targets
    return CheckPhotos(found.photos, targets, unreadable=found.unreadable)


def read_plain_photos(path: Path, options: RunOptions) -> CheckPhotos:
    """A folder of photos that carry no labels. Raises DatasetError where none can be read."""
    names = list_photos([path])
    found, unreadable = read_photos([(Path(name), name) for name in names], options.photos)
    return CheckPhotos(found, unreadable=unreadable)


def compare_models(
    base: Loaded,
    others: Mapping[Form, Loaded],
    check: CheckPhotos,
    options: RunOptions,
    progress: Progress,
) -> dict[Form, Agreement]:
    """What each of `others` says of the photos, beside what `base` says."""
    if isinstance(base, Classifier):
        return _compare_classifiers(base, others, check, options, progress)
    return _compare_mask_models(base, others, check, options, progress)


def _compare_classifiers(
    base: Classifier,
    others: Mapping[Form, Loaded],
    check: CheckPhotos,
    options: RunOptions,
    progress: Progress,
) -> dict[Form, Agreement]:
    models = [model for model in (base, *others.values()) if isinstance(model, Classifier)]

    def logits(image: np.ndarray) -> np.ndarray:
        prepared = base.prepare(image)
        return np.stack([model.run(prepared)[1] for model in models])

    found = np.stack(list(run_photos(base.n_threads, logits, check.photos, options.photos, progress)), axis=1)
    return {
        form: compare_labels(found[0], one, base.spec, form[1], check.targets)
        for form, one in zip(others, found[1:], strict=True)
    }


@dataclass(frozen=True)
class _Seen:
    """What a model that gives masks says of one photo; the last two only where they are compared."""

    masks: np.ndarray
    maps: np.ndarray | None = None
    label_scores: np.ndarray | None = None


def _look(model: Loaded, image: np.ndarray, with_maps: bool) -> _Seen:
    if isinstance(model, Cascade):
        mask = model.find(image).mask
        assert mask is not None
        if not with_maps:
            return _Seen(to_pixels(mask))
        look = model.look(image)
        scores = np.array([look.flaw_score, *look.label_scores])
        return _Seen(to_pixels(mask), model.segmenter.probabilities(image), scores)
    assert isinstance(model, Segmenter)
    maps = model.probabilities(image)
    return _Seen(clean_masks(maps, model.mask_spec.cleaning), maps if with_maps else None)


def _compare_mask_models(
    base: Segmenter | Cascade,
    others: Mapping[Form, Loaded],
    check: CheckPhotos,
    options: RunOptions,
    progress: Progress,
) -> dict[Form, Agreement]:
    needs_maps = {form: form[1] == "float32" for form in others}

    def look(image: np.ndarray) -> tuple[_Seen, dict[Form, _Seen]]:
        first = _look(base, image, any(needs_maps.values()))
        return first, {form: _look(model, image, needs_maps[form]) for form, model in others.items()}

    counts = dict.fromkeys(others, MaskCounts())
    differences = {form: _Differences() for form in others}
    found = run_photos(base.n_threads, look, check.photos, options.photos, progress)
    for place, (first, seen) in enumerate(found):
        truth = check.true_masks(place, len(base.spec.labels))
        for form, one in seen.items():
            counts[form] += count_masks(first.masks, one.masks, truth)
            differences[form].add(first, one, base)
    return {
        form: compare_masks(
            counts[form],
            len(check.photos),
            check.dataset is not None,
            differences[form].total if needs_maps[form] else None,
        )
        for form in others
    }


class _Differences:
    """Of probabilities, over photos; nothing where they are not compared."""

    def __init__(self) -> None:
        self._pixels: list[float] = [0.0]
        self._labels: list[float] = [0.0]
        self._n_changed = self._n_pixels = 0

    def add(self, first: _Seen, other: _Seen, model: Segmenter | Cascade) -> None:
        if first.maps is None or other.maps is None:
            return
        self._pixels.append(float(np.abs(first.maps - other.maps).max()))
        self._n_changed += count_sides_changed(first.maps, other.maps, model.mask_spec.cleaning)
        self._n_pixels += first.maps.size
        if first.label_scores is not None and other.label_scores is not None:
            self._labels.append(float(np.abs(first.label_scores - other.label_scores).max()))

    @property
    def total(self) -> MapDifferences:
        share = self._n_changed / max(self._n_pixels, 1)
        return MapDifferences(share, float(np.max(self._pixels)), float(np.max(self._labels)))


def find_check_photos(
    model: Path | str,
    spec: ModelSpec,
    needs_labels: bool,
    options: RunOptions,
    progress: Progress,
) -> CheckPhotos:
    """The photos that `options.forms.calibrate` names, else those that the model's run was given.

    Raises OptionError where there are none, DatasetError where labels are needed and missing.
    """
    path = options.forms.calibrate or read_dataset_of(Path(model))
    if path is None or not path.exists():
        was = "" if path is None else f" (there is no {path})"
        raise OptionError(
            f"files are compared on real photos{was}; name a folder of them with {option('--calibrate')}"
        )
    try:
        return read_check_photos(path, spec, options, progress)
    except DatasetError:
        if needs_labels:
            raise
        return read_plain_photos(path, options)
