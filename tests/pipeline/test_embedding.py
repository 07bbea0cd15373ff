"""`flawmap embed`: the file that it writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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
    with pytest.raises(DatasetError, match="nothing"):
        flawmap.embed(tmp_path / "nothing", out)
