"""The jobs around a trained model, none of which needs a training framework."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flawmap.errors import PhotoError
from flawmap.records import Evaluation, Photo, Progress, Unreadable, no_progress
from flawmap.stages.predict import (
    PredictionRow,
    PredictOptions,
    check_output,
    list_photos,
    predict_photos,
    write_rows,
)
from flawmap.tools.bundle import read_bundle
from flawmap.tools.photos import PhotoOptions, read_image, read_images
from flawmap.tools.runtime import Classifier, RuntimeOptions

if TYPE_CHECKING:
    from flawmap.pipeline.settings import RunOptions


@dataclass(frozen=True)
class Outcome:
    """What a job says in the end, and the photos it had to leave out."""

    lines: tuple[str, ...]
    """What the command prints."""
    left_out: tuple[Unreadable, ...] = ()
    """Each with `path` and `reason`."""


@dataclass(frozen=True, kw_only=True)
class Evaluated(Outcome):
    """Outcome of `evaluate`."""

    evaluation: Evaluation
    """`evaluation.metrics` holds every figure, under the names of `flawmap evaluate --json`."""


@dataclass(frozen=True)
class Predicted(Outcome):
    """Outcome of `predict`."""

    rows: tuple[PredictionRow, ...] = ()
    """A row per photo, in the order given; empty where they went to a file."""


def load(model: Path | str, options: RuntimeOptions | None = None) -> Classifier:
    """A trained model, ready to `.predict(images)`; `model` is a run folder or the model folder in it."""
    return Classifier(read_bundle(model), options or RuntimeOptions())


def evaluate(
    model: Path | str,
    dataset: Path | str,
    options: RunOptions | None = None,
    *,
    json_file: Path | str | None = None,
    progress: Progress = no_progress,
) -> Evaluated:
    """Measure a model on labelled photos: the test part where parts are given, otherwise all of them.

    Intervals are over sources: those of `options.audit.group_by` or of a manifest's column, else those that
    the model's run found for these photos (its splits.csv), else every photo is one by itself.
    """
    from flawmap.pipeline import texts
    from flawmap.pipeline.preparing import read_labelled
    from flawmap.pipeline.settings import RunOptions
    from flawmap.pipeline.sources import find_groups
    from flawmap.stages.evaluate import Truth, write_evaluation_json
    from flawmap.stages.evaluate import evaluate as judge

    options = (options or RunOptions()).resolved()
    classifier = load(model, RuntimeOptions(n_threads=options.embed.n_threads))
    spec = classifier.spec
    found = read_labelled(Path(dataset), options, progress)
    test_rows = [i for i, part in enumerate(found.parts) if part == "test"]
    rows = test_rows or list(range(len(found)))
    groups, origin = find_groups(classifier.bundle, found, rows, options.audit)
    truth = Truth.from_dataset(found, spec.labels, np.asarray(rows), groups)
    truth = replace(truth, group_origin=origin)
    logits = run_photos(classifier, [found.photos[row] for row in rows], options.photos, progress)
    evaluation = judge(logits, truth, spec, options.evaluate)
    if json_file is not None:
        write_evaluation_json(evaluation, Path(json_file))
    where = f"in {dataset}" + (" (its test part)" if test_rows else "")
    lines = texts.evaluation_lines(evaluation, "evaluated", where)
    return Evaluated(lines=lines, left_out=found.unreadable, evaluation=evaluation)


def predict(
    model: Path | str,
    photos: Path | str | Sequence[Path | str],
    *,
    out: Path | str | None = None,
    runtime_options: RuntimeOptions | None = None,
    max_megapixels: float | None = None,
    progress: Progress = no_progress,
) -> Predicted:
    """Label photos, folders of photos or patterns; rows go to `out` (.csv, .jsonl), or come back.

    A photo that cannot be read is a row with an error. For images in memory: `load(model).predict(images)`.
    """
    from flawmap.pipeline.texts import prediction_lines, prediction_summary_lines

    if out is not None:
        check_output(Path(out))
    paths = list_photos([photos] if isinstance(photos, str | Path) else photos)
    classifier = load(model, runtime_options)
    rows = predict_photos(classifier, paths, PredictOptions(to_photo_options(max_megapixels)), progress)
    if out is None:
        answers = list(rows)
        left_out = tuple(Unreadable(row.path, row.error) for row in answers if row.error)
        return Predicted(prediction_lines(answers), left_out, tuple(answers))
    summary = write_rows(rows, Path(out))
    left_out = tuple(Unreadable(path, reason) for path, reason in summary.errors)
    return Predicted(prediction_summary_lines(summary, out), left_out)


def explain(
    model: Path | str,
    photo: Path | str,
    out: Path | str,
    *,
    label: str | None = None,
    max_megapixels: float | None = None,
) -> tuple[str, ...]:
    """Write a picture of where the model saw what it says about one photo."""
    from flawmap.stages.explain import explain_photo, write_explanation

    classifier = load(model)
    try:
        image = read_image(Path(photo), to_photo_options(max_megapixels))
    except PhotoError as error:
        raise PhotoError(f"{photo}: {error}") from error
    explanation = explain_photo(classifier, image, label)
    write_explanation(image, explanation, Path(out))
    return (f"{photo}: {explanation.label}, probability {explanation.score:.3f}", f"wrote {out}")


def run_photos(
    classifier: Classifier, photos: Sequence[Photo], options: PhotoOptions, progress: Progress = no_progress
) -> np.ndarray:
    """(n, n_labels) logits of photos, decoded ahead of the computing. Raises PhotoError where one changed."""

    def images() -> Iterator[np.ndarray]:
        found = read_images([photo.path for photo in photos], options)
        for n_done, (photo, image) in enumerate(zip(photos, found, strict=True), start=1):
            if isinstance(image, PhotoError):
                raise PhotoError(f"{photo.name} could be read before, and now cannot: {image}")
            yield image
            progress("running the model", n_done, len(photos))

    return classifier.logits(images())


def to_photo_options(max_megapixels: float | None) -> PhotoOptions:
    """PhotoOptions with another pixel cap, or the default one."""
    return (
        PhotoOptions() if max_megapixels is None else replace(PhotoOptions(), max_megapixels=max_megapixels)
    )
