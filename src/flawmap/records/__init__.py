"""Frozen values that travel between the stages; each checks itself once, when it is made.

Photos are always in the order of `Dataset.photos` (sorted by name); every array that speaks of photos has one
row per photo in that order.
"""

from flawmap.records.basics import Decoder, Part, Pooling, Progress, no_progress
from flawmap.records.choice import Candidate, Cut, CutCost, Embeddings, LinearHead, Preprocessing, Ranking
from flawmap.records.data import Audit, Dataset, LabelSuspect, Photo, Split, Unreadable
from flawmap.records.inspection import (
    CrackMeasurement,
    CrackPattern,
    Finding,
    FindingSpec,
    InspectedPhoto,
    Inspection,
    PositionSource,
    ProfileWidth,
    WidthSource,
)
from flawmap.records.masks import (
    CascadeRule,
    CascadeSpec,
    Cleaning,
    MaskEvaluation,
    MaskRow,
    MaskSpec,
    PhotoMask,
)
from flawmap.records.model import (
    Answer,
    Epoch,
    Evaluation,
    FileKind,
    ModelForm,
    ModelSpec,
    Precision,
    Thresholds,
    TrainedModel,
    TrainedSegmenter,
)
from flawmap.records.reviews import ReviewedFinding, ReviewKind, SurveyReviews
from flawmap.records.survey import (
    Overlaps,
    PartVerdict,
    Survey,
    SurveyMeta,
    SurveyModel,
    SurveyPart,
    SurveyRow,
)

__all__ = [
    "Answer",
    "Audit",
    "Candidate",
    "CascadeRule",
    "CascadeSpec",
    "Cleaning",
    "CrackMeasurement",
    "CrackPattern",
    "Cut",
    "CutCost",
    "Dataset",
    "Decoder",
    "Embeddings",
    "Epoch",
    "Evaluation",
    "FileKind",
    "Finding",
    "FindingSpec",
    "InspectedPhoto",
    "Inspection",
    "LabelSuspect",
    "LinearHead",
    "MaskEvaluation",
    "MaskRow",
    "MaskSpec",
    "ModelForm",
    "ModelSpec",
    "Overlaps",
    "Part",
    "PartVerdict",
    "Photo",
    "PhotoMask",
    "Pooling",
    "PositionSource",
    "Precision",
    "Preprocessing",
    "ProfileWidth",
    "Progress",
    "Ranking",
    "ReviewKind",
    "ReviewedFinding",
    "Split",
    "Survey",
    "SurveyMeta",
    "SurveyModel",
    "SurveyPart",
    "SurveyReviews",
    "SurveyRow",
    "Thresholds",
    "TrainedModel",
    "TrainedSegmenter",
    "Unreadable",
    "WidthSource",
    "no_progress",
]
