"""Widths of grey profiles: drawn ones of known width, both layouts of files, real ones measured by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drawn_cracks import draw_profiles
from flawmap.errors import OptionError
from flawmap.stages.measure import ProfileOptions, measure_profiles, measure_widths, read_profiles


@pytest.mark.parametrize("blur_px", [0.5, 0.8, 1.2])
def test_drawn_profiles_of_known_width(blur_px: float) -> None:
    truth = np.repeat([1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0], 20)
    found = measure_widths(draw_profiles(list(truth), blur_px))
    assert np.abs(found.width_px - truth).max() < 0.45
    assert np.abs(found.width_px - truth).mean() < 0.2
    assert (np.abs(found.width_px - truth) <= found.u95_px).mean() > 0.98
    assert found.is_seen.all()


def test_cracks_under_a_pixel_are_told_apart() -> None:
    found = measure_profiles_of(draw_profiles([0.3, 0.5, 0.7, 1.6, 2.0]))
    assert [width.is_resolved for width in found] == [False, False, False, True, True]
    assert [width.width_px for width in found[:3]] == pytest.approx([0.3, 0.5, 0.7], abs=0.2)


def measure_profiles_of(values: np.ndarray):
    from flawmap.stages.measure import Profile

    return measure_profiles([Profile(tuple(row)) for row in values])


def test_each_side_has_its_own_surface() -> None:
    values = draw_profiles([4.0] * 20, noise=0.5)
    values[:, 16:] *= 0.75
    assert measure_widths(values).width_px == pytest.approx(np.full(20, 4.0), abs=0.4)


def test_a_neighbour_further_out_is_not_taken() -> None:
    values = draw_profiles([2.0] * 20)
    values[:, 26:29] = 10
    assert measure_widths(values).width_px == pytest.approx(np.full(20, 2.0), abs=0.4)


def test_a_bare_surface_shows_no_crack() -> None:
    rng = np.random.default_rng(0)
    assert not measure_widths(rng.normal(150, 8, (50, 33))).is_seen[::5].all()
    flat = measure_widths(np.full((1, 33), 128.0))
    assert flat.width_px[0] == 0 and not flat.is_seen[0]


def test_brightness_does_not_change_a_width() -> None:
    values = draw_profiles([1.0, 3.0, 6.0])
    assert measure_widths(values / 255).width_px == pytest.approx(measure_widths(values).width_px)


@pytest.mark.parametrize(
    "wrong", [np.zeros((3, 5)), np.zeros(30), np.full((1, 30), np.nan)], ids=["short", "one", "nan"]
)
def test_other_shapes_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite grey values"):
        measure_widths(wrong)


def row_of(values: np.ndarray) -> str:
    return ",".join(f"{value:.1f}" for value in values)


def test_plain_files_hold_a_profile_per_row(tmp_path: Path) -> None:
    file = tmp_path / "profiles.csv"
    rows = draw_profiles([2.0, 4.0, 6.0])
    file.write_text("\n".join(map(row_of, rows)) + "\n\n")
    profiles = read_profiles(file)
    assert len(profiles) == 3 and profiles[0].scale_mm_per_px is None
    widths = measure_profiles(profiles, scale_mm_per_px=0.5)
    assert [width.width_mm for width in widths] == pytest.approx([1.0, 2.0, 3.0], abs=0.2)
    file.write_text("a,b,c\n" + row_of(rows[0]) + ",\n")
    assert len(read_profiles(file)) == 1


def test_annotated_files_name_their_scale(tmp_path: Path) -> None:
    file = tmp_path / "annotated.csv"
    values = row_of(draw_profiles([4.0])[0])
    file.write_text(f"x, width_m, mean_res, width_px\n7, 99, 0.25, 99\nintensities\n{values}\n" * 2)
    widths = measure_profiles(read_profiles(file))
    assert [width.width_mm for width in widths] == pytest.approx([1.0, 1.0], abs=0.1)
    assert measure_profiles(read_profiles(file), scale_mm_per_px=0.5)[0].width_mm == pytest.approx(
        2.0, abs=0.2
    )


def test_files_of_spreadsheets_with_a_decimal_comma(tmp_path: Path) -> None:
    """Semicolons lie between the cells, and fill rows up; their values are those of the same with commas."""
    file = tmp_path / "profiles.csv"
    rows = draw_profiles([2.0, 4.0])
    file.write_text("\n".join(map(row_of, rows)))
    wanted = [one.values for one in read_profiles(file)]
    german = [row_of(row).replace(",", ";").replace(".", ",") for row in rows]
    file.write_text("\ufeff" + "\r\n".join([german[0], german[1] + ";;", ";;;"]), encoding="utf-8")
    assert [one.values for one in read_profiles(file)] == wanted
    file.write_text(f"mean_res;x;;\n0,25;7;;\nintensities;;;\n{german[0]}\n")
    assert read_profiles(file)[0].scale_mm_per_px == 0.25
    file.write_text(f"mean_res,x,,\n0.25,7,,\nintensities,,,\n{row_of(rows[0])}\n")
    assert read_profiles(file)[0].values == wanted[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no profile"),
        ("1\t2\t3\t4\t5\t6\t7\n", "commas or semicolons"),
        ("1,2,3\n", "line 1: wanted a profile of 7 grey values or more"),
        ("1,2,3,4,x,6,7,8\n", "got 'x'"),
        ("a,b\n1,2\nintensities\n" + "1," * 20 + "\n", "wanted mean_res"),
        ("mean_res\n-1\nintensities\n" + "1," * 20 + "\n", "above 0; got '-1'"),
        ("mean_res\nintensities\n" + "1," * 20 + "\n", "a line each"),
    ],
)
def test_wrong_files_are_one_line_each(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "wrong.csv"
    file.write_text(text)
    with pytest.raises(OptionError) as raised:
        read_profiles(file)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot read"):
        read_profiles(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(OptionError, match="not a text file"):
        read_profiles(tmp_path / "binary.csv")


def test_options_out_of_range() -> None:
    with pytest.raises(OptionError, match="dark_ratio is 1"):
        ProfileOptions(dark_ratio=1.0)
    with pytest.raises(OptionError, match="most_blur_px is 0"):
        ProfileOptions(most_blur_px=0.0)


@pytest.mark.data
@pytest.mark.parametrize(("name", "most_mm"), [("BridgeB", 0.05), ("Indoors", 0.09)])
def test_real_cracks_measured_by_hand(real_sets: Path, name: str, most_mm: float) -> None:
    files = sorted((real_sets / "crack-widths" / name).glob("*.csv"))
    truth = []
    for file in files:
        names, values = (line.split(",") for line in file.read_text().splitlines()[:2])
        truth.append(float(dict(zip([n.strip() for n in names], values, strict=True))["width_m"]))
    found = [measure_profiles(read_profiles(file))[0] for file in files]
    errors = np.array([width.width_mm for width in found]) - truth
    u95 = np.array([width.u95_mm for width in found])
    assert np.abs(errors).mean() <= most_mm
    assert (np.abs(errors) <= u95).mean() >= 0.9
    assert u95.mean() < 0.2
