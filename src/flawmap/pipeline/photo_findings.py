"""What counts as a finding in a large photo: chosen on the validation part, right after the thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flawmap.errors import PhotoError
from flawmap.pipeline.preparing import Prepared
from flawmap.pipeline.settings import RunOptions
from flawmap.records import Progress, no_progress
from flawmap.stages.inspection import ValidationTile, choose_findings, choose_rows
from flawmap.tools.bundle import Bundle, write_spec
from flawmap.tools.classifier_maps import DenseClassifier
from flawmap.tools.photos import read_images
from flawmap.tools.runtime import RuntimeOptions, n_usable_cores


def choose_photo_findings(
    bundle: Bundle, prepared: Prepared, options: RunOptions, progress: Progress = no_progress
) -> Bundle:
    """The model folder with its FindingSpec written into it; as it was where no label is a good one."""
    if not bundle.spec.good_labels and not bundle.spec.is_multilabel:
        return bundle
    dataset, split = prepared.dataset, prepared.split
    is_flawed = [bool(dataset.is_flawed[row]) for row in split.validation]
    rows = [int(split.validation[i]) for i in choose_rows(is_flawed)]

    def tiles() -> Iterator[ValidationTile]:
        images = read_images([dataset.photos[row].path for row in rows], options.photos)
        for row, image in zip(rows, images, strict=True):
            if isinstance(image, PhotoError):
                name = dataset.photos[row].name
                raise PhotoError(f"{name} could be read before, and now cannot: {image}")
            yield ValidationTile(image, bool(dataset.is_flawed[row]), split.groups[row])

    n_threads = options.embed.n_threads or n_usable_cores()
    classifier = DenseClassifier(bundle, RuntimeOptions(n_threads=1))
    findings = choose_findings(classifier, tiles(), len(rows), n_threads, progress)
    return write_spec(bundle, replace(bundle.spec, findings=findings))
