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
from typing import Any

_TELEMETRY = "openvino_telemetry"
_lock = threading.RLock()


def import_openvino() -> Any:
    """The module `openvino`. Raises ImportError where it is not installed."""
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    with without_telemetry():
        return importlib.import_module("openvino")


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
