"""The lists of Pascal VOC, ImageSets/Segmentation/*.txt: which photos have masks, and in which part."""

from __future__ import annotations

from pathlib import Path

from flawmap.errors import DatasetError
from flawmap.records import Part
from flawmap.tools.places import PART_OF_NAME

LISTS = "ImageSets/Segmentation"


def find_lists(root: Path) -> list[Path]:
    """The files that read_lists() reads."""
    return sorted((root / LISTS).glob("*.txt"))


def read_lists(root: Path) -> dict[str, Part | None]:
    """Parts by the photo's name without folder of photos and extension; {} where there are no lists.

    trainval.txt and lists of other names say no part, nor do several that disagree. Raises DatasetError for a
    list that is not text.
    """
    parts: dict[str, set[Part]] = {}
    for path in find_lists(root):
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{path} cannot be read ({error}); a photo's name a line was wanted") from None
        for name in (line.strip() for line in lines):
            own = parts.setdefault(name, set()) if name else set()
            if path.stem.lower() in PART_OF_NAME:
                own.add(PART_OF_NAME[path.stem.lower()])
    return {name: next(iter(own)) if len(own) == 1 else None for name, own in parts.items()}
