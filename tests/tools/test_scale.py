"""Scales: given, from the lens, from EXIF, and from a marker seen at an angle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flawmap.errors import OptionError, PhotoError
from flawmap.tools.markers import find_marker_scale, write_marker
from flawmap.tools.scale import Lens, ScaleOptions, find_scale, read_lens, to_mm_per_px
from flawmap.tools.surface import Scale

ALONG_X, ALONG_Y = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])


def test_distance_and_lens_give_the_scale() -> None:
    lens = Lens(focal_mm=50, sensor_width_mm=36)
    # 36 mm of sensor at 5 m see 36 × 4950 / 50 = 3564 mm.
    assert to_mm_per_px(5.0, lens, (4000, 6000)) == pytest.approx(3564 / 6000)
    assert to_mm_per_px(5.0, lens, (6000, 4000)) == pytest.approx(3564 / 6000)
    with pytest.raises(OptionError, match="--focal-mm"):
        to_mm_per_px(5.0, Lens(), (10, 10))
    with pytest.raises(OptionError, match="metres"):
        to_mm_per_px(0.05, lens, (10, 10))


def test_exif_tells_the_lens(tmp_path: Path) -> None:
    photo, exif = tmp_path / "photo.jpg", Image.Exif()
    exif.get_ifd(0x8769).update({0x920A: 4.2, 0xA405: 26})
    Image.new("RGB", (400, 300)).save(photo, exif=exif)
    lens = read_lens(photo, (300, 400))
    assert lens.focal_mm == pytest.approx(4.2)
    assert lens.sensor_width_mm == pytest.approx(43.267 * 4.2 / 26 * 0.8, rel=1e-3)
    image = np.zeros((300, 400, 3), np.uint8)
    found = find_scale(ScaleOptions(distance_m=1.0), image, photo)
    assert found is not None
    expected = float(lens.sensor_width_mm or 0) / 400 * (1000 - 4.2) / 4.2
    assert found.at(np.zeros((1, 2)), ALONG_X)[0] == pytest.approx(expected)
    with pytest.raises(PhotoError, match=r"EXIF gives a focal length of 4\.2 mm, and .* is 0\.008"):
        find_scale(ScaleOptions(distance_m=0.008), image, photo)
    with pytest.raises(OptionError, match=r"--sensor-width-mm.* is missing"):
        find_scale(ScaleOptions(distance_m=1.0, focal_mm=5.0), image)
    plain = tmp_path / "plain.png"
    Image.new("RGB", (40, 30)).save(plain)
    assert read_lens(plain, (30, 40)) == Lens()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mm_per_px": 0.0}, "number above 0"),
        ({"focal_mm": 50.0}, "a lens gives no scale by itself; give --distance-m"),
        ({"focal_mm": 50.0, "distance_m": 0.1}, "is 0.1, not twice the focal length of 50 mm"),
    ],
    ids=str,
)
def test_scales_that_cannot_be(given: dict[str, float], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        ScaleOptions(**given)


def test_a_scale_off_the_photo_needs_one() -> None:
    assert find_scale(ScaleOptions()) is None
    with pytest.raises(OptionError, match="--photo"):
        find_scale(ScaleOptions(marker_mm=50.0))


def test_a_homography_is_moved_and_stretched() -> None:
    tilted = Scale(np.array([[0.2, 0, 3], [0, 0.2, 1], [2e-4, 1e-4, 1]]))
    xy, step = np.array([[40.0, 70.0]]), 1e-5

    def on_surface(at: np.ndarray) -> np.ndarray:
        point = tilted.to_surface @ [*at, 1]
        return point[:2] / point[2]

    expected = np.hypot(*(on_surface(xy[0] + [step, 0]) - on_surface(xy[0]))) / step
    assert tilted.at(xy, ALONG_X)[0] == pytest.approx(expected, rel=1e-5)
    assert tilted.moved(10, 20).at(xy - [10, 20], ALONG_X)[0] == pytest.approx(expected, rel=1e-5)
    assert Scale.uniform(0.5).relative_u95(xy, ALONG_X)[0] == 0


def test_areas_add_up_to_that_of_the_outline() -> None:
    """By the shoelace formula, of the corners on the surface."""
    tilted = Scale(np.array([[0.2, 0.01, 3], [0, 0.2, 1], [2e-4, 1e-4, 1]]))
    corners = np.array([[10, 20], [90, 20], [90, 60], [10, 60]]) - 0.5
    points = np.column_stack([corners, np.ones(4)]) @ tilted.to_surface.T
    x, y = (points[:, :2] / points[:, 2:]).T
    outline = abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
    inside = np.stack(np.meshgrid(np.arange(10, 90), np.arange(20, 60)), axis=-1).reshape(-1, 2)
    assert tilted.area_mm2(inside) == pytest.approx(outline, rel=1e-5)
    assert Scale.uniform(0.5).area_mm2(inside) == pytest.approx(len(inside) / 4)


def photographed(size_mm: float, to_photo: np.ndarray) -> np.ndarray:
    """A 900 × 1200 photo of a white wall with a printed marker; `to_photo` maps the wall's mm to pixels."""
    import cv2

    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    side, white = 600, 200
    marker = np.pad(cv2.aruco.generateImageMarker(dictionary, 7, side), white, constant_values=255)
    to_wall = np.diag([size_mm / side, size_mm / side, 1.0]) @ [
        [1, 0, 0.5 - white],
        [0, 1, 0.5 - white],
        [0, 0, 1],
    ]
    seen = cv2.warpPerspective(
        marker, to_photo @ to_wall, (1200, 900), flags=cv2.INTER_AREA, borderValue=(220.0,)
    )
    return np.repeat(cv2.GaussianBlur(seen, (0, 0), 0.8)[..., None], 3, axis=2)


@pytest.mark.parametrize("lean", [0.0, 1.5e-3])
def test_a_marker_gives_the_scale_and_corrects_tilt(lean: float) -> None:
    to_photo = np.array([[4.0, 0, 300], [0, 4.0, 200], [lean, 0, 1]])
    scale = find_marker_scale(photographed(50, to_photo), 50.0)
    true = Scale(np.linalg.inv(to_photo))
    for xy, within in ((np.array([[400.0, 300.0]]), 0.01), (np.array([[800.0, 300.0]]), 0.04)):
        for along in (ALONG_X, ALONG_Y):
            found, expected = scale.at(xy, along)[0], true.at(xy, along)[0]
            assert found == pytest.approx(expected, rel=within)
            assert abs(found / expected - 1) <= scale.relative_u95(xy, along)[0] + 0.005
    far, near = np.array([[1100.0, 800.0]]), np.array([[400.0, 300.0]])
    assert scale.relative_u95(far, ALONG_X)[0] > scale.relative_u95(near, ALONG_X)[0]


def test_no_marker_is_said() -> None:
    with pytest.raises(PhotoError, match="no marker found"):
        find_marker_scale(np.full((200, 200, 3), 128, np.uint8), 50.0)
    with pytest.raises(OptionError, match="marker's size"):
        find_marker_scale(np.full((200, 200, 3), 128, np.uint8), -1.0)


def test_the_printed_marker_is_as_large_as_it_says(tmp_path: Path) -> None:
    pdfium = pytest.importorskip("pypdfium2")
    write_marker(tmp_path / "marker.pdf", 50.0, 3)
    document = pdfium.PdfDocument(tmp_path / "marker.pdf")
    dots_per_mm = 10
    page = np.asarray(document[0].render(scale=dots_per_mm * 25.4 / 72).to_pil().convert("RGB"))
    document.close()
    assert np.abs(np.subtract(page.shape[:2], (2970, 2100))).max() <= 2
    page = page[:900]  # above the line and the text
    is_dark = page[..., 0] < 128
    dark = is_dark.any(axis=1)
    assert dark.sum() == pytest.approx(500, abs=2)
    assert is_dark.any(axis=0).sum() == pytest.approx(500, abs=2)
    scale = find_marker_scale(page, 50.0)
    middle = np.array([[1050.0, np.flatnonzero(dark).mean()]])
    assert scale.at(middle, ALONG_X)[0] == pytest.approx(1 / dots_per_mm, rel=0.005)


@pytest.mark.parametrize(
    ("name", "size_mm", "number", "said"),
    [("m.pdf", 500, 0, "5 to 160 mm"), ("m.pdf", 50, 50, "0 to 49"), ("m.png", 50, 0, "ending in .pdf")],
)
def test_markers_that_cannot_be_printed(
    tmp_path: Path, name: str, size_mm: float, number: int, said: str
) -> None:
    with pytest.raises(OptionError, match=said):
        write_marker(tmp_path / name, size_mm, number)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mm_per_px": 0.1, "marker_mm": 50}, r"--mm-per-px \(Python: .*\) and --marker-mm .* are given"),
        (
            {"mm_per_px": 0.1, "focal_mm": 5},
            r"--focal-mm .* goes with --distance-m .* --mm-per-px .* already",
        ),
        ({"marker_mm": -5}, "--marker-mm .* is -5; a number above 0"),
        ({"distance_m": 2, "focal_mm": float("nan")}, "focal_mm is nan; a finite number was wanted"),
    ],
)
def test_options_that_do_not_go_together_are_named(given: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ScaleOptions(**given)
