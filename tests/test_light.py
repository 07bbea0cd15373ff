"""Without the extras, everything around a trained model works, and the rest says what to install."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flawmap.tools.bundle import Bundle

WITHOUT_EXTRAS = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in absent else real(name, package)
sys.meta_path.insert(0, Absent())
from flawmap.__main__ import main
sys.argv = ["flawmap", *sys.argv[1:]]
main()
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


def absent_modules() -> list[str]:
    """Importable packages that `pip install flawmap` would not bring."""
    base = base_distributions()
    return sorted(
        module
        for module, owners in packages_distributions().items()
        if module.isidentifier() and not {owner.lower().replace("_", "-") for owner in owners} & base
    )


def run(*words: object) -> subprocess.CompletedProcess[str]:
    code = f"absent = {absent_modules()!r}\n{WITHOUT_EXTRAS}"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, timeout=120
    )


def test_the_extras_are_seen_as_absent() -> None:
    assert {"torch", "timm", "sklearn", "skimage", "onnx", "jinja2"} <= set(absent_modules())
    assert not {"numpy", "PIL", "onnxruntime", "typer", "rich", "flawmap"} & set(absent_modules())


def test_what_a_model_needs_is_there(tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path) -> None:
    (photo_folder / "b" / "broken.png").unlink()
    assert run("--help").returncode == 0
    done = run("predict", tiny_bundle.folder, photo_folder, "--out", tmp_path / "rows.csv")
    assert done.returncode == 0, done.stderr
    photo = photo_folder / "a" / "0.png"
    done = run("explain", tiny_bundle.folder, photo, "--out", tmp_path / "heat.png")
    assert done.returncode == 0 and np.asarray(Image.open(tmp_path / "heat.png")).std() > 5, done.stderr


def test_a_model_is_evaluated(tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path) -> None:
    for place, label in (("a", "crack"), ("b", "good")):
        (photo_folder / place).rename(photo_folder / label)
    (photo_folder / "good" / "broken.png").unlink()
    done = run("evaluate", tiny_bundle.folder, photo_folder, "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    assert "F1 " in done.stdout and (tmp_path / "figures.json").is_file()


def test_inspecting_says_what_it_needs_before_it_looks(
    tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    done = run("inspect", tiny_bundle.folder, photo_folder, "--out", tmp_path / "survey")
    assert done.returncode == 2 and "pip install 'flawmap[inspect]'" in done.stderr, done.stderr
    assert not (tmp_path / "survey").exists()


def test_serving_says_what_it_needs(tiny_bundle: Bundle, tmp_path: Path) -> None:
    done = run("serve", tiny_bundle.folder, "--data", tmp_path / "data")
    assert done.returncode == 2 and "pip install 'flawmap[serve]'" in done.stderr, done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("train", "{photos}", "--out", "{tmp}/run"),
        ("rank", "{photos}"),
        ("audit", "{photos}"),
        ("data", "sample", "{tmp}/sample"),
        ("zoo", "--backbones", "all"),
    ],
    ids=" ".join,
)
def test_what_needs_an_extra_says_so(words: tuple[str, ...], photo_folder: Path, tmp_path: Path) -> None:
    done = run(*(word.format(photos=photo_folder, tmp=tmp_path) for word in words))
    assert done.returncode == 2, done.stderr
    assert "pip install 'flawmap[train]'" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
