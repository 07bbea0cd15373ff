"""flawmap: from a folder of photos to an honest, exported surface-flaw inspector.

import flawmap

flawmap.train("photos/", out="runs/x")
flawmap.load("runs/x").predict([flawmap.read_image("photo.jpg")])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from flawmap.errors import FlawmapError
    from flawmap.pipeline.benchmarking import benchmark
    from flawmap.pipeline.comparing import CompareOptions, compare
    from flawmap.pipeline.embedding import embed
    from flawmap.pipeline.exporting import export
    from flawmap.pipeline.inspecting import InspectOptions, inspect
    from flawmap.pipeline.looking import audit, convert, draw_sample, fetch, rank, similar, zoo
    from flawmap.pipeline.measuring import marker, measure, measure_profile
    from flawmap.pipeline.settings import RunOptions
    from flawmap.pipeline.training import train
    from flawmap.pipeline.using import evaluate, explain, load, predict
    from flawmap.service.options import ServeOptions
    from flawmap.service.reviews import export_reviews
    from flawmap.service.serving import add_user, serve
    from flawmap.tools.grading import GradingOptions
    from flawmap.tools.photos import read_image
    from flawmap.tools.scale import ScaleOptions

__all__ = [
    "CompareOptions",
    "FlawmapError",
    "GradingOptions",
    "InspectOptions",
    "RunOptions",
    "ScaleOptions",
    "ServeOptions",
    "add_user",
    "audit",
    "benchmark",
    "compare",
    "convert",
    "draw_sample",
    "embed",
    "evaluate",
    "explain",
    "export",
    "export_reviews",
    "fetch",
    "inspect",
    "load",
    "marker",
    "measure",
    "measure_profile",
    "predict",
    "rank",
    "read_image",
    "serve",
    "similar",
    "train",
    "zoo",
]

_HOMES = {
    "errors": ("FlawmapError",),
    "pipeline.comparing": ("CompareOptions", "compare"),
    "pipeline.embedding": ("embed",),
    "pipeline.inspecting": ("InspectOptions", "inspect"),
    "pipeline.benchmarking": ("benchmark",),
    "pipeline.exporting": ("export",),
    "pipeline.looking": ("audit", "convert", "draw_sample", "fetch", "rank", "similar", "zoo"),
    "pipeline.measuring": ("marker", "measure", "measure_profile"),
    "pipeline.settings": ("RunOptions",),
    "pipeline.training": ("train",),
    "pipeline.using": ("evaluate", "explain", "load", "predict"),
    "service.options": ("ServeOptions",),
    "service.reviews": ("export_reviews",),
    "service.serving": ("add_user", "serve"),
    "tools.grading": ("GradingOptions",),
    "tools.photos": ("read_image",),
    "tools.scale": ("ScaleOptions",),
}
_CHECK = "flawmap.tools.arguments"


def __getattr__(name: str) -> Any:
    """Loads a name's module when it is first asked for, so that predicting needs nothing of training.

    A function comes with the check of what it is given.
    """
    for module, names in _HOMES.items():
        if name in names:
            found = getattr(import_module(f"flawmap.{module}"), name)
            return found if isinstance(found, type) else import_module(_CHECK).checked(found, __getattr__)
    raise AttributeError(f"module 'flawmap' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
