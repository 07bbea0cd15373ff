"""Training: what the ranking chose, taught on the training part, judged on the validation part.

Importing this loads no torch; `train_classifier` and `refit_classifier` do.
"""

from flawmap.stages.train.classifier import refit_classifier, train_classifier
from flawmap.stages.train.options import AugmentOptions, TrainOptions

__all__ = ["AugmentOptions", "TrainOptions", "refit_classifier", "train_classifier"]
