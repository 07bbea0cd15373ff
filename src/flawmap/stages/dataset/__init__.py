"""Photos → Dataset, from any of these layouts, told apart without a flag:

- **class folders**: `Positive/`, `Negative/`; deeper folders belong to the class folder they lie in;
- **parts**: `train/`, `val/`, `test/` (or `training`, `valid`, `validation`, ...), each with class folders;
- **a manifest**: CSV, TSV or Parquet with a column for the path (relative to the manifest), one for the label
  (or several 0/1 columns, label1, label2, ..., or cells such as "crack;stain"), and optionally for group and
  split; given itself, or as the only one in a folder.

Flaws may be marked pixel by pixel instead; where a folder holds labels too, those are read, and of masks the
first of these:

- **runs in a table**: `train_images/` beside `train.csv` (ImageId, ClassId, EncodedPixels), as Severstal's;
- **COCO's JSON**: polygons or runs, given itself, in the folder, in `annotations/` or in each part;
- **VIA's** regions, JSON or CSV; **CVAT's** XML for images; **YOLO's** polygons beside `data.yaml`;
  **Labelme's** files beside the photos, whose folders are then no classes;
- **mask images**: `images/` beside `masks/`, of the same names, also in parts; 0 and 255, class numbers,
  colours, or a folder per class; Pascal VOC's folders too.
"""

from flawmap.stages.dataset.class_names import read_class_names
from flawmap.stages.dataset.good_labels import guess_good_labels
from flawmap.stages.dataset.options import DatasetOptions
from flawmap.stages.dataset.reading import read_dataset

__all__ = ["DatasetOptions", "guess_good_labels", "read_class_names", "read_dataset"]
