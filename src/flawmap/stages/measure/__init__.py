"""How long and how wide cracks are: from a mask and its photo, or from grey values across them."""

from flawmap.stages.measure.cracks import (
    MeasureOptions,
    measure_crack,
    measure_cracks,
    measure_if_crack,
    to_grey,
)
from flawmap.stages.measure.drawing import draw_cracks
from flawmap.stages.measure.located import LocatedCrack, MeasuredCracks, Patch
from flawmap.stages.measure.profile_files import Profile, measure_profiles, read_profiles
from flawmap.stages.measure.profiles import ProfileOptions, Widths, measure_widths
from flawmap.stages.measure.tracing import trace_crack

__all__ = [
    "LocatedCrack",
    "MeasureOptions",
    "MeasuredCracks",
    "Patch",
    "Profile",
    "ProfileOptions",
    "Widths",
    "draw_cracks",
    "measure_crack",
    "measure_cracks",
    "measure_if_crack",
    "measure_profiles",
    "measure_widths",
    "read_profiles",
    "to_grey",
    "trace_crack",
]
