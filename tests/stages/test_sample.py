"""The drawn sample: repeatable, and its truth is true."""

from __future__ import annotations

import csv
import errno
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_edt

from flawmap.errors import OptionError
from flawmap.stages.sample import SampleOptions, SampleSummary, draw_sample
from flawmap.stages.sample.flaws import stamp_distance

SMALL = SampleOptions(n_photos=12, tiles_per_photo=6, tile_px=160, seed=3)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    return draw_sample(tmp_path_factory.mktemp("sample") / "demo", SMALL)


@pytest.fixture(scope="module")
def rows(sample: SampleSummary) -> list[dict[str, str]]:
    with (sample.truth_folder / "tiles.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def read_mask(sample: SampleSummary, row: dict[str, str]) -> np.ndarray:
    mask = np.asarray(Image.open(sample.truth_folder / row["mask"]))
    assert set(np.unique(mask)) <= {0, 255}
    return mask > 0


def covered_px(distance: np.ndarray) -> float:
    """Area inside a distance field, pixels on the edge counted in part."""
    return float(np.clip(0.5 - distance, 0, 1).sum())


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_options_draw_the_same_bytes(tmp_path: Path) -> None:
    options = SampleOptions(n_photos=3, tiles_per_photo=4, tile_px=96)
    first = draw_sample(tmp_path / "a", options)
    draw_sample(tmp_path / "b", options)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    draw_sample(tmp_path / "c", SampleOptions(n_photos=3, tiles_per_photo=4, tile_px=96, seed=1))
    assert not set(digests(tmp_path / "c" / "photos").values()) & set(digests(first.photos_folder).values())


def test_a_longer_sample_begins_with_the_shorter_one(tmp_path: Path) -> None:
    draw_sample(tmp_path / "2", SampleOptions(n_photos=2, tiles_per_photo=4, tile_px=96))
    draw_sample(tmp_path / "3", SampleOptions(n_photos=3, tiles_per_photo=4, tile_px=96))
    short, long = digests(tmp_path / "2" / "photos"), digests(tmp_path / "3" / "photos")
    assert short.items() <= long.items()


def test_counts_sizes_and_balance(sample: SampleSummary, rows: list[dict[str, str]]) -> None:
    assert sample.n_tiles == len(rows) == SMALL.n_photos * SMALL.tiles_per_photo
    assert sample.n_positive + sample.n_negative == sample.n_tiles
    assert 0.35 < sample.n_positive / sample.n_tiles < 0.65
    files = sorted(
        path.relative_to(sample.photos_folder).as_posix() for path in sample.photos_folder.rglob("*.jpg")
    )
    assert files == [row["file"] for row in rows]
    for row in rows:
        with Image.open(sample.photos_folder / row["file"]) as tile:
            assert (tile.size, tile.mode) == ((SMALL.tile_px, SMALL.tile_px), "RGB")
    assert len(list((sample.photos_folder.parent / "site").glob("*.jpg"))) == SMALL.n_photos


def test_numbers_follow_the_photos(rows: list[dict[str, str]]) -> None:
    for label in ("Positive", "Negative"):
        mine = [row for row in rows if row["file"].startswith(label)]
        assert [row["file"] for row in mine] == [f"{label}/{i + 1:05d}.jpg" for i in range(len(mine))]
        assert [row["photo"] for row in mine] == sorted(row["photo"] for row in mine)


def test_every_surface_and_kind_of_flaw_is_there(rows: list[dict[str, str]]) -> None:
    surfaces = {row["surface"] for row in rows}
    assert surfaces == {
        "concrete",
        "plaster",
        "aggregate",
        "brushed steel",
        "rolled steel",
        "brick",
        "gravel",
    }
    assert {row["flaw"] for row in rows} >= {"", "crack", "scratch"}
    assert sum(bool(row["distractors"]) for row in rows if not row["flaw"]) > 5


def test_sound_tiles_have_empty_masks_and_flawed_ones_do_not(
    sample: SampleSummary, rows: list[dict[str, str]]
) -> None:
    for row in rows:
        n_pixels = int(read_mask(sample, row).sum())
        is_flawed = row["file"].startswith("Positive")
        assert is_flawed == bool(row["flaw"]) == bool(row["width_px"])
        assert n_pixels >= 25 if is_flawed else n_pixels == 0


def test_masks_agree_with_the_stated_widths(sample: SampleSummary, rows: list[dict[str, str]]) -> None:
    """A strip of length L and mean width w covers L w pixels; its widest place holds a disc that wide."""
    n_checked = 0
    for row in rows:
        if row["flaw"] not in ("crack", "scratch"):
            continue
        mask = read_mask(sample, row)
        width, widest, length = (float(row[key]) for key in ("width_px", "width_max_px", "length_px"))
        assert 1 <= width <= widest <= 8
        area_width = mask.sum() / length
        assert area_width == pytest.approx(width, rel=0.3, abs=0.35), row
        disc = 2 * float(np.asarray(distance_transform_edt(np.pad(mask, 1))).max())
        assert disc < 1.7 * widest + 2.5, row  # branches meet in wider places
        assert disc > 0.6 * widest - 1, row
        n_checked += 1
    assert n_checked > 15


def test_pits_agree_with_the_stated_widths(tmp_path: Path) -> None:
    from flawmap.stages.sample.flaws import plan_pits

    strokes = plan_pits(np.random.default_rng(0), (400, 400))
    assert strokes.kind == "pit" and strokes.half_width.max() <= 4
    alone = stamp_distance((60, 60), np.array([[30.3, 30.6]], np.float32), np.array([4.0], np.float32))
    assert covered_px(alone) == pytest.approx(np.pi * 16, rel=0.03)


@pytest.mark.parametrize("width", [1.0, 2.0, 3.5, 6.0, 8.0])
@pytest.mark.parametrize("slope", [0.0, 0.4, 1.0])
def test_a_straight_stroke_covers_its_width(width: float, slope: float) -> None:
    """On average over where it lies between the pixels."""
    along, angle = np.arange(0, 150, 0.5), np.arctan(slope)
    line = np.stack([along * np.cos(angle), along * np.sin(angle)], axis=1)
    areas = []
    for start in np.random.default_rng(0).uniform(20, 21, (8, 2)):
        xy = (start + line).astype(np.float32)
        distance = stamp_distance((180, 200), xy, np.full(len(xy), width / 2, np.float32))
        areas.append(covered_px(distance))
    assert np.mean(areas) == pytest.approx(150 * width + np.pi * width**2 / 4, rel=0.05)


def test_tiles_of_one_photo_look_alike(sample: SampleSummary, rows: list[dict[str, str]]) -> None:
    """Sound tiles: mean colours differ less within a photo than between photos."""
    colours, photos = [], []
    for row in rows:
        if not row["flaw"]:
            image = np.asarray(Image.open(sample.photos_folder / row["file"]), np.float32)
            colours.append(image.mean(axis=(0, 1)))
            photos.append(row["photo"])
    table, names = np.array(colours), np.array(photos)
    centre = {name: table[names == name].mean(axis=0) for name in set(photos)}
    within = np.mean([((c - centre[p]) ** 2).sum() for c, p in zip(table, names, strict=True)])
    between = np.mean(((table - table.mean(axis=0)) ** 2).sum(axis=1))
    assert within < 0.2 * between


def test_flaws_can_be_seen(sample: SampleSummary, rows: list[dict[str, str]]) -> None:
    """On most flawed tiles the flaw differs from what is around it by more than the texture's chance."""
    n_seen = n_flawed = 0
    for row in rows:
        if row["flaw"]:
            mask = read_mask(sample, row)
            grey = np.asarray(Image.open(sample.photos_folder / row["file"]).convert("L"), np.float32)
            distance = np.asarray(distance_transform_edt(~mask))
            around = grey[(distance > 4) & (distance < 14)]
            n_seen += abs(grey[mask].mean() - around.mean()) > 0.5 * around.std()
            n_flawed += 1
    assert n_seen > 0.7 * n_flawed


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    tiny = SampleOptions(n_photos=1, tiles_per_photo=2, tile_px=64)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match="holds files already; name an empty"):
        draw_sample(tmp_path, tiny)
    with pytest.raises(OptionError, match="is a file"):
        draw_sample(tmp_path / "notes.txt", tiny)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(OptionError, match=r"cannot write .*s: No space left on device\. Make room there"):
        draw_sample(tmp_path / "s", SampleOptions(n_photos=1, tiles_per_photo=2, tile_px=64))


def test_overwrite_replaces_an_earlier_sample_only(tmp_path: Path) -> None:
    draw_sample(tmp_path / "s", SampleOptions(n_photos=2, tiles_per_photo=4, tile_px=64))
    with pytest.raises(OptionError, match="--overwrite"):
        draw_sample(tmp_path / "s", SampleOptions(n_photos=1, tiles_per_photo=4, tile_px=64))
    (tmp_path / "s" / "notes.txt").write_text("mine")
    again = SampleOptions(n_photos=1, tiles_per_photo=4, tile_px=64, overwrite=True)
    assert draw_sample(tmp_path / "s", again).n_tiles == 4
    assert len(list((tmp_path / "s" / "photos").rglob("*.jpg"))) == 4
    assert (tmp_path / "s" / "notes.txt").read_text() == "mine"
    shutil.rmtree(tmp_path / "s" / "truth")
    with pytest.raises(OptionError, match="name an empty"):
        draw_sample(tmp_path / "s", again)


@pytest.mark.parametrize(
    ("name", "value"), [("n_photos", 0), ("tiles_per_photo", 1), ("tile_px", 16), ("seed", -1)]
)
def test_options_out_of_range_are_refused(name: str, value: int) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(OptionError, match=f"{name} is {value}"):
        SampleOptions(**wrong)


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    tiny = SampleOptions(n_photos=3, tiles_per_photo=2, tile_px=64)
    draw_sample(tmp_path / "s", tiny, lambda _, n_done, n_total: told.append((n_done, n_total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
