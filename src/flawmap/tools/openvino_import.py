"""The one way in which flawmap imports OpenVINO: without its report home.

`import openvino` starts a process that sends usage statistics where the package openvino-telemetry is there
(OpenVINO installs it itself) and the user has not opted out. An inspection on the machine of a customer must
not talk to the net. Without that package OpenVINO falls back to a silent stand-in of its own.
"""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

_TELEMETRY = "openvino_telemetry"
_lock = threading.Lock()


def import_openvino() -> Any:
    """The module `openvino`. Raises ImportError where it is not installed."""
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    with _lock:
        had, before = _TELEMETRY in sys.modules, sys.modules.get(_TELEMETRY)
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # makes its import fail
        try:
            return importlib.import_module("openvino")
        finally:
            if had and before is not None:
                sys.modules[_TELEMETRY] = before
            else:
                del sys.modules[_TELEMETRY]
