"""What counts as a finding in a large photo, and which surfaces are foreign: chosen after the thresholds.

What surfaces look like comes from the training part, every limit from the validation part.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flawmap.pipeline.preparing import Prepared
from flawmap.pipeline.settings import RunOptions
from flawmap.records import ModelSpec, Progress, no_progress
from flawmap.stages.inspection import ValidationTile, choose_findings, choose_rows, learn_reference
from flawmap.tools.bundle import Bundle, write_spec
from flawmap.tools.classifier_maps import DenseClassifier
from flawmap.tools.familiarity import Reference
from flawmap.tools.photos import read_again
from flawmap.tools.runtime import RuntimeOptions, n_usable_cores


def choose_photo_findings(
    bundle: Bundle, prepared: Prepared, options: RunOptions, progress: Progress = no_progress
) -> Bundle:
    """The model folder with its FindingSpec and its reference written into it; as it was where no label is
    a good one."""
    if not bundle.spec.can_be_good:
        return bundle
    classifier = _open(bundle)
    classifier.reference = _learn_reference(classifier, prepared, options, progress)
    dataset, groups = prepared.dataset, prepared.split.groups
    rows = _choose(prepared, prepared.split.validation)
    photos = read_again([dataset.photos[row] for row in rows], options.photos)
    tiles = (
        ValidationTile(image, is_flawed, groups[row])
        for image, is_flawed, row in zip(photos, dataset.is_flawed[rows].tolist(), rows, strict=True)
    )
    n_threads = options.embed.n_threads or n_usable_cores()
    findings = choose_findings(classifier, tiles, len(rows), n_threads, progress)
    return write_spec(bundle, replace(bundle.spec, findings=findings), classifier.reference)


def keep_limits(
    bundle: Bundle,
    chosen: ModelSpec,
    prepared: Prepared,
    options: RunOptions,
    progress: Progress = no_progress,
) -> Bundle:
    """The folder of a model that went on learning, all limits as they were `chosen` before; what surfaces
    look like is learnt through its own file."""
    findings = chosen.findings
    has_reference = findings is not None and findings.most_distance is not None
    reference = _learn_reference(_open(bundle), prepared, options, progress) if has_reference else None
    spec = replace(bundle.spec, thresholds=chosen.thresholds, findings=findings)
    return write_spec(bundle, spec, reference)


def _open(bundle: Bundle) -> DenseClassifier:
    return DenseClassifier(bundle, RuntimeOptions(n_threads=1))


def _learn_reference(
    classifier: DenseClassifier, prepared: Prepared, options: RunOptions, progress: Progress
) -> Reference:
    rows = _choose(prepared, prepared.split.train)
    shown = read_again([prepared.dataset.photos[row] for row in rows], options.photos)
    n_threads = options.embed.n_threads or n_usable_cores()
    return learn_reference(classifier, shown, len(rows), n_threads, progress)


def _choose(prepared: Prepared, part: np.ndarray) -> list[int]:
    """Rows of a part to look at."""
    return part[choose_rows(prepared.dataset.is_flawed[part].tolist())].tolist()
