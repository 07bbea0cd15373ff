"""Every layout of masks gives the pixels that were drawn; every mask that cannot be used says why."""

from __future__ import annotations

import csv
import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flawmap.errors import DatasetError, OptionError
from flawmap.records import Dataset
from flawmap.stages.convert import LAYOUTS, convert
from flawmap.stages.dataset import DatasetOptions, read_dataset
from flawmap.stages.dataset.severstal import is_mask_table
from flawmap.tools import rle
from flawmap.tools.masks import to_pixels

HW = (12, 17)
Truth = dict[str, np.ndarray]


def draw(name: str, pixels: np.ndarray, path: Path) -> None:
    """A photo whose pixels tell nothing, at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, name))
    image = np.random.default_rng(seed).integers(0, 256, (*pixels.shape[-2:], 3), dtype=np.uint8)
    Image.fromarray(image).save(path)


def write_mask(path: Path, values: np.ndarray, **how: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path, **how)


def make_truth(n_photos: int = 4, n_labels: int = 1, overlap: bool = False, seed: int = 0) -> Truth:
    """(n_labels, H, W) bool per photo; the last is empty."""
    rng = np.random.default_rng(seed)
    truth = {}
    for i in range(n_photos):
        indices = rng.integers(0, n_labels + 2, HW)
        pixels = np.stack([indices == k + 1 for k in range(n_labels)])
        if overlap:
            pixels = rng.random((n_labels, *HW)) < 0.3
        truth[f"{i}.png"] = pixels & (i < n_photos - 1)
    return truth


def write_images(
    root: Path, truth: Truth, images: str = "images", masks: str = "masks", high: int = 255
) -> Path:
    """images/ and masks/: `high` for one label, class numbers for several."""
    for name, pixels in truth.items():
        draw(name, pixels, root / images / name)
        numbers = np.arange(1, len(pixels) + 1) if len(pixels) > 1 else np.array([high])
        write_mask(root / masks / name, (pixels * numbers[:, None, None]).sum(axis=0))
    return root


def check(dataset: Dataset, truth: Truth, labels: tuple[str, ...]) -> None:
    """`dataset` holds just the photos of `truth` (by file name), with these pixels."""
    assert dataset.labels == labels
    assert sorted(photo.name.split("/")[-1] for photo in dataset.photos) == sorted(truth)
    for photo, mask, row in zip(dataset.photos, dataset.masks, dataset.targets, strict=True):
        wanted = truth[photo.name.split("/")[-1]]
        assert np.array_equal(to_pixels(mask), wanted), photo.name
        assert row.tolist() == wanted.any(axis=(1, 2)).astype(int).tolist()
    assert dataset.is_multilabel and dataset.good_labels == ()


# Mask images


def test_files_that_were_read_are_not_listed_as_ignored(tmp_path: Path) -> None:
    truth = make_truth(n_labels=2)
    write_images(tmp_path / "images", truth)
    write_severstal(tmp_path / "runs", truth, "long")
    for name in ("images", "runs"):
        (tmp_path / name / "classes.txt").write_text("crack\nstain\n")
        (tmp_path / name / "notes.txt").write_text("of May\n")
        assert [one.path for one in read_dataset(tmp_path / name).ignored] == ["notes.txt"]
    (tmp_path / "images" / "masks" / "labelmap.txt").write_text("a:1,1,1\nb:2,2,2\n")
    assert [one.path for one in read_dataset(tmp_path / "images").ignored] == ["classes.txt", "notes.txt"]


@pytest.mark.parametrize("high", [1, 255])
def test_binary_masks_are_one_label(high: int, tmp_path: Path) -> None:
    dataset = read_dataset(write_images(tmp_path, make_truth(), high=high))
    check(dataset, make_truth(), ("flaw",))
    assert dataset.layout == "photos and masks" and dataset.parts == (None,) * 4
    (tmp_path / "classes.txt").write_text("background\ncrack\n")
    assert read_dataset(tmp_path).labels == ("crack",)


def test_class_numbers_are_labels(tmp_path: Path) -> None:
    truth = make_truth(n_labels=3)
    write_images(tmp_path, truth, "photos", "ground_truth")
    check(read_dataset(tmp_path), truth, ("1", "2", "3"))
    (tmp_path / "classes.txt").write_text("crack\nstain\nhole\nnever seen\n")
    named = {name: np.concatenate([pixels, pixels[:1] & False]) for name, pixels in truth.items()}
    check(read_dataset(tmp_path), named, ("crack", "stain", "hole", "never seen"))


def test_a_folder_per_class_may_overlap(tmp_path: Path) -> None:
    truth = make_truth(n_labels=2, overlap=True)
    for name, pixels in truth.items():
        draw(name, pixels, tmp_path / "images" / name)
        for label, one in zip(("crack", "stain"), pixels, strict=True):
            if one.any() or label == "crack":  # an absent file beside another is an empty mask
                write_mask(tmp_path / "masks" / label / name, one * 255)
    dataset = read_dataset(tmp_path)
    check(dataset, truth, ("crack", "stain"))
    assert dataset.masks_overlap and "a folder per class" in dataset.layout
    (tmp_path / "labels.txt").write_text("stain\nnever\n")
    with pytest.raises(DatasetError, match="'crack' is not among the classes stain, never"):
        read_dataset(tmp_path)
    write_mask(tmp_path / "masks" / "0.png", np.zeros(HW))
    with pytest.raises(DatasetError, match="keep either"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("form", ["train/images", "images/train", "train_images"])
def test_masks_in_parts(form: str, tmp_path: Path) -> None:
    for part in ("train", "test"):
        images = form.replace("train", part)
        write_images(tmp_path, make_truth(2), images, images.replace("images", "masks"))
    dataset = read_dataset(tmp_path)
    assert sorted(set(dataset.parts)) == ["test", "train"] and len(dataset) == 4
    assert dataset.layout == "parts (train, test) with photos and masks"


def test_names_may_have_suffixes_folders_and_whole_names(tmp_path: Path) -> None:
    truth = make_truth(4)
    pixels = list(truth.values())
    places = {
        "a.png": "a_mask.png",
        "sub/b.png": "sub/b_GT.png",
        "c.png": "c.png.png",
        "c.jpg": "c.jpg-label.png",
    }
    for (photo, mask), one in zip(places.items(), pixels, strict=True):
        draw(photo, one, tmp_path / "images" / photo)
        write_mask(tmp_path / "masks" / mask, one[0] * 255)
    wanted = dict(zip(["a.png", "b.png", "c.png", "c.jpg"], pixels, strict=True))
    check(read_dataset(tmp_path), wanted, ("flaw",))


def left_out(dataset: Dataset) -> dict[str, str]:
    return {one.path: one.reason for one in dataset.unreadable}


def test_what_has_no_counterpart_is_listed(tmp_path: Path) -> None:
    truth = make_truth()
    write_images(tmp_path, truth)
    (tmp_path / "masks" / "1.png").unlink()
    write_mask(tmp_path / "masks" / "x.png", np.zeros(HW))
    draw("0.jpg", truth["0.png"], tmp_path / "images" / "0.jpg")  # shares the mask of 0.png
    write_mask(tmp_path / "masks" / "2_mask.png", np.zeros(HW))
    draw("4.png", truth["0.png"], tmp_path / "images" / "4.png")
    write_mask(tmp_path / "masks" / "4.png", truth["0.png"][0] * 255)
    dataset = read_dataset(tmp_path)
    check(dataset, {"3.png": truth["3.png"], "4.png": truth["0.png"]}, ("flaw",))
    shared = "its mask masks/0.png could be another photo's too; name it after the whole name, with .png"
    assert left_out(dataset) == {
        "images/0.jpg": shared,
        "images/0.png": shared,
        "images/1.png": (
            "no mask; --unmasked-good (Python: options.dataset.unmasked_good) takes such photos as good"
        ),
        "images/2.png": "several masks (masks/2.png, masks/2_mask.png); one was wanted",
        "masks/x.png": "a mask without a photo",
    }


def test_a_file_that_is_no_photo_is_not_called_one_without_a_mask(tmp_path: Path) -> None:
    write_images(tmp_path, make_truth())
    (tmp_path / "images" / "text.jpg").write_text("site visit of May\n")
    (tmp_path / "images" / "empty.png").touch()
    reasons = {
        "images/empty.png": "not a photo: the file is empty (0 bytes)",
        "images/text.jpg": "not a photo: text",
    }
    for options in (DatasetOptions(), DatasetOptions(unmasked_good=True)):
        assert left_out(read_dataset(tmp_path, options)) == reasons


def test_masks_of_no_photo_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path, make_truth())
    for path in (tmp_path / "masks").iterdir():
        path.rename(path.with_name(f"other {path.name}"))
    with pytest.raises(DatasetError, match=r"none of the 4 masks, such as masks/other 0\.png"):
        read_dataset(tmp_path)


def test_empty_masks_only_are_refused(tmp_path: Path) -> None:
    empty = {name: pixels & False for name, pixels in make_truth().items()}
    with pytest.raises(DatasetError, match="masks of all 4 photos are empty"):
        read_dataset(write_images(tmp_path, empty))


def _ramp() -> np.ndarray:
    return np.tile(np.linspace(0, 255, HW[1]), (HW[0], 1))


BAD_MASKS: dict[str, tuple[np.ndarray, str, str]] = {
    "soft": (_ramp(), "png", r"soft edges: 15 values between 0 and 255 .*--mask-threshold"),
    "jpeg": (_ramp(), "jpg", r"\(JPEG\) has soft edges"),
    "other values": (np.full(HW, 128), "png", "holds the values 128; .*--mask-threshold"),
    "smaller": (np.zeros((6, 8)), "png", "its mask is 8×6, the photo 17×12; .*--resize-masks"),
    "rotated": (np.zeros(HW[::-1]), "png", "its mask is 12×17, the photo 17×12; the mask is rotated"),
    "coloured": (np.dstack([_ramp(), np.zeros(HW), np.zeros(HW)]), "png", "17 colours"),
    "transparent": (
        np.zeros((*HW, 4)),
        "png",
        "transparent pixels; --mask-threshold .* takes them as no flaw",
    ),
    "coloured, transparent": (
        np.dstack([np.full(HW, 200), np.zeros((*HW, 2)), _ramp()]),
        "png",
        r"transparent pixels; wanted a labelmap\.txt",
    ),
}


@pytest.mark.parametrize("case", BAD_MASKS)
def test_a_bad_mask_leaves_its_photo_out_and_says_why(case: str, tmp_path: Path) -> None:
    values, extension, reason = BAD_MASKS[case]
    write_images(tmp_path, make_truth())
    (tmp_path / "masks" / "1.png").unlink()
    write_mask(tmp_path / "masks" / f"1.{extension}", values)
    dataset = read_dataset(tmp_path)
    assert len(dataset) == 3 and [one.path for one in dataset.unreadable] == ["images/1.png"]
    found = dataset.unreadable[0].reason
    with pytest.raises(DatasetError, match=reason):
        raise DatasetError(found)
    assert "\n" not in found and f"1.{extension}" in found


def test_a_broken_mask_file_and_mixed_values_are_told(tmp_path: Path) -> None:
    write_images(tmp_path, make_truth(n_labels=2))
    (tmp_path / "masks" / "0.png").write_bytes(b"no mask")
    write_mask(tmp_path / "masks" / "1.png", np.full(HW, 255))
    reasons = left_out(read_dataset(tmp_path))
    assert "its mask cannot be read" in reasons["images/0.png"]
    assert "0 and 255; class numbers from 0 to 2" in reasons["images/1.png"]


def test_options_accept_soft_edges_other_sizes_and_missing_masks(tmp_path: Path) -> None:
    truth = make_truth()
    write_images(tmp_path, truth)
    (tmp_path / "masks" / "0.png").unlink()
    write_mask(tmp_path / "masks" / "0.jpg", np.where(truth["0.png"][0], 200, 20), quality=100)
    write_mask(tmp_path / "masks" / "1.png", np.repeat(np.repeat(truth["1.png"][0], 2, 0), 2, 1) * 255)
    (tmp_path / "masks" / "3.png").unlink()
    options = DatasetOptions(mask_threshold=128, resize_masks=True, unmasked_good=True)
    check(read_dataset(tmp_path, options), truth, ("flaw",))
    assert set(left_out(read_dataset(tmp_path))) == {f"images/{i}.png" for i in (0, 1, 3)}
    with pytest.raises(OptionError, match="mask_threshold is 0"):
        replace(options, mask_threshold=0)


def _store_as(path: Path, orientation: int) -> None:
    """Store a photo so that this EXIF orientation turns it to what it was."""
    ways = Image.Transpose
    way = {
        2: ways.FLIP_LEFT_RIGHT,
        3: ways.ROTATE_180,
        4: ways.FLIP_TOP_BOTTOM,
        5: ways.TRANSPOSE,
        6: ways.ROTATE_90,
        7: ways.TRANSVERSE,
        8: ways.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).transpose(way).save(path, exif=exif)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_masks_drawn_on_photos_as_stored_are_turned_with_them(orientation: int, tmp_path: Path) -> None:
    truth = make_truth()
    as_stored = DatasetOptions(turn_masks="exif")
    write_images(tmp_path / "images", truth)
    write_severstal(tmp_path / "runs", truth, "long")
    write_coco(tmp_path / "coco", truth, _polygons)
    for form, folder in (("images", "images"), ("runs", "train_images"), ("coco", "images")):
        _store_as(tmp_path / form / folder / "0.png", orientation)
        check(
            read_dataset(tmp_path / form),
            truth,
            ("crack" if form == "coco" else "1" if form == "runs" else "flaw",),
        )
    _store_as(tmp_path / "images" / "masks" / "0.png", orientation)
    with Image.open(tmp_path / "images" / "masks" / "0.png") as image:
        stored = np.asarray(image)
    check(read_dataset(tmp_path / "images", as_stored), truth, ("flaw",))  # by its own orientation, once
    write_mask(tmp_path / "images" / "masks" / "0.png", stored)
    check(read_dataset(tmp_path / "images", as_stored), truth, ("flaw",))
    table = tmp_path / "runs" / "train.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], f"0.png,1,{rle.to_text(rle.encode(stored > 0))}", *lines[2:]]))
    check(read_dataset(tmp_path / "runs", as_stored), truth, ("1",))
    file = tmp_path / "coco" / "annotations.json"
    data = json.loads(file.read_text())
    data["images"][0] |= {"height": stored.shape[0], "width": stored.shape[1]}
    data["annotations"][0]["segmentation"] = _polygons(stored > 0)
    file.write_text(json.dumps(data))
    check(read_dataset(tmp_path / "coco", as_stored), truth, ("crack",))
    if orientation >= 5:
        reason = (
            f"the photo 17×12 once its EXIF orientation ({orientation}) has turned it upright; the mask is "
            "rotated against it: --turn-masks (Python: options.dataset.turn_masks) exif turns masks as their "
            "photos"
        )
        mask, listed = "0.png: its mask is 12×17, ", "the size listed in annotations.json is 12×17, "
        assert left_out(read_dataset(tmp_path / "images"))["images/0.png"] == mask + reason
        assert left_out(read_dataset(tmp_path / "coco"))["images/0.png"] == listed + reason


@pytest.mark.parametrize("turn", ["left", "right"])
def test_rotated_masks_are_turned_on_demand_and_others_are_not(turn: Any, tmp_path: Path) -> None:
    truth = make_truth()
    write_images(tmp_path, truth)
    for name in ("0.png", "1.png"):
        drawn = np.rot90(truth[name][0], -1 if turn == "left" else 1)
        if name == "1.png":
            drawn = drawn.repeat(2, axis=0).repeat(2, axis=1)
        write_mask(tmp_path / "masks" / name, drawn * 255)
    reason = left_out(read_dataset(tmp_path))["images/0.png"]
    assert "the mask is rotated against it: --turn-masks" in reason and "left or right turns such" in reason
    assert (
        "--resize-masks" in left_out(read_dataset(tmp_path, DatasetOptions(turn_masks=turn)))["images/1.png"]
    )
    check(read_dataset(tmp_path, DatasetOptions(turn_masks=turn, resize_masks=True)), truth, ("flaw",))
    assert (
        "left or right" in left_out(read_dataset(tmp_path, DatasetOptions(turn_masks="exif")))["images/0.png"]
    )


def test_an_upright_mask_among_those_as_stored_is_told(tmp_path: Path) -> None:
    write_images(tmp_path, make_truth())
    _store_as(tmp_path / "images" / "0.png", 6)
    reason = left_out(read_dataset(tmp_path, DatasetOptions(turn_masks="exif")))["images/0.png"]
    assert reason.startswith(
        "0.png: its mask is 12×17 once turned as the photo, the photo 17×12; masks as the"
    )


def test_a_palette_counts_by_its_numbers_unless_it_is_grey(tmp_path: Path) -> None:
    truth = make_truth(n_labels=2)
    write_images(tmp_path, truth)
    for name, pixels in truth.items():
        image = Image.fromarray((pixels[0] + 2 * pixels[1]).astype(np.uint8))
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        image.save(tmp_path / "masks" / name)
    check(read_dataset(tmp_path), truth, ("1", "2"))
    for name, pixels in truth.items():
        image = Image.fromarray((~pixels[0]).astype(np.uint8))
        image.putpalette([255, 255, 255, 0, 0, 0])
        image.save(tmp_path / "masks" / name)
    check(read_dataset(tmp_path), {name: pixels[:1] for name, pixels in truth.items()}, ("flaw",))


def test_colours_are_read_by_a_labelmap_opaque_or_transparent(tmp_path: Path) -> None:
    truth = make_truth(n_labels=2)
    write_images(tmp_path, truth)
    (tmp_path / "labelmap.txt").write_text("crack:255,0,0\nstain:0,0,255\n")
    for i, (name, (crack, stain)) in enumerate(truth.items()):
        alpha = np.where(crack | stain, 200, 90) if i % 2 else np.full(HW, 255)
        white = 255 * (~crack & ~stain) if i % 2 else np.zeros(HW)  # hidden below what is transparent
        write_mask(
            tmp_path / "masks" / name, np.dstack([crack * 255 + white, white, stain * 255 + white, alpha])
        )
    check(read_dataset(tmp_path), truth, ("crack", "stain"))
    check(read_dataset(tmp_path, DatasetOptions(mask_threshold=128)), truth, ("crack", "stain"))


@pytest.mark.parametrize("n_colours", [1, 3])
def test_with_a_threshold_transparent_pixels_are_no_flaw(n_colours: int, tmp_path: Path) -> None:
    truth = make_truth()
    write_images(tmp_path, truth)
    for name, (flaw,) in truth.items():
        soft = np.where(flaw, 200, 90)  # of white: as dark as it is transparent
        write_mask(tmp_path / "masks" / name, np.dstack([np.full(HW, 255)] * n_colours + [soft]))
    with pytest.raises(DatasetError, match=r"transparent pixels; --mask-threshold"):
        read_dataset(tmp_path)
    check(read_dataset(tmp_path, DatasetOptions(mask_threshold=128)), truth, ("flaw",))
    write_mask(tmp_path / "masks" / "0.png", np.dstack([np.zeros(HW)] * n_colours + [soft]))
    reasons = left_out(read_dataset(tmp_path, DatasetOptions(mask_threshold=128)))
    assert "its mask is black on transparent" in reasons["images/0.png"]


def test_labels_go_before_masks(tmp_path: Path) -> None:
    write_images(tmp_path, make_truth())
    (tmp_path / "manifest.csv").write_text("path,label\nimages/0.png,a\nimages/1.png,b\n")
    assert not read_dataset(tmp_path).has_masks


def test_masks_have_no_good_labels(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none of its labels can be good"):
        read_dataset(write_images(tmp_path, make_truth()), DatasetOptions(good=("flaw",)))


# Runs in a table


def write_severstal(root: Path, truth: Truth, form: str) -> Path:
    for name, pixels in truth.items():
        draw(name, pixels, root / "train_images" / name)
    n_labels = len(next(iter(truth.values())))
    texts = {
        (name, k): rle.to_text(rle.encode(pixels[k]))
        for name, pixels in truth.items()
        for k in range(n_labels)
    }
    with (root / "train.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        if form == "wide":
            table.writerow(["fname", *range(1, n_labels + 1), "defects"])
            for name in truth:
                cells = [texts[name, k] or "0 0" for k in range(n_labels)]
                table.writerow([name, *cells, sum(cell != "0 0" for cell in cells)])
        elif form in ("long", "other names"):
            named = (
                ["ImageId", "ClassId", "EncodedPixels"] if form == "long" else ["image", "class", "pixels"]
            )
            table.writerow(named)
            table.writerows([name, k + 1, text] for (name, k), text in texts.items() if text)
        else:
            table.writerow(["ImageId_ClassId", "EncodedPixels"])
            table.writerows([f"{name}_{k + 1}", text] for (name, k), text in texts.items())
    return root


@pytest.mark.parametrize("form", ["long", "other names", "older", "wide"])
def test_severstal_in_each_form(form: str, tmp_path: Path) -> None:
    truth = make_truth(n_labels=3)
    dataset = read_dataset(write_severstal(tmp_path, truth, form))
    check(dataset, truth, ("1", "2", "3"))
    assert dataset.layout == "photos and runs of masks in train.csv" and not dataset.masks_overlap
    check(read_dataset(tmp_path / "train.csv"), truth, ("1", "2", "3"))
    (tmp_path / "classes.txt").write_text("c\nb\na\n")
    check(read_dataset(tmp_path), truth, ("c", "b", "a"))


def test_a_manifest_with_two_numbers_in_a_column_is_no_table_of_runs(tmp_path: Path) -> None:
    draw("a.png", make_truth(1)["0.png"], tmp_path / "a.png")
    (tmp_path / "train.csv").write_text("image,class,size\na.png,crack,640 480\n")
    assert not is_mask_table(tmp_path / "train.csv")


def test_a_folder_of_photos_without_their_table_is_told_where_masks_belong(tmp_path: Path) -> None:
    write_severstal(tmp_path, make_truth(), "long")
    (tmp_path / "train.csv").unlink()
    with pytest.raises(DatasetError, match=r"nothing that labels them.*masks/.*train\.csv"):
        read_dataset(tmp_path)


def test_a_class_that_is_never_present_is_a_label_still(tmp_path: Path) -> None:
    truth = make_truth(n_labels=3)
    for pixels in truth.values():
        pixels[1] = False
    check(read_dataset(write_severstal(tmp_path, truth, "long")), truth, ("1", "2", "3"))


def test_severstal_goes_before_mask_images(tmp_path: Path) -> None:
    truth = make_truth(n_labels=2)
    write_severstal(tmp_path, truth, "long")
    write_images(tmp_path, truth, "other", "masks")
    check(read_dataset(tmp_path), truth, ("1", "2"))


def test_broken_rows_leave_the_photo_out_with_file_line_and_reason(tmp_path: Path) -> None:
    truth = make_truth(6)
    write_severstal(tmp_path, truth, "long")
    lines = (tmp_path / "train.csv").read_text().splitlines()
    lines += ["1.png,1,5 1 1 1", "2.png,7,999 2", "gone.png,1,1 1", "3.png,,1 1"]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    dataset = read_dataset(tmp_path)
    reasons = left_out(dataset)
    assert [photo.name for photo in dataset.photos] == [
        "train_images/0.png",
        "train_images/4.png",
        "train_images/5.png",
    ]
    assert reasons["train_images/1.png"] == (
        "line 7 of train.csv: run 2 (1 1) is out of order: the run before it starts at 5"
    )
    assert reasons["train_images/2.png"].startswith(
        "line 8 of train.csv: run 1 (999 2) ends at pixel 1000 of 204"
    )
    assert reasons["gone.png"] == "no such photo in train_images/ (line 9 of train.csv)"
    assert "the class '' is not among" in reasons["train_images/3.png"]


@pytest.mark.parametrize("cell", ["abc", "-5 3", "12.0 3", "5"])
@pytest.mark.parametrize("header", ["fname,1,2,3,4,defects", "image,crack,hole", "fname,crack"])
def test_a_broken_cell_hides_no_class(header: str, cell: str, tmp_path: Path) -> None:
    for i in range(4):
        draw(f"{i}.png", np.zeros(HW), tmp_path / "train_images" / f"{i}.png")
    n_columns = header.count(",")
    filled = [f"{i}.png" + f",{i + 2} 3" * n_columns for i in range(4)]
    filled[2] = f"2.png,{cell}" + ",1 2" * (n_columns - 1)
    (tmp_path / "train.csv").write_text("\n".join([header, *filled]))
    dataset = read_dataset(tmp_path)
    assert [photo.name[-5:] for photo in dataset.photos] == ["0.png", "1.png", "3.png"]
    assert left_out(dataset)["train_images/2.png"].startswith("line 4 of train.csv: ")
    assert dataset.targets[:, dataset.labels.index(header.split(",")[1])].all()


@pytest.mark.parametrize("head", ["2", "crack"])
def test_a_column_headed_by_a_class_is_one_whatever_it_holds(head: str, tmp_path: Path) -> None:
    for i in range(5):
        draw(f"{i}.png", np.zeros(HW), tmp_path / "train_images" / f"{i}.png")
    rows = ["0.png,abc,1 2", "1.png,,3 4", "2.png,,", "3.png,,8 2"]
    (tmp_path / "classes.txt").write_text("spot\ncrack\n")
    (tmp_path / "train.csv").write_text("\n".join([f"fname,{head},1", *rows]))
    dataset = read_dataset(tmp_path)
    assert dataset.labels == ("spot", "crack") and len(dataset) == 4
    assert "'abc' in its runs" in left_out(dataset)["train_images/0.png"]
    rows = ["0.png,abc", "1.png,x", "2.png,y", "3.png,8 2"]  # the only column, hardly any of it right
    (tmp_path / "train.csv").write_text("\n".join([f"fname,{head}", *rows]))
    assert set(left_out(read_dataset(tmp_path))) == {f"train_images/{i}.png" for i in range(3)}


@pytest.mark.parametrize(
    "name", ["0.jpg", "0", "train_images/0.png", "/elsewhere/set/train_images/0.png", "train_images\\0.jpg"]
)
def test_a_row_finds_its_photo_by_other_names(name: str, tmp_path: Path) -> None:
    truth = make_truth()
    write_severstal(tmp_path, truth, "long")
    table = tmp_path / "train.csv"
    table.write_text(table.read_text().replace("0.png", name))
    check(read_dataset(tmp_path), truth, ("1",))


def test_a_name_that_could_be_two_photos_leaves_both_out(tmp_path: Path) -> None:
    truth = make_truth()
    write_severstal(tmp_path, truth, "long")
    for name in ("0.jpg", "1.jpg"):
        draw(name, truth["0.png"], tmp_path / "train_images" / name)
    table = tmp_path / "train.csv"
    table.write_text(table.read_text().replace("0.png", "0.bmp") + "2.jpg,1,1 1\n")
    dataset = read_dataset(tmp_path)
    assert [photo.name.split("/")[1] for photo in dataset.photos] == ["1.jpg", "1.png", "2.png", "3.png"]
    reasons = left_out(dataset)
    assert set(reasons) == {"train_images/0.jpg", "train_images/0.png", "2.jpg"}  # 2.png has rows of its own
    assert reasons["train_images/0.png"] == (
        "line 2 of train.csv: '0.bmp' could be train_images/0.jpg or train_images/0.png; write the name with "
        "its extension"
    )


def test_a_row_without_all_cells_leaves_its_photo_out(tmp_path: Path) -> None:
    truth = make_truth(6)
    write_severstal(tmp_path, truth, "long")
    table = tmp_path / "train.csv"
    lines = [line for line in table.read_text().splitlines() if not line.startswith(("2.", "3."))]
    table.write_text("\n".join([*lines, "2.png,1", "3.png,1,", "5.png,,"]))
    dataset = read_dataset(tmp_path)
    wanted = {name: pixels & (name != "3.png") for name, pixels in truth.items() if name != "2.png"}
    check(dataset, wanted, ("1",))
    assert left_out(dataset) == {"train_images/2.png": "line 5 of train.csv: 2 cells, where the header has 3"}
    table.write_text("ImageId_ClassId,EncodedPixels,\n0.png_1,1 1\n1.png,2 2\n")  # a comma too many
    assert left_out(read_dataset(tmp_path)) == {
        "train_images/1.png": "line 3 of train.csv: no class behind the photo's name (a.jpg_1)"
    }


def test_class_ids_as_pandas_writes_them_are_the_same_classes(tmp_path: Path) -> None:
    truth = make_truth(n_labels=2)
    write_severstal(tmp_path, truth, "long")
    table = tmp_path / "train.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:3], *(line.replace(",2,", ",2.0,") for line in lines[3:])]))
    check(read_dataset(tmp_path), truth, ("1", "2"))


def test_several_rows_of_a_class_are_joined(tmp_path: Path) -> None:
    truth = {"0.png": np.zeros((1, *HW), bool)}
    truth["0.png"][0, :3, 0] = True
    write_severstal(tmp_path, truth, "long")
    (tmp_path / "train.csv").write_text("ImageId,EncodedPixels\n0.png,1 2\n0.png,2 2\n")
    check(read_dataset(tmp_path), truth, ("flaw",))


def test_tables_that_could_each_be_meant_are_refused(tmp_path: Path) -> None:
    write_severstal(tmp_path, make_truth(), "long")
    (tmp_path / "sample_submission.csv").write_text("ImageId,EncodedPixels\n0.png,1 1\n")
    check(read_dataset(tmp_path), make_truth(), ("1",))  # train.csv goes before it
    (tmp_path / "train.csv").rename(tmp_path / "mine.csv")
    with pytest.raises(DatasetError, match="several tables of masks"):
        read_dataset(tmp_path)


# COCO


def write_coco(root: Path, truth: Truth, segmentation: Any) -> Path:
    images, annotations = [], []
    for i, (name, pixels) in enumerate(truth.items()):
        draw(name, pixels, root / "images" / name)
        images.append({"id": i, "file_name": name, "height": HW[0], "width": HW[1]})
        for k, one in enumerate(pixels):
            if one.any():
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": i,
                        "category_id": k + 5,
                        "segmentation": segmentation(one),
                    }
                )
    names = ["crack", "stain", "hole"][: len(pixels)]
    categories = [{"id": 0, "name": "flaws"}]
    categories += [{"id": k + 5, "name": name, "supercategory": "flaws"} for k, name in enumerate(names)]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(data))
    return root


def _polygons(mask: np.ndarray) -> list[list[float]]:
    """A square for every pixel."""
    return [[x, y, x + 1, y, x + 1, y + 1, x, y + 1] for y, x in np.argwhere(mask).tolist()]


def _counts(mask: np.ndarray) -> dict[str, Any]:
    return {"size": list(HW), "counts": rle.to_counts(rle.encode(mask), HW)}


@pytest.mark.parametrize("segmentation", [_polygons, _counts])
def test_coco(segmentation: Any, tmp_path: Path) -> None:
    truth = make_truth(n_labels=2, overlap=True)
    dataset = read_dataset(write_coco(tmp_path, truth, segmentation))
    check(dataset, truth, ("crack", "stain"))
    assert dataset.masks_overlap and dataset.layout == "COCO masks in annotations.json"
    check(read_dataset(tmp_path / "annotations.json"), truth, ("crack", "stain"))


def test_coco_in_parts(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        folder = write_coco(tmp_path / part, make_truth(2), _counts)
        (folder / "annotations.json").rename(folder / "_annotations.coco.json")
    dataset = read_dataset(tmp_path)
    assert sorted(set(dataset.parts)) == ["train", "validation"] and dataset.labels == ("crack",)


def _change_coco(root: Path, **changes: Any) -> None:
    data = json.loads((root / "annotations.json").read_text())
    data["annotations"][0] |= changes
    (root / "annotations.json").write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([], "a box without a mask"),
        ([[1, 2, 3]], "no list of three points"),
        ([["a"] * 6], "no list of three points"),
        ({"size": [17, 12], "counts": [204]}, "the same was wanted"),
        ({"size": list(HW), "counts": [203]}, "add up to 203"),
        ({"size": list(HW), "counts": "~~"}, "compressed counts"),
        ({"size": list(HW)}, "no counts"),
        ("x", "neither polygons nor runs"),
    ],
)
def test_broken_annotations_leave_the_photo_out(segmentation: Any, reason: str, tmp_path: Path) -> None:
    write_coco(tmp_path, make_truth(), _counts)
    _change_coco(tmp_path, segmentation=segmentation)
    found = left_out(read_dataset(tmp_path))
    assert reason in found["images/0.png"] and found["images/0.png"].startswith(
        "annotation 0 of annotations.json"
    )


def test_a_size_that_is_not_the_photos_leaves_it_out_even_where_nothing_is_drawn(tmp_path: Path) -> None:
    truth = make_truth()
    write_coco(tmp_path, truth, _polygons)
    file = tmp_path / "annotations.json"
    data = json.loads(file.read_text())
    data["images"][0] |= {"height": HW[1], "width": HW[0]}
    data["images"][3] |= {"height": 24, "width": 34}  # a good photo
    file.write_text(json.dumps(data))
    dataset = read_dataset(tmp_path)
    check(dataset, {name: truth[name] for name in ("1.png", "2.png")}, ("crack",))
    reasons = left_out(dataset)
    for name, size in (("0", "12×17"), ("3", "34×24")):
        told = f"the size listed in annotations.json is {size}, the photo 17×12; the "
        assert reasons[f"images/{name}.png"].startswith(told)
    resized = read_dataset(tmp_path, DatasetOptions(resize_masks=True))
    check(resized, {name: truth[name] for name in ("1.png", "2.png", "3.png")}, ("crack",))


def test_coco_that_cannot_be_understood_is_refused(tmp_path: Path) -> None:
    write_coco(tmp_path, make_truth(), _counts)
    _change_coco(tmp_path, image_id=99)
    with pytest.raises(DatasetError, match="image 99, which is not listed"):
        read_dataset(tmp_path)
    _change_coco(tmp_path, image_id=0, category_id=99)
    with pytest.raises(DatasetError, match="category 99, which is not listed"):
        read_dataset(tmp_path)
    write_coco(tmp_path, make_truth(), lambda _: [])
    with pytest.raises(DatasetError, match="boxes without masks"):
        read_dataset(tmp_path)
    (tmp_path / "annotations.json").write_text('{"images": {}, "annotations": [], "categories": []}')
    with pytest.raises(DatasetError, match="is not COCO's"):
        read_dataset(tmp_path)


# Conversion


@pytest.mark.parametrize("kind", ["one label", "class numbers", "overlap", "parts"])
def test_masks_to_severstal_to_coco_to_masks_is_exact(kind: str, tmp_path: Path) -> None:
    truth = make_truth(n_labels=1 if kind == "one label" else 3, overlap=kind == "overlap", seed=5)
    if kind == "overlap":
        source = write_coco(tmp_path / "source", truth, _counts)
    else:
        source = write_images(
            tmp_path / "source",
            truth,
            "train/images" if kind == "parts" else "images",
            "train/masks" if kind == "parts" else "masks",
        )
    if kind == "parts":
        write_images(tmp_path / "source", truth, "test/images", "test/masks")
        (source / "classes.txt").write_text("c\nb\na\n")
    first = dataset = read_dataset(source)
    for i, to in enumerate(("severstal", "coco", "masks", "coco", "severstal", "masks")):
        out = tmp_path / f"{i}"
        convert(dataset, out, to)
        dataset = read_dataset(out)
        assert (dataset.labels, dataset.masks, dataset.unreadable) == (first.labels, first.masks, ())
        assert dataset.masks_overlap == first.masks_overlap
        assert dataset.parts == first.parts
        assert [photo.digest for photo in dataset.photos] == [photo.digest for photo in first.photos]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_conversion_never_writes_over_other_files(tmp_path: Path) -> None:
    dataset = read_dataset(write_images(tmp_path / "source", make_truth()))
    out = tmp_path / "out"
    convert(dataset, out, "coco")
    with pytest.raises(OptionError, match="--overwrite"):
        convert(dataset, out, "coco")
    convert(dataset, out, "masks", overwrite=True)
    assert not (out / "annotations.json").exists() and read_dataset(out).masks == dataset.masks
    for wrong, reason in {
        tmp_path / "source": "inside each other",
        tmp_path / "source" / "x": "inside each other",
        tmp_path: "inside each other",
    }.items():
        with pytest.raises(OptionError, match=reason):
            convert(dataset, wrong, "coco", overwrite=True)
    other = tmp_path / "other"
    write_mask(other / "a.png", np.zeros(HW))
    with pytest.raises(OptionError, match="holds files already"):
        convert(dataset, other, "coco", overwrite=True)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    dataset = read_dataset(write_images(tmp_path / "source", make_truth()))
    convert(dataset, tmp_path / "out", "coco")
    monkeypatch.setattr(shutil, "copyfileobj", refuse)
    for to in LAYOUTS:
        with pytest.raises(
            OptionError, match=r"cannot write .*/out/.*png: No space left on device\. Make room"
        ):
            convert(dataset, tmp_path / "out", to, overwrite=True)
    assert read_dataset(tmp_path / "out").masks == dataset.masks
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_a_conversion_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    dataset = read_dataset(write_images(tmp_path / "source", make_truth()))
    convert(dataset, tmp_path / "out", "coco")
    (tmp_path / "source" / "images" / "3.png").unlink()
    for to in LAYOUTS:
        with pytest.raises(FileNotFoundError):
            convert(dataset, tmp_path / "out", to, overwrite=True)
    assert read_dataset(tmp_path / "out").masks == dataset.masks
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_labels_cannot_be_converted(tmp_path: Path) -> None:
    for label in ("a", "b"):
        draw(label, np.zeros(HW), tmp_path / "source" / label / "0.png")
    with pytest.raises(DatasetError, match="masks were wanted"):
        convert(read_dataset(tmp_path / "source"), tmp_path / "out", "coco")


# Real sets


@pytest.mark.data
@pytest.mark.parametrize("name", ["crackforest", "deepcrack", "magnetic-tiles-rle"])
def test_real_sets_come_back_exactly(name: str, real_sets: Path, tmp_path: Path) -> None:
    first = dataset = read_dataset(real_sets / name)
    assert not dataset.unreadable
    for photo, mask in zip(dataset.photos, dataset.masks, strict=True):
        drawn = real_sets / name / "masks" / f"{Path(photo.name).stem}.png"
        wanted = np.asarray(Image.open(drawn)) > 0 if drawn.exists() else np.zeros(photo.size_hw, bool)
        assert np.array_equal(to_pixels(mask).any(axis=0), wanted), photo.name
    for i, to in enumerate(("severstal", "coco", "masks")):
        convert(dataset, tmp_path / str(i), to)
        dataset = read_dataset(tmp_path / str(i))
        assert (dataset.labels, dataset.masks, dataset.unreadable) == (first.labels, first.masks, ())


@pytest.mark.data
def test_every_row_of_severstal_comes_back(real_sets: Path) -> None:
    with (real_sets / "severstal-labels" / "train.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    n_flaws = 0
    for row in rows:
        for text in (row[label] for label in "1234"):
            if text != "0 0":
                runs = rle.parse_runs(text, (256, 1600))
                assert rle.to_text(rle.encode(rle.decode(runs, (256, 1600)))) == text
                n_flaws += 1
    assert len(rows) == 900 and n_flaws > 900


def test_the_command_converts_and_lists_what_was_left_out(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from flawmap.cli import app

    write_images(tmp_path / "source", make_truth())
    (tmp_path / "source" / "masks" / "0.png").unlink()
    words = ["data", "convert", str(tmp_path / "source"), str(tmp_path / "out"), "--to", "severstal", "-q"]
    done = CliRunner().invoke(app, words)
    assert (
        done.exit_code == 1 and "3 photos (2 flawed: flaw) from photos and masks to severstal" in done.output
    )
    assert "images/0.png: no mask; --unmasked-good" in done.output
    done = CliRunner().invoke(app, [*words, "--overwrite", "--unmasked-good", "--turn-masks", "exif"])
    assert done.exit_code == 0, done.output
    assert len(read_dataset(tmp_path / "out")) == 4
