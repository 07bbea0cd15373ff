"""Sends made-up requests to a service, by its OpenAPI document; fails where one is answered with 500.

    python tests/fuzz_interface.py SCHEMATHESIS [its options]

SCHEMATHESIS is the program in an environment of its own: it brings a plugin and versions that do not go with
those of the tests.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from conftest import make_onnx, make_photo, make_spec, make_tiny_head
from flawmap.service.client import Client
from flawmap.tools.bundle import write_bundle


def main() -> None:
    """Serve the tests' tiny model, with one inspection to ask for, and let schemathesis ask."""
    program, *options = sys.argv[1:]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        folder, head = Path(name), make_tiny_head()
        write_bundle(folder / "model", make_spec(), make_onnx(head), head)
        words = [sys.executable, "-m", "flawmap", "serve", str(folder / "model"), "--port", str(port)]
        words += ["--data", str(folder / "data")]
        if database := os.environ.get("FLAWMAP_TEST_DATABASE"):
            words += ["--database", database]
        served = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            assert served.stdout is not None and served.stdout.readline().startswith("serving ")
            wait_for(port)
            inspect_one(f"http://127.0.0.1:{port}", folder / "photo.png")
            words = [program, "run", f"http://127.0.0.1:{port}/openapi.json", *options]
            ended = subprocess.run([*words, "--wait-for-schema", "30"], cwd=folder).returncode
        finally:
            served.terminate()
            served.wait()
    sys.exit(ended)


def wait_for(port: int) -> None:
    """Until something listens."""
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit("nothing listens")


def inspect_one(address: str, photo: Path) -> None:
    """A photo with a flaw."""
    stream = io.BytesIO()
    Image.fromarray(make_photo(0, 96, (192, 256))).save(stream, "PNG")
    photo.write_bytes(stream.getvalue())
    with Client(address) as client:
        client.wait(client.begin_inspection([photo]).id)


if __name__ == "__main__":
    main()
