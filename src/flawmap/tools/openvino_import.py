"""The one way in which flawmap imports OpenVINO: without its report home.

`import openvino` starts a process that sends usage statistics where the package openvino-telemetry is there
(OpenVINO installs it itself) and the user has not opted out. An inspection on the machine of a customer must
not talk to the net. Without that package OpenVINO falls back to a silent stand-in of its own.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

_TELEMETRY = "openvino_telemetry"
_lock = threading.RLock()


def import_openvino() -> Any:
    """The module `openvino`, ready for several threads. Raises ImportError where it is not installed."""
    with without_telemetry():
        openvino = importlib.import_module("openvino")
        _fill_type_table(openvino)
    return openvino


@cache
def _fill_type_table(openvino: Any) -> None:
    """The first look at a tensor's values fills a table that OpenVINO guards by a lock of its own, and gives
    up Python's lock meanwhile: two threads that come there at once wait for each other for ever.
    """
    openvino.Tensor(np.zeros(1, np.float32)).data  # noqa: B018  # the look is what matters


@contextmanager
def without_telemetry() -> Iterator[None]:
    """What is imported here, OpenVINO or its quantiser NNCF, does not find the package that reports home."""
    with _lock:
        had, before = _TELEMETRY in sys.modules, sys.modules.get(_TELEMETRY)
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # makes its import fail
        try:
            yield
        finally:
            if had and before is not None:
                sys.modules[_TELEMETRY] = before
            else:
                del sys.modules[_TELEMETRY]
