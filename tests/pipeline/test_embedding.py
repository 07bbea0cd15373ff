"""`flawmap embed`: the file that it writes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flawmap
from flawmap.errors import DatasetError, OptionError
from flawmap.pipeline.embedding import write_embeddings
from flawmap.records import Dataset, Embeddings, Photo

PHOTOS = tuple(Photo(Path(f"{i}.png"), f"a/{i}.png", f"d{i}", (4, 6)) for i in range(3))
TARGETS = np.array([[1, 0], [0, 1], [1, 1]], np.uint8)
SET = Dataset(Path("set"), PHOTOS, ("crack", "rust"), TARGETS, is_multilabel=True)
VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)
QUADRANTS = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
FOUND = Embeddings(("d0", "d1", "d2"), "tiny", {4: VALUES}, {4: -VALUES}, {4: QUADRANTS}, {})


def test_a_file_of_arrays_holds_a_row_per_photo(tmp_path: Path) -> None:
    write_embeddings(SET, FOUND, tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz") as found:
        assert found["name"].tolist() == ["a/0.png", "a/1.png", "a/2.png"]
        assert found["labels"].tolist() == ["crack", "rust", "crack;rust"]
        assert np.array_equal(found["maximum:4"], -VALUES) and found["quadrants:4"].shape == (3, 4, 2)


def test_a_table_holds_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_embeddings(SET, FOUND, tmp_path / "all.parquet")
    table = parquet.read_table(tmp_path / "all.parquet")
    assert table["digest"].to_pylist() == ["d0", "d1", "d2"]
    assert table["average:4"].to_pylist() == VALUES.tolist()
    assert table["quadrants:4"].to_pylist() == QUADRANTS.reshape(3, 8).tolist()


def test_another_ending_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"\.npz or \.parquet"):
        flawmap.embed(tmp_path / "nothing", tmp_path / "all.csv")


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_its_own_file_is_replaced_and_no_other(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("pyarrow")
    out = tmp_path / f"all{suffix}"
    out.write_bytes(b"PK somebody's arrays")
    with pytest.raises(OptionError, match="not what this command writes"):
        flawmap.embed(tmp_path / "nothing", out)
    write_embeddings(SET, FOUND, out)
    with pytest.raises(OptionError, match=r"there is no .*nothing"):
        flawmap.embed(tmp_path / "nothing", out)


def draw(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((24, 32, 3), shade, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Photo]:
    """The photos that a backbone would be given; its answer is a column of zeros."""
    given: list[Photo] = []

    def compute(photos: Sequence[Photo], *_: object) -> Embeddings:
        given.extend(photos)
        none = {4: np.zeros((len(photos), 1), np.float32)}
        return Embeddings(tuple(one.digest for one in photos), "tiny", none, none, {}, {})

    monkeypatch.setattr("flawmap.stages.embed.embed", compute)
    return given


def test_photos_without_labels_are_rows_too(seen: list[Photo], tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(draw(i))
    for given in (tmp_path, tmp_path / "*.png", [tmp_path / f"{i}.png" for i in range(3)]):
        done = flawmap.embed(given, tmp_path / "all.npz")
        assert [one.name for one in done.dataset.photos] == ["0.png", "1.png", "2.png"]
        with np.load(tmp_path / "all.npz") as found:
            assert found["labels"].tolist() == ["", "", ""]
    assert flawmap.embed(tmp_path / "1.png", tmp_path / "one.npz").embeddings.digests == (seen[1].digest,)


def test_labels_of_a_data_set_stay(seen: list[Photo], tmp_path: Path) -> None:
    for label in ("Negative", "Positive"):
        for i in range(2):
            path = tmp_path / label / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(draw(10 * i + len(label)))
    flawmap.embed(tmp_path, tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz") as found:
        assert found["labels"].tolist() == ["Negative"] * 2 + ["Positive"] * 2


def test_photos_and_file_may_lie_in_an_object_store(
    seen: list[Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.chdir(tmp_path)
    store = fsspec.filesystem("memory")
    try:
        for i in range(2):
            store.pipe_file(f"/bridge/pier/{i}.png", draw(i))
        store.pipe_file("/bridge/pier/2.png", b"no photo")
        Path("here.png").write_bytes(draw(7))
        done = flawmap.embed(["memory://bridge", "here.png"], "memory://numbers/all.npz")
        assert [one.address for one in seen] == [
            "",
            "memory://bridge/pier/0.png",
            "memory://bridge/pier/1.png",
        ]
        assert [one.path for one in done.left_out] == ["pier/2.png"]
        with np.load(io.BytesIO(store.cat_file("/numbers/all.npz"))) as found:
            assert found["name"].tolist() == ["here.png", "pier/0.png", "pier/1.png"]
            assert found["labels"].tolist() == [""] * 3
        flawmap.embed("memory://bridge", "memory://numbers/all.npz")  # its own file is replaced
        store.pipe_file("/numbers/other.npz", b"PK somebody's arrays")
        with pytest.raises(OptionError, match=r"cannot write memory://numbers/other\.npz: it is not what"):
            flawmap.embed("memory://bridge", "memory://numbers/other.npz")
        with pytest.raises(OptionError, match="cannot be opened"):
            flawmap.embed("here.png", "nostore://bucket/all.npz")
        with pytest.raises(DatasetError, match=r"memory://bridge/pier/2\.png: none of 1 photo could be read"):
            flawmap.embed("memory://bridge/pier/2.png", "all.npz")
    finally:
        store.store.clear()
        store.pseudo_dirs[:] = [""]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.png"]
