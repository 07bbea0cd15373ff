"""What README, tutorial and the page on Python show is run, in order, on a small drawn sample."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from flawmap.stages.sample.photo import draw_photo

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
NOT_RUN = (
    # Fetches need a network, as does what is done with a set that was fetched.
    *("flawmap data fetch", "flawmap.fetch(", "flawmap data convert", "flawmap.convert("),
    # A service runs until it is stopped; tests/service talks to it.
    *("flawmap serve", "flawmap.serve(", "flawmap add-user", "flawmap.add_user("),
    *("flawmap data export-reviews", "flawmap.export_reviews("),
)
QUICK_TOML = """
backbones = "efficientnet_lite0"
[rank]
max_depth = 2
[train]
head_epochs = 2
epochs = 0
[train_masks]
crop_px = 64
epochs = 2
refit_share = 0
"""
PRELUDE = """
import flawmap
from pathlib import Path
from flawmap.tools.options import read_options
quick = read_options(Path("quick.toml"), flawmap.RunOptions)
"""
QUICK_COMMANDS = {
    "flawmap data sample demo": "flawmap data sample demo --photos 10 --seed 3",
    "flawmap train ": "flawmap train --config quick.toml ",
    "flawmap rank ": "flawmap rank --config quick.toml ",
    "flawmap compare survey-2025 survey-2026": "flawmap compare survey survey",
}
QUICK_PYTHON = {
    'flawmap.draw_sample("demo")': 'flawmap.draw_sample("demo", n_photos=10, seed=3)',
    'flawmap.train("demo/photos", out="runs/demo")': (
        'flawmap.train("demo/photos", out="runs/demo", options=quick)'
    ),
    'flawmap.train("photos-and-masks", out="runs/masks")': (
        'flawmap.train("photos-and-masks", out="runs/masks", options=quick)'
    ),
    'flawmap.compare("survey-2025", "survey-2026")': 'flawmap.compare("survey", "survey")',
    'flawmap.rank("demo/photos")': 'flawmap.rank("demo/photos", quick)',
    "flawmap.RunOptions(seed=1)": "quick",
}


def blocks(page: str, language: str) -> str:
    """The page's fenced blocks of a language, one after the other."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL))


def table(column: int) -> str:
    """A column of README's table of tasks: 2 the commands, 3 the Python."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("|")][2:]
    cells = [row[column].strip().strip("`") for row in rows]
    return "\n".join(cell for cell in cells if cell and not cell.startswith(NOT_RUN))


def quickly(text: str, changes: dict[str, str]) -> str:
    for shown, quick in changes.items():
        text = text.replace(shown, quick)
    return text


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the photos that the pages speak of."""
    monkeypatch.setenv("FLAWMAP_CACHE", str(cache))
    (tmp_path / "quick.toml").write_text(QUICK_TOML, encoding="utf-8")
    run(["-m", "flawmap", *shlex.split("data sample other --photos 10 --seed 3")], tmp_path)
    shutil.copy(tmp_path / "other" / "photos" / "Positive" / "00001.jpg", tmp_path / "a.jpg")
    shutil.copytree(tmp_path / "other" / "site", tmp_path / "photos")
    draw_masked(tmp_path / "photos-and-masks", range(20))
    draw_masked(tmp_path / "other-photos-and-masks", range(20, 24))
    with Image.open(tmp_path / "a.jpg") as photo:
        mask = Image.new("L", photo.size)
    ImageDraw.Draw(mask).line((20, 40, 200, 160), fill=255, width=3)
    mask.save(tmp_path / "mask.png")
    dark = 200 - 120 * (np.abs(np.arange(31) - 15.2) < 2)
    (tmp_path / "profiles.csv").write_text(",".join(map(str, dark)) + "\n", encoding="utf-8")
    return tmp_path


def draw_masked(folder: Path, indices: Iterable[int]) -> None:
    """Photos of a sample with their masks: two whole ones, then a sound part of another."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for i in indices:
        drawn = draw_photo(i, seed=0, n_tiles=8, tile_px=64)
        sound = [tile for tile in drawn.tiles if not tile.is_flawed]
        shown = sound[0] if i % 3 == 2 else drawn
        (folder / "images" / f"{drawn.name}.jpg").write_bytes(shown.jpeg)
        (folder / "masks" / f"{drawn.name}.png").write_bytes(shown.mask_png)


def run(words: list[str], place: Path) -> None:
    done = subprocess.run(
        [sys.executable, *words], cwd=place, capture_output=True, text=True, timeout=600, env=dict(os.environ)
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"


def run_commands(text: str, place: Path) -> list[str]:
    """Run the flawmap commands among some lines; gives their first words."""
    lines = [line.split("#")[0].strip() for line in text.replace("\\\n", " ").splitlines()]
    lines = [line for line in lines if line.startswith("flawmap ")]
    for line in lines:
        run(["-m", *shlex.split(quickly(line, QUICK_COMMANDS))], place)
    return [line.split()[1] for line in lines]


def test_the_commands_of_the_readme(place: Path) -> None:
    named = run_commands(table(2) + "\n" + blocks("README.md", "sh"), place)
    assert {"data", "train", "predict", "explain", "evaluate", "audit", "rank", "similar", "zoo"} <= set(
        named
    )
    made = (
        "runs/demo/report.html results.csv heat.png figures.json ranking/ranking.csv runs/masks/report.html"
    )
    for name in (*made.split(), "survey/report.pdf", "found/masks", "widths.json", "marker.pdf", "small"):
        assert (place / name).exists(), name


def test_the_python_of_the_readme(place: Path) -> None:
    code = quickly(table(3) + "\n" + blocks("README.md", "python"), QUICK_PYTHON)
    assert "options=quick" in code
    run(["-c", PRELUDE + code], place)
    assert (place / "runs/demo/model/model.onnx").is_file() and (place / "results.csv").is_file()


def test_the_commands_of_the_tutorial(place: Path) -> None:
    named = run_commands(blocks("docs/tutorial.md", "sh"), place)
    assert {"audit", "train", "predict", "explain", "evaluate"} <= set(named)
    assert (place / "runs/chain/report.html").is_file()


@pytest.mark.parametrize("page", ["docs/tutorial.md", "docs/python.md"])
def test_the_python_of_the_pages(page: str, place: Path) -> None:
    shutil.move(place / "other", place / "demo")
    if page == "docs/tutorial.md":
        run(
            ["-m", "flawmap", *shlex.split("train --config quick.toml photos-and-masks --out runs/masks")],
            place,
        )
    code = quickly(blocks(page, "python"), QUICK_PYTHON)
    run(["-c", PRELUDE + code], place)
    assert (place / "runs/demo/report.html").is_file()
