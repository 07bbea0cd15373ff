"""Masks out, photo by photo, in forms that other tools read; each is exact to the pixel.

- **png**: `masks/<name>.png`: 0 and 255 for one label, class numbers for several, a folder per class where
  labels may overlap; `classes.txt` names them.
- **rle**: `submission.csv` in Severstal's form, a row per photo and class that is there.
- **coco**: `annotations.json`, a run-length annotation per photo and class.
- **geojson**: `masks.geojson`, a feature per photo and class, outlined along the pixels' edges.
"""

from flawmap.tools.mask_files.writers import FORMS, NAMES, PLACES, Form, MaskWriter, open_mask_writer

__all__ = ["FORMS", "NAMES", "PLACES", "Form", "MaskWriter", "open_mask_writer"]
