"""Bring the folders that an archive holds into a layout that flawmap reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}


@dataclass
class Arranged:
    """What was brought together. Names are relative to the data set's folder."""

    folder: str
    """What training gets; "." is the data set's folder itself."""
    wanted: str
    """In words: what was looked for."""
    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    n_images: int = 0


def _images(folder: Path) -> Iterator[Path]:
    """Image files in order, without the hidden ones and the twins that macOS adds."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        if path.is_file() and path.suffix.lower() in _IMAGES:
            yield path


def _move(path: Path, folder: Path) -> None:
    """Into `folder`; a second file of that name gets a number, unless it is the same file."""
    folder.mkdir(parents=True, exist_ok=True)
    target, number = folder / path.name, 1
    while target.exists():
        if target.stat().st_size == path.stat().st_size and target.read_bytes() == path.read_bytes():
            return
        number += 1
        target = folder / f"{path.stem}-{number}{path.suffix}"
    path.rename(target)


def _into_classes(raw: Path, ready: Path, label_of: Callable[[Path], str | None], wanted: str) -> Arranged:
    for path in list(_images(raw)):
        if label := label_of(path.relative_to(raw)):
            _move(path, ready / "photos" / label)
    n_images = sum(1 for _ in _images(ready))
    return Arranged("photos", wanted, ["photos"], n_images=n_images)


def arrange_metu(raw: Path, ready: Path) -> Arranged:
    """photos/Positive and photos/Negative, by the folder the image lies in."""
    labels = {"positive": "Positive", "negative": "Negative"}

    def label_of(path: Path) -> str | None:
        return next(
            (labels[part.lower()] for part in reversed(path.parts[:-1]) if part.lower() in labels), None
        )

    return _into_classes(raw, ready, label_of, "the folders Positive and Negative")


_NEU_LABELS = {
    "crazing": "crazing",
    "cr": "crazing",
    "inclusion": "inclusion",
    "in": "inclusion",
    "patches": "patches",
    "pa": "patches",
    "pitted_surface": "pitted_surface",
    "ps": "pitted_surface",
    "rolled-in_scale": "rolled-in_scale",
    "rs": "rolled-in_scale",
    "scratches": "scratches",
    "sc": "scratches",
}


def arrange_neu(raw: Path, ready: Path) -> Arranged:
    """photos/<flaw>, by the file's name: scratches_12.jpg, or Sc_12.bmp in the original archive."""

    def label_of(path: Path) -> str | None:
        return _NEU_LABELS.get(path.stem.rpartition("_")[0].lower())

    return _into_classes(raw, ready, label_of, "images named after the six flaws (scratches_12.jpg)")


def arrange_deepcrack(raw: Path, ready: Path) -> Arranged:
    """train and test, each with images and masks; the published parts are kept."""
    places = {
        f"{part}_{short}": f"{part}/{long}"
        for part in ("train", "test")
        for short, long in (("img", "images"), ("lab", "masks"))
    }
    n_images = 0
    for path in list(_images(raw)):
        if place := places.get(path.parent.name.lower()):
            _move(path, ready / place)
            n_images += place.endswith("images")
    folders = [part for part in ("train", "test") if (ready / part).is_dir()]
    return Arranged(".", "the folders train_img, train_lab, test_img, test_lab", folders, n_images=n_images)


def arrange_severstal(raw: Path, ready: Path) -> Arranged:
    """train.csv (ImageId, ClassId, EncodedPixels), train_images and, without labels, test_images."""
    found = Arranged(".", "train.csv and the folder train_images")
    ready.mkdir(parents=True, exist_ok=True)
    for path in list(_images(raw)):
        if path.parent.name in ("train_images", "test_images"):
            _move(path, ready / path.parent.name)
            found.n_images += path.parent.name == "train_images"
    found.folders = [part for part in ("train_images", "test_images") if (ready / part).is_dir()]
    table = next(iter(sorted(raw.rglob("train.csv"))), None)
    if table is None:
        found.n_images = 0
    else:
        table.rename(ready / "train.csv")
        found.files = ["train.csv"]
    return found


LAYOUTS: dict[str, Callable[[Path, Path], Arranged]] = {
    "metu": arrange_metu,
    "neu": arrange_neu,
    "deepcrack": arrange_deepcrack,
    "severstal": arrange_severstal,
}
