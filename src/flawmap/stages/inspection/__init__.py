"""Look at whole photos: findings anywhere in them, and an honest word where nothing can be said.

Open a model once with open_inspector(); inspect_photo() never raises for a bad photo, and may be called from
several threads or processes.
"""

from flawmap.stages.inspection.choosing import (
    ValidationTile,
    choose_findings,
    choose_rows,
    default_findings,
    learn_reference,
)
from flawmap.stages.inspection.inspecting import InspectOptions, Inspector, inspect_photo, open_inspector

__all__ = [
    "InspectOptions",
    "Inspector",
    "ValidationTile",
    "choose_findings",
    "choose_rows",
    "default_findings",
    "inspect_photo",
    "learn_reference",
    "open_inspector",
]
