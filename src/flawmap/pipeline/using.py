"""The jobs around a trained model, none of which needs a training framework."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flawmap.errors import BundleError, OptionError, option
from flawmap.pipeline.running import run_logits
from flawmap.pipeline.seen_sources import E, with_seen_sources
from flawmap.records import (
    Dataset,
    Evaluation,
    MaskEvaluation,
    ModelSpec,
    Progress,
    Unreadable,
    no_progress,
)
from flawmap.stages.predict import (
    LARGE_TIMES,
    PredictionRow,
    PredictOptions,
    PredictSummary,
    check_output,
    list_photos,
    name_photos,
    predict_photos,
    write_masks,
    write_rows,
)
from flawmap.tools.bundle import read_bundle
from flawmap.tools.files import check_files, check_new_folder, new_folder
from flawmap.tools.mask_files import NAMES, Form, open_mask_writer
from flawmap.tools.photos import PhotoOptions, read_image
from flawmap.tools.runtime import Classifier, RuntimeOptions, to_predictions

if TYPE_CHECKING:
    from flawmap.pipeline.settings import RunOptions
    from flawmap.tools.cascade import Cascade
    from flawmap.tools.segmenting import Segmenter


_TABLE = "results.csv"
"""The rows in a folder of masks; without it a folder is not flawmap's."""


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

    evaluation: Evaluation | MaskEvaluation
    """`evaluation.metrics` holds every figure, under the names of `flawmap evaluate --json`."""


@dataclass(frozen=True)
class Predicted(Outcome):
    """Outcome of `predict`."""

    rows: tuple[PredictionRow, ...] = ()
    """A row per photo, in the order given; empty where they went to a file."""


def load(model: Path | str, options: RuntimeOptions | None = None) -> Classifier | Segmenter | Cascade:
    """A trained model, ready to `.predict(images)`; `model` is a run folder or the model folder in it.

    A model that gives masks comes as a Segmenter or a Cascade, any other as a Classifier. Whichever it is, a
    loop over what `predict` gives has an Answer for each image. Of a classifier it is a Predictions, whose
    arrays hold all images at once; of masks an iterator, which computes as it is asked.
    """
    bundle = read_bundle(model)
    if bundle.spec.task == "cascade":
        from flawmap.tools.cascade import Cascade

        return Cascade(bundle, options or RuntimeOptions())
    if bundle.spec.task == "segmentation":
        from flawmap.tools.segmenting import Segmenter

        return Segmenter(bundle, options or RuntimeOptions())
    return Classifier(bundle, options or RuntimeOptions())


def load_classifier(model: Path | str, options: RuntimeOptions | None = None) -> Classifier:
    """As load(). Raises BundleError for a model that gives masks."""
    loaded = load(model, options)
    if not isinstance(loaded, Classifier):
        raise BundleError(
            f"{model} is a model that gives masks; a classifier was wanted. Its masks show where the flaws "
            f"are: predict with {option('--masks')} and {option('--out')}"
        )
    return loaded


def evaluate(
    model: Path | str,
    dataset: Path | str,
    options: RunOptions | None = None,
    *,
    json_file: Path | str | None = None,
    table: Path | str | None = None,
    progress: Progress = no_progress,
) -> Evaluated:
    """Measure a model on labelled photos: the test part where parts are given, otherwise all of them.

    `json_file` gets every figure, `table` (.csv) a row per photo: what it is, and what the model says.
    Intervals are over sources: those of `options.audit.group_by` or of a manifest's column, else those that
    the model's run found for these photos (its splits.csv), else every photo is one by itself.
    """
    from flawmap.pipeline.outcomes import check_outcomes
    from flawmap.pipeline.preparing import read_labelled
    from flawmap.pipeline.settings import RunOptions
    from flawmap.pipeline.sources import find_groups
    from flawmap.stages.audit import given_groups

    options = (options or RunOptions()).resolved()
    check_files(json_file, inputs=[dataset], holds=['"interval95"', '"n"'])
    check_outcomes(table)
    loaded = load(model, RuntimeOptions(n_threads=options.embed.n_threads))
    found = read_labelled(Path(dataset), options, progress, loaded.spec.labels)
    test_rows = [i for i, part in enumerate(found.parts) if part == "test"]
    rows = test_rows or list(range(len(found)))
    groups, origin = find_groups(loaded.bundle, found, rows, options.audit)
    where = f"in {dataset}" + (" (its test part)" if test_rows else "")
    told = _Told(found, rows, groups, origin, given_groups(found, options.audit) is None, where)
    if isinstance(loaded, Classifier):
        return _evaluate_labels(loaded, told, options, json_file, table, progress)
    return _evaluate_masks(loaded, told, options, json_file, table, progress)


@dataclass(frozen=True)
class _Told:
    """The photos that a model is measured on."""

    dataset: Dataset
    rows: list[int]
    groups: tuple[str, ...] | None
    group_origin: str
    are_groups_found: bool
    where: str

    def with_seen_sources(self, evaluation: E, spec: ModelSpec) -> E:
        """The evaluation, with what it owes to photos of the same sources that were learnt."""
        return with_seen_sources(
            evaluation,
            self.dataset,
            self.rows,
            self.groups,
            spec.training_digests,
            are_found=self.are_groups_found,
        )


def _evaluate_labels(
    classifier: Classifier,
    told: _Told,
    options: RunOptions,
    json_file: Path | str | None,
    table: Path | str | None,
    progress: Progress,
) -> Evaluated:
    from flawmap.pipeline import texts
    from flawmap.pipeline.outcomes import write_label_outcomes
    from flawmap.pipeline.tasks import to_labels
    from flawmap.stages.evaluate import Truth, write_evaluation_json
    from flawmap.stages.evaluate import evaluate as judge

    spec, found = classifier.spec, told.dataset
    if found.has_masks:
        found = to_labels(found, is_multilabel=spec.is_multilabel)
    truth = Truth.from_dataset(found, spec.labels, np.asarray(told.rows), told.groups)
    truth = replace(truth, group_origin=told.group_origin)
    photos = [found.photos[row] for row in told.rows]
    logits = run_logits(classifier, photos, options.photos, progress)
    evaluation = told.with_seen_sources(judge(logits, truth, spec, options.evaluate), spec)
    if json_file is not None:
        write_evaluation_json(evaluation, Path(json_file))
    if table is not None:
        write_label_outcomes(Path(table), truth, to_predictions(logits, spec))
    lines = texts.evaluation_lines(evaluation, "evaluated", told.where)
    return Evaluated(lines=lines, left_out=found.unreadable, evaluation=evaluation)


def _evaluate_masks(
    model: Segmenter | Cascade,
    told: _Told,
    options: RunOptions,
    json_file: Path | str | None,
    table: Path | str | None,
    progress: Progress,
) -> Evaluated:
    from flawmap.pipeline import mask_texts
    from flawmap.pipeline.mask_evaluating import evaluate_mask_model
    from flawmap.pipeline.outcomes import write_mask_outcomes
    from flawmap.stages.evaluate_masks import write_mask_evaluation_json

    evaluation = evaluate_mask_model(model, told.dataset, told.rows, told.groups, options, progress)
    evaluation = told.with_seen_sources(evaluation, model.spec)
    if json_file is not None:
        write_mask_evaluation_json(evaluation, Path(json_file))
    if table is not None:
        groups = None if told.groups is None else [told.groups[row] for row in told.rows]
        write_mask_outcomes(Path(table), evaluation.rows, groups)
    lines = mask_texts.mask_evaluation_lines(evaluation, "evaluated", told.where)
    return Evaluated(lines=lines, left_out=told.dataset.unreadable, evaluation=evaluation)


def predict(  # noqa: PLR0913 - what is read, how, and what is written
    model: Path | str,
    photos: Path | str | Sequence[Path | str],
    *,
    out: Path | str | None = None,
    masks: Form | None = None,
    runtime_options: RuntimeOptions | None = None,
    max_megapixels: float | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Predicted:
    """Label photos, folders of photos or patterns; rows go to `out` (.csv, .jsonl), or come back.

    With `masks`, `out` is a folder: the masks go there in that form, and the rows into results.csv. Earlier
    results there are replaced as a whole, with `overwrite` only. A photo that cannot be read is a row with an
    error. For images in memory: `load(model).predict(images)`.

    Raises OptionError for a photo, folder or pattern that is not there, and where `out` cannot be written or
    holds anything else.
    """
    from flawmap.pipeline.texts import large_photos_lines, prediction_lines, prediction_summary_lines

    given = [photos] if isinstance(photos, str | Path) else photos
    place = _check_out(out, masks, overwrite)
    paths = list_photos(given)
    if masks is not None and place is not None:
        _check_not_read(place, paths)
    loaded = load(model, runtime_options)
    rows = predict_photos(loaded, paths, PredictOptions(to_photo_options(max_megapixels)), progress)
    large = _LargePhotos(loaded.spec)
    rows = large.count(rows)
    if place is None:
        answers = list(rows)
        left_out = tuple(Unreadable(row.path, row.error) for row in answers if row.error)
        lines = prediction_lines(answers) + large_photos_lines(large.n, loaded.spec)
        return Predicted(lines, left_out, tuple(answers))
    if masks is None:
        summary = write_rows(rows, place)
    else:
        summary = _write_masks(loaded, rows, name_photos(given), masks, place)
    left_out = tuple(Unreadable(path, reason) for path, reason in summary.errors)
    lines = prediction_summary_lines(summary, out or place) + large_photos_lines(large.n, loaded.spec)
    return Predicted(lines, left_out)


class _LargePhotos:
    """Counts photos that are far larger than what a classifier was trained on, as their rows pass."""

    def __init__(self, spec: ModelSpec) -> None:
        self.n = 0
        # Masks are computed piece by piece, whatever the size.
        self._most_px = None if spec.masks is not None else LARGE_TIMES * max(spec.tile_hw)

    def count(self, rows: Iterable[PredictionRow]) -> Iterator[PredictionRow]:
        """The rows as they come."""
        for row in rows:
            if row.size_hw is not None and self._most_px is not None:
                self.n += max(row.size_hw) > self._most_px
            yield row


def _check_out(out: Path | str | None, masks: Form | None, overwrite: bool) -> Path | None:
    """Where the rows go, with masks the folder of both; None: they come back. Raises OptionError."""
    if masks is None:
        if out is not None:
            check_output(Path(out))
        return None if out is None else Path(out)
    if out is None or Path(out).is_file() or Path(out).suffix.lower() in (".csv", ".jsonl"):
        found = "none" if out is None else f"{out}"
        raise OptionError(
            f"{option('--masks')} writes files into a folder; {option('--out')} is {found}: name a folder"
        )
    folder = Path(out)
    check_new_folder(folder)
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    strange = [name for name in there if name not in (_TABLE, *NAMES) or _TABLE not in there]
    if strange:
        raise OptionError(
            f"{folder} holds {strange[0]}, which is no result of {option('--masks')}; name an empty or a new "
            "folder"
        )
    if there:
        check_output(folder / _TABLE)
    if there and not overwrite:
        raise OptionError(
            f"{folder} holds earlier results; add {option('--overwrite')} to replace them all, or name "
            "another folder"
        )
    return folder


def _check_not_read(folder: Path, photos: Sequence[str]) -> None:
    """Raise OptionError where a folder that is to be replaced holds what is read."""
    inside = next((photo for photo in photos if folder.resolve() in Path(photo).resolve().parents), None)
    if inside is not None:
        raise OptionError(f"cannot write {folder}: {inside} is read here. Name another folder.")


def _write_masks(
    model: Classifier | Segmenter | Cascade,
    rows: Iterable[PredictionRow],
    names: Mapping[str, str],
    form: Form,
    folder: Path,
) -> PredictSummary:
    """Masks and results.csv in `folder`, which is whole or as it was before."""
    masks = model.spec.masks
    if masks is None:
        raise OptionError(
            f"this model says what a photo shows, not where; leave out {option('--masks')}, or train on "
            "photos with masks"
        )
    with new_folder(folder) as unfinished:
        writer = open_mask_writer(form, unfinished, model.spec.labels, not masks.cleaning.is_exclusive)
        return write_rows(write_masks(rows, names, writer), unfinished / _TABLE)


def explain(
    model: Path | str,
    photo: Path | str,
    out: Path | str,
    *,
    label: str | None = None,
    max_megapixels: float | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write a picture of where the model saw what it says about one photo.

    Raises OptionError where `out` is there already, without `overwrite`.
    """
    from flawmap.stages.explain import check_picture, explain_photo, write_explanation

    check_picture(Path(out))
    check_files(out, inputs=[photo], overwrite=overwrite)
    classifier = load_classifier(model)
    image = read_image(photo, to_photo_options(max_megapixels))
    explanation = explain_photo(classifier, image, label)
    write_explanation(image, explanation, Path(out))
    return (f"{photo}: {explanation.label}, probability {explanation.score:.3f}", f"wrote {out}")


def to_photo_options(max_megapixels: float | None) -> PhotoOptions:
    """PhotoOptions with another pixel cap, or the default one."""
    return (
        PhotoOptions() if max_megapixels is None else replace(PhotoOptions(), max_megapixels=max_megapixels)
    )
