"""TrainedSegmenter → masks.onnx, written into no folder before it agrees with the network on real photos."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import AgreementError
from flawmap.records import Cleaning, MaskSpec, ModelSpec, Photo, Progress, TrainedSegmenter, no_progress
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
MAX_DIFFERENCE = 1e-2
"""Of any pixel's probability. Rounding, which sharp edges enlarge, stays far below it."""
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
    progress("export", 0, 2)
    from flawmap.tools.backbones import spare_upsampling

    content = to_file(spare_upsampling(model.network), _EXAMPLE_HW, _OUTPUTS, any_size=True)
    progress("export", 1, 2)
    assert spec.masks is not None
    agreement = check_masks(model.network, content, choose_images(photos, options), spec.masks)
    spec = replace(spec, agreement=agreement, versions={**versions(), **spec.versions})
    bundle = write_files(folder, spec, {MASKS: content}, overwrite=options.overwrite)
    progress("export", 2, 2)
    return bundle


def check_masks(network: Any, content: bytes, images: Iterable[np.ndarray], spec: MaskSpec) -> dict[str, Any]:
    """Compare network and file on (H, W, 3) uint8 images in every runtime here, with the spec's thresholds.

    Returns the largest share of pixels that change sides, and the largest difference of a probability. Raises
    AgreementError where one is above MAX_SHARE or MAX_DIFFERENCE. One image is held at a time.
    """
    n_photos = n_pixels = 0
    changed: dict[str, int] = dict.fromkeys(runtimes_here(), 0)
    differences: dict[str, float] = dict.fromkeys(runtimes_here(), 0.0)
    with tempfile.TemporaryDirectory() as cache, evaluating(network):
        options = [RuntimeOptions(runtime=name, cache=Path(cache)) for name in runtimes_here()]
        runs = {one.runtime: open_masks(content, one) for one in options}
        for image in images:
            piece = _first_piece(image, spec)
            wanted = _sigmoid(_run_torch(network, piece))
            n_photos, n_pixels = n_photos + 1, n_pixels + wanted.size
            for name, run in runs.items():
                found = _sigmoid(run(piece)[0])
                changed[name] += _count_changed(wanted, found, spec.cleaning)
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
        "limit": MAX_SHARE,
    }


def _count_changed(wanted: np.ndarray, found: np.ndarray, cleaning: Cleaning) -> int:
    """Pixels on another side of the threshold or, where that differs, of the low threshold."""
    changed = np.zeros(wanted.shape, bool)
    for limits in (cleaning.thresholds, cleaning.lows):
        sides = np.array(limits)[:, None, None]
        changed |= (wanted >= sides) != (found >= sides)
    return int(changed.sum())


def _refuse_differences(shares: Mapping[str, float], differences: Mapping[str, float]) -> None:
    for name, share in shares.items():
        if share <= MAX_SHARE and differences[name] <= MAX_DIFFERENCE:  # false where one is not a number
            continue
        raise AgreementError(
            f"the exported file and the trained network disagree in {name}: {share:.2g} of the pixels change "
            f"sides of the threshold, at most {MAX_SHARE:g} may, and a probability differs by "
            f"{differences[name]:.2g}, at most {MAX_DIFFERENCE:g} is allowed. No model was written. Train "
            "again, or choose another decoder."
        )


def _first_piece(image: np.ndarray, spec: MaskSpec) -> np.ndarray:
    top, left, bottom, right = lay_tiles((image.shape[0], image.shape[1]), spec.piece_px, spec.overlap_px)[0]
    return to_batch([pad_image(image[top:bottom, left:right], spec.multiple)])


def _run_torch(network: Any, batch: np.ndarray) -> np.ndarray:
    """(n_labels, h, w) logits of one photo."""
    import torch

    with torch.inference_mode():
        return network(torch.from_numpy(batch))[0].numpy()


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -60, 60)))
