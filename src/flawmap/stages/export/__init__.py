"""TrainedModel → model folder. Nothing is written before file and network agree on real photos.

An export that disagrees raises AgreementError and leaves no folder; there is no option to skip the check.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import AgreementError
from flawmap.records import LinearHead, ModelSpec, Photo, Preprocessing, Progress, TrainedModel, no_progress
from flawmap.stages.export.agreement import MAX_DIFFERENCE
from flawmap.stages.export.masks import export_segmenter
from flawmap.stages.export.onnx_file import (
    DEFAULT_OPTIONS,
    ExportOptions,
    choose_images,
    evaluating,
    runtimes_here,
    takes_any_size,
    to_file,
    versions,
)
from flawmap.tools.bundle import Bundle, write_bundle
from flawmap.tools.preprocess import fit_image, to_batch
from flawmap.tools.runtime import RuntimeOptions, open_network
from flawmap.tools.scores import to_probabilities

__all__ = ["ExportOptions", "check_agreement", "export", "export_segmenter", "to_onnx", "versions"]

_OUTPUTS = {"features": ("n", None, "h_out", "w_out"), "logits": ("n", None)}
N_TOGETHER = 8
"""Photos that are also run as one batch."""
LARGER = 2
"""The file is also tried on photos of this many times the input's height and width."""


def export(
    model: TrainedModel,
    spec: ModelSpec,
    photos: Sequence[Photo],
    folder: Path,
    options: ExportOptions = DEFAULT_OPTIONS,
    progress: Progress = no_progress,
) -> Bundle:
    """Write the model folder; `spec.agreement` and `spec.versions` are filled here.

    Raises AgreementError where the file and the network differ by more than MAX_DIFFERENCE, BundleError where
    the folder exists and may not be overwritten.
    """
    progress("exporting the model, steps", 0, 2)
    head = model.network.get_head()
    content = to_onnx(model.network, spec.preprocessing)
    progress("exporting the model, steps", 1, 2)
    images = list(choose_images(photos, options))
    agreement = check_agreement(model.network, content, head, images, spec)
    spec = replace(spec, agreement=agreement, versions={**versions(), **spec.versions})
    bundle = write_bundle(folder, spec, content, head, overwrite=options.overwrite)
    progress("exporting the model, steps", 2, 2)
    return bundle


def to_onnx(network: Any, preprocessing: Preprocessing) -> bytes:
    """A classifier (n, 3, h, w) float32 0..255 → (features, logits) as an ONNX file, weights inside.

    n, h and w are open; for a network that takes one size only (transformers), n alone.
    """
    with evaluating(network):
        any_size = takes_any_size(network, preprocessing)
    return to_file(network, preprocessing.input_hw, _OUTPUTS, any_size=any_size)


def check_agreement(
    network: Any, content: bytes, head: LinearHead, images: Sequence[np.ndarray], spec: ModelSpec
) -> dict[str, Any]:
    """Compare network and file on (H, W, 3) uint8 images: alone, as one batch, enlarged; in every runtime
    here.

    Returns the largest differences of a probability. Raises AgreementError where one exceeds MAX_DIFFERENCE.
    """
    if not images:
        raise AgreementError("an export is checked on real photos; got none that can be read. Add photos.")
    batch = to_batch([fit_image(image, spec.preprocessing) for image in images])
    with evaluating(network):
        any_size = takes_any_size(network, spec.preprocessing)
        larger = _larger_batch(images, spec.preprocessing) if any_size else None
        wanted = _run_torch(network, batch)
        wanted_larger = None if larger is None else _run_torch(network, larger)
    runtimes: dict[str, float] = {}
    larger_differences: dict[str, float] = {}
    head_differences: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as cache:
        for runtime in runtimes_here():
            run = open_network(content, RuntimeOptions(runtime=runtime, cache=Path(cache)))
            alone = np.concatenate([run(batch[i : i + 1])[1] for i in range(len(batch))])
            features, together = run(batch[:N_TOGETHER])
            runtimes[runtime] = max(
                _difference(wanted, alone, spec), _difference(wanted[:N_TOGETHER], together, spec)
            )
            head_differences[runtime] = _difference(together, _apply(head, features, spec), spec)
            if larger is not None and wanted_larger is not None:
                larger_differences[runtime] = _difference(wanted_larger, run(larger)[1], spec)
    groups = {"runtimes": runtimes, "larger_input": larger_differences, "head": head_differences}
    worst = _largest(groups)
    return {"n_photos": len(images), "max_difference": worst, "limit": MAX_DIFFERENCE, **groups}


def _largest(groups: dict[str, dict[str, float]]) -> float:
    """The largest difference of all. Raises AgreementError where it is not within MAX_DIFFERENCE."""
    what = {
        "runtimes": "the exported file and the trained network",
        "larger_input": f"the exported file and the trained network, on photos {LARGER} times as large,",
        "head": "the exported file and the weights beside it",
    }
    worst = 0.0
    for group, differences in groups.items():
        for runtime, difference in differences.items():
            if not difference <= MAX_DIFFERENCE:  # so that not-a-number fails too
                raise AgreementError(
                    f"{what[group]} disagree in {runtime}: a probability differs by {difference:.2g}, at "
                    f"most {MAX_DIFFERENCE:g} is allowed. No model was written. Train again, or choose "
                    "another backbone."
                )
            worst = max(worst, difference)
    return worst


def _larger_batch(images: Sequence[np.ndarray], preprocessing: Preprocessing) -> np.ndarray:
    height, width = preprocessing.input_hw
    enlarged = replace(preprocessing, input_hw=(LARGER * height, LARGER * width))
    return to_batch([fit_image(image, enlarged) for image in images[:2]])


def _run_torch(network: Any, batch: np.ndarray) -> np.ndarray:
    """(n, n_labels) logits of the network."""
    import torch

    with torch.inference_mode():
        pieces = [network(torch.from_numpy(batch[i : i + 8]))[1].numpy() for i in range(0, len(batch), 8)]
    return np.concatenate(pieces)


def _apply(head: LinearHead, features: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Logits from the file's features and the weights beside it, which the class-activation map relies on."""
    pooled = features.mean(axis=(2, 3))
    if spec.cut.pooling == "average+maximum":
        pooled = np.concatenate([pooled, features.max(axis=(2, 3))], axis=1)
    if pooled.shape[1] != head.weight.shape[1]:
        raise AgreementError(
            f"the head takes {head.weight.shape[1]} inputs; the file's features give {pooled.shape[1]} with "
            f"{spec.cut.pooling}. No model was written."
        )
    return pooled @ head.weight.T + head.bias


def _difference(wanted: np.ndarray, found: np.ndarray, spec: ModelSpec) -> float:
    t, is_multilabel = spec.thresholds.temperature, spec.is_multilabel
    return float(
        np.abs(to_probabilities(wanted, t, is_multilabel) - to_probabilities(found, t, is_multilabel)).max()
    )
