"""Findings on photos of whole sites, by what is on them, and what the model says it cannot judge.

    python benchmarks/site_photos.py MODEL PHOTOS [--shrink 4] [--least-side 700] [--json FILE]

MODEL is a classifier's run or model folder; PHOTOS a folder of photos whose names say what they show, as
pure_crack_04.jpg does: all before the number is the kind. Default options, nothing is tuned. Printed are, for
each kind, photos, those with a finding, those that are not assessable, and those with a finding that is
marked as lying on a foreign surface.

With --shrink the photos of at least that side are also looked at as if they were taken from so many times as
far: how many, shrunk and as they are, have a remoteness above the model's limit, whether or not anything is
found on them.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--shrink", type=int, default=0)
    parser.add_argument("--least-side", type=int, default=700, help="of the photos that are shrunk")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()

    from flawmap.stages.inspection import InspectOptions, inspect_photo, open_inspector

    inspector = open_inspector(asked.model, InspectOptions())
    rows: list[dict[str, Any]] = []
    for photo in sorted(path for path in asked.photos.iterdir() if path.is_file()):
        found = inspect_photo(inspector, photo).inspection
        row = {
            "name": photo.stem,
            "kind": re.sub(r"_\d+$", "", photo.stem),
            "n_findings": len(found.findings),
            "n_foreign": sum(bool(one.is_foreign) for one in found.findings),
            "share_foreign": found.share_foreign,
            "reason": found.reason or found.error,
            "boxes": [one.box_xyxy for one in found.findings],
        }
        if asked.shrink and min(found.height_px or 0, found.width_px or 0) >= asked.least_side:
            row |= look_from_afar(inspector, photo, asked.shrink)
        rows.append(row)
        print(f"{row['name']:28} {row['n_findings']:3} findings  {row['reason']}", flush=True)
    print_table(rows)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))


def look_from_afar(inspector: Any, photo: Path, times: int) -> dict[str, bool]:
    """Whether a photo is too distant as it is, and shrunk."""
    import numpy as np
    from PIL import Image

    from flawmap.tools.photos import read_image

    image = read_image(photo)
    small = Image.fromarray(image)
    small = small.resize((small.width // times, small.height // times), Image.Resampling.LANCZOS)
    most = inspector.findings.most_remoteness
    if most is None:
        raise SystemExit("this model keeps no reference of its training tiles; train it again")
    score = inspector.looker.classifier.score_image
    return {
        "is_distant": score(image).remoteness > most,
        "is_distant_shrunk": score(np.asarray(small)).remoteness > most,
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Counts per kind."""
    by_kind = defaultdict(list)
    for row in rows:
        by_kind[row["kind"]].append(row)
    print(f"\n{'kind':24}{'photos':>8}{'finding':>9}{'not assessable':>16}{'finding on foreign':>20}")
    for kind, own in sorted(by_kind.items()):
        figures = [sum(map(bool, (row[key] for row in own))) for key in ("n_findings", "reason", "n_foreign")]
        print(f"{kind:24}{len(own):8}{figures[0]:9}{figures[1]:16}{figures[2]:20}")
    shown = [row for row in rows if "is_distant" in row]
    if shown:
        plain, shrunk = (sum(row[key] for row in shown) for key in ("is_distant", "is_distant_shrunk"))
        print(f"too distant: {plain} of {len(shown)} as they are, {shrunk} shrunk")


if __name__ == "__main__":
    main()
