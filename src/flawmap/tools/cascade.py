"""Flaw or not, then which flaws, then where: three questions to one model folder, each asked only if needed.

The first two share one pass of a small network over the whole photo; masks are computed for photos whose flaw
score reaches `skip_threshold` alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from flawmap.records import Answer, CascadeSpec, Cleaning, PhotoMask
from flawmap.tools import scores
from flawmap.tools.bundle import Bundle
from flawmap.tools.mask_cleaning import area_factor, clean_masks, keep_components
from flawmap.tools.masks import to_photo_mask
from flawmap.tools.preprocess import check_image, check_images, fit_image, to_batch
from flawmap.tools.runtime import DEFAULT_OPTIONS, RuntimeOptions, map_ordered, n_usable_cores, open_network
from flawmap.tools.segmenting import Segmenter, stream_pieces


@dataclass(frozen=True)
class Look:
    """What the first two questions give for one photo."""

    flaw_score: float
    label_scores: np.ndarray
    """(n_labels,)"""


class Cascade:
    """A model folder with all three stages, ready to answer. Safe to use from several threads."""

    def __init__(self, bundle: Bundle, options: RuntimeOptions = DEFAULT_OPTIONS) -> None:
        """Loads the files. Raises BundleError, or MissingExtraError where OpenVINO is wanted and not here."""
        if bundle.spec.cascade is None:
            raise ValueError(f"wanted a cascade; got {bundle.spec.task}")
        self.bundle, self.spec, self.options = bundle, bundle.spec, options.for_bundle(bundle)
        self.cascade = bundle.spec.cascade
        self.segmenter = Segmenter(bundle, options)
        self.mask_spec = self.segmenter.mask_spec
        self.n_threads = options.n_threads or n_usable_cores()
        self._network = open_network(bundle.model_path, self.options)

    def look(self, image: np.ndarray) -> Look:
        """One (H, W, 3) uint8 RGB image → the scores of the first two stages."""
        batch = to_batch([fit_image(image, self.spec.preprocessing)])
        return to_look(self._network(batch)[1][0], self.spec.thresholds.temperature, len(self.spec.labels))

    def find(self, image: np.ndarray) -> Answer:
        """One image → labels and masks; a photo below the skip threshold has none, and costs little."""
        look, masks, _ = self.see(image)
        return self._to_answer(look, to_photo_mask(masks))

    def see(self, image: np.ndarray) -> tuple[Look, np.ndarray, np.ndarray]:
        """Scores, masks (n_labels, H, W) bool and the probabilities that these were made of: 0 throughout a
        photo below the skip threshold."""
        look = self.look(check_image(image))
        shape = (len(self.spec.labels), *image.shape[:2])
        if look.flaw_score < self.cascade.skip_threshold:
            return look, np.zeros(shape, bool), np.zeros(shape, np.float32)
        probabilities = self.segmenter.probabilities(image)
        masks = clean_chained(probabilities, look, self.mask_spec.cleaning, self.cascade)
        return look, masks, probabilities

    def stream(
        self, read: Callable[[int, int], np.ndarray], size_hw: tuple[int, int]
    ) -> Iterator[np.ndarray]:
        """Probabilities within the masks, 0 elsewhere, of a photo of any size that is read by rows, in bands
        (n_labels, h, W).

        Every piece of a training photo's size is asked the three questions, so that a clean one costs little.
        Pieces overlap by a quarter; what any of them finds counts.
        """

        def find(piece: np.ndarray) -> np.ndarray:
            _, masks, probabilities = self.see(piece)
            return np.where(masks, probabilities, np.float32(0))

        side = max(self.spec.tile_hw)
        laid = (side, side // 4)
        return stream_pieces(find, read, size_hw, laid, n_threads=self.n_threads, strongest=True)

    def _to_answer(self, look: Look, mask: PhotoMask) -> Answer:
        band, labels = self.spec.thresholds, self.spec.labels
        found = [i for i, runs in enumerate(mask.runs) if len(runs)]
        review = scores.needs_review(np.array([look.flaw_score]), band.review_low, band.review_high)
        return Answer(
            label=";".join(labels[i] for i in found),
            score=float(look.label_scores[found].max()) if found else 1.0 - look.flaw_score,
            flaw_score=look.flaw_score,
            review=bool(review[0]),
            probabilities=dict(zip(labels, look.label_scores.tolist(), strict=True)),
            mask=mask,
        )

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


def to_look(logits: np.ndarray, temperature: float, n_labels: int) -> Look:
    """Logits of the first two stages: the flaw's, then each label's; of a single label the flaw's alone."""
    probabilities = scores.to_probabilities(logits[None], temperature, True)[0]
    return Look(float(probabilities[0]), probabilities[1:] if n_labels > 1 else probabilities[:1])


def clean_chained(
    probabilities: np.ndarray, look: Look, cleaning: Cleaning, cascade: CascadeSpec
) -> np.ndarray:
    """(n_labels, H, W) probabilities → masks, by the cascade's rule.

    "area": a label's low score raises the smallest area that its mask must have; "veto": a label whose score
    is below its threshold has no mask; "none": the first stage alone decides.
    """
    masks = clean_masks(probabilities, cleaning)
    if cascade.rule == "none":
        return masks
    for i, (score, threshold) in enumerate(zip(look.label_scores, cascade.label_thresholds, strict=True)):
        if score >= threshold or not masks[i].any():
            continue
        if cascade.rule == "veto":
            masks[i] = False
        else:
            factor = area_factor(float(score), threshold, cascade.most)
            least_px = math.ceil(max(cleaning.min_area_px[i], 1) * factor)
            masks[i] = keep_components(masks[i], least_px)
    return masks
