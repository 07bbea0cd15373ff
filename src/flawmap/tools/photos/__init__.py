"""Find, open, orient and digest photos: the one way into flawmap for every file of pixels.

What is read: JPEG (and MPO), PNG, TIFF, BMP, GIF, WebP, PPM/PGM/PBM, JPEG 2000, AVIF, and HEIC where
`flawmap[heic]` is installed. Everything becomes (H, W, 3) uint8 RGB, turned upright, by these rules:

- **Orientation**: all eight EXIF values (a TIFF's own tag too). Broken EXIF counts as upright.
- **Transparency** is laid on white, as a viewer shows it.
- **CMYK** is converted without its colour profile; JPEG CMYK is read in Adobe's inverted sense.
- **More than 8 bits**: see `flawmap.tools.photos.pixels`; scaled, never clipped, and noted in `Photo.note`.
- **Several frames or pages**: the first one.
- A file that is cut off, damaged, empty or of another kind than its extension says is a PhotoError, never a
  guess. Nothing is ever written to a user's file, and no setting of Pillow is changed.
"""

from flawmap.tools.photos.finding import EXTENSIONS, Found, find_photos, is_photo_name
from flawmap.tools.photos.pixels import PhotoOptions
from flawmap.tools.photos.reading import (
    Recognised,
    count_threads,
    read_again,
    read_image,
    read_images,
    read_orientation_of,
    read_photo,
    read_photos,
    read_pixels,
    read_stored,
    recognise,
    why_no_photo,
)

__all__ = [
    "EXTENSIONS",
    "Found",
    "PhotoOptions",
    "Recognised",
    "count_threads",
    "find_photos",
    "is_photo_name",
    "read_again",
    "read_image",
    "read_images",
    "read_orientation_of",
    "read_photo",
    "read_photos",
    "read_pixels",
    "read_stored",
    "recognise",
    "why_no_photo",
]
