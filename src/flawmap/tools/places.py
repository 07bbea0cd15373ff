"""What the folders of a data set mean: its parts, its photos, its masks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from flawmap.records import Part

PART_OF_NAME: dict[str, Part] = {
    **dict.fromkeys(("train", "training", "trn", "learn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "hold_out"), "test"),
}
_MASKS = "masks?|labels?|lab|annotations?|ground_?truth|gt|truth|segmentation_?class(png)?"
MASK_FOLDER = re.compile(_MASKS)
_PARTS = "train|training|val|valid|validation|test"
IMAGE_FOLDER = re.compile(rf"(({_PARTS})[ _-]?)?(images?|imgs?|photos?|rgb|jpegimages)")
_MASK_FOLDER = re.compile(rf"(({_PARTS})[ _-]?)?({_MASKS})")


def could_be_class(folder: str) -> bool:
    """Whether a folder of that name, in small letters, does not say that it holds images or masks."""
    return not (IMAGE_FOLDER.fullmatch(folder) or MASK_FOLDER.fullmatch(folder))


@dataclass(frozen=True)
class Place:
    """A file's name without the folders that say what it is; `top` is those folders."""

    part: Part | None
    role: Literal["image", "mask"] | None
    rest: str
    top: str


def place_of(name: str) -> Place:
    """Understands train/images/a.png, images/train/a.png, train_images/a.png, train/a.png, images/a.png."""
    *folders, _ = name.split("/")
    part: Part | None = None
    role: Literal["image", "mask"] | None = None
    n_used = 0
    for folder in folders[:2]:
        lower = folder.lower()
        image, mask = IMAGE_FOLDER.fullmatch(lower), _MASK_FOLDER.fullmatch(lower)
        if lower in PART_OF_NAME and part is None:
            part = PART_OF_NAME[lower]
        elif (match := image or mask) and role is None:
            role = "image" if image else "mask"
            part = part or PART_OF_NAME.get(match.group(2) or "")
        else:
            break
        n_used += 1
    steps = name.split("/")
    return Place(part, role, "/".join(steps[n_used:]), "/".join(steps[:n_used]))
