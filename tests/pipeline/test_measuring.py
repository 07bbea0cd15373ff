"""measure, measure_profile and marker as jobs and as commands, from files to files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flawmap
from commands import run_here
from drawn_cracks import draw_crack, draw_profiles, write_grey
from flawmap.errors import OptionError, PhotoError
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


def test_a_pattern_is_told_of_each_crack_and_not_of_all_together(tmp_path: Path) -> None:
    mask = np.zeros((200, 300), bool)
    mask[40:44, 20:280] = mask[40:120, 150:154] = True
    mask[160:164, 20:280] = True
    lines = flawmap.measure(write_grey(tmp_path / "mask.png", mask)).lines
    assert sum("branched (3 branches)" in line for line in lines) == 1
    assert lines[2].startswith("2 cracks") and "pattern" not in lines[2]


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


def test_the_pixel_cap_of_mask_and_photo_can_be_raised(files: tuple[Path, Path]) -> None:
    mask, photo = files
    small = ("--max-megapixels", 0.001)
    for words in ((mask,), (mask, "--photo", photo)):
        refused = run_here("measure", *map(str, (*words, *small)))
        assert refused.returncode == 2 and "raise it with --max-megapixels" in refused.stderr
        done = run_here("measure", *map(str, words), "--max-megapixels", "300")
        assert done.returncode == 0, done.stderr
    with pytest.raises(PhotoError, match="megapixels"):
        flawmap.measure(mask, photo, max_megapixels=0.001)


def test_classes_are_told_apart_and_patches_have_no_width(tmp_path: Path) -> None:
    numbers = np.zeros((120, 300), np.uint8)
    numbers[40:44, 20:280] = 1
    numbers[44:56, 20:280] = 2
    numbers[70:110, 20:80] = 4
    Image.fromarray(numbers).save(tmp_path / "mask.png")
    found = flawmap.measure(tmp_path / "mask.png", json_file=tmp_path / "out.json")
    assert found.lines[0].startswith("class 2: 12.0") and found.lines[1].startswith("class 1: 4.0")
    no_width = "class 4: no width of the region of 60×40 px at (20, 70), area 2,400 px²: it is "
    assert found.lines[3].startswith(no_width)
    assert "the mask holds the classes 1, 2, 4: each is measured by itself" in found.lines
    told = json.loads((tmp_path / "out.json").read_text())
    assert [crack["class_index"] for crack in told["cracks"]] == [2, 1]
    assert (told["patches"][0]["class_index"], told["patches"][0]["area_px"]) == (4, 2400)
    (tmp_path / "classes.txt").write_text("scratch\nrust\n", encoding="utf-8")
    found = flawmap.measure(tmp_path / "mask.png")
    assert [line.split(": ")[0] for line in found.lines[:2]] == ["rust", "scratch"]
    assert found.lines[3].startswith("class 4: ") and found.cracks[0].label == "rust"
    together = flawmap.measure(tmp_path / "mask.png", mask_threshold=1)
    assert len(together.cracks) == 1 and not any("class" in line for line in together.lines)


def test_a_mask_of_one_class_or_of_a_patch_alone(tmp_path: Path) -> None:
    Image.fromarray(np.pad(np.full((4, 200), 3, np.uint8), 20)).save(tmp_path / "one.png")
    found = flawmap.measure(tmp_path / "one.png")
    assert found.cracks[0].class_index == 3 and not any("class" in line for line in found.lines)
    blob = write_grey(tmp_path / "blob.png", np.pad(np.ones((30, 40), bool), 9))
    found = flawmap.measure(blob, scale=ScaleOptions(mm_per_px=1.0), grading=GradingOptions())
    assert (found.cracks, found.total, found.grades, len(found.patches)) == ((), None, (), 1)
    assert found.lines[0] == "no crack in this mask"
    assert found.lines[1].startswith("no width of the region of 40×30 px at (9, 9), area 1,200 mm²: ")
    found = flawmap.measure(blob, scale=ScaleOptions(mm_per_px=0.02))
    assert "area 0.48 mm²: " in found.lines[1]


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
    done = run_here("measure", files[0], *named)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_lens_that_cannot_be_is_told_with_its_photo(files: tuple[Path, Path]) -> None:
    exif = Image.Exif()
    exif[0x8769] = {0x920A: 600.0, 0xA405: 900}
    with Image.open(files[1]) as photo:
        photo.save(files[1], exif=exif)
    words = ("measure", files[0], "--photo", files[1], "--distance-m", "1")
    done = run_here(*words)
    assert done.returncode == 2, done.stderr
    assert f"{files[1]}: its EXIF gives a focal length of 600 mm" in done.stderr
    done = run_here(*words, "--focal-mm", "50")
    assert done.returncode == 0, done.stderr


def test_profiles_from_file_to_file(tmp_path: Path) -> None:
    file = tmp_path / "profiles.csv"
    rows = draw_profiles([0.4, 3.0])
    file.write_text("\n".join(",".join(f"{value:.1f}" for value in row) for row in rows))
    done = run_here("measure-profile", file, "--mm-per-px", 0.2, "--json", tmp_path / "widths.json")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "widths.json").read_text())
    assert [set(row) for row in told] == [{"width_px", "width_mm", "u95_px", "u95_mm", "is_resolved"}] * 2
    assert [row["is_resolved"] for row in told] == [False, True]
    assert told[1]["width_mm"] == pytest.approx(0.6, abs=0.06)
    assert "1 of 2 not resolved" in done.stdout


def test_a_marker_is_printed(tmp_path: Path) -> None:
    lines = flawmap.marker(tmp_path / "marker.pdf", size_mm=40)
    assert "40 mm" in lines[0] and (tmp_path / "marker.pdf").read_bytes().startswith(b"%PDF")
    done = run_here("marker", "--out", tmp_path / "marker.pdf")
    assert done.returncode == 2 and "it is there already" in done.stderr and "--overwrite" in done.stderr
    assert run_here("marker", "--out", tmp_path / "marker.pdf", "--overwrite").returncode == 0


def test_a_tilted_photo_with_a_marker_gives_millimetres(tmp_path: Path) -> None:
    """A wall at 5 px per mm with a marker of 50 mm and a crack of 1.6 mm, seen at an angle."""
    import cv2

    wall = np.full((900, 1200), 200, np.uint8)
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    wall[100:350, 150:400] = cv2.aruco.generateImageMarker(dictionary, 3, 250)
    wall[500:508, 200:1000] = 40
    mask = np.zeros_like(wall)
    mask[500:508, 200:1000] = 255
    corners = np.array([[0, 0], [1199, 0], [1199, 899], [0, 899]], np.float32)
    seen = np.array([[60, 20], [1160, 90], [1090, 800], [90, 880]], np.float32)
    tilt = cv2.getPerspectiveTransform(corners, seen)
    photo = cv2.warpPerspective(wall, tilt, (1200, 900), borderValue=(200.0,))
    mask = cv2.warpPerspective(mask, tilt, (1200, 900)) >= 128
    found = flawmap.measure(
        write_grey(tmp_path / "mask.png", mask),
        write_grey(tmp_path / "photo.png", cv2.GaussianBlur(photo, (0, 0), 0.7)),
        scale=ScaleOptions(marker_mm=50.0),
        overlay=tmp_path / "drawn.png",
    )
    told = found.cracks[0].measurement.to_mm()
    assert told["width_mean_mm"] == pytest.approx(1.6, rel=0.03)
    assert told["length_mm"] == pytest.approx(160, rel=0.03)
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_options_from_a_file_and_overlays_are_checked(files: tuple[Path, Path], tmp_path: Path) -> None:
    mask, _ = files
    options = tmp_path / "options.toml"
    options.write_text("least_area_px = 100000\n")
    done = run_here("measure", mask, "--config", options)
    assert done.returncode == 0 and "no crack" in done.stdout
    options.write_text("least_area = 5\n")
    done = run_here("measure", mask, "--config", options)
    assert done.returncode == 2 and "least_area_px" in done.stderr
    with pytest.raises(OptionError, match="it is read here"):
        flawmap.measure(mask, overlay=mask)
    with pytest.raises(OptionError, match=r"ends in \.png"):
        flawmap.measure(mask, overlay=tmp_path / "drawn.jpg")


def test_cracks_come_widest_first_in_print_and_file_alike(tmp_path: Path) -> None:
    pixels = np.zeros((120, 160), np.uint8)
    for row, width in ((20, 3), (60, 9), (100, 5)):
        pixels[row : row + width, 10:150] = 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    done = run_here("measure", tmp_path / "mask.png", "--json", tmp_path / "cracks.json")
    widths = [crack["width_max_px"] for crack in json.loads((tmp_path / "cracks.json").read_text())["cracks"]]
    printed = [float(line.split(" ±")[0]) for line in done.stdout.splitlines() if " wide at " in line]
    assert widths == sorted(widths, reverse=True) and printed == pytest.approx(widths, abs=0.01)


def test_what_somebody_drew_is_not_drawn_over(tmp_path: Path) -> None:
    mask = write_grey(tmp_path / "mask.png", np.zeros((20, 20), bool))
    (tmp_path / "drawn.png").write_bytes(mask.read_bytes())
    (tmp_path / "labels.json").write_text('{"images": []}')
    for words in (("--overlay", tmp_path / "drawn.png"), ("--json", tmp_path / "labels.json")):
        done = run_here("measure", mask, *words)
        assert done.returncode == 2 and "cannot write" in done.stderr
    for _ in range(2):
        assert run_here("measure", mask, "--json", tmp_path / "own.json").returncode == 0
    assert run_here("measure", mask, "--overlay", tmp_path / "drawn.png", "--overwrite").returncode == 0
    assert (tmp_path / "labels.json").read_text() == '{"images": []}'


def test_a_crack_too_thin_to_be_told_is_given_its_bound_and_comes_last(tmp_path: Path) -> None:
    mask, wide = draw_crack(4.0, 0, dark=20, noise=2.0)
    thin = draw_crack(0.2, 0, dark=20, noise=2.0)[1]
    thin[:, 100:103] = wide[:, 100:103]
    photo = write_grey(tmp_path / "photo.png", np.concatenate([thin, draw_crack(2.0, 0)[1]]))
    both = write_grey(tmp_path / "mask.png", np.concatenate([mask, draw_crack(2.0, 0)[0]]))
    found = flawmap.measure(both, photo, scale=ScaleOptions(mm_per_px=0.5), grading="bre-251")
    told, hair = (crack.measurement for crack in found.cracks)
    assert (told.is_resolved, hair.is_resolved) == (True, False)
    assert told.width_max_px < hair.width_max_px, "of which a short place shows more"
    bound = f"under {0.5 * hair.smallest_width_px:.2f} mm wide"
    assert f"{0.5 * told.width_max_px:.2f} ±" in found.lines[0] and bound in found.lines[1]
    assert found.lines[1].endswith("(uncertain)")
    ends = sorted((told.smallest_width_px, hair.smallest_width_px))
    told_px, told_mm = (" to ".join(f"{k * end:.{n}f}" for end in ends) for k, n in ((1, 1), (0.5, 2)))
    assert f"smallest width that can be told here: {told_px} px ({told_mm} mm)" in found.lines
