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


@pytest.mark.slow
def test_two_threads_may_be_the_first_to_look_at_values() -> None:
    pytest.importorskip("openvino")
    program = """
import threading
import numpy as np
from flawmap.tools.openvino_import import import_openvino
openvino = import_openvino()
from openvino import opset13
photo = opset13.parameter([1, 3, 32, 32], np.float32, name="image")
network = openvino.Model([opset13.relu(photo)], [photo], "small")
compiled = openvino.Core().compile_model(network, "CPU", {"NUM_STREAMS": 2})
together = threading.Barrier(2)
def look():
    together.wait()
    request = compiled.create_infer_request()
    request.infer([np.zeros((1, 3, 32, 32), np.float32)])
    request.get_output_tensor(0).data.copy()
threads = [threading.Thread(target=look) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    for _ in range(20):  # without the table filled beforehand, about one in six hangs
        subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
