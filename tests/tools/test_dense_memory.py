"""Memory follows neither the height of a photo nor, beyond a strip, the maps of its width."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dense_network import make_network
from flawmap.records import LinearHead

_LOOK = """
import sys
import numpy as np
from pathlib import Path
from flawmap.tools.dense import DenseNetwork
from flawmap.tools.runtime import RuntimeOptions

height, width = int(sys.argv[2]), int(sys.argv[3])
block = np.random.default_rng(0).integers(0, 256, (64, width, 3), dtype=np.uint8)
read = lambda top, bottom: block[np.arange(top, bottom) % 64]
network = DenseNetwork(Path(sys.argv[1]), RuntimeOptions(n_threads=2))
n_rows = sum(band.shape[1] for band in network.stream(read, (height, width)))
assert n_rows == height // 16, n_rows
# Of this process alone: what resource tells begins with the peak of the process that started it.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) / 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_photo(tmp_path: Path) -> None:
    if not Path("/proc/self/status").is_file():
        pytest.skip("this system does not tell a process's peak of memory")
    head = LinearHead(np.ones((2, 6), np.float32), np.zeros(2, np.float32))
    file = tmp_path / "model.onnx"
    file.write_bytes(make_network(head, "average"))

    def peak_mb(height: int, width: int) -> float:
        asked = [sys.executable, "-c", _LOOK, str(file), str(height), str(width)]
        return float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)

    low, high = peak_mb(3072, 32000), peak_mb(9600, 32000)
    assert high < low + 100, "three times the rows, 300 megapixels"
    assert high < 1000
