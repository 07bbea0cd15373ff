"""Photos to masks through a model folder, without a training framework.

As with classifiers, a photo's answer never depends on its neighbours: every piece is a batch of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from flawmap.records import Answer, MaskSpec, ModelSpec, PhotoMask
from flawmap.tools.bundle import Bundle
from flawmap.tools.mask_cleaning import clean_masks
from flawmap.tools.masks import to_photo_mask
from flawmap.tools.preprocess import check_image, check_images, to_batch
from flawmap.tools.runtime import (
    DEFAULT_OPTIONS,
    MaskNetwork,
    RuntimeOptions,
    map_ordered,
    n_usable_cores,
    open_masks,
)
from flawmap.tools.tiles import blend_weights, edge_ramp, lay_tiles

_FLIPS: tuple[tuple[int, ...], ...] = ((), (2,), (1,), (1, 2))
"""Axes of (labels, h, w): as it is, left-right, up-down, both."""


def pad_image(image: np.ndarray, multiple: int) -> np.ndarray:
    """(H, W, 3) with both sides filled up to a multiple by mirroring at the bottom and the right."""
    missing = [-side % multiple for side in image.shape[:2]]
    return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


def first_piece(image: np.ndarray, spec: MaskSpec) -> np.ndarray:
    """(H, W, 3) uint8 → its top left piece as the network takes it; of a small photo all of it."""
    top, left, bottom, right = lay_tiles((image.shape[0], image.shape[1]), spec.piece_px, spec.overlap_px)[0]
    return pad_image(image[top:bottom, left:right], spec.multiple)


def to_probabilities(network: MaskNetwork, image: np.ndarray, spec: MaskSpec) -> np.ndarray:
    """(H, W, 3) uint8 RGB → (n_labels, H, W) float32; pieces of a large photo are blended by weight."""
    bands = list(
        stream_pieces(
            lambda piece: of_piece(network, piece, spec),
            lambda top, bottom: image[top:bottom],
            image.shape[:2],
            (spec.piece_px, spec.overlap_px),
        )
    )
    return bands[0] if len(bands) == 1 else np.concatenate(bands, axis=1)


def stream_pieces(
    find: Callable[[np.ndarray], np.ndarray],
    read: Callable[[int, int], np.ndarray],
    size_hw: tuple[int, ...],
    piece_and_overlap_px: tuple[int, int],
    *,
    n_threads: int = 1,
    strongest: bool = False,
) -> Iterator[np.ndarray]:
    """A photo of any size through `find`, (h, w, 3) uint8 → (n_labels, h, w) float32, piece by piece.

    Gives bands (n_labels, h, W) from the top. Where pieces overlap they are blended by weight, or, with
    `strongest`, the highest value counts. `read(top, bottom)` → rows of the photo, whose numbers rise. Memory
    is that of a row of pieces.
    """
    (height, width), (piece_px, overlap_px) = size_hw, piece_and_overlap_px
    boxes = lay_tiles((height, width), piece_px, overlap_px)
    if len(boxes) == 1:
        yield find(read(0, height))
        return
    tops = sorted({top for top, *_ in boxes})
    spans = [(left, right) for top, left, _, right in boxes if top == 0]
    down = _total_weights([(top, min(top + piece_px, height)) for top in tops], height, overlap_px)
    across = _total_weights(spans, width, overlap_px)
    left_over: np.ndarray | None = None
    for top, following in zip(tops, [*tops[1:], height], strict=True):
        rows = read(top, min(top + piece_px, height))
        weight = blend_weights((len(rows), min(piece_px, width)), overlap_px)
        total: np.ndarray | None = None
        pieces = (rows[:, left:right] for left, right in spans)
        for (left, right), found in zip(spans, map_ordered(find, pieces, n_threads), strict=True):
            if total is None:
                total = np.zeros((len(found), len(rows), width), np.float32)
                if left_over is not None:
                    total[:, : left_over.shape[1]] = left_over
            place = total[:, :, left:right]
            place[:] = np.maximum(place, found) if strongest else place + found * weight
        assert total is not None
        left_over = total[:, following - top :].copy()
        band = total[:, : following - top]
        if not strongest:
            band /= down[top:following, None] * across
        yield band


def _total_weights(spans: Sequence[tuple[int, int]], side: int, overlap_px: int) -> np.ndarray:
    total = np.zeros(side, np.float32)
    for start, end in spans:
        total[start:end] += edge_ramp(end - start, overlap_px)
    return total


def of_piece(network: MaskNetwork, image: np.ndarray, spec: MaskSpec) -> np.ndarray:
    """One piece → (n_labels, h, w) float32, as any photo that needs no cutting."""
    height, width = image.shape[:2]
    batch = to_batch([pad_image(image, spec.multiple)])
    flips = _FLIPS if spec.flips else _FLIPS[:1]
    found = None
    for axes in flips:
        turned = np.flip(batch[0], axes)[None] if axes else batch
        answer = _sigmoid(network(np.ascontiguousarray(turned))[0])
        answer = np.flip(answer, axes) if axes else answer
        found = answer if found is None else found + answer
    assert found is not None
    return np.ascontiguousarray(found[:, :height, :width]) / np.float32(len(flips))


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -60, 60)))


class Segmenter:
    """A model folder that gives masks, ready to answer. Safe to use from several threads."""

    def __init__(self, bundle: Bundle, options: RuntimeOptions = DEFAULT_OPTIONS) -> None:
        """Loads the file. Raises BundleError, or MissingExtraError where OpenVINO is wanted and not here."""
        if bundle.spec.masks is None:
            raise ValueError(f"wanted a model that gives masks; got {bundle.spec.task}")
        self.bundle, self.spec, self.options = bundle, bundle.spec, options.for_bundle(bundle)
        self.mask_spec = bundle.spec.masks
        self.n_threads = options.n_threads or n_usable_cores()
        self._network = open_masks(bundle.masks_path, self.options)

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """One (H, W, 3) uint8 RGB image of any size → (n_labels, H, W) float32, before cleaning."""
        return to_probabilities(self._network, check_image(image), self.mask_spec)

    def stream(
        self, read: Callable[[int, int], np.ndarray], size_hw: tuple[int, int]
    ) -> Iterator[np.ndarray]:
        """As probabilities(), of a photo of any size that is read by rows, in bands (n_labels, h, W)."""
        laid = (self.mask_spec.piece_px, self.mask_spec.overlap_px)
        return stream_pieces(
            lambda piece: of_piece(self._network, piece, self.mask_spec),
            read,
            size_hw,
            laid,
            n_threads=self.n_threads,
        )

    def find(self, image: np.ndarray) -> Answer:
        """One image → its masks, cleaned by the thresholds and areas of the model, and the labels they carry.

        A label's probability is the highest of any pixel; the score is that of the likeliest label found.
        """
        probabilities = self.probabilities(image)
        mask = to_photo_mask(clean_masks(probabilities, self.mask_spec.cleaning))
        return to_answer(mask, probabilities.reshape(len(probabilities), -1).max(axis=1), self.spec)

    def predict(self, images: Iterable[np.ndarray]) -> Iterator[Answer]:
        """Images as for find() → what it says of each, in order: an iterator, computed on threads a little
        ahead of whoever goes through it."""
        return map_ordered(self.find, check_images(images), self.n_threads)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """The image as it is: masks are of its size."""
        return check_image(image)

    def answer(self, prepared: np.ndarray) -> Answer:
        """The same as find()."""
        return self.find(prepared)


def to_answer(mask: PhotoMask, scores: np.ndarray, spec: ModelSpec) -> Answer:
    """`scores` (n_labels,): the highest probability of each label in the photo.

    A person should look where nothing is marked although a pixel reached its label's threshold: what was
    there was too small.
    """
    assert spec.masks is not None
    found = [i for i, runs in enumerate(mask.runs) if len(runs)]
    flaw_score = float(scores[found].max() if found else scores.max(initial=0.0))
    return Answer(
        label=";".join(spec.labels[i] for i in found),
        score=flaw_score if found else 1.0 - flaw_score,
        flaw_score=flaw_score,
        review=not found and bool((scores >= spec.masks.cleaning.thresholds).any()),
        probabilities=dict(zip(spec.labels, scores.tolist(), strict=True)),
        mask=mask,
    )
