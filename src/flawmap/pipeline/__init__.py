"""Composes the stages; each public function is one command."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flawmap.pipeline.looking import audit, draw_sample, fetch, rank, similar, zoo
    from flawmap.pipeline.settings import RunOptions
    from flawmap.pipeline.training import train
    from flawmap.pipeline.using import evaluate, explain, load, predict

_HOMES = {
    "RunOptions": "settings",
    "audit": "looking",
    "draw_sample": "looking",
    "evaluate": "using",
    "explain": "using",
    "fetch": "looking",
    "load": "using",
    "predict": "using",
    "rank": "looking",
    "similar": "looking",
    "train": "training",
    "zoo": "looking",
}
__all__ = [
    "RunOptions",
    "audit",
    "draw_sample",
    "evaluate",
    "explain",
    "fetch",
    "load",
    "predict",
    "rank",
    "similar",
    "train",
    "zoo",
]


def __getattr__(name: str) -> Any:
    """Loads a command's module when it is first asked for, so that predicting needs nothing of training."""
    if name not in _HOMES:
        raise AttributeError(f"module 'flawmap.pipeline' has no attribute '{name}'")
    return getattr(import_module(f"flawmap.pipeline.{_HOMES[name]}"), name)
