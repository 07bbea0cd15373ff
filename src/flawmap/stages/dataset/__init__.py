"""Photos → Dataset, from any of these layouts, told apart without a flag:

- **class folders**: `Positive/`, `Negative/`; deeper folders belong to the class folder they lie in;
- **parts**: `train/`, `val/`, `test/` (or `training`, `valid`, `validation`, ...), each with class folders;
- **a manifest**: CSV, TSV or Parquet with a column for the path (relative to the manifest), one for the label
  (or several 0/1 columns, or cells such as "crack;stain"), and optionally for group and split; given itself,
  or as the only one in a folder.
"""

from flawmap.stages.dataset.good_labels import guess_good_labels
from flawmap.stages.dataset.reading import DatasetOptions, read_dataset

__all__ = ["DatasetOptions", "guess_good_labels", "read_dataset"]
