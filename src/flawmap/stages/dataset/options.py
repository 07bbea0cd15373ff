"""How a data set is read."""

from __future__ import annotations

from dataclasses import dataclass, field

from flawmap.tools.mask_fit import Turn
from flawmap.tools.mask_images import MaskImageOptions
from flawmap.tools.options import Options
from flawmap.tools.photos import PhotoOptions


@dataclass(frozen=True)
class DatasetOptions(Options):
    """How labels and masks are understood."""

    good: tuple[str, ...] | None = None
    """The labels that mean "nothing is wrong"; None: told from their words; (): none. Masks have none."""
    mask_threshold: int | None = None
    """Pixels of a mask image at or above this are flaw; None: masks hold 0 and 255, or class numbers."""
    resize_masks: bool = False
    """Whether a mask of another size than its photo is resized (nearest) instead of refused."""
    turn_masks: Turn | None = None
    """How masks are turned. "exif": as the EXIF orientation turns their photos, for masks that were drawn on
    the photos as stored, by far the most frequent cause of rotated ones. "left" or "right": by 90°, but only
    those that are rotated against their photo. None: such are refused. One option: a set has one cause."""
    unmasked_good: bool = False
    """Whether photos without a mask, where others have one, are good instead of left out."""
    photos: PhotoOptions = field(default_factory=PhotoOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.mask_images()  # checks the threshold

    def mask_images(self) -> MaskImageOptions:
        """How mask images are read."""
        return MaskImageOptions(self.mask_threshold, self.resize_masks, self.turn_masks)
