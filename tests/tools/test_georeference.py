"""Pixels of GeoTIFFs that the tests draw lie where an independent program says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from flawmap.tools.georeference import Georeference, read_georeference
from flawmap.tools.photo_rows import open_rows
from flawmap.tools.photos import PhotoOptions

DOUBLE, SHORT = 12, 3
MODEL, RASTER, GEODETIC, PROJECTED = 1024, 1025, 2048, 3072


def draw(
    path: Path,
    keys: dict[int, int],
    *,
    scale: tuple[float, ...] = (0.5, 0.25, 0.0),
    tie: tuple[float, ...] = (0.0, 0.0, 0.0, 10.0, 50.0, 0.0),
    whole: tuple[float, ...] = (),
    orientation: int = 1,
) -> Georeference | None:
    """What is read from a GeoTIFF of 40 × 20 pixels."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    listed = [number for key, value in sorted(keys.items()) for number in (key, 0, 1, value)]
    values = {33550: scale, 33922: tie, 34264: whole, 34735: (1, 1, 0, len(keys), *listed)}
    for tag, value in values.items():
        if value:
            tags[tag] = value
            tags.tagtype[tag] = SHORT if tag == 34735 else DOUBLE
    tags[274] = orientation
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(path, tiffinfo=tags)
    return open_rows(path, PhotoOptions()).ground


def test_degrees_are_read_by_their_datum(tmp_path: Path) -> None:
    for code in (4326, 4979, 4258):
        ground = draw(tmp_path / "a.tif", {MODEL: 2, GEODETIC: code})
        assert ground is not None and ground.is_converted
        assert ground.to_lon_lat(4, 8) == pytest.approx((12, 48))
    for code, name in ((4267, "EPSG:4267"), (32767, "a system without a number")):
        # NAD27, which says nothing of Europe; one of the file's own
        ground = draw(tmp_path / "a.tif", {MODEL: 2, GEODETIC: code})
        assert ground is not None and ground.name == name
        assert not ground.is_converted and ground.to_lon_lat(4, 8) is None
    assert draw(tmp_path / "a.tif", {MODEL: 2, GEODETIC: 4326}, tie=()) is None
    far = draw(tmp_path / "a.tif", {MODEL: 2, GEODETIC: 4326}, tie=(0, 0, 0, 500, 95, 0))
    assert far is not None and far.to_lon_lat(0, 0) is None


def test_a_pixel_that_is_a_point_has_its_place_in_its_middle(tmp_path: Path) -> None:
    ground = draw(tmp_path / "a.tif", {MODEL: 2, RASTER: 2, GEODETIC: 4326})
    assert ground is not None and ground.to_lon_lat(0.5, 0.5) == pytest.approx((10, 50))


def test_a_transformation_may_turn_the_picture(tmp_path: Path) -> None:
    whole = (0.0, 0.5, 0.0, 10.0, 0.25, 0.0, 0.0, 40.0, *(0.0,) * 7, 1.0)
    ground = draw(tmp_path / "a.tif", {MODEL: 2, GEODETIC: 4326}, scale=(), tie=(), whole=whole)
    assert ground is not None and ground.to_lon_lat(4, 8) == pytest.approx((14, 41))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_keeps_its_places(orientation: int, tmp_path: Path) -> None:
    """A white pixel lies at the same place on Earth, wherever the orientation tag turns it to."""
    stored = np.zeros((20, 40, 3), np.uint8)
    stored[3, 7] = 255
    path = tmp_path / "a.tif"
    draw(path, {MODEL: 2, GEODETIC: 4326}, orientation=orientation)
    with Image.open(path) as image:
        Image.fromarray(stored).save(path, tiffinfo=image.tag_v2)
    rows = open_rows(path, PhotoOptions())
    y, x = np.argwhere(rows.read(0, rows.size_hw[0]).any(axis=2))[0]
    assert rows.ground is not None
    assert rows.ground.to_lon_lat(x + 0.5, y + 0.5) == pytest.approx((10 + 7.5 * 0.5, 50 - 3.5 * 0.25))


# Worked out by Krüger's series (Karney, J. Geodesy 85, 2011), which agrees with PROJ to a millimetre.
UTM = [
    (32632, (500000, 5300000), (9.000000000, 47.853341946)),
    (32632, (399000.25, 5757000.5), (7.530234662, 51.954523601)),
    (32632, (700000, 5538630.7), (11.788931663, 49.966467163)),
    (32756, (334368.6, 6250948.3), (151.209299628, -33.868800404)),
    (32660, (833978, 100), (179.999995002, 0.000903483)),
    (25833, (389880.9, 5819930.6), (13.377080217, 52.518347595)),
    (26910, (491000, 5459000), (-123.123751799, 49.283686421)),
]


@pytest.mark.parametrize(("code", "east_north", "lon_lat"), UTM)
def test_utm_becomes_degrees(
    code: int, east_north: tuple[float, float], lon_lat: tuple[float, float], tmp_path: Path
) -> None:
    scale = (0.02, 0.02, 0.0)
    tie = (10.0, 5.0, 0.0, *east_north, 0.0)
    ground = draw(tmp_path / "a.tif", {MODEL: 1, PROJECTED: code}, scale=scale, tie=tie)
    assert ground is not None and ground.is_converted and ground.name == f"EPSG:{code}"
    found = ground.to_lon_lat(10, 5)
    assert found == pytest.approx(lon_lat, abs=1e-8)  # a millimetre
    beside = ground.to_lon_lat(10, 55)
    assert found is not None and beside is not None
    assert beside[1] == pytest.approx(found[1] - 1 / 111_100, abs=2e-7)  # a metre to the south


def test_national_grids_become_degrees(tmp_path: Path) -> None:
    """The origin of the Swiss one, by the constants of swisstopo's approximate formulas, within a metre."""
    ground = draw(tmp_path / "a.tif", {MODEL: 1, PROJECTED: 2056}, tie=(0, 0, 0, 2_600_000, 1_200_000, 0))
    assert ground is not None and ground.is_converted
    assert ground.to_lon_lat(0, 0) == pytest.approx((26_779.094 / 3600, 169_023.892 / 3600), abs=1e-5)


@pytest.mark.parametrize("code", [32600, 9999, 32767])
def test_systems_that_cannot_be_converted_well_are_not_guessed(code: int, tmp_path: Path) -> None:
    ground = draw(tmp_path / "a.tif", {MODEL: 1, PROJECTED: code}, tie=(0, 0, 0, 500000, 5300000, 0))
    assert ground is not None and not ground.is_converted and ground.to_lon_lat(1, 1) is None


def test_metres_without_an_origin_are_no_place(tmp_path: Path) -> None:
    for tie in ((0, 0, 0, -50, 80, 0), (0, 0, 0, 1e9, 0, 0), (0, 0, 0, float("nan"), 0, 0)):
        ground = draw(tmp_path / "a.tif", {MODEL: 1, PROJECTED: 32632}, tie=tie)
        assert ground is not None and ground.to_lon_lat(1, 1) is None


def test_tags_that_are_cut_short_say_nothing() -> None:
    assert read_georeference({33550: (1.0, 1.0, 0.0), 33922: (0.0,) * 6}, (4, 4), 1) is None
    assert read_georeference({34735: (1, 1, 0, 1, 1024, 0, 1, 2), 34264: (1.0,) * 9}, (4, 4), 1) is None
