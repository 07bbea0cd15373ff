"""What people said of findings, as a data set that `flawmap train` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from flawmap.errors import OptionError
from flawmap.pipeline.using import Outcome
from flawmap.records import Progress, no_progress
from flawmap.service.serving import require_service


def export_reviews(
    data: Path | str,
    out: Path | str,
    to: Literal["tiles", "masks"] | None = None,
    *,
    model: str | None = None,
    database: str | None = None,
    progress: Progress = no_progress,
) -> Outcome:
    """Write the reviews in a service's folder as a data set for training; `out` is made, and has to be new.

    `tiles` (for classifiers): manifest.csv with tiles of the model's training size. What was accepted,
    relabelled or marked as missed has its label; what was rejected, and all else on photos marked as
    checked, is good. `masks`: images/ and masks/ of the photos marked as checked, drawn from what was painted
    and, for the rest, from the outlines.
    None: as the model was trained. Every review is in reviews.jsonl. Of a photo that was inspected several
    times, the last inspection with reviews counts.
    """
    require_service()
    from flawmap.service.database import FILE, open_database
    from flawmap.service.exporting import export

    out, data = Path(out), Path(data)
    if database is None and not (data / FILE).is_file():
        raise OptionError(f"{data} holds no data of a service; give the folder that flawmap serve was told")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OptionError(f"{out} is there already; name a folder that flawmap may make")
    opened = open_database(data, database)
    try:
        return export(opened, data, out, to, model, progress)
    finally:
        opened.close()
