"""What every record shares: the check of its fields, and small types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Part = Literal["train", "validation", "test"]
Pooling = Literal["average", "average+maximum"]
Decoder = Literal[
    "unet",
    "unetplusplus",
    "manet",
    "linknet",
    "fpn",
    "pspnet",
    "deeplabv3",
    "deeplabv3plus",
    "pan",
    "upernet",
]
"""What turns a backbone's maps into masks; names of segmentation_models_pytorch."""
Progress = Callable[[str, int, int], None]
"""Called as progress(what, n_done, n_total) by every stage that takes long; `what` names what is counted."""


def no_progress(what: str, n_done: int, n_total: int) -> None:
    """The Progress that says nothing."""


def within(progress: Progress, step: str) -> Progress:
    """The Progress that names the step of a job before what is done in it."""
    return lambda what, n_done, n_total: progress(f"{step}: {what}", n_done, n_total)


def check(ok: bool, wanted: str, got: object) -> None:
    """Raise ValueError, saying what was wanted and what came, unless `ok`."""
    if not ok:
        raise ValueError(f"wanted {wanted}; got {got}")
