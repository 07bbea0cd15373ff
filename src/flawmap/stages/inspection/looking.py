"""What each kind of model sees in a photo: places that score, or masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from flawmap.errors import PhotoError
from flawmap.records import Finding, FindingSpec
from flawmap.stages.inspection.findings import find_in_mask, find_regions
from flawmap.tools.bundle import Bundle
from flawmap.tools.cascade import Cascade
from flawmap.tools.classifier_maps import DenseClassifier
from flawmap.tools.mask_cleaning import clean_masks
from flawmap.tools.masks import to_pixels
from flawmap.tools.photo_rows import ImageRows, PhotoRows
from flawmap.tools.regions import Region
from flawmap.tools.runtime import RuntimeOptions
from flawmap.tools.segmenting import Segmenter
from flawmap.tools.tiles import lay_tiles

HEAT_STEP_PX = 8


@dataclass(frozen=True, eq=False)
class Look:
    """What a model saw in one photo."""

    findings: tuple[Finding, ...]
    """Highest score first."""
    heat: np.ndarray
    """(h, w) float32: the flaw score over the whole photo, coarsely."""
    share_seen: float
    """Of the photo's pixels, that were of interest."""


class Looker(Protocol):
    """A model that looks at whole photos. Safe to use from several threads."""

    def look(self, rows: PhotoRows, region: Region | None) -> Look:
        """Findings within the region. Raises PhotoError."""
        ...


class ClassifierLook:
    """Windows of a training tile's size, and connected regions of what lights up in them."""

    def __init__(self, classifier: DenseClassifier, findings: FindingSpec) -> None:
        self.classifier, self.findings = classifier, findings

    def look(self, rows: PhotoRows, region: Region | None) -> Look:
        maps = self.classifier.score(rows.read, rows.size_hw)
        where = None
        if region is not None:
            where = region.cells(maps.flaw_scores.shape, maps.cell_px, rows.size_hw)
        found = find_regions(maps, self.classifier.spec, rows.size_hw, self.findings, where)
        return Look(found, maps.flaw_scores, 1.0 if where is None else float(where.mean()))


class MaskLook:
    """Connected regions of masks; of a cascade, only where its cheap stage does not rule a flaw out."""

    def __init__(self, bundle: Bundle, options: RuntimeOptions, findings: FindingSpec | None) -> None:
        is_cascade = bundle.spec.task == "cascade"
        self._model = Cascade(bundle, options) if is_cascade else Segmenter(bundle, options)
        self._labels, self._findings = bundle.spec.labels, findings

    def look(self, rows: PhotoRows, region: Region | None) -> Look:
        if not isinstance(rows, ImageRows):
            height, width = rows.size_hw
            raise PhotoError(
                f"too large for a model that gives masks: {width}×{height}; raise max_megapixels, or cut it"
            )
        masks, probabilities = self._find(rows.image)
        share = 1.0
        if region is not None:
            where = region.cells(rows.size_hw, 1.0, rows.size_hw)
            masks, share = masks & where, float(where.mean())
        found = [
            one
            for label, mask, scores in zip(self._labels, masks, probabilities, strict=True)
            for one in find_in_mask(mask, scores, label)
            if self._findings is None or one.score >= self._findings.least_score
        ]
        found.sort(key=lambda one: (-one.score, -one.area_px, one.box_xyxy))
        heat = probabilities.max(axis=0)[::HEAT_STEP_PX, ::HEAT_STEP_PX]
        return Look(tuple(found), np.ascontiguousarray(heat), share)

    def _find(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n_labels, H, W) bool masks and float32 probabilities; of a cascade these are the photo's."""
        if isinstance(self._model, Segmenter):
            probabilities = self._model.probabilities(image)
            return clean_masks(probabilities, self._model.mask_spec.cleaning), probabilities
        return find_in_pieces(self._model, image)


def find_in_pieces(cascade: Cascade, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A large photo through a cascade, piece by piece of a training photo's size; a piece that its first
    stage calls clean costs no more than that.

    Pieces overlap by a quarter, and a pixel belongs to a mask where any piece says so.
    """
    shape = (len(cascade.spec.labels), *image.shape[:2])
    masks, scores = np.zeros(shape, bool), np.zeros(shape, np.float32)
    side = max(cascade.spec.tile_hw)
    for top, left, bottom, right in lay_tiles(image.shape[:2], side, side // 4):
        answer = cascade.find(image[top:bottom, left:right])
        assert answer.mask is not None
        inside = np.s_[:, top:bottom, left:right]
        likely = np.array([answer.probabilities[label] for label in cascade.spec.labels], np.float32)
        masks[inside] |= to_pixels(answer.mask)
        scores[inside] = np.maximum(scores[inside], likely[:, None, None])
    return masks, scores
