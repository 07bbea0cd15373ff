"""TrainedSegmenter → masks.onnx, written into no folder before it agrees with the network on real photos."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import AgreementError
from flawmap.records import MaskSpec, ModelSpec, Photo, Progress, TrainedSegmenter, no_progress
from flawmap.stages.export.agreement import MAX_PIXEL_DIFFERENCE, MAX_PIXEL_SHARE, count_sides_changed
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
from flawmap.tools.scores import sigmoid
from flawmap.tools.segmenting import first_piece

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

    Raises AgreementError where file and network differ (see check_masks), BundleError where the folder exists
    and may not be overwritten.
    """
    progress("exporting the model, steps", 0, 2)
    from flawmap.tools.backbones import spare_work

    content = to_file(spare_work(model.network), _EXAMPLE_HW, _OUTPUTS, any_size=True)
    progress("exporting the model, steps", 1, 2)
    assert spec.masks is not None
    agreement = check_masks(model.network, content, choose_images(photos, options), spec.masks)
    spec = replace(spec, agreement=agreement, versions={**versions(), **spec.versions})
    bundle = write_files(folder, spec, {MASKS: content}, overwrite=options.overwrite)
    progress("exporting the model, steps", 2, 2)
    return bundle


def check_masks(network: Any, content: bytes, images: Iterable[np.ndarray], spec: MaskSpec) -> dict[str, Any]:
    """Compare network and file on (H, W, 3) uint8 images in every runtime here, with the spec's thresholds.

    Returns the largest share of pixels that change sides, and the largest difference of a probability. Raises
    AgreementError where one is above MAX_PIXEL_SHARE or MAX_PIXEL_DIFFERENCE. One image is held at a time.
    """
    n_photos = n_pixels = 0
    changed: dict[str, int] = dict.fromkeys(runtimes_here(), 0)
    differences: dict[str, float] = dict.fromkeys(runtimes_here(), 0.0)
    with tempfile.TemporaryDirectory() as cache, evaluating(network):
        runs = {
            name: open_masks(content, RuntimeOptions(runtime=name, cache=Path(cache)))
            for name in runtimes_here()
        }
        for image in images:
            piece = to_batch([first_piece(image, spec)])
            wanted = sigmoid(_run_torch(network, piece))
            n_photos, n_pixels = n_photos + 1, n_pixels + wanted.size
            for name, run in runs.items():
                found = sigmoid(run(piece)[0])
                changed[name] += count_sides_changed(wanted, found, spec.cleaning)
                worst = np.maximum(differences[name], np.abs(wanted - found).max())  # keeps what is no number
                differences[name] = float(worst)
    if not n_photos:
        raise AgreementError("an export is checked on real photos; got none that can be read. Add photos.")
    shares = {name: n / n_pixels for name, n in changed.items()}
    _refuse_differences(shares, differences)
    return {
        "n_photos": n_photos,
        "max_difference": max(differences.values()),
        "pixels_changed": shares,
        "limit": MAX_PIXEL_SHARE,
    }


def _refuse_differences(shares: Mapping[str, float], differences: Mapping[str, float]) -> None:
    for name, share in shares.items():
        if (
            share <= MAX_PIXEL_SHARE and differences[name] <= MAX_PIXEL_DIFFERENCE
        ):  # false where one is not a number
            continue
        raise AgreementError(
            f"the exported file and the trained network disagree in {name}: {share:.2g} of the pixels change "
            f"sides of the threshold, at most {MAX_PIXEL_SHARE:g} may, and a probability differs by "
            f"{differences[name]:.2g}, at most {MAX_PIXEL_DIFFERENCE:g} is allowed. No model was written. "
            "Train again, or choose another decoder."
        )


def _run_torch(network: Any, batch: np.ndarray) -> np.ndarray:
    """(n_labels, h, w) logits of one photo."""
    import torch

    with torch.inference_mode():
        return network(torch.from_numpy(batch))[0].numpy()
