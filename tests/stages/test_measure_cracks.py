"""Drawn cracks of known length, width, direction and pattern."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from drawn_cracks import draw_crack
from flawmap.errors import OptionError
from flawmap.records import CrackMeasurement
from flawmap.stages.measure import (
    MeasureOptions,
    draw_cracks,
    measure_crack,
    measure_cracks,
    measure_if_crack,
    trace_crack,
)
from flawmap.tools.surface import Scale


@pytest.mark.parametrize("width_px", [1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0])
@pytest.mark.parametrize(
    ("angle_deg", "sagitta_px", "blur_px"),
    [(0, 0, 0.8), (20, 0, 0.6), (45, 0, 1.0), (70, 15, 0.8), (115, 0, 1.0)],
)
def test_width_length_and_direction_on_the_photo(
    width_px: float, angle_deg: float, sagitta_px: float, blur_px: float
) -> None:
    mask, grey = draw_crack(width_px, angle_deg, blur_px=blur_px, sagitta_px=sagitta_px)
    found = measure_crack(mask, grey)
    assert found.width_source == "photo" and found.is_resolved
    assert found.width_mean_px == pytest.approx(width_px, abs=0.3)
    assert found.width_p95_px == pytest.approx(width_px, abs=0.3)
    assert abs(found.width_max_px - width_px) <= found.width_max_u95_px
    arc = 150 + 8 / 3 * sagitta_px**2 / 150
    assert found.length_px == pytest.approx(arc, rel=0.02, abs=2)
    assert (found.pattern, found.n_branches) == ("single", 1)
    turn = (found.direction_deg - angle_deg + 90) % 180 - 90
    assert abs(turn) < 1
    assert found.density_px_per_px2 == pytest.approx(found.length_px / mask.size)


@pytest.mark.parametrize("width_px", [3.0, 8.0, 20.0])
@pytest.mark.parametrize("angle_deg", [20, 70, 110])
def test_width_on_the_mask_alone(width_px: float, angle_deg: float) -> None:
    found = measure_crack(draw_crack(width_px, angle_deg)[0])
    assert found.width_source == "mask"
    assert found.width_mean_px == pytest.approx(width_px, abs=0.3)


@pytest.mark.parametrize("grown_px", [-1, 1, 3])
def test_the_photo_tells_the_width_not_the_mask(grown_px: int) -> None:
    mask, grey = draw_crack(6.0, 33)
    change = ndimage.binary_dilation if grown_px > 0 else ndimage.binary_erosion
    found = measure_crack(change(mask, iterations=abs(grown_px)), grey)
    assert found.width_mean_px == pytest.approx(6.0, abs=0.3)


def test_a_lighter_crack_shows_its_own_darkness_where_it_is_wide() -> None:
    for width_px in (5.0, 8.0):
        mask, grey = draw_crack(width_px, 33, dark=100)
        assert measure_crack(mask, grey).width_mean_px == pytest.approx(width_px, abs=0.3)


def test_where_the_photo_shows_nothing_the_mask_is_read() -> None:
    mask, _ = draw_crack(4.0)
    noise = np.random.default_rng(0).normal(0, 3, mask.shape)
    light = ndimage.gaussian_filter(np.where(mask, 250.0, 150.0), 0.8)
    bright = (light + noise).astype(np.float32)
    found = measure_crack(mask, bright)
    assert found.width_source == "mask" and found.width_mean_px == pytest.approx(4.0, abs=0.4)


def test_a_crack_with_many_crossings_is_still_measured_on_the_photo() -> None:
    mask, grey = draw_crack(6.0, 0)
    for left in range(40, 160, 24):  # texture that touches it, taken for crack
        mask[86:114, left : left + 4] = True
    found = measure_crack(mask, grey)
    assert found.width_source == "photo" and found.width_mean_px == pytest.approx(6.0, abs=0.3)


def test_a_traced_crack_is_without_the_texture_that_touches_it() -> None:
    mask, grey = draw_crack(5.0, 20)
    rng = np.random.default_rng(2)
    grains = ndimage.gaussian_filter(rng.normal(0, 1, grey.shape), 2)
    traced = trace_crack((grey + 8 * grains / grains.std()).astype(np.float32), np.ones(mask.shape, bool))
    assert traced[mask].mean() > 0.8
    assert (traced & ~ndimage.binary_dilation(mask, iterations=6)).sum() < 0.15 * traced.sum()


def test_narrow_in_a_soft_photo_is_not_resolved_or_right() -> None:
    for dark in (40.0, 85.0):
        mask, grey = draw_crack(1.6, 33, blur_px=1.5, noise=6.0, dark=dark)
        found = measure_crack(mask, grey)
        assert abs(found.width_max_px - 1.6) <= found.width_max_u95_px
        assert not found.is_resolved or abs(found.width_mean_px - 1.6) <= 0.3


def test_a_hair_crack_is_told_apart() -> None:
    mask = draw_crack(1.5)[0]
    found = measure_crack(mask, draw_crack(0.5, dark=0)[1])
    assert not found.is_resolved and found.smallest_width_px >= 1


@pytest.mark.parametrize(("wide_px", "is_told"), [(20, True), (4, False)])
def test_a_hair_crack_is_resolved_where_it_is_wide_for_a_while(wide_px: int, is_told: bool) -> None:
    mask, wide = draw_crack(4.0, 0, dark=20, noise=2.0)
    grey = draw_crack(0.2, 0, dark=20, noise=2.0)[1]
    place = np.s_[:, 100 : 100 + wide_px]
    grey[place] = wide[place]
    found = measure_crack(mask, grey)
    assert found.width_source == "photo" and found.width_mean_px < found.smallest_width_px
    assert found.is_resolved == is_told
    assert not is_told or abs(found.width_max_px - 4) <= found.width_max_u95_px


def cross(size_px: int = 160) -> np.ndarray:
    mask = np.zeros((size_px, size_px), bool)
    mask[size_px // 2 - 2 : size_px // 2 + 2, 10:-10] = True
    mask[10:-10, size_px // 2 - 2 : size_px // 2 + 2] = True
    return mask


def grid(size_px: int = 160) -> np.ndarray:
    mask = np.zeros((size_px, size_px), bool)
    for at in (20, 80, 138):
        mask[at : at + 4, 20:142] = True
        mask[20:142, at : at + 4] = True
    return mask


def test_branches_and_pattern() -> None:
    crossing = measure_crack(cross())
    assert (crossing.pattern, crossing.n_branches) == ("branched", 4)
    assert crossing.length_px == pytest.approx(280, rel=0.03)
    assert crossing.width_max_px == pytest.approx(4, abs=0.5)
    net = measure_crack(grid())
    assert (net.pattern, net.n_branches) == ("map", 8)  # an edge goes round each corner
    assert net.length_px == pytest.approx(6 * 120, rel=0.04)


def test_a_loop_is_one_branch() -> None:
    rows, columns = np.mgrid[0:120, 0:120] - 60
    ring = np.abs(np.hypot(rows, columns) - 40) <= 2
    found = measure_crack(ring)
    assert (found.pattern, found.n_branches) == ("single", 1)
    assert found.length_px == pytest.approx(2 * np.pi * 40, rel=0.03)


def test_a_ragged_edge_makes_no_branches() -> None:
    mask = draw_crack(8.0, 10)[0]
    rng = np.random.default_rng(3)
    ragged = mask & (rng.random(mask.shape) > 0.03)
    assert measure_crack(ragged).n_branches == 1


def test_every_connected_crack_and_all_together() -> None:
    one, grey = draw_crack(4.0, 20)
    mask, photo = np.zeros((200, 430), bool), np.full((200, 430), 170, np.float32)
    mask[:, :200], photo[:, :200] = one, grey
    mask[:, 230:], photo[:, 230:] = draw_crack(8.0, 100)
    mask[1, 1:4] = True
    found = measure_cracks(mask, photo)
    assert found.n_specks == 1 and len(found.cracks) == 2 and found.total is not None
    by_width = sorted(found.cracks, key=lambda crack: crack.measurement.width_mean_px)
    assert [c.measurement.width_mean_px for c in by_width] == pytest.approx([4, 8], abs=0.3)
    assert found.total.length_px == pytest.approx(sum(c.measurement.length_px for c in found.cracks))
    assert found.total.pattern == "single" and found.total.n_branches == 2
    left, top, right, bottom = by_width[1].box_xyxy
    x, y = by_width[1].widest_xy
    assert 230 <= left <= x <= right <= 430 and top <= y <= bottom
    assert measure_cracks(np.zeros((20, 20), bool)).total is None


def hatched_band() -> tuple[np.ndarray, np.ndarray]:
    """(mask, grey): a band of 60 by 320 px, and dark lines of 4 px in it, far apart."""
    mask = np.zeros((160, 400), bool)
    mask[50:110, 40:360] = True
    grey = np.full(mask.shape, 170.0)
    grey[60:64, 40:360] = grey[78:82, 40:360] = grey[97:101, 40:360] = 40
    return mask, ndimage.gaussian_filter(grey, 0.8).astype(np.float32)


def test_a_blob_has_an_area_and_no_width() -> None:
    """However many branches its uneven edge gives it: together they are long, but it reaches nowhere."""
    mask = np.zeros((300, 700), bool)
    mask[60:240, 60:640] = True
    for left in range(80, 540, 120):
        mask[10:60, left : left + 60] = mask[240:290, left + 40 : left + 100] = True
    lines = measure_crack(mask)
    assert lines.length_px > 4 * lines.width_mean_px
    found = measure_cracks(mask)
    assert (found.cracks, found.total) == ((), None)
    (patch,) = found.patches
    assert (patch.box_xyxy, patch.area_px) == ((60, 10, 640, 290), mask.sum())
    assert "4 times as long" in patch.reason and patch.area_mm2 is None
    (patch,) = measure_cracks(mask, scale=Scale.uniform(0.1)).patches
    assert patch.area_mm2 == pytest.approx(mask.sum() / 100)
    assert measure_if_crack(mask) is None


def test_lines_within_a_band_are_not_the_width_of_the_band() -> None:
    mask, grey = hatched_band()
    assert measure_crack(mask, grey).width_mean_px < 10
    found = measure_cracks(mask, grey)
    assert found.cracks == () and "area over its length is 60 px" in found.patches[0].reason
    assert measure_if_crack(mask, grey) is None
    without = measure_if_crack(mask)
    assert without is not None and without.width_mean_px == pytest.approx(60, abs=1)


def test_a_dark_band_is_not_the_width_of_a_thin_mask_in_it() -> None:
    grey = np.full((160, 400), 170, np.float32)
    grey[60:100] = 40
    mask = np.zeros(grey.shape, bool)
    mask[62:98, 40:360] = True
    wide = measure_if_crack(mask, grey)
    assert wide is not None and wide.width_mean_px == pytest.approx(40, abs=0.5)
    mask[62:66] = mask[94:98] = False
    contested = measure_if_crack(mask, grey)
    assert contested is not None and contested.width_source == "mask"
    assert (
        abs(contested.width_mean_px - 28) < 0.5 and contested.width_max_px + contested.width_max_u95_px > 39
    )


def test_a_traced_line_says_nothing_of_the_width() -> None:
    mask, grey = draw_crack(12.0, 33)
    line = ndimage.binary_erosion(mask, iterations=4)
    traced = measure_crack(line, grey, is_traced=True)
    assert traced.width_source == "photo" and traced.width_mean_px == pytest.approx(12, abs=0.5)
    assert measure_crack(line, grey).width_source == "mask"


def test_a_crack_beside_a_joint_is_not_as_wide_as_the_brick() -> None:
    """A crack of 3 px that tapers off beside a darker joint."""
    grey = np.full((160, 400), 170.0)
    mask = np.zeros(grey.shape, bool)
    mask[80:83, 40:240] = mask[80:82, 240:360] = True
    grey[mask] = 60
    grey[:, 240:][82:104] = 120  # a darker joint below the thin end
    noisy = ndimage.gaussian_filter(grey, 0.7) + np.random.default_rng(0).normal(0, 2, grey.shape)
    found = measure_crack(mask, noisy.astype(np.float32))
    assert found.width_source == "photo" and found.width_max_px == pytest.approx(3, abs=1.0)
    assert found.width_max_px + found.width_max_u95_px < 8


@pytest.mark.parametrize("width_px", [1.5, 3.0, 8.0, 20.0])
@pytest.mark.parametrize("grown_px", [0, 3])
def test_lines_are_cracks_also_where_their_masks_are_too_wide(width_px: float, grown_px: int) -> None:
    mask, grey = draw_crack(width_px, 33)
    mask = ndimage.binary_dilation(mask, iterations=grown_px) if grown_px else mask
    assert measure_if_crack(mask, grey) == measure_crack(mask, grey)
    assert len(measure_cracks(mask, grey).cracks) == 1


@pytest.mark.parametrize("step_px", [20, 60])
def test_a_net_is_a_crack_however_dense(step_px: int) -> None:
    mask = np.zeros((300, 300), bool)
    for at in range(20, 280, step_px):
        mask[at : at + 4, 20:264] = mask[20:264, at : at + 4] = True
    grey = ndimage.gaussian_filter(np.where(mask, 40.0, 170.0), 0.8).astype(np.float32)
    for photo in (None, grey):
        (net,) = measure_cracks(mask, photo).cracks
        assert net.measurement.pattern == "map"
        assert net.measurement.width_mean_px == pytest.approx(4, abs=0.5)


def test_no_width_of_a_mask_is_surely_more_than_the_mask_is_thick() -> None:
    """A band of 40 px that steps aside by 30 px, where a line across it runs aslant."""
    mask = np.zeros((200, 500), bool)
    for i in range(8):
        top, left = 60 + 30 * (i % 2), 10 + 60 * i
        mask[top : top + 40, left : left + 60] = True
    found = measure_crack(mask)
    assert found.width_max_px > 45, "else the drawing shows nothing"
    assert found.width_max_px - found.width_max_u95_px <= 40.5


def test_each_class_of_a_mask_is_measured_by_itself() -> None:
    numbers = np.zeros((120, 300), np.uint8)
    numbers[40:44, 20:280] = 1
    numbers[44:56, 20:280] = 2  # touches it
    numbers[80:110, 20:50] = 4
    found = measure_cracks(numbers)
    assert [crack.class_index for crack in found.cracks] == [1, 2]
    widths = [crack.measurement.width_mean_px for crack in found.cracks]
    assert widths == pytest.approx([4, 12], abs=0.3)
    assert [(patch.class_index, patch.area_px) for patch in found.patches] == [(4, 900)]
    assert measure_cracks(numbers > 0).cracks[0].class_index is None
    assert draw_cracks(found, numbers).shape[2] == 3


def test_a_crop_gives_what_the_photo_gives() -> None:
    mask, grey = draw_crack(4.0, 20, length_px=80)
    window = np.s_[60:140, 30:170]
    whole = measure_cracks(mask, grey).cracks[0].measurement
    crop = measure_crack(mask[window], grey[window], looked_at_px=mask.size)
    assert crop.width_mean_px == pytest.approx(whole.width_mean_px, abs=0.02)
    assert crop.length_px == pytest.approx(whole.length_px)
    assert crop.density_px_per_px2 == pytest.approx(whole.density_px_per_px2)


def test_millimetres_come_with_a_scale() -> None:
    mask, grey = draw_crack(5.0)
    found = measure_crack(mask, grey, scale=Scale.uniform(0.2))
    told = found.to_mm()
    assert told["width_mean_mm"] == pytest.approx(1.0, abs=0.06)
    assert told["length_mm"] == pytest.approx(30, rel=0.02)
    assert told["density_mm_per_mm2"] == pytest.approx(found.density_px_per_px2 / 0.2)
    assert measure_crack(mask, grey).to_mm() == {}


@pytest.mark.parametrize("size_px", [1, 2, 3, 5])
def test_tiny_masks_are_measured(size_px: int) -> None:
    mask = np.zeros((9, 9), bool)
    mask[2 : 2 + size_px, 2:4] = True
    found = measure_crack(mask)
    assert isinstance(found, CrackMeasurement) and found.width_max_px > 0
    assert isinstance(measure_crack(mask, np.full((9, 9), 100, np.float32)), CrackMeasurement)


def test_a_mask_that_fills_its_picture() -> None:
    assert measure_crack(np.ones((30, 40), bool)).area_px == 1200


def test_masks_of_noise_do_not_fail() -> None:
    rng = np.random.default_rng(5)
    for share in (0.2, 0.5, 0.8):
        mask = rng.random((60, 60)) < share
        for crack in measure_cracks(mask, rng.uniform(0, 255, (60, 60)).astype(np.float32)).cracks:
            assert 0 <= crack.measurement.width_mean_px <= crack.measurement.width_max_px + 1e-9


def test_wrong_arrays_and_options_are_refused() -> None:
    mask, grey = draw_crack(4.0)
    with pytest.raises(ValueError, match="bool mask"):
        measure_crack(mask.astype(np.uint8), grey)
    with pytest.raises(ValueError, match="as the mask"):
        measure_crack(mask, grey[1:])
    with pytest.raises(ValueError, match="empty"):
        measure_crack(np.zeros((9, 9), bool))
    with pytest.raises(OptionError, match="along_px is 0"):
        MeasureOptions(along_px=0)


@pytest.mark.parametrize("dark", [30.0, 50.0, 70.0])
@pytest.mark.parametrize(
    ("width_px", "blur_px"), [(2.0, 0.6), (3.0, 1.2), (4.0, 0.8), (4.0, 1.2), (9.0, 1.2)]
)
def test_a_whole_crack_tells_its_own_darkness(width_px: float, blur_px: float, dark: float) -> None:
    mask, grey = draw_crack(width_px, 33, blur_px=blur_px, dark=dark)
    found = measure_crack(mask, grey)
    assert found.width_mean_px == pytest.approx(width_px, abs=0.3)
    assert found.width_p95_px == pytest.approx(width_px, abs=0.3)


@pytest.mark.parametrize("width_px", [3.0, 6.0, 12.0])
def test_noise_does_not_make_the_largest_width_larger(width_px: float) -> None:
    mask, grey = draw_crack(width_px, 62, noise=8.0)
    assert measure_crack(mask, grey).width_max_px == pytest.approx(width_px, abs=0.35)


@pytest.mark.parametrize("width_px", [3.0, 7.3, 15.0])
@pytest.mark.parametrize("angle_deg", [3, 12, 45, 88])
def test_the_steps_of_a_mask_do_not_pass_for_widths(width_px: float, angle_deg: float) -> None:
    found = measure_crack(draw_crack(width_px, angle_deg)[0])
    assert max(abs(found.width_p95_px - width_px), abs(found.width_mean_px - width_px)) <= 0.5


def test_what_was_measured_is_drawn_on_a_copy() -> None:
    mask, grey = draw_crack(6.0, 33)
    image = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    before = image.copy()
    drawn = draw_cracks(measure_cracks(mask, grey), mask, image)
    assert drawn.shape[1] == 5 * image.shape[1] and drawn.shape[0] > 5 * image.shape[0]
    assert (image == before).all()
    middle = drawn[480:520, 480:520].reshape(-1, 3)
    assert (middle == (0, 200, 255)).all(axis=1).any()  # the centre line
    assert (drawn == (255, 60, 60)).all(axis=2).any()  # the ring
    assert draw_cracks(measure_cracks(mask), mask).shape == drawn.shape
