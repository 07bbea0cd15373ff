"""What each kind of model sees in a photo: places that score, or masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from flawmap.records import Finding, FindingSpec
from flawmap.stages.inspection.findings import find_foreign, find_in_mask, find_regions
from flawmap.tools.bundle import Bundle
from flawmap.tools.cascade import Cascade
from flawmap.tools.classifier_maps import DenseClassifier
from flawmap.tools.mask_cleaning import to_candidates
from flawmap.tools.photo_rows import PhotoRows
from flawmap.tools.regions import Region
from flawmap.tools.row_regions import MaskRuns
from flawmap.tools.runtime import RuntimeOptions
from flawmap.tools.segmenting import Segmenter

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
    share_foreign: float | None = None
    """Of these, that show a surface unlike the training photos; None where the model cannot tell."""
    remoteness: float | None = None
    """See tools.familiarity; None where the model cannot tell."""


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
        """Regions of windows whose flaw scores are high enough, in `region` alone where one is given."""
        maps = self.classifier.score(rows.read, rows.size_hw)
        where = None
        if region is not None:
            where = region.cells(maps.flaw_scores.shape, maps.cell_px, rows.size_hw)
        found = find_regions(maps, self.classifier.spec, rows.size_hw, self.findings, where)
        foreign, share_foreign = find_foreign(maps, self.findings), None
        if foreign is not None:
            seen = foreign if where is None else foreign[where]
            share_foreign = float(seen.mean()) if seen.size else 0.0
        share_seen = 1.0 if where is None else float(where.mean())
        return Look(found, maps.flaw_scores, share_seen, share_foreign, maps.remoteness)


class MaskLook:
    """Connected regions of masks; of a cascade, only where its cheap stage does not rule a flaw out.

    Photos pass in bands, so that memory does not grow with their height.
    """

    def __init__(self, bundle: Bundle, options: RuntimeOptions, least: tuple[float, int] = (0.0, 0)) -> None:
        """`least`: the score and the area in pixels that a finding needs, besides what its mask does."""
        is_cascade = bundle.spec.task == "cascade"
        self._model = Cascade(bundle, options) if is_cascade else Segmenter(bundle, options)
        self._labels, self._least = bundle.spec.labels, least

    def look(self, rows: PhotoRows, region: Region | None) -> Look:
        """Components of the cleaned masks, in `region` alone where one is given."""
        cleaning = self._model.mask_spec.cleaning
        found = [MaskRuns() for _ in self._labels]
        heat, top, n_seen = [], 0, 0
        for band in self._model.stream(rows.read, rows.size_hw):
            masks, bottom = to_candidates(band, cleaning), top + band.shape[1]
            where = None if region is None else region.rows(top, bottom, rows.size_hw)
            masks = masks if where is None else masks & where
            n_seen += masks[0].size if where is None else int(where.sum())
            for own, mask, scores in zip(found, masks, band, strict=True):
                own.add(mask, scores)
            heat.append(band[:, -top % HEAT_STEP_PX :: HEAT_STEP_PX, ::HEAT_STEP_PX].max(axis=0))
            top = bottom
        findings = self._to_findings(found, rows.size_hw)
        return Look(findings, np.concatenate(heat), n_seen / (rows.size_hw[0] * rows.size_hw[1]))

    def _to_findings(self, found: Sequence[MaskRuns], size_hw: tuple[int, int]) -> tuple[Finding, ...]:
        cleaning = self._model.mask_spec.cleaning
        least_score, least_area_px = self._least
        findings = [
            one
            for label, own, threshold, area_px in zip(
                self._labels, found, cleaning.thresholds, cleaning.min_area_px, strict=True
            )
            for one in find_in_mask(
                own, label, size_hw, (max(threshold, least_score), max(area_px, least_area_px))
            )
        ]
        return tuple(sorted(findings, key=lambda one: (-one.score, -one.area_px, one.box_xyxy)))
