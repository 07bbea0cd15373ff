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
    from flawmap.pipeline.looking import audit, draw_sample, fetch, rank, similar, zoo
    from flawmap.pipeline.settings import RunOptions
    from flawmap.pipeline.training import train
    from flawmap.pipeline.using import evaluate, explain, load, predict
    from flawmap.tools.photos import read_image

__all__ = [
    "FlawmapError",
    "RunOptions",
    "audit",
    "draw_sample",
    "evaluate",
    "explain",
    "fetch",
    "load",
    "predict",
    "rank",
    "read_image",
    "similar",
    "train",
    "zoo",
]

_HOMES = {"FlawmapError": "flawmap.errors", "read_image": "flawmap.tools.photos"}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'flawmap' has no attribute '{name}'")
    return getattr(import_module(_HOMES.get(name, "flawmap.pipeline")), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
