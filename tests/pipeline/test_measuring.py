"""measure, measure_profile and marker as jobs and as commands, from files to files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import flawmap
from drawn_cracks import draw_crack, draw_profiles, write_grey
from flawmap.tools.grading import GradingOptions
from flawmap.tools.scale import ScaleOptions


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flawmap", *map(str, words)], capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    mask, grey = draw_crack(6.0)
    return write_grey(tmp_path / "mask.png", mask), write_grey(tmp_path / "photo.png", grey)


def test_the_command_writes_every_figure(files: tuple[Path, Path], tmp_path: Path) -> None:
    mask, photo = files
    words = (
        "--mm-per-px",
        0.1,
        "--grading",
        "eurocode-2",
        "--exposure",
        "XC3",
        "--json",
        tmp_path / "out.json",
    )
    done = run("measure", mask, "--photo", photo, *words)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "out.json").read_text())
    (crack,) = told["cracks"]
    assert crack["width_mean_mm"] == pytest.approx(0.6, abs=0.03)
    assert crack["width_max_u95_mm"] == pytest.approx(0.1 * crack["width_max_u95_px"])
    assert crack["grade"]["ratio"] == pytest.approx(crack["width_max_mm"] / 0.3)
    assert told["total"]["n_cracks"] == 1 and any("National annexes" in line for line in told["limits"])
    assert "above 0.3 mm (XC3)" in done.stdout and "1 crack," in done.stdout


def test_without_a_photo_the_mask_is_taken_at_its_word(files: tuple[Path, Path]) -> None:
    outcome = flawmap.measure(files[0])
    assert outcome.total is not None and outcome.total.scale_mm_per_px is None
    assert any("measured on the mask" in line for line in outcome.lines)


def test_an_empty_mask_has_no_crack(tmp_path: Path) -> None:
    empty = write_grey(tmp_path / "mask.png", np.zeros((20, 30), bool))
    outcome = flawmap.measure(empty, scale=ScaleOptions(mm_per_px=1.0), grading=GradingOptions())
    assert outcome.cracks == () and outcome.total is None and outcome.lines[0] == "no crack in this mask"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--grading", "bre-251"), "a grade needs widths in mm"),
        (("--mm-per-px", "0"), "number above 0"),
        (("--marker-mm", "50"), "give --photo"),
        (("--photo", "{photo}", "--marker-mm", "50"), "no marker found"),
        (("--photo", "{mask}x"), "does not exist"),
        (("--exposure", "XC3"), "grading table"),
        (("--photo", "{small}"), "the mask is 200×200, the photo 50×40; the same size was wanted"),
        (("--photo", "{photo}", "--distance-m", "2"), "--focal-mm"),
    ],
    ids=" ".join,
)
def test_mistakes_are_one_line(words: tuple[str, ...], said: str, files: tuple[Path, Path]) -> None:
    small = write_grey(files[0].with_name("small.png"), np.full((40, 50), 9))
    named = [word.format(mask=files[0], photo=files[1], small=small) for word in words]
    done = run("measure", files[0], *named)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_profiles_from_file_to_file(tmp_path: Path) -> None:
    file = tmp_path / "profiles.csv"
    rows = draw_profiles([0.4, 3.0])
    file.write_text("\n".join(",".join(f"{value:.1f}" for value in row) for row in rows))
    done = run("measure-profile", file, "--mm-per-px", 0.2, "--json", tmp_path / "widths.json")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "widths.json").read_text())
    assert [set(row) for row in told] == [{"width_px", "width_mm", "u95_px", "u95_mm", "is_resolved"}] * 2
    assert [row["is_resolved"] for row in told] == [False, True]
    assert told[1]["width_mm"] == pytest.approx(0.6, abs=0.06)
    assert "1 of 2 not resolved" in done.stdout


def test_a_marker_is_printed(tmp_path: Path) -> None:
    lines = flawmap.marker(tmp_path / "marker.pdf", size_mm=40)
    assert "40 mm" in lines[0] and (tmp_path / "marker.pdf").read_bytes().startswith(b"%PDF")
