"""What annotation tools draw gives the pixels that were drawn, and what is no mask says why."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from PIL import Image

from flawmap.errors import DatasetError
from flawmap.records import Dataset
from flawmap.stages.convert import LAYOUTS, convert
from flawmap.stages.dataset import DatasetOptions, read_dataset
from flawmap.tools import rle
from flawmap.tools.mask_files.outlines import trace_outlines
from flawmap.tools.masks import to_pixels

HW = (40, 60)
Points = list[tuple[float, float]]
Drawn = dict[str, list[tuple[str, Points]]]
SLANTED: Points = [(3.2, 4.1), (50.7, 12.3), (44.9, 33.8), (20.1, 38.2)]
"""A polygon with no corner on a pixel's."""
SMALL: Points = [(52, 2), (58, 2), (58, 9), (52, 9)]
RING: Points = [(5, 5), (25, 5), (25, 25), (5, 25), (5, 5), (10, 10), (10, 20), (20, 20), (20, 10), (10, 10)]
"""A square with a hole, its outline and the hole's joined by a line there and back."""


def inside(points: Points) -> np.ndarray:
    """(H, W) bool: pixels whose centres lie inside, one by one: an odd number of edges lie to their right."""
    pixels = np.zeros(HW, bool)
    for y, x in np.ndindex(*HW):
        for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
            if (y0 > y + 0.5) != (y1 > y + 0.5):
                pixels[y, x] ^= x + 0.5 < x0 + (y + 0.5 - y0) / (y1 - y0) * (x1 - x0)
    return pixels


DRAWN: Drawn = {
    "a.png": [("crack", SLANTED), ("crack", SMALL)],
    "b.png": [("stain", RING), ("crack", SMALL)],
    "good.png": [],
}


def draw_photos(folder: Path, names: Any = DRAWN, hw: tuple[int, int] = HW) -> None:
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(i).integers(0, 256, (*hw, 3), dtype=np.uint8)
        Image.fromarray(image).save(path)


def write_labelme_file(
    path: Path, photo: str, shapes: list[dict[str, Any]], hw: tuple[int, int] = HW
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": photo, "imageData": "A" * 300_000}
    path.write_text(json.dumps({**data, "imageHeight": hw[0], "imageWidth": hw[1]}))


def write_labelme(root: Path, drawn: Drawn, hw: tuple[int, int] = HW) -> None:
    draw_photos(root, drawn, hw)
    for name, shapes in drawn.items():
        listed = [{"label": label, "points": points, "shape_type": "polygon"} for label, points in shapes]
        write_labelme_file(root / Path(name).with_suffix(".json"), Path(name).name, listed, hw)


def via_data(drawn: Drawn) -> dict[str, Any]:
    return {
        f"{name}123": {
            "filename": name,
            "size": 123,
            "regions": [
                {
                    "shape_attributes": {
                        "name": "polygon",
                        "all_points_x": [x for x, _ in points],
                        "all_points_y": [y for _, y in points],
                    },
                    "region_attributes": {"note": "", "type": label},
                }
                for label, points in shapes
            ],
            "file_attributes": {},
        }
        for name, shapes in drawn.items()
    }


def write_via(root: Path, drawn: Drawn, hw: tuple[int, int] = HW) -> None:
    draw_photos(root / "images", drawn, hw)
    data = {"_via_settings": {}, "_via_img_metadata": via_data(drawn), "_via_attributes": {}}
    (root / "via_project.json").write_text(json.dumps(data))


def write_via_1(root: Path, drawn: Drawn, hw: tuple[int, int] = HW) -> None:
    """Of version 1: the annotations alone, and an object of regions."""
    draw_photos(root, drawn, hw)
    data = via_data(drawn)
    for one in data.values():
        one["regions"] = {str(i): region for i, region in enumerate(one["regions"])}
    (root / "via_region_data.json").write_text(json.dumps(data))


def write_via_csv(root: Path, drawn: Drawn, hw: tuple[int, int] = HW) -> None:
    draw_photos(root, drawn, hw)
    lines = [
        "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    ]
    for one in via_data(drawn).values():
        regions = one["regions"] or [{"shape_attributes": {}, "region_attributes": {}}]
        for i, region in enumerate(regions):
            cells = [
                json.dumps(region[key]).replace('"', '""')
                for key in ("shape_attributes", "region_attributes")
            ]
            lines.append(f'{one["filename"]},123,"{{}}",{len(regions)},{i},"{cells[0]}","{cells[1]}"')
    (root / "via_export_csv.csv").write_text("\n".join(lines))


def cvat_image(name: str, shapes: str, hw: tuple[int, int] = HW, **more: str) -> str:
    told = "".join(f" {key}={quoteattr(value)}" for key, value in more.items())
    return f'<image id="0" name={quoteattr(name)} width="{hw[1]}" height="{hw[0]}"{told}>{shapes}</image>'


def write_cvat_file(root: Path, images: str, labels: tuple[str, ...] = ("crack", "stain")) -> None:
    root.mkdir(parents=True, exist_ok=True)
    named = "".join(f"<label><name>{label}</name><type>any</type></label>" for label in labels)
    named += "<label><name>frame</name><type>rectangle</type></label>"
    meta = f"<meta><job><labels>{named}</labels></job></meta>"
    (root / "annotations.xml").write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{meta}{images}</annotations>'
    )


def cvat_polygon(label: str, points: Points, z_order: int = 0) -> str:
    listed = ";".join(f"{x:.2f},{y:.2f}" for x, y in points)
    return f'<polygon label="{label}" source="manual" points="{listed}" z_order="{z_order}"></polygon>'


def write_cvat(root: Path, drawn: Drawn, hw: tuple[int, int] = HW) -> None:
    draw_photos(root / "images", drawn, hw)
    images = [
        cvat_image(name, "".join(cvat_polygon(*shape) for shape in shapes) + '<tag label="crack"></tag>', hw)
        for name, shapes in drawn.items()
    ]
    write_cvat_file(root, "".join(images))


def write_yolo(root: Path, drawn: Drawn, hw: tuple[int, int] = HW) -> None:
    draw_photos(root / "images" / "train", drawn, hw)
    (root / "labels" / "train").mkdir(parents=True)
    for name, shapes in drawn.items():
        if shapes:
            rows = [
                " ".join(
                    [
                        str(["crack", "stain"].index(label)),
                        *(f"{x / hw[1]:.9f} {y / hw[0]:.9f}" for x, y in points),
                    ]
                )
                for label, points in shapes
            ]
            (root / "labels" / "train" / name).with_suffix(".txt").write_text("\n".join(rows) + "\n")
    (root / "data.yaml").write_text(
        "path: /elsewhere/set\ntrain: images/train\nval: images/val\nnames:\n  0: crack\n  1: stain\n"
    )


TOOLS = {
    "labelme": (write_labelme, "shapes of Labelme in a.json and 2 more files"),
    "via": (write_via, "regions of VIA in via_project.json"),
    "via 1": (write_via_1, "regions of VIA in via_region_data.json"),
    "via csv": (write_via_csv, "regions of VIA in via_export_csv.csv"),
    "cvat": (write_cvat, "shapes of CVAT in annotations.xml"),
    "yolo": (write_yolo, "polygons of YOLO in data.yaml"),
}


def pixels_of(dataset: Dataset) -> dict[str, np.ndarray]:
    """(n_labels, H, W) bool by file name."""
    return {
        Path(photo.name).name: to_pixels(mask)
        for photo, mask in zip(dataset.photos, dataset.masks, strict=True)
    }


def left_out(dataset: Dataset) -> dict[str, str]:
    return {Path(one.path).name: one.reason for one in dataset.unreadable}


@pytest.mark.parametrize("tool", TOOLS)
def test_polygons_give_the_pixels_that_they_hold(tool: str, tmp_path: Path) -> None:
    write, layout = TOOLS[tool]
    write(tmp_path / "set", DRAWN)
    dataset = read_dataset(tmp_path / "set")
    assert (dataset.layout, dataset.labels, dataset.unreadable) == (layout, ("crack", "stain"), ())
    nothing = np.zeros(HW, bool)
    wanted = {
        "a.png": (inside(SLANTED) | inside(SMALL), nothing),
        "b.png": (inside(SMALL), inside(RING)),
        "good.png": (nothing, nothing),
    }
    found = pixels_of(dataset)
    assert sorted(found) == sorted(wanted) and not wanted["b.png"][1][15, 15]
    for name, pixels in wanted.items():
        assert np.array_equal(found[name], np.stack(pixels)), name
    for to in LAYOUTS:
        convert(dataset, tmp_path / to, to)
        again = read_dataset(tmp_path / to)
        assert (again.labels, again.masks, again.unreadable) == (dataset.labels, dataset.masks, ())


@pytest.mark.parametrize("tool", ["labelme", "cvat"])
def test_shapes_drawn_on_another_size_are_refused_or_resized(tool: str, tmp_path: Path) -> None:
    TOOLS[tool][0](tmp_path, DRAWN)
    for path in tmp_path.rglob("a.png"):
        with Image.open(path) as image:
            image.resize((HW[1] * 2, HW[0] * 2)).save(path)
    reason = " is 60×40, the photo 120×80; the same size was wanted, or --resize-masks"
    file = "a.json" if tool == "labelme" else "annotations.xml"
    assert left_out(read_dataset(tmp_path))["a.png"].startswith(f"the size listed in {file}{reason}")
    again = read_dataset(tmp_path, DatasetOptions(resize_masks=True))
    wanted = np.kron(inside(SLANTED) | inside(SMALL), np.ones((2, 2), bool))
    assert np.array_equal(pixels_of(again)["a.png"][0], wanted)
    for path in tmp_path.rglob("a.png"):
        with Image.open(path) as image:
            image.resize(HW).save(path)
    assert "the mask is rotated against it" in left_out(read_dataset(tmp_path))["a.png"]


# Labelme


def as_png(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def test_labelme_masks_circles_and_background(tmp_path: Path) -> None:
    draw_photos(tmp_path / "images", ["a.png", "b.png", "c.png"])
    cut = np.zeros((5, 8), bool)
    cut[1:4, ::2] = True
    mask = {"label": "pit", "shape_type": "mask", "points": [[10, 20], [17, 24]], "mask": as_png(cut)}
    circle = {"label": "pit", "shape_type": "circle", "points": [[30, 20], [40, 20]]}
    hole = {"label": "_background_", "points": [[0, 0], [60, 0], [60, 20], [0, 20]]}
    write_labelme_file(tmp_path / "json" / "a.json", "..\\images\\a.png", [mask])
    write_labelme_file(tmp_path / "json" / "b.json", "../images/b.png", [circle, hole])
    write_labelme_file(tmp_path / "json" / "c.json", "../images/c.png", [hole, circle])
    found = pixels_of(read_dataset(tmp_path))
    wanted = np.zeros(HW, bool)
    wanted[20:25, 10:18] = cut
    y, x = np.mgrid[: HW[0], : HW[1]] + 0.5
    disc = (x - 30) ** 2 + (y - 20) ** 2 <= 100
    assert np.array_equal(found["a.png"][0], wanted)
    assert np.array_equal(found["b.png"][0], disc & (y > 20))
    assert np.array_equal(found["c.png"][0], disc)


def test_labelme_in_folders_is_no_set_of_classes(tmp_path: Path) -> None:
    write_labelme(tmp_path, {f"bridge_{i}/{name}": shapes for i in (1, 2) for name, shapes in DRAWN.items()})
    dataset = read_dataset(tmp_path)
    assert dataset.has_masks and dataset.labels == ("crack", "stain") and len(dataset) == 6
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\nstain\ncrack\nnever\n")
    assert read_dataset(tmp_path).labels == ("stain", "crack", "never")
    (tmp_path / "labels.txt").write_text("stain\n")
    with pytest.raises(DatasetError, match=r"shape 1 \('crack'\) of a.json: the label 'crack' is not among"):
        read_dataset(tmp_path)


def test_labelme_photos_without_a_file_or_with_a_broken_one(tmp_path: Path) -> None:
    write_labelme(tmp_path, {**DRAWN, "c.png": [], "d.png": [], "e.png": []})
    (tmp_path / "c.json").unlink()
    (tmp_path / "d.json").write_text('{"shapes": [, "imagePath"')
    write_labelme_file(tmp_path / "copy of e.json", "e.png", [])
    reasons = left_out(read_dataset(tmp_path))
    assert sorted(reasons) == ["c.png", "d.png", "e.png"]
    assert "no file of Labelme; --unmasked-good" in reasons["c.png"]
    assert "d.json cannot be read as JSON" in reasons["d.png"]
    assert "several files of Labelme (copy of e.json and e.json)" in reasons["e.png"]
    good = read_dataset(tmp_path, DatasetOptions(unmasked_good=True))
    assert sorted(left_out(good)) == ["d.png", "e.png"]  # never good by mistake
    (tmp_path / "c.png").write_text("notes")
    assert left_out(read_dataset(tmp_path))["c.png"] == "not a photo: text"
    assert "not a photo" in left_out(read_dataset(tmp_path, DatasetOptions(unmasked_good=True)))["c.png"]


def test_a_renamed_photo_is_found_by_its_file_and_a_missing_one_told(tmp_path: Path) -> None:
    write_labelme(tmp_path, DRAWN)
    (tmp_path / "a.png").rename(tmp_path / "new.png")
    (tmp_path / "a.json").rename(tmp_path / "new.json")
    (tmp_path / "good.png").unlink()
    dataset = read_dataset(tmp_path)
    assert sorted(pixels_of(dataset)) == ["b.png", "new.png"]
    assert left_out(dataset)["good.png"].startswith("no such photo below")


NO_MASKS = {
    "rectangle": ({"shape_type": "rectangle", "points": [[1, 1], [9, 9]]}, "a rectangle, which is no mask"),
    "line": ({"shape_type": "linestrip", "points": [[1, 1], [9, 9]]}, "a linestrip, which is no mask"),
    "two points": ({"points": [[1, 1], [9, 9]]}, "no list of three points or more"),
    "no numbers": ({"points": [["x", 1], [2, 3], [4, 5]]}, "no list of three points or more"),
    "outside": ({"points": [[1, 1], [9, 9], [600, 9]]}, r"its point (600, 9) lies outside the photo (60×40)"),
    "no label": ({"label": "", "points": SMALL}, "a shape without a label"),
    "ignored": ({"label": "__ignore__", "points": SMALL}, "says to ignore"),
    "broken mask": ({"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "AAAA"}, "cannot be read"),
    "circle": ({"shape_type": "circle", "points": [[0, 0]]}, "a circle without centre and edge"),
}


@pytest.mark.parametrize("case", NO_MASKS)
def test_what_is_no_mask_leaves_the_photo_out(case: str, tmp_path: Path) -> None:
    write_labelme(tmp_path, DRAWN)
    shape, reason = NO_MASKS[case]
    polygon = {"label": "crack", "points": SLANTED}
    write_labelme_file(tmp_path / "a.json", "a.png", [polygon, {"label": "crack", **shape}])
    found = left_out(read_dataset(tmp_path))["a.png"]
    assert found.startswith("shape 2 (") and "of a.json: " in found and reason in found


# VIA


def test_via_circles_ellipses_and_ticked_boxes(tmp_path: Path) -> None:
    draw_photos(tmp_path, ["a.png"])
    shapes = [
        {"name": "circle", "cx": 10, "cy": 10, "r": 5.5},
        {"name": "ellipse", "cx": 40, "cy": 20, "rx": 15, "ry": 4, "theta": np.pi / 2},
    ]
    regions = [
        {"shape_attributes": shape, "region_attributes": {"flaw": {"pit": True, "other": False}}}
        for shape in shapes
    ]
    data = {"a.png1": {"filename": "a.png", "size": 1, "regions": regions, "file_attributes": {}}}
    (tmp_path / "via.json").write_text(json.dumps(data))
    dataset = read_dataset(tmp_path)
    y, x = np.mgrid[: HW[0], : HW[1]] + 0.5
    wanted = ((x - 10) ** 2 + (y - 10) ** 2 <= 5.5**2) | (((x - 40) / 4) ** 2 + ((y - 20) / 15) ** 2 <= 1)
    assert dataset.labels == ("pit",) and np.array_equal(pixels_of(dataset)["a.png"][0], wanted)


def change_via(root: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """`change` is given the first photo's object."""
    path = root / "via_project.json"
    data = json.loads(path.read_text())
    change(next(iter(data["_via_img_metadata"].values())))
    path.write_text(json.dumps(data))
    return path


def test_via_that_cannot_be_understood(tmp_path: Path) -> None:
    write_via(tmp_path, DRAWN)
    path = change_via(tmp_path, lambda one: one["regions"][1]["region_attributes"].pop("type"))
    assert (
        "region 2 of a.png in via_project.json: a region without one 'type'"
        in left_out(read_dataset(path))["a.png"]
    )
    path = change_via(tmp_path, lambda one: one["regions"][0]["shape_attributes"].update(name="polyline"))
    assert "region 1 of a.png in via_project.json: a polyline" in left_out(read_dataset(path))["a.png"]
    path.write_text(path.read_text().replace('"type"', '"kind"'))
    with pytest.raises(DatasetError, match="carry the attributes note, kind; rename"):
        read_dataset(tmp_path)
    write_via_csv(tmp_path, DRAWN)
    with pytest.raises(DatasetError, match="several files of VIA"):
        read_dataset(tmp_path)


# CVAT


def test_cvat_masks_order_and_subsets(tmp_path: Path) -> None:
    draw_photos(tmp_path / "images" / "Train", ["a.png"])
    draw_photos(tmp_path / "images" / "Validation", ["a.png"])
    mask = '<mask label="stain" rle="3, 2, 4, 3" left="50" top="30" width="4" height="3" z_order="0"></mask>'
    hole = cvat_polygon("background", [(0, 0), (60, 0), (60, 20), (0, 20)], z_order=1)
    first = cvat_image("a.png", hole + mask + cvat_polygon("crack", SLANTED), subset="Train")
    second = cvat_image("a.png", "", subset="Validation")
    write_cvat_file(tmp_path, first + second)
    dataset = read_dataset(tmp_path)
    wanted = np.zeros((2, *HW), bool)
    wanted[0] = inside(SLANTED)
    wanted[0, :20] = False
    wanted[1, 30, 53] = wanted[1, 31, 50] = True
    wanted[1, 32, 1 + 50 : 54] = True
    assert dataset.parts == ("train", "validation") and dataset.labels == ("crack", "stain")
    assert np.array_equal(to_pixels(dataset.masks[0]), wanted)


def test_cvat_that_is_no_mask(tmp_path: Path) -> None:
    write_cvat(tmp_path, DRAWN)
    box = '<box label="crack" xtl="1" ytl="1" xbr="9" ybr="9"></box>'
    runs = '<mask label="crack" rle="3, 2" left="0" top="0" width="4" height="3"></mask>'
    write_cvat_file(
        tmp_path,
        cvat_image("a.png", box)
        + cvat_image("b.png", runs)
        + cvat_image("good.png", cvat_polygon("crack", SMALL)),
    )
    reasons = left_out(read_dataset(tmp_path))
    assert reasons["a.png"].startswith("a box ('crack') of a.png in annotations.xml: ")
    assert "whose runs add up to 5 of 4×3 pixels" in reasons["b.png"]
    (tmp_path / "annotations.xml").write_text("<annotations><track></track></annotations>")
    with pytest.raises(DatasetError, match="tracks of a video; export the task in that format"):
        read_dataset(tmp_path)
    (tmp_path / "annotations.xml").write_text("<annotations><image>")
    with pytest.raises(DatasetError, match="cannot be read as XML"):
        read_dataset(tmp_path / "annotations.xml")
    write_cvat_file(tmp_path, cvat_image("other.png", ""))
    with pytest.raises(DatasetError, match=r"names no photo that can be used: other\.png: no such photo"):
        read_dataset(tmp_path)


# YOLO


@pytest.mark.parametrize("form", ["roboflow", "lists", "parts inside"])
def test_yolo_finds_its_parts(form: str, tmp_path: Path) -> None:
    """Paths of data.yaml are often relative to another folder, or lists of photos."""
    for part in ("train", "valid"):
        images = f"images/{part}" if form == "parts inside" else f"{part}/images"
        draw_photos(tmp_path / images, DRAWN)
        labels = tmp_path / images.replace("images", "labels")
        labels.mkdir(parents=True)
        (labels / "a.txt").write_text("0 0 0 1 0 1 0.5\n")
    places = {"roboflow": "../{}/images", "lists": "{}.txt", "parts inside": "./images/{}/"}[form]
    for part in ("train", "valid") if form == "lists" else ():
        listed = [f"./{part}/images/{name}" for name in DRAWN]
        (tmp_path / f"{part}.txt").write_text("\n".join(listed))
    (tmp_path / "data.yaml").write_text(
        f"train: {places.format('train')}\nval: {places.format('valid')}\nnc: 1\nnames: ['crack']\n"
    )
    dataset = read_dataset(tmp_path)
    assert dataset.labels == ("crack",) and not dataset.unreadable
    assert dataset.parts == ("train",) * 3 + ("validation",) * 3
    assert dataset.targets.sum() == 2 and dataset.ignored == ()


def test_yolo_that_is_no_mask(tmp_path: Path) -> None:
    write_yolo(tmp_path, {**DRAWN, **{f"{name}.png": [("crack", SMALL)] for name in "cdef"}})
    labels = tmp_path / "labels" / "train"
    (labels / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (labels / "b.txt").write_text("0 0 0 1 0 1 1\n7 0 0 1 0 1 1\n")
    (labels / "c.txt").write_text("0 3 4 50 12 44 33\n")
    (labels / "e.txt").write_text("0 0 0 1 0 1 1 0.5\n")
    (labels / "f.txt").write_text("0 0 0 1\n")
    (labels / "gone.txt").write_text("0 0 0 1 0 1 1\n")
    reasons = left_out(read_dataset(tmp_path / "data.yaml"))
    assert reasons["a.png"].startswith("line 1 of a.txt: a box, which is no mask")
    assert reasons["b.png"].startswith(
        "line 2 of b.txt: its class is '7'; a number that data.yaml names was wanted (0, 1)"
    )
    assert "from 0 to 1 were wanted" in reasons["c.png"]
    for photo, n in (("e", 7), ("f", 3)):
        wanted = (
            f"line 1 of {photo}.txt: {n} numbers behind its class; x y of three points or more were wanted"
        )
        assert reasons[f"{photo}.png"] == wanted
    assert reasons["gone.txt"] == "polygons without a photo"
    for path in labels.iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"labels/train/a\.txt was wanted for images/train/a\.png"):
        read_dataset(tmp_path)
    (tmp_path / "data.yaml").write_text("train: elsewhere\nnames: [crack]\n")
    with pytest.raises(DatasetError, match="names the photos of elsewhere"):
        read_dataset(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images\nnames: 5\n")
    with pytest.raises(DatasetError, match="'names' is 5; a list of names"):
        read_dataset(tmp_path)


# Pascal VOC

PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, *[0] * (3 * 252), 224, 224, 192]


def write_voc(root: Path, coloured: bool) -> np.ndarray:
    """a.jpg of two classes with a rim that nobody labelled, and two without a flaw; (H, W) class numbers."""
    draw_photos(root / "JPEGImages", ["a.png", "b.png", "c.png", "unlisted.png"])
    numbers = np.zeros(HW, np.uint8)
    numbers[inside(SLANTED)] = 255
    numbers[inside([(x * 0.8 + 5, y * 0.8 + 4) for x, y in SLANTED])] = 1
    numbers[inside(SMALL)] = 2
    for name, values in {"a": numbers, "b": numbers * 0, "c": numbers * 0, "unlisted": numbers}.items():
        image = Image.fromarray(values)
        image.putpalette(PALETTE)
        path = root / "SegmentationClass" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        (image.convert("RGB") if coloured else image).save(path)
        (root / "SegmentationObject").mkdir(exist_ok=True)
        image.save(root / "SegmentationObject" / f"{name}.png")
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for name, photos in {"train": "a\nb\n", "val": "c\n", "trainval": "a\nb\nc\n"}.items():
        (lists / f"{name}.txt").write_text(photos)
    return numbers


@pytest.mark.parametrize("coloured", [False, True])
def test_voc_takes_the_lists_and_leaves_void_pixels(coloured: bool, tmp_path: Path) -> None:
    numbers = write_voc(tmp_path, coloured)
    if coloured:  # as CVAT exports it
        lines = [
            "# label:color_rgb:parts:actions",
            "background:0,0,0::",
            "crack:128,0,0::",
            "stain:0,128,0::",
        ]
        (tmp_path / "labelmap.txt").write_text("\n".join(lines))
    else:
        (tmp_path / "class_names.txt").write_text("__ignore__\n_background_\ncrack\nstain\n")
    dataset = read_dataset(tmp_path)
    assert (dataset.labels, dataset.unreadable) == (("crack", "stain"), ())
    assert dataset.parts == ("train", "train", "validation") and (numbers == 255).any()
    assert np.array_equal(pixels_of(dataset)["a.png"], np.stack([numbers == 1, numbers == 2]))
    reasons = {one.path: one.reason for one in dataset.ignored}
    assert reasons["JPEGImages/unlisted.png"] == "not in ImageSets/Segmentation"
    assert reasons["SegmentationObject/a.png"] == "neither a photo nor a mask"
    assert not any(name.endswith(".txt") for name in reasons)  # they were read


def test_colours_without_a_meaning_are_refused(tmp_path: Path) -> None:
    write_voc(tmp_path, coloured=True)
    with pytest.raises(
        DatasetError, match=r"empty.*left out.*a\.png: its mask holds 4 colours.*a labelmap\.txt"
    ):
        read_dataset(tmp_path)
    (tmp_path / "labelmap.txt").write_text("crack:128,0,0::\n")
    with pytest.raises(DatasetError, match=r"the colour 0,128,0, which labelmap\.txt does not name"):
        read_dataset(tmp_path)
    for line in ("crack:128,0", "crack:1,2,300", "crack:1,2,3\ncrack:4,5,6"):
        (tmp_path / "labelmap.txt").write_text(line)
        with pytest.raises(DatasetError, match="no line of name:red,green,blue"):
            read_dataset(tmp_path)


def test_255_without_class_numbers_is_a_flaw_in_voc_too(tmp_path: Path) -> None:
    write_voc(tmp_path, coloured=False)
    for path in (tmp_path / "SegmentationClass").iterdir():
        with Image.open(path) as image:
            values = np.asarray(image)
        Image.fromarray(np.where(values == 1, 255, 0).astype(np.uint8)).save(path)
    dataset = read_dataset(tmp_path)
    assert dataset.labels == ("flaw",) and dataset.targets.sum() == 1


# Real sets


@pytest.mark.data
@pytest.mark.parametrize("tool", TOOLS)
def test_real_masks_come_back_through_each_tool(tool: str, real_sets: Path, tmp_path: Path) -> None:
    """Outlines along the pixels' edges, drawn as polygons (holes by way of a line there and back)."""
    source = read_dataset(real_sets / "crackforest")
    chosen = range(0, len(source), 9)
    assert {source.photos[i].size_hw for i in chosen} == {(320, 480)}
    drawn: Drawn = {}
    for i in chosen:
        pieces = trace_outlines(source.masks[i].runs[0], (320, 480))
        rings = [[[(x, y) for x, y in ring] for ring in piece] for piece in pieces]
        name = f"{Path(source.photos[i].name).stem}.png"
        drawn[name] = [
            ("crack", piece[0] + [p for hole in piece[1:] for p in [*hole, piece[0][0]]]) for piece in rings
        ]
    TOOLS[tool][0](tmp_path, drawn, (320, 480))
    found = pixels_of(read_dataset(tmp_path))
    assert len(found) == len(chosen)
    for i in chosen:
        name = f"{Path(source.photos[i].name).stem}.png"
        assert np.array_equal(found[name][0], rle.decode(source.masks[i].runs[0], (320, 480))), name
