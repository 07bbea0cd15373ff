"""Training: what the ranking chose, taught on the training part, judged on the validation part.

Importing this loads no torch; `train_classifier` does.
"""

from flawmap.stages.train.classifier import train_classifier
from flawmap.stages.train.options import AugmentOptions, TrainOptions

__all__ = ["AugmentOptions", "TrainOptions", "train_classifier"]
