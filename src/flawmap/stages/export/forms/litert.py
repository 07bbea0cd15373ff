"""LiteRT files, made by a converter that lives in an environment of its own.

litert-torch wants another torch than training does, and drags more with it, so it is installed once into a
folder of the cache and called as a process; flawmap itself never imports it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from flawmap.errors import MissingExtraError, OptionError

REQUIREMENTS = ("litert-torch==0.10.0", "onnx2torch==1.5.15", "onnx>=1.17")
_SCRIPT = Path(__file__).with_name("litert_script.py")
_MARK = "complete"
_INSTALL_S = 3600
_CONVERT_S = 1800


def to_litert(path: Path, input_hw: tuple[int, int], cache: Path) -> tuple[bytes, ...]:
    """The .tflite of a classifier's ONNX file, for one photo (1, 3, h, w) at a time.

    The first call installs the converter (about 6 GB). Raises MissingExtraError where it cannot be installed,
    OptionError where it does not take the network.
    """
    python = find_converter(cache)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "network.onnx", Path(folder) / "network.tflite"
        shutil.copy(path, source)  # another program gets no hold of the user's file
        words = [python, _SCRIPT, source, out, *input_hw]
        done = _run(words, _CONVERT_S)
        if done.returncode or not out.is_file():
            raise OptionError(
                f"LiteRT's converter does not take {path} ({_last_line(done.stderr)}). Choose another form, "
                "such as openvino."
            )
        return (out.read_bytes(),)


def has_converter(cache: Path) -> bool:
    """Whether the converter was installed before."""
    environment = _environment(cache)
    return (environment / _MARK).is_file() and _python(environment).exists()


def _environment(cache: Path) -> Path:
    return cache / "litert" / "-".join(requirement.replace("==", "-") for requirement in REQUIREMENTS[:2])


def _python(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find_converter(cache: Path) -> Path:
    """The Python of the converter's environment, which is made where it is missing or was left unfinished."""
    environment = _environment(cache)
    python = _python(environment)
    if has_converter(cache):
        return python
    shutil.rmtree(environment, ignore_errors=True)
    environment.parent.mkdir(parents=True, exist_ok=True)
    venv.create(environment, with_pip=True)
    done = _run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], _INSTALL_S)
    if done.returncode:
        raise MissingExtraError(
            f"LiteRT's converter could not be installed into {environment} ({_last_line(done.stderr)}). "
            f"Install it there yourself with: {python} -m pip install {' '.join(REQUIREMENTS)}"
        )
    (environment / _MARK).touch()
    return python


def _run(words: list[object], timeout_s: int) -> subprocess.CompletedProcess[str]:
    """A process that sees none of this one's Python: neither its path nor its virtual environment."""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }
    try:
        return subprocess.run(
            [str(word) for word in words], capture_output=True, text=True, timeout=timeout_s, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess([], 1, "", str(error))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else f"it said nothing, under Python {sys.version.split()[0]}"
