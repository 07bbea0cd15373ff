"""Without the extras, everything around a trained model works, and the rest says what to install."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import numpy as np
from PIL import Image

from flawmap.tools.bundle import Bundle

WITHOUT_EXTRAS = """
import json, sys
absent, place, commands = (json.loads(word) for word in sys.argv[1:])
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in absent else real(name, package)
sys.meta_path.insert(0, Absent())
sys.path.insert(0, place)
from commands import run_here
ended = [run_here(*words) for words in commands]
print(json.dumps([(done.returncode, done.stdout, done.stderr) for done in ended]))
"""


def base_distributions() -> set[str]:
    """flawmap and what it requires without an extra, and so on."""
    found: set[str] = set()
    waiting = ["flawmap"]
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        for line in distribution(name).requires or ():
            wanted, _, condition = line.partition(";")
            if not condition:
                waiting += re.findall(r"^[\w.-]+", wanted)
    return found


@functools.cache
def absent_modules() -> list[str]:
    """Importable packages that `pip install flawmap` would not bring."""
    base = base_distributions()
    return sorted(
        module
        for module, owners in packages_distributions().items()
        if module.isidentifier() and not {owner.lower().replace("_", "-") for owner in owners} & base
    )


def run(*commands: tuple[object, ...]) -> list[subprocess.CompletedProcess[str]]:
    """What becomes of each command, one after the other in one process without the extras."""
    words = [list(map(str, command)) for command in commands]
    given = [json.dumps(value) for value in (absent_modules(), str(Path(__file__).parent), words)]
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, *given], capture_output=True, text=True, timeout=120
    )
    assert told.returncode == 0, told.stderr
    return [subprocess.CompletedProcess([], *ended) for ended in json.loads(told.stdout)]


def test_the_extras_are_seen_as_absent() -> None:
    assert {"torch", "timm", "sklearn", "skimage", "onnx", "jinja2"} <= set(absent_modules())
    assert not {"numpy", "PIL", "onnxruntime", "typer", "rich", "flawmap"} & set(absent_modules())


def test_what_a_model_needs_is_there(tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path) -> None:
    (photo_folder / "b" / "broken.png").unlink()
    photo = photo_folder / "a" / "0.png"
    helped, predicted, explained = run(
        ("--help",),
        ("predict", tiny_bundle.folder, photo_folder, "--out", tmp_path / "rows.csv"),
        ("explain", tiny_bundle.folder, photo, "--out", tmp_path / "heat.png"),
    )
    assert helped.returncode == 0 and predicted.returncode == 0, predicted.stderr
    assert explained.returncode == 0, explained.stderr
    assert np.asarray(Image.open(tmp_path / "heat.png")).std() > 5


def test_a_model_is_evaluated(tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path) -> None:
    for place, label in (("a", "crack"), ("b", "good")):
        (photo_folder / place).rename(photo_folder / label)
    (photo_folder / "good" / "broken.png").unlink()
    (done,) = run(("evaluate", tiny_bundle.folder, photo_folder, "--json", tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    assert "F1 " in done.stdout and (tmp_path / "figures.json").is_file()


def test_inspecting_says_what_it_needs_before_it_looks(
    tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    (done,) = run(("inspect", tiny_bundle.folder, photo_folder, "--out", tmp_path / "survey"))
    assert done.returncode == 2 and "pip install 'flawmap[inspect]'" in done.stderr, done.stderr
    assert not (tmp_path / "survey").exists()


def test_serving_says_what_it_needs(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (done,) = run(("serve", tiny_bundle.folder, "--data", tmp_path / "data"))
    assert done.returncode == 2 and "pip install 'flawmap[serve]'" in done.stderr, done.stderr
    assert not (tmp_path / "data").exists()


def test_what_needs_an_extra_says_so(photo_folder: Path, tmp_path: Path) -> None:
    commands = (
        ("train", photo_folder, "--out", tmp_path / "run"),
        ("rank", photo_folder),
        ("audit", photo_folder),
        ("data", "sample", tmp_path / "sample"),
        ("zoo", "--backbones", "all"),
    )
    for words, done in zip(commands, run(*commands), strict=True):
        assert done.returncode == 2, (words, done.stderr)
        assert "pip install 'flawmap[train]'" in done.stderr, words
        assert "Traceback" not in done.stderr, words
    assert not (tmp_path / "run").exists()
