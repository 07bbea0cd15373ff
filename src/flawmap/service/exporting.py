"""Reviews to tiles or masks. A place counts as good only where a person said so."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from sqlmodel import col, select

from flawmap.errors import OptionError, PhotoError, option
from flawmap.pipeline.using import Outcome
from flawmap.records import Progress, Unreadable
from flawmap.service import shapes
from flawmap.service.database import Database, Job, JobPhoto, Review, StoredPhoto
from flawmap.service.results import read_masks, read_photos
from flawmap.service.storage import Storage
from flawmap.stages.survey import to_png
from flawmap.tools.files import write_file
from flawmap.tools.photos import PhotoOptions, read_pixels
from flawmap.tools.rle import decode, parse_runs
from flawmap.tools.tables import csv_line
from flawmap.tools.tiles import lay_tiles
from flawmap.tools.words import counted

_MOST_TILES = 24
"""Of one finding, and of the good parts of one photo."""
_LEAST_SHARE = 0.02
"""Of a tile, that a flaw has to cover to be what the tile shows."""
_PHOTOS = PhotoOptions(max_megapixels=1000)
"""The service has checked them already."""

Shape = Sequence[Sequence[float]] | str
"""An outline's (x, y) corners, or the runs of a mask."""


@dataclass(frozen=True)
class _Truth:
    """One photo as people see it."""

    digest: str
    file: str
    name: str
    flaws: tuple[tuple[str, Shape], ...]
    """(label, shape)."""
    rejected: tuple[Shape, ...]
    undecided: tuple[Shape, ...]
    is_checked: bool


@dataclass(frozen=True)
class _Read:
    """All that was reviewed of one model's inspections."""

    truths: tuple[_Truth, ...]
    model: dict
    reviews: tuple[str, ...]
    """A line of JSON each."""


def export(
    database: Database,
    data: Path,
    out: Path,
    to: Literal["tiles", "masks"] | None,
    model: str | None,
    progress: Progress,
) -> Outcome:
    """As export_reviews(), with an open database."""
    read = _read(database, model)
    gives_masks = read.model["task"] in ("segmentation", "cascade")
    kind = to or ("masks" if gives_masks else "tiles")
    storage = Storage(data, _PHOTOS)
    truths = [truth for truth in read.truths if truth.is_checked or kind == "tiles"]
    if not truths:
        raise OptionError(
            "no photo is marked as checked, and masks want every flaw of a photo; check photos on the page, "
            f"or export tiles with {option('--to')}"
        )
    counts: Counter[str] = Counter()
    rows: list[tuple[str, str, str]] = []
    left_out: list[Unreadable] = []
    for i, truth in enumerate(truths):
        try:
            image = read_pixels(storage.photo_path(truth.file), _PHOTOS)
        except PhotoError as error:
            left_out.append(Unreadable(truth.name, str(error)))
            continue
        if kind == "masks":
            counts.update(_write_masks(out, truth, image, read.model))
        else:
            rows += _write_tiles(out, truth, image, read.model)
        progress("exporting photos", i + 1, len(truths))
    if kind == "tiles":
        counts.update(label for _, label, _ in rows)
        write_file(out / "manifest.csv", _table(rows, "label" if read.model["good_labels"] else "labels"))
    write_file(out / "reviews.jsonl", "".join(f"{line}\n" for line in read.reviews))
    told = ", ".join(f"{n:,} {label or 'good'}" for label, n in sorted(counts.items()))
    given = f"{counted(len(read.reviews), 'review')} of {counted(len(truths), 'photo')}"
    line = f"{given} → {kind} in {out}: {told or 'nothing'}"
    return Outcome(lines=(line,), left_out=tuple(left_out))


def _read(database: Database, model: str | None) -> _Read:
    """The latest reviewed inspection of each photo. Raises OptionError where nothing was reviewed."""
    reviewed = select(JobPhoto.job_id).join(Review, col(Review.job_photo_id) == col(JobPhoto.id))
    query = select(Job).where(col(Job.id).in_(reviewed))
    with database.reading() as session:
        jobs = {job.id: job for job in session.exec(query)}
        names = sorted({job.model for job in jobs.values()})
        wanted = names[0] if model is None and len(names) == 1 else model
        if wanted not in names:
            found = f"there are reviews of {', '.join(names)}" if names else "nothing has been reviewed yet"
            raise OptionError(f"{found}; name the model with {option('--model')}" if names else found)
        chosen = sorted((job for job in jobs.values() if job.model == wanted), key=lambda job: job.created_at)
        files = {photo.digest: photo.file for photo in session.exec(select(StoredPhoto))}
        truths: dict[str, _Truth] = {}
        for job in chosen:
            for seen in read_photos(session, job.id):
                if seen.checked or seen.missed or any(one.review for one in seen.findings):
                    masks = read_masks(session, seen.findings)
                    truths[seen.photo] = _to_truth(seen, files[seen.photo], masks)
        of_jobs = select(JobPhoto.id).where(col(JobPhoto.job_id).in_(list(job.id for job in chosen)))
        reviews = session.exec(select(Review).where(col(Review.job_photo_id).in_(of_jobs)))
        lines = tuple(json.dumps(review.model_dump(), sort_keys=True) for review in reviews)
    return _Read(tuple(truths.values()), chosen[-1].model_record, lines)


def _to_truth(seen: shapes.SeenPhoto, file: str, masks: Mapping[int, str]) -> _Truth:
    """`masks` are the model's own, by the ids of findings."""
    flaws: list[tuple[str, Shape]] = [(one.label or "", one.runs or one.polygon or []) for one in seen.missed]
    rejected: list[Shape] = []
    undecided: list[Shape] = []
    for finding in seen.findings:
        verdict = finding.review.verdict if finding.review else ""
        outline = masks.get(finding.id) or _outline(finding)
        if verdict == "accept":
            flaws.append((finding.label, outline))
        elif finding.review and verdict in ("relabel", "painted"):
            flaws.append((finding.review.label or finding.label, finding.review.runs or outline))
        elif verdict == "reject":
            rejected.append(outline)
        else:
            undecided.append(outline)
    is_checked = seen.checked is not None and not undecided
    return _Truth(seen.photo, file, seen.name, tuple(flaws), tuple(rejected), tuple(undecided), is_checked)


def _outline(finding: shapes.FindingInfo) -> Shape:
    left, top, right, bottom = finding.box_xyxy
    box = [[left, top], [right, top], [right, bottom], [left, bottom]]
    return finding.polygon if len(finding.polygon) >= 3 else box


def _write_masks(out: Path, truth: _Truth, image: np.ndarray, model: dict) -> Iterator[str]:
    """The photo upright, and a mask per label; gives the labels that are there."""
    name = f"{truth.digest[:16]}.png"
    write_file(out / "images" / name, to_png(image))
    flaw_labels = [label for label in model["labels"] if label not in model["good_labels"]]
    drawn = {label: np.zeros(image.shape[:2], bool) for label in flaw_labels}
    for label, shape in truth.flaws:
        mask = drawn.setdefault(label, np.zeros(image.shape[:2], bool))
        mask |= _fill(shape, image.shape[:2])
    for label, mask in drawn.items():
        write_file(out / "masks" / label / name, to_png(255 * mask.astype(np.uint8)))
        if mask.any():
            yield label
    if not truth.flaws:
        yield ""


def _write_tiles(out: Path, truth: _Truth, image: np.ndarray, model: dict) -> Iterator[tuple[str, str, str]]:
    """(path, label, group) of each tile; the group is the photo, so that a split keeps its tiles together."""
    size_hw = image.shape[:2]
    flawed = np.zeros(size_hw, bool)
    doubtful = np.zeros(size_hw, bool)
    for shape in truth.undecided:
        doubtful |= _fill(shape, size_hw)
    chosen: dict[tuple[int, int, int, int], str] = {}
    side = max(model["tile_hw"])
    for label, shape in truth.flaws:
        inside = _fill(shape, size_hw)
        flawed |= inside
        for window in _spread(_windows_with(inside, side)):
            chosen.setdefault(window, label)
    good = model["good_labels"][0] if model["good_labels"] else ""
    places = [_fill(shape, size_hw) for shape in truth.rejected]
    if truth.is_checked:
        places.append(np.ones(size_hw, bool))
    for place in places:
        windows = _windows_with(place, side)
        free = [window for window in windows if not (flawed | doubtful)[_cut(window)].any()]
        for window in _spread(free):
            chosen.setdefault(window, good)
    for number, (window, label) in enumerate(chosen.items(), start=1):
        path = f"tiles/{truth.digest[:16]}-{number}.png"
        write_file(out / path, to_png(image[_cut(window)]))
        yield path, label, truth.digest[:16]


def _windows_with(inside: np.ndarray, side: int) -> list[tuple[int, int, int, int]]:
    """Windows of the whole photo's grid that show enough of a place; of a small one, that show most of it."""
    windows = list(lay_tiles(inside.shape[:2], side, side // 4))
    shown = [int(inside[_cut(window)].sum()) for window in windows]
    least = min(_LEAST_SHARE * side * side, 0.5 * inside.sum())
    return [window for window, n in zip(windows, shown, strict=True) if n > 0 and n >= least]


def _spread(windows: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """At most _MOST_TILES of them, evenly."""
    step = max(1, -(-len(windows) // _MOST_TILES))
    return windows[::step]


def _cut(window: tuple[int, int, int, int]) -> tuple[slice, slice]:
    top, left, bottom, right = window
    return slice(top, bottom), slice(left, right)


def _fill(shape: Shape, size_hw: tuple[int, ...]) -> np.ndarray:
    """(H, W) bool: the mask's pixels, or those whose middles an outline holds."""
    from skimage.draw import polygon2mask

    height, width = size_hw[:2]
    if isinstance(shape, str):
        return decode(parse_runs(shape, (height, width)), (height, width))
    # Corners are given from the photo's edge, (x, y); scikit-image counts (row, column) from pixel middles.
    return polygon2mask((height, width), np.asarray(shape, float)[:, ::-1] - 0.5)


def _table(rows: Sequence[tuple[str, str, str]], label: str) -> str:
    return "".join(map(csv_line, (("path", label, "group"), *rows)))
