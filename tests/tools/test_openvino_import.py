"""OpenVINO is imported without starting its report home."""

import subprocess
import sys

import pytest


def test_no_process_is_started_and_no_telemetry_is_loaded() -> None:
    pytest.importorskip("openvino_telemetry")
    program = """
import os, sys, time
forks = []
os.register_at_fork(before=lambda: forks.append(1))
from flawmap.tools.openvino_import import import_openvino
openvino = import_openvino()
assert openvino.Core() and import_openvino() is openvino
time.sleep(0.3)
print(forks, [name for name in sys.modules if name.startswith("openvino_telemetry")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[] []", done.stderr
