"""`flawmap predict --masks`: a folder that is whole, flawmap's own, and never made of two runs."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import flawmap
from commands import run_here
from flawmap.errors import OptionError
from flawmap.tools.bundle import Bundle
from flawmap.tools.mask_files import FORMS, PLACES
from tiny_masks import make_bundle


@pytest.fixture
def bundle(tiny: SimpleNamespace, tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "run" / "model", tiny, "segmentation")


@pytest.fixture
def photos(tiny: SimpleNamespace, tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for i in range(4):
        image = tiny.make_photo(i, crack_at=16 if i else None)
        Image.fromarray(image).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("form", FORMS)
def test_an_earlier_result_is_replaced_whole_and_on_demand_only(
    bundle: Bundle, photos: Path, tmp_path: Path, form
) -> None:
    out = tmp_path / "found"
    flawmap.predict(bundle.folder, photos, out=out, masks="png")
    before = contents(out)
    assert {f"masks/{i}.png" for i in range(4)} | {"classes.txt", "results.csv"} == set(before)
    assert np.asarray(Image.open(out / "masks" / "1.png"))[16:24].all()
    with pytest.raises(OptionError, match=r"found holds earlier results; add --overwrite \(Python: overw"):
        flawmap.predict(bundle.folder, photos, out=out, masks=form)
    assert contents(out) == before
    flawmap.predict(bundle.folder, photos / "2.png", out=out, masks=form, overwrite=True)
    with (out / "results.csv").open() as file:
        assert [row["path"] for row in csv.DictReader(file)] == [str(photos / "2.png")]
    written = set(contents(out)) - {"classes.txt", "results.csv"}
    assert written == ({"masks/2.png"} if form == "png" else {PLACES[form]})
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    "name", ["masks/1.png", "classes.txt", "submission.csv", "images/1.png", "thesis.txt"]
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_other_peoples_files_are_left_alone(
    bundle: Bundle, photos: Path, tmp_path: Path, name: str, overwrite: bool
) -> None:
    mine = tmp_path / "mine" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    words = ("predict", bundle.folder, photos, "--out", tmp_path / "mine", "--masks", "rle")
    done = run_here(*words, *["--overwrite"] * overwrite)
    assert done.returncode == 2 and f"mine holds {name.split('/')[0]}, which is no result" in done.stderr
    assert contents(tmp_path / "mine") == {name: b"mine"}
    (tmp_path / "mine" / "results.csv").write_text("id,result\n1,good\n")
    done = run_here(*words, *["--overwrite"] * overwrite)
    assert done.returncode == 2 and len(contents(tmp_path / "mine")) == 2, done.stdout


def test_what_is_read_is_not_replaced(bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "found"
    flawmap.predict(bundle.folder, photos, out=out, masks="png")
    before = contents(out)
    with pytest.raises(OptionError, match=r"found/masks/0\.png is read here\. Name another folder"):
        flawmap.predict(bundle.folder, out / "masks", out=out, masks="png", overwrite=True)
    assert contents(out) == before


def test_a_run_that_breaks_off_leaves_what_was_there(bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    def stop(_: str, n_done: int, __: int) -> None:
        if n_done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "found"
    for before in ({}, None):
        if before is None:
            flawmap.predict(bundle.folder, photos, out=out, masks="png")
            before = contents(out)
        with pytest.raises(KeyboardInterrupt):
            flawmap.predict(bundle.folder, photos, out=out, masks="rle", overwrite=True, progress=stop)
        assert contents(out) == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_model_without_masks_writes_none(tiny_bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="says what a photo shows, not where"):
        flawmap.predict(tiny_bundle.folder, photos, out=tmp_path / "found", masks="png")
    assert not (tmp_path / "found").exists()
