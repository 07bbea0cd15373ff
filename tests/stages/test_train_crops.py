"""A crop's mask stays over its image, flaws are seen, and every pixel of a validation photo counts once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flawmap.errors import OptionError, PhotoError
from flawmap.records import Photo, PhotoMask
from flawmap.stages.train import crops as stage
from flawmap.stages.train.crops import CropBatches, Marked, PieceBatches, read_marked
from flawmap.stages.train.mask_objective import NOT_COUNTED
from flawmap.stages.train.options import AugmentOptions, MaskTrainOptions
from flawmap.tools.masks import to_photo_mask
from flawmap.tools.photos import PhotoOptions

STILL = AugmentOptions(0, 0, 0, 0)
OPTIONS = MaskTrainOptions(crop_px=64, batch_size=4, augment=STILL, zoom=0, rotate_deg=0)


def draw_mask(rng: np.random.Generator, hw: tuple[int, int], n_labels: int = 2) -> np.ndarray:
    return rng.random((n_labels, *hw)) < 0.2


def colour_by(mask: np.ndarray) -> np.ndarray:
    """A photo that says where its mask is: red 200 under the first label, green 200 under the second."""
    image = np.full((*mask.shape[1:], 3), 90, np.uint8)
    for i, one in enumerate(mask):
        image[one, i] = 200
    return image


def marked_of(masks: list[np.ndarray]) -> Marked:
    images = [colour_by(mask) for mask in masks]
    return Marked(images.__getitem__, [to_photo_mask(mask) for mask in masks])


def tell_apart(inputs: torch.Tensor) -> torch.Tensor:
    return (inputs[:, :2] > 145).float()


@pytest.fixture
def marked() -> Marked:
    rng = np.random.default_rng(4)
    return marked_of([draw_mask(rng, hw) for hw in ((100, 130), (64, 64), (20, 70), (150, 90), (40, 33))])


@pytest.mark.parametrize("turns", [False, True])
def test_what_turns_the_photo_turns_its_mask(marked: Marked, turns: bool) -> None:
    batches = CropBatches(marked, np.arange(5), replace(OPTIONS, augment=replace(STILL, turns=turns)), 3)
    seen = set()
    for stored, targets, _ in batches:
        for seed in range(6):
            inputs, masks = batches.source.vary(stored, targets, torch.Generator().manual_seed(seed))
            assert torch.equal(tell_apart(inputs), masks) and masks.dtype == torch.float32
            seen.update(mask.numpy().tobytes() for mask in masks)
    assert len(seen) > batches.n_crops * (4 if turns else 2)


def test_colours_change_and_masks_do_not(marked: Marked) -> None:
    batches = CropBatches(marked, np.arange(5), replace(OPTIONS, augment=AugmentOptions()), 3)
    stored, targets, _ = next(iter(batches))
    inputs, masks = batches.source.vary(stored, targets, torch.Generator().manual_seed(0))
    assert set(masks.unique().tolist()) == {0.0, 1.0} and inputs.unique().numel() > 20


def test_what_warps_the_photo_warps_its_mask() -> None:
    mask = np.zeros((1, 64, 96), bool)
    mask[0, 20:40, 30:60] = True
    batches = CropBatches(marked_of([mask] * 4), np.arange(4), replace(OPTIONS, crop_px=96), 3)
    warping = stage.Layers(STILL, zoom=0.4, rotate_deg=40)
    stored, targets, _ = next(iter(batches))
    inputs, masks = warping.vary(stored, targets, torch.Generator().manual_seed(1))
    torch.testing.assert_close((inputs[:, :1] - 90) / 110, masks, atol=1e-4, rtol=0)
    areas = masks.sum(dim=(1, 2, 3)) / 600
    assert areas.max() - areas.min() > 0.3 and areas.min() > 1 / 1.4**2 - 0.05 and areas.max() < 1.4**2 + 0.05
    again = warping.vary(stored, targets, torch.Generator().manual_seed(1))[1]
    assert torch.equal(masks, again)
    upright = masks.amax(dim=(1, 3)).sum(dim=1) * masks.amax(dim=(1, 2)).sum(dim=1) / masks.sum(dim=(1, 2, 3))
    assert upright.max() > 1.3  # the box around a turned mask is larger than the mask


def test_small_photos_are_filled_up_by_mirroring(marked: Marked) -> None:
    (cut,) = [marked.cut(4, (0, 0, 64, 64))]
    assert cut.shape == (64, 64, 5)
    np.testing.assert_array_equal(cut[40:, :33], cut[39:15:-1, :33])
    np.testing.assert_array_equal(cut[:40, 33:], cut[:40, 32:1:-1])
    np.testing.assert_array_equal(cut[..., 3:] == 1, cut[..., :2] == 200)


def test_crops_are_as_large_as_most_photos_allow() -> None:
    def side(*sizes: int) -> tuple[int, int]:
        masks = [PhotoMask((size, 300), (np.zeros((0, 2), np.int64),)) for size in sizes]
        return CropBatches(Marked(list, masks), np.arange(len(sizes)), OPTIONS_320, 0).crop_hw

    assert side(400, 500) == (320, 320)
    assert side(100, 100, 100) == (128, 320)
    assert side(20, 20, 20, 20, 400) == (32, 320)
    assert side(100, 200, 400, 400) == (320, 320)


OPTIONS_320 = MaskTrainOptions()


def test_turned_crops_are_square() -> None:
    masks = [PhotoMask((100, 300), (np.zeros((0, 2), np.int64),))]
    turning = replace(OPTIONS_320, augment=AugmentOptions(turns=True))
    assert CropBatches(Marked(list, masks), np.arange(1), turning, 0).crop_hw == (128, 128)


def pixel_at(hw: tuple[int, int], *places: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros((2, *hw), bool)
    for label, row, column in places:
        mask[label, row, column] = True
    return mask


@pytest.mark.parametrize("place", [(0, 0), (199, 299), (100, 7)])
def test_a_crop_over_a_flaw_holds_it_wherever_it_lies(place: tuple[int, int]) -> None:
    marked = marked_of([pixel_at((200, 300), (0, *place))])
    batches = CropBatches(marked, np.arange(1), replace(OPTIONS, flaw_share=1.0), 0)
    offsets = set()
    for epoch in range(4):
        batches.set_epoch(epoch)
        for stored, _, _ in batches:
            assert stored[..., 3].flatten(1).any(dim=1).all()
            offsets.update(map(tuple, stored[..., 3].nonzero()[:, 1:].tolist()))
    is_corner = place != (100, 7)
    assert len(offsets) == 1 if is_corner else len(offsets) > 20


def test_a_small_flaw_is_seen_as_often_as_the_large_one_beside_it() -> None:
    mask = pixel_at((300, 300), (1, 40, 40))
    mask[0, 200:, :] = True
    batches = CropBatches(marked_of([mask]), np.zeros(40, int), replace(OPTIONS, flaw_share=1.0), 0)
    crops = torch.cat([stored for stored, _, _ in batches])
    n_small, n_large = (int(crops[..., 3 + i].flatten(1).any(dim=1).sum()) for i in (1, 0))
    assert len(crops) > 500 and 0.4 < n_small / len(crops) < 0.6 and 0.4 < n_large / len(crops) < 0.6


def test_without_a_share_crops_fall_anywhere() -> None:
    marked = marked_of([pixel_at((300, 300), (0, 150, 150))])
    batches = CropBatches(marked, np.zeros(40, int), replace(OPTIONS, flaw_share=0.0), 0)
    crops = torch.cat([stored for stored, _, _ in batches])
    expected = (64 / (300 - 64 + 1)) ** 2
    assert crops[..., 3].flatten(1).any(dim=1).float().mean() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_every_flaw_pixel_is_drawn_alike_often(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((1, 5, 7)) < 0.4
    runs = to_photo_mask(mask).runs[0]
    drawn = {stage._draw_flaw_pixel(runs, 5, rng) for _ in range(2000)}
    assert drawn == set(map(tuple, np.argwhere(mask[0]).tolist()))


def rows_and_content(batches: CropBatches) -> list[tuple[list[int], bytes]]:
    return [(rows.tolist(), stored.numpy().tobytes()) for stored, _, rows in batches]


def test_the_order_follows_from_seed_and_epoch_alone(marked: Marked) -> None:
    def order(seed: int, epoch: int) -> list[tuple[list[int], bytes]]:
        batches = CropBatches(marked, np.arange(5), OPTIONS, seed)
        batches.sampler.set_epoch(epoch)
        return rows_and_content(batches)

    np.random.seed(1)
    first = order(3, 1)
    np.random.seed(2)
    assert first == order(3, 1) != order(3, 2) != order(4, 2)


@pytest.mark.parametrize(("n_photos", "n_devices"), [(9, 1), (9, 2), (1, 1), (1, 2), (1, 8), (3, 2), (5, 4)])
@pytest.mark.parametrize("batch_size", [2, 4])
def test_devices_share_everything_in_even_batches_of_two_or_more(
    n_photos: int, n_devices: int, batch_size: int
) -> None:
    marked = marked_of([pixel_at((64, 64), (0, 3, 3))] * n_photos)
    options = replace(OPTIONS, batch_size=batch_size)
    shares = []
    for rank in range(n_devices):
        batches = CropBatches(marked, np.arange(n_photos), options, 0).shared(rank, n_devices)
        shares.append([rows.tolist() for _, _, rows in batches])
        assert len(shares[-1]) == len(batches)
    sizes = [[len(rows) for rows in share] for share in shares]
    assert all(one == sizes[0] for one in sizes)
    assert min(sizes[0]) >= 2 and max(sizes[0]) <= batch_size + 1
    assert {row for share in shares for rows in share for row in rows} == set(range(n_photos))


def test_large_photos_are_seen_as_often_as_they_are_large(marked: Marked) -> None:
    assert count_crops(CropBatches(marked, np.arange(5), OPTIONS, 0)).tolist() == [3, 1, 1, 4, 1]


def count_crops(batches: CropBatches, epoch: int = 0) -> np.ndarray:
    """Crops of each photo in an epoch."""
    batches.set_epoch(epoch)
    return np.bincount(
        [row for _, _, rows in batches for row in rows.tolist()], minlength=len(batches.marked.masks)
    )


def test_good_photos_take_their_share_and_take_turns() -> None:
    flawed, good = pixel_at((64, 64), (0, 3, 3)), pixel_at((64, 64))
    batches = CropBatches(marked_of([flawed] * 6 + [good] * 14), np.arange(20), OPTIONS, 0)
    epochs = [count_crops(batches, epoch) for epoch in range(12)]
    assert all(counts[:6].tolist() == [1] * 6 and counts[6:].sum() == 2 for counts in epochs)
    assert (np.sum(epochs, axis=0)[6:] > 0).sum() > 8
    everything = CropBatches(batches.marked, np.arange(20), replace(OPTIONS, good_share=1.0), 0)
    assert count_crops(everything).tolist() == [1] * 20
    only_flaws = CropBatches(batches.marked, np.arange(20), replace(OPTIONS, good_share=0.0), 0)
    assert count_crops(only_flaws)[6:].sum() == 0


def test_photos_of_a_rare_label_come_more_often() -> None:
    common, rare = pixel_at((64, 64), (0, 3, 3)), pixel_at((64, 64), (1, 3, 3))
    batches = CropBatches(marked_of([common] * 90 + [rare] * 10), np.arange(100), OPTIONS, 0)
    counts = count_crops(batches)
    assert (counts[:90] == 1).all()
    assert counts[90:].mean() == pytest.approx(np.sqrt(0.5 / 0.1), abs=0.5)


@pytest.mark.parametrize("n_devices", [1, 2])
def test_every_pixel_of_a_validation_photo_counts_once(
    marked: Marked, n_devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "PIECE_PX", 48)
    found: dict[int, int] = {}
    places = []
    for rank in range(n_devices):
        batches = PieceBatches(marked, np.array([0, 2, 3])).shared(rank, n_devices)
        for stored, boxes, place in batches:
            inputs, masks = batches.source.plain(stored, boxes)
            assert len(stored) == 1 and all(side % 32 == 0 and side <= 64 for side in inputs.shape[2:])
            counts = masks != NOT_COUNTED
            assert torch.equal(tell_apart(inputs)[counts], masks[counts])
            if int(place) not in places:
                row = batches.pieces[int(place)][0]
                found[row] = found.get(row, 0) + int(counts[:, 0].sum())
                found[row + 100] = found.get(row + 100, 0) + int((masks == 1).sum())
            places.append(int(place))
    assert set(places) == set(range(len(batches.pieces)))
    for row in (0, 2, 3):
        height, width = marked.masks[row].size_hw
        assert (found[row], found[row + 100]) == (height * width, sum(marked.masks[row].areas_px))


def write_photos(folder: Path, masks: list[np.ndarray]) -> list[Photo]:
    photos = []
    for i, mask in enumerate(masks):
        file = folder / f"{i}.png"
        Image.fromarray(colour_by(mask)).save(file)
        photos.append(Photo(file, file.name, str(i), mask.shape[1:]))
    return photos


def test_photos_that_do_not_fit_into_memory_give_the_same_crops(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = [draw_mask(rng, (80, 100)) for _ in range(3)]
    photos, records = write_photos(tmp_path, masks), [to_photo_mask(mask) for mask in masks]
    steps: list[int] = []
    held = read_marked(photos, records, 1.0, PhotoOptions(), lambda what, done, total: steps.append(done))
    streamed = read_marked(photos, records, 0.0, PhotoOptions())
    assert steps == [1, 2, 3]
    in_memory, from_disk = (
        rows_and_content(CropBatches(m, np.arange(3), OPTIONS, 1)) for m in (held, streamed)
    )
    assert in_memory == from_disk
    photos[1].path.unlink()
    held.cut(1, (0, 0, 64, 64))
    with pytest.raises(PhotoError):
        streamed.cut(1, (0, 0, 64, 64))
    with pytest.raises(PhotoError):
        read_marked(photos, records, 1.0, PhotoOptions())


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 1},
        {"crop_px": 100},
        {"crop_px": 32},
        {"flaw_share": 1.5},
        {"good_share": -0.1},
        {"zoom": -0.1},
        {"rotate_deg": -1.0},
        {"epochs": -1},
        {"learning_rate": 0.0},
        {"patience": -1},
        {"decoder": "segformer"},
        {"loss": "dice"},
        {"logger": "carrier pigeon"},
        {"accelerator": "tpu"},
        {"precision": "float16"},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        MaskTrainOptions(**wrong)  # type: ignore[arg-type]


def test_epochs_follow_from_the_work_per_epoch() -> None:
    assert OPTIONS.n_epochs(10, 10**9) == 100 and OPTIONS.n_epochs(10**4, 10**9) == 15
    assert OPTIONS.n_epochs(1000, 10**9) == 30
    assert replace(OPTIONS, epochs=3).n_epochs(1, 1) == 3
