"""findings.coco.json: what was found, in COCO's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from flawmap.records import Finding, Survey
from flawmap.tools import rle
from flawmap.tools.masks import fill_polygon

_MOST_PX = 4_000_000
"""Painted at a time."""


def to_coco(survey: Survey, document: Mapping[str, Any]) -> dict[str, Any]:
    """COCO's form of detections; all photos are listed, with or without findings. `document` is the survey's,
    as to_document() gives it.

    A finding is its outline, one with holes runs of its pixels, as COCO's polygons cannot have any.
    """
    shown = [
        (row, photo) for row, photo in zip(survey.rows, document["photos"], strict=True) if photo["width_px"]
    ]
    photos = [photo for _, photo in shown]
    found = [
        (i, finding, values)
        for i, (row, photo) in enumerate(shown, start=1)
        for finding, values in zip(row.inspection.findings, photo["findings"], strict=True)
    ]
    labels = sorted({finding.label for _, finding, _ in found} | set(survey.model.flaw_labels))
    annotations = []
    for number, (image_id, finding, values) in enumerate(found, start=1):
        left, top, right, bottom = values["box_xyxy"]
        photo = photos[image_id - 1]
        annotations.append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": labels.index(finding.label) + 1,
                "bbox": [left, top, round(right - left, 1), round(bottom - top, 1)],
                **_shape(finding, values, (photo["height_px"], photo["width_px"])),
                "iscrowd": 0,
                "score": values["score"],
            }
        )
    return {
        "info": {"description": "flawmap findings"},
        "images": [
            {"id": i, "file_name": p["name"], "width": p["width_px"], "height": p["height_px"]}
            for i, p in enumerate(photos, start=1)
        ],
        "categories": [{"id": i, "name": label} for i, label in enumerate(labels, start=1)],
        "annotations": annotations,
    }


def _shape(finding: Finding, values: Mapping[str, Any], size_hw: tuple[int, int]) -> dict[str, Any]:
    """ "area" and "segmentation"; of runs the area is theirs, which follow a smoothed outline."""
    runs = _paint(finding, size_hw) if finding.holes else rle.NO_RUNS
    if len(runs):
        segmentation = {"size": list(size_hw), "counts": rle.to_counts(runs, size_hw)}
        return {"area": int(runs[:, 1].sum()), "segmentation": segmentation}
    left, top, right, bottom = values["box_xyxy"]
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    polygon = values["polygon"] if len(values["polygon"]) >= 3 else corners
    return {"area": values["area_px"], "segmentation": [[value for point in polygon for value in point]]}


def _paint(finding: Finding, size_hw: tuple[int, int]) -> np.ndarray:
    """Runs of the pixels within the outline and in no hole; in bands, as a finding may be as large as its
    photo."""
    left, top, right, bottom = finding.box_xyxy
    x0, y0 = int(left), int(top)
    x1, y1 = min(size_hw[1], int(np.ceil(right))), min(size_hw[0], int(np.ceil(bottom)))
    outline, *holes = (np.array(line, float) for line in (finding.polygon, *finding.holes))
    n_columns, parts = max(1, _MOST_PX // (y1 - y0)), []
    for x in range(x0, x1, n_columns):
        band_hw = (y1 - y0, min(n_columns, x1 - x))
        inside = fill_polygon(outline - [x, y0], band_hw)
        for hole in holes:
            inside &= ~fill_polygon(hole - [x, y0], band_hw)
        parts.append(rle.encode_crop(inside, (y0, x), size_hw[0]))
    return rle.union(parts)
