"""What counts as a finding in a large photo, and which surfaces are foreign: chosen after the thresholds.

What surfaces look like comes from the training part, every limit from the validation part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from flawmap.errors import PhotoError
from flawmap.pipeline.preparing import Prepared
from flawmap.pipeline.settings import RunOptions
from flawmap.records import Progress, no_progress
from flawmap.stages.inspection import ValidationTile, choose_findings, choose_rows, learn_reference
from flawmap.tools.bundle import Bundle, write_spec
from flawmap.tools.classifier_maps import DenseClassifier
from flawmap.tools.photos import read_images
from flawmap.tools.runtime import RuntimeOptions, n_usable_cores


def choose_photo_findings(
    bundle: Bundle, prepared: Prepared, options: RunOptions, progress: Progress = no_progress
) -> Bundle:
    """The model folder with its FindingSpec and its reference written into it; as it was where no label is
    a good one."""
    if not bundle.spec.good_labels and not bundle.spec.is_multilabel:
        return bundle
    dataset, split = prepared.dataset, prepared.split
    is_flawed = [bool(dataset.is_flawed[row]) for row in split.validation]
    rows = [int(split.validation[i]) for i in choose_rows(is_flawed)]
    training = [
        int(split.train[i]) for i in choose_rows([bool(dataset.is_flawed[row]) for row in split.train])
    ]

    def read(rows: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        images = read_images([dataset.photos[row].path for row in rows], options.photos)
        for row, image in zip(rows, images, strict=True):
            if isinstance(image, PhotoError):
                name = dataset.photos[row].name
                raise PhotoError(f"{name} could be read before, and now cannot: {image}")
            yield row, image

    n_threads = options.embed.n_threads or n_usable_cores()
    classifier = DenseClassifier(bundle, RuntimeOptions(n_threads=1))
    shown = (image for _, image in read(training))
    reference = learn_reference(classifier, shown, len(training), n_threads, progress)
    classifier.reference = reference
    tiles = (
        ValidationTile(image, bool(dataset.is_flawed[row]), split.groups[row]) for row, image in read(rows)
    )
    findings = choose_findings(classifier, tiles, len(rows), n_threads, progress)
    return write_spec(bundle, replace(bundle.spec, findings=findings), reference)
