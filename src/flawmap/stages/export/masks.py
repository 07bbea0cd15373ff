"""TrainedSegmenter → masks.onnx, written into no folder before it agrees with the network on real photos."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import AgreementError
from flawmap.records import MaskSpec, ModelSpec, Photo, Progress, TrainedSegmenter, no_progress
from flawmap.stages.export.onnx_file import (
    DEFAULT_OPTIONS,
    ExportOptions,
    choose_images,
    evaluating,
    runtimes_here,
    to_file,
    versions,
)
from flawmap.tools.bundle import MASKS, Bundle, write_files
from flawmap.tools.preprocess import to_batch
from flawmap.tools.runtime import RuntimeOptions, open_masks
from flawmap.tools.segmenting import pad_image
from flawmap.tools.tiles import lay_tiles

MAX_SHARE = 1e-4
"""Of the pixels may lie on the other side of the threshold in the file than in the network."""
_EXAMPLE_HW = (96, 160)
_OUTPUTS = {"masks": ("n", None, "h", "w")}


def export_segmenter(
    model: TrainedSegmenter,
    spec: ModelSpec,
    photos: Sequence[Photo],
    folder: Path,
    options: ExportOptions = DEFAULT_OPTIONS,
    progress: Progress = no_progress,
) -> Bundle:
    """Write the model folder; `spec.agreement` and `spec.versions` are filled here.

    Raises AgreementError where more than MAX_SHARE of the pixels change sides, BundleError where the folder
    exists and may not be overwritten.
    """
    progress("export", 0, 2)
    content = to_file(model.network, _EXAMPLE_HW, _OUTPUTS, any_size=True)
    progress("export", 1, 2)
    assert spec.masks is not None
    agreement = check_masks(model.network, content, choose_images(photos, options), spec.masks)
    spec = replace(spec, agreement=agreement, versions={**versions(), **spec.versions})
    bundle = write_files(folder, spec, {MASKS: content}, overwrite=options.overwrite)
    progress("export", 2, 2)
    return bundle


def check_masks(network: Any, content: bytes, images: Sequence[np.ndarray], spec: MaskSpec) -> dict[str, Any]:
    """Compare network and file on (H, W, 3) uint8 images in every runtime here, with the spec's thresholds.

    Returns the largest share of pixels that change sides, and the largest difference of a probability.
    """
    if not images:
        raise AgreementError("an export is checked on real photos; got none that can be read. Add photos.")
    inputs = [_first_piece(image, spec) for image in images]
    with evaluating(network):
        wanted = [_sigmoid(_run_torch(network, one)) for one in inputs]
    limits = np.array(spec.cleaning.thresholds)[:, None, None]
    shares: dict[str, float] = {}
    differences: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as cache:
        for runtime in runtimes_here():
            run = open_masks(content, RuntimeOptions(runtime=runtime, cache=Path(cache)))
            found = [_sigmoid(run(one)[0]) for one in inputs]
            changed = sum(
                int(((a >= limits) != (b >= limits)).sum()) for a, b in zip(wanted, found, strict=True)
            )
            shares[runtime] = changed / sum(one.size for one in wanted)
            differences[runtime] = max(float(np.abs(a - b).max()) for a, b in zip(wanted, found, strict=True))
            if not shares[runtime] <= MAX_SHARE:
                raise AgreementError(
                    f"the exported file and the trained network disagree in {runtime}: {shares[runtime]:.2g} "
                    f"of the pixels change sides of the threshold, at most {MAX_SHARE:g} may. No model was "
                    "written. Train again, or choose another decoder."
                )
    return {
        "n_photos": len(images),
        "max_difference": max(differences.values()),
        "pixels_changed": shares,
        "limit": MAX_SHARE,
    }


def _first_piece(image: np.ndarray, spec: MaskSpec) -> np.ndarray:
    top, left, bottom, right = lay_tiles((image.shape[0], image.shape[1]), spec.piece_px, spec.overlap_px)[0]
    return to_batch([pad_image(image[top:bottom, left:right], spec.multiple)])


def _run_torch(network: Any, batch: np.ndarray) -> np.ndarray:
    """(n_labels, h, w) logits of one photo."""
    import torch

    with torch.inference_mode():
        return network(torch.from_numpy(batch))[0].numpy()


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
