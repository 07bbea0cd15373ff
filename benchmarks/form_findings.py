"""Whether a model's other forms find in whole photos what the folder that training wrote finds.

    python benchmarks/form_findings.py MODEL PHOTOS FOLDER... [--crops]

MODEL is a classifier's run or model folder, the FOLDERs are exports of it (flawmap export), PHOTOS a folder
of photos. Default options, one thread. Printed are, for each folder, findings and photos with any; findings
of MODEL's that the folder has too (a box of the same photo that overlaps it by half, of both), and findings
that MODEL does not have; the share of cells whose flaw score lies on the other side of the score that a
finding needs; the correlation of the cells' flaw scores; and the processor's seconds as a multiple of those
of MODEL, reading included.

With --crops MODEL is also shown crops that overlap by half, by the same limits, as files that cannot be cut
would be if `inspect` did not refuse them.

Each photo is shown to all folders before the next, once to warm up and once to count.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SAME_OVERLAP = 0.5


@dataclass
class Found:
    """What one folder makes of the photos."""

    inspector: Any
    name: str
    boxes: list[list[tuple[float, ...]]] = field(default_factory=list)
    """Of the findings of each photo."""
    heats: list[np.ndarray] = field(default_factory=list)
    seconds: float = 0.0

    def look(self, photo: Path) -> None:
        from flawmap.stages.inspection import inspect_photo

        inspect_photo(self.inspector, photo)
        start = time.process_time()
        seen = inspect_photo(self.inspector, photo)
        self.seconds += time.process_time() - start
        if seen.heat is None:
            raise SystemExit(f"{photo}: {seen.inspection.error}")
        self.boxes.append([one.box_xyxy for one in seen.inspection.findings])
        self.heats.append(seen.heat.ravel())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    parser.add_argument("--crops", action="store_true")
    asked = parser.parse_args()

    every = [open_folder(folder) for folder in (asked.model, *asked.folders)]
    if asked.crops:
        every.append(open_in_crops(asked.model))
    photos = sorted(path for path in asked.photos.iterdir() if path.is_file())
    for photo in photos:
        for found in every:
            found.look(photo)
        print(f"{photo.name:32}" + "".join(f"{len(found.boxes[-1]):4}" for found in every), flush=True)
    print(
        f"\n{len(photos)} photos\n{'':22}{'findings':>9}{'on photos':>10}{'the same':>9}{'others':>7}"
        f"{'cells':>9}{'correlation':>12}{'processor':>10}"
    )
    for found in every:
        print_row(every[0], found)


def open_folder(folder: Path) -> Found:
    """As `flawmap inspect` opens it, on one thread."""
    from flawmap.stages.inspection import InspectOptions, open_inspector
    from flawmap.tools.runtime import RuntimeOptions

    inspector = open_inspector(folder, InspectOptions(runtime=RuntimeOptions(n_threads=1)))
    form = inspector.bundle.spec.form
    return Found(inspector, f"{form.kind} {form.precision}")


def open_in_crops(folder: Path) -> Found:
    """As if the network could not be taken apart."""
    from unittest.mock import patch

    from flawmap.tools.segments import NotLocalError

    with patch("flawmap.tools.classifier_maps.DenseNetwork", side_effect=NotLocalError):
        found = open_folder(folder)
    return Found(found.inspector, f"{found.name}, crops")


def print_row(base: Found, found: Found) -> None:
    """One folder against the one that training wrote."""
    n_same = sum(
        any(overlap(one, other) >= SAME_OVERLAP for other in others)
        for ones, others in zip(base.boxes, found.boxes, strict=True)
        for one in ones
    )
    n_others = sum(
        all(overlap(one, other) < SAME_OVERLAP for other in others)
        for ones, others in zip(found.boxes, base.boxes, strict=True)
        for one in ones
    )
    scores, others = (np.concatenate(own.heats) for own in (found, base))
    least, cells = base.inspector.findings.least_score, f"{'–':>9}{'–':>12}"
    if scores.shape == others.shape:  # crops have cells of another size
        changed = np.mean((scores >= least) != (others >= least))
        cells = f"{changed:9.3%}{np.corrcoef(scores, others)[0, 1]:12.5f}"
    print(
        f"{found.name:22}{sum(map(len, found.boxes)):9}{sum(map(bool, found.boxes)):10}{n_same:9}{n_others:7}"
        f"{cells}{found.seconds / base.seconds:10.2f}"
    )


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Area that two boxes share, of the area that either covers."""
    width, height = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


if __name__ == "__main__":
    main()
