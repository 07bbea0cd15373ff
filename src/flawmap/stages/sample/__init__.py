"""Draw photo-like surfaces with flaws of known width: a data set for the demo, the tests and first tries.

`photos/` holds what training gets, tiles in class folders; the truth about them lies beside it in `truth/`
and the whole photos in `site/`.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from flawmap.errors import OptionError, option, require_extra
from flawmap.records import Progress, no_progress
from flawmap.stages.sample.photo import DrawnPhoto, draw_photo
from flawmap.tools.files import check_folder, writing
from flawmap.tools.options import Options

POSITIVE, NEGATIVE = "Positive", "Negative"
_COLUMNS: list[str] = [
    *("file", "mask", "photo", "x", "y", "surface"),
    *("flaw", "width_px", "width_max_px", "length_px", "distractors"),
]


@dataclass(frozen=True)
class SampleOptions(Options):
    """How much to draw. Every value changes the pixels; equal options give equal bytes."""

    n_photos: int = 60
    tiles_per_photo: int = 8
    tile_px: int = 227
    """Side of a tile; 227 is that of the METU concrete tiles."""
    seed: int = 0
    overwrite: bool = False
    """Replace an earlier sample in the same folder; anything else there is never touched."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, low, high in (
            ("n_photos", 1, 100_000),
            ("tiles_per_photo", 2, 64),
            ("tile_px", 64, 1024),
        ):
            if not low <= (value := getattr(self, name)) <= high:
                raise OptionError(f"{name} is {value}; it has to be between {low} and {high}")


@dataclass(frozen=True)
class SampleSummary:
    """What was drawn, and where."""

    photos_folder: Path
    """What `flawmap train` gets."""
    truth_folder: Path
    n_photos: int
    n_tiles: int
    n_positive: int
    n_negative: int


def draw_sample(
    out: Path, options: SampleOptions | None = None, progress: Progress = no_progress
) -> SampleSummary:
    """Write a sample data set to `out`: photos/{Positive,Negative}, site/, truth/{tiles.csv,masks,site}.

    tiles.csv has a row per tile: its file and mask, the photo it was cut from and where (x, y of its corner),
    the surface, the kind of flaw, its mean and greatest width and its length along the centre line in pixels
    (empty where there is no flaw), and the distractors of the photo.

    Raises OptionError where `out` holds files already or cannot be written, MissingExtraError without scipy
    and scikit-image.
    """
    options = options or SampleOptions()
    require_extra("skimage", "train")
    out = Path(out)
    with writing(out):
        _prepare(out, options)
        return _write(out, options, progress)


def _write(out: Path, options: SampleOptions, progress: Progress) -> SampleSummary:
    rows: list[dict[str, str | int | float]] = []
    counts = {POSITIVE: 0, NEGATIVE: 0}
    for i, photo in enumerate(_draw_photos(options)):
        (out / "site" / f"{photo.name}.jpg").write_bytes(photo.jpeg)
        (out / "truth" / "site" / f"{photo.name}.png").write_bytes(photo.mask_png)
        for tile in photo.tiles:
            label = POSITIVE if tile.is_flawed else NEGATIVE
            counts[label] += 1
            stem = f"{label}/{counts[label]:05d}"
            (out / "photos" / f"{stem}.jpg").write_bytes(tile.jpeg)
            (out / "truth" / "masks" / f"{stem}.png").write_bytes(tile.mask_png)
            rows.append({"file": f"{stem}.jpg", "mask": f"masks/{stem}.png", **tile.row})
        progress("drawing photos", i + 1, options.n_photos)
    rows.sort(key=lambda row: str(row["file"]))
    _write_truth(out / "truth", rows, options)
    return SampleSummary(
        out / "photos", out / "truth", options.n_photos, len(rows), counts[POSITIVE], counts[NEGATIVE]
    )


def _prepare(out: Path, options: SampleOptions) -> None:
    """Make the empty folders, or say why not."""
    parts = ("photos", "site", "truth")
    if out.is_file():
        raise OptionError(f"{out} is a file; name a folder to draw the sample in")
    check_folder(out)
    if out.is_dir() and any(out.iterdir()):
        is_ours = (out / "truth" / "sample.json").is_file()
        if not (options.overwrite and is_ours):
            remedy = (
                f"add {option('--overwrite')} to draw it anew" if is_ours else "name an empty or a new folder"
            )
            raise OptionError(f"{out} holds files already; {remedy}")
        for part in parts:
            shutil.rmtree(out / part, ignore_errors=True)
    for folder in ("photos", "truth/masks"):
        for label in (POSITIVE, NEGATIVE):
            (out / folder / label).mkdir(parents=True)
    (out / "site").mkdir()
    (out / "truth" / "site").mkdir()


def _write_truth(folder: Path, rows: list[dict[str, str | int | float]], options: SampleOptions) -> None:
    with (folder / "tiles.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    settings = {key: value for key, value in asdict(options).items() if key != "overwrite"}
    (folder / "sample.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _draw_photos(options: SampleOptions) -> Iterator[DrawnPhoto]:
    """In order, drawn by a few threads; each photo has its own seed, so their number changes nothing."""
    n_threads = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(n_threads) as pool:
        waiting: deque[Future[DrawnPhoto]] = deque()
        for index in range(options.n_photos):
            waiting.append(
                pool.submit(draw_photo, index, options.seed, options.tiles_per_photo, options.tile_px)
            )
            if len(waiting) > 2 * n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
