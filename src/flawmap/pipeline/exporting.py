"""A model folder in another form, and how fast each form is. Neither needs a training framework."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flawmap.errors import AgreementError, BundleError, OptionError, option
from flawmap.pipeline.using import Outcome, load
from flawmap.records import FileKind, Precision, Progress, no_progress
from flawmap.stages.export.agreement import Agreement
from flawmap.stages.export.forms import choose_rows, prepare_calibration, require_form, to_form
from flawmap.tools.bundle import Bundle, check_place, files_of, read_bundle, write_files
from flawmap.tools.classifier_maps import is_dense, looks_as_chosen
from flawmap.tools.photos import read_images
from flawmap.tools.plain import to_plain
from flawmap.tools.runtime import RuntimeOptions

if TYPE_CHECKING:
    from flawmap.pipeline.agreeing import CheckPhotos, Form, Loaded
    from flawmap.pipeline.settings import RunOptions


@dataclass(frozen=True, kw_only=True)
class Exported(Outcome):
    """Outcome of `export`."""

    folder: Path
    """The model folder that was written."""
    agreement: Agreement
    """What was measured before it was written."""


def export(
    model: Path | str,
    out: Path | str,
    to: FileKind,
    *,
    precision: Precision = "float32",
    options: RunOptions | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Exported:
    """Write a model folder in another form or precision, if it answers as the folder it is made from.

    `options.forms.calibrate` names photos like those to come: labelled ones for a reduced
    precision, any for float32; by default the data set that the model's run was given. int8 is fitted to some
    of them and checked on others.
    Raises AgreementError, and writes nothing, where F1 (of masks: Dice) falls by more than 0.005 or more than
    1 % of the labels (pixels) change; in float32 where a probability differs by more than 1e-3.
    """
    from flawmap.pipeline.agreeing import compare_models, find_check_photos
    from flawmap.pipeline.settings import RunOptions

    options = (options or RunOptions()).resolved()
    bundle = read_plain_bundle(model)
    require_form(to, precision, bundle.spec)
    check_place(Path(out), overwrite)
    if Path(out).resolve() == bundle.folder.resolve():
        raise BundleError(f"{out} is the model that is read here. Choose another folder.")
    is_reduced = precision != "float32"
    found = find_check_photos(model, bundle.spec, is_reduced, options, progress)
    calibration, check = divide(found, bundle, [precision], options)
    prepared = prepare_calibration(bundle.spec, read_calibration(calibration, options))
    progress("converting the model", 0, 1)
    spec, files = to_form(bundle, to, precision, prepared, options.cache)
    progress("converting the model", 1, 1)
    runtime = RuntimeOptions(n_threads=options.embed.n_threads, cache=options.cache)
    with tempfile.TemporaryDirectory() as folder:
        candidate = write_files(Path(folder) / "model", spec, files)
        base = load(bundle.folder, runtime)
        others: dict[Form, Loaded] = {(to, precision): load(candidate.folder, runtime)}
        agreement = compare_models(base, others, check, options, progress)[to, precision]
    if not agreement.passes:
        raise AgreementError(
            f"{to} in {precision} does not answer as {bundle.folder} does on {agreement.n_photos:,} photos: "
            f"{'; '.join(agreement.failures)}. No folder was written. {_remedy(precision, agreement)}"
        )
    measured = {
        "form": {**to_plain(agreement), "n_calibration": len(calibration.photos) if calibration else 0}
    }
    spec = replace(spec, agreement={**bundle.spec.agreement, **measured})
    written = write_files(Path(out), spec, files, overwrite=overwrite)
    before = f"(before: {size_mb(bundle):.1f} MB)"
    lines = (
        f"wrote {written.folder}: {to} in {precision}, {size_mb(written):.1f} MB {before}",
        f"  {agreement.text}",
        *_crop_lines(written),
    )
    return Exported(lines=lines, left_out=found.unreadable, folder=written.folder, agreement=agreement)


def _crop_lines(written: Bundle) -> tuple[str, ...]:
    """What a classifier's file means for `inspect` where that can only show it crops."""
    spec = written.spec
    if spec.masks is not None or spec.form.is_plain or is_dense(written.model_path):
        return ()
    if not looks_as_chosen(spec, is_dense=False):
        return ("  for predict alone: inspect can only show it crops, for which its limits were not chosen",)
    return ("  inspect shows it crops that overlap by half: findings in large photos are coarser",)


def _remedy(precision: Precision, agreement: Agreement) -> str:
    """What may help where a file does not answer as its model does."""
    compare = "'flawmap benchmark' (Python: flawmap.benchmark) compares every form and precision"
    if precision != "float32" and agreement.n_needed is not None:
        fitted = ", besides those that it is fitted to" if precision == "int8" else ""
        return (
            f"One changed label alone breaks the limit here; on about {agreement.n_needed:,} photos or more "
            f"it does not: name as many with {option('--calibrate')}{fitted}, or choose another precision; "
            f"{compare}."
        )
    if precision == "int8":
        more = f"Fit it to more photos like those to come with {option('--calibrate')}"
        return f"{more}, or choose another precision; {compare}."
    return f"Choose another precision or form; {compare}."


def read_plain_bundle(model: Path | str) -> Bundle:
    """The model folder as training wrote it. Raises BundleError for one that was made from such."""
    bundle = read_bundle(model)
    form = bundle.spec.form
    if not form.is_plain:
        raise BundleError(
            f"{bundle.folder} holds {form.kind} files in {form.precision}, which cannot be turned into "
            "another form. Give the folder that training wrote."
        )
    return bundle


def size_mb(bundle: Bundle) -> float:
    """Of the files that carry a digest, in millions of bytes."""
    return sum((bundle.folder / name).stat().st_size for name in files_of(bundle.spec)) / 1e6


def divide(
    found: CheckPhotos, bundle: Bundle, precisions: Sequence[Precision], options: RunOptions
) -> tuple[CheckPhotos | None, CheckPhotos]:
    """Photos to calibrate on (where int8 is among the precisions) and photos to check on.

    Raises OptionError where there are too few for both.
    """
    n_calibration = options.forms.n_calibration if "int8" in precisions else 0
    limits = options.forms
    if set(precisions) == {"float32"}:
        limits = replace(limits, n_check=limits.n_check_float32)
    for_calibration, for_check = choose_rows(
        found.digests, bundle.spec.training_digests, limits, n_calibration
    )
    if n_calibration and (not for_calibration or not for_check):
        raise OptionError(
            f"int8 is fitted to some photos and checked on others; got {len(found.photos)}. Give more with "
            f"{option('--calibrate')}"
        )
    return found.take(for_calibration) if for_calibration else None, found.take(for_check)


def read_calibration(calibration: CheckPhotos | None, options: RunOptions) -> Iterator[np.ndarray]:
    """The photos, one after the other, (H, W, 3) uint8; nothing where there are none to calibrate on."""
    photos = calibration.photos if calibration else ()
    found = read_images([photo.path for photo in photos], options.photos)
    return (image for image in found if isinstance(image, np.ndarray))
