"""The store: what goes in comes out, in any order, once; several writers; kills; damage."""

import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flawmap.errors import FlawmapError
from flawmap.tools.store import EmbeddingStore, store_name

COLUMNS = {"average:0": (3,), "quadrants:0": (4, 3)}


def values_of(keys: list[str]) -> dict[str, np.ndarray]:
    """Values that follow from the key, so that a row that went astray shows."""
    numbers = np.array([int(key) for key in keys], np.float32)
    return {
        name: numbers.reshape(-1, *[1] * len(shape))
        + np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        for name, shape in COLUMNS.items()
    }


def open_store(folder: Path, key: str = "k") -> EmbeddingStore:
    return EmbeddingStore(folder / "s.lance", COLUMNS, key)


def append_all(folder: Path, first: int, last: int, step: int) -> None:
    store = open_store(folder)
    for start in range(first, last, step):
        keys = [str(i) for i in range(start, min(start + step, last))]
        store.append(keys, values_of(keys))


def check(store: EmbeddingStore, keys: list[str]) -> None:
    for name, wanted in values_of(keys).items():
        got = store.read(keys)[name]
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, wanted)


def test_rows_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.keys() == set()
    append_all(tmp_path, 0, 50, 7)
    assert store.keys() == {str(i) for i in range(50)}
    check(store, ["9", "0", "49", "0", "17"])
    check(store, [str(i) for i in range(50)])
    check(store, [str(i) for i in reversed(range(50))])
    assert store.read([])["quadrants:0"].shape == (0, 4, 3)
    with pytest.raises(KeyError):
        store.read(["50"])


def test_what_is_there_is_not_added_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.append(["1", "2"], values_of(["1", "2"])) == 2
    assert store.append(["2", "3"], {n: v * 0 for n, v in values_of(["2", "3"]).items()}) == 1
    check(store, ["1", "2"])
    assert len(store._read_keys()) == 3


def test_many_small_appends_are_joined(tmp_path: Path) -> None:
    append_all(tmp_path, 0, 30, 1)
    store = open_store(tmp_path)
    assert len(store._open().get_fragments()) == 30
    store.tidy()
    assert len(store._open().get_fragments()) == 1
    check(store, [str(i) for i in reversed(range(30))])


@pytest.mark.slow
def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_all, args=(tmp_path, 0, 24, step)) for step in (5, 6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    store = open_store(tmp_path)
    assert sorted(store._read_keys(), key=int) == [str(i) for i in range(24)]
    check(store, [str(i) for i in range(24)])


def test_another_key_names_another_store(tmp_path: Path) -> None:
    append_all(tmp_path, 0, 2, 2)
    with pytest.raises(FlawmapError, match="embeddings of something else"):
        open_store(tmp_path, "other").keys()
    assert store_name("a/b", "k") != store_name("a/b", "other")
    assert "/" not in store_name("a/b", "k")


def test_damage_is_reported_with_a_remedy(tmp_path: Path) -> None:
    append_all(tmp_path, 0, 4, 2)
    store = open_store(tmp_path)
    for file in (store.folder / "data").iterdir():
        file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(FlawmapError, match="Delete that folder; it is made again") as caught:
        store.read(["0"])
    assert "\n" not in str(caught.value)


def test_wrong_shapes_are_a_mistake_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="average:0: wanted"):
        open_store(tmp_path).append(["1", "2"], values_of(["1"]))


@pytest.mark.slow
def test_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "import test_store; test_store.append_all(Path(sys.argv[2]), 0, 300, 1)"
    )
    command = [sys.executable, "-W", "ignore", "-c", program, str(Path(__file__).parent), str(tmp_path)]
    rng = np.random.default_rng(0)
    for _ in range(6):
        writer = subprocess.Popen(command)
        time.sleep(2 + 2 * rng.random())
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        kept = open_store(tmp_path)._read_keys()
        assert len(kept) == len(set(kept))
        check(open_store(tmp_path), kept)
    append_all(tmp_path, 0, 300, 50)
    store = open_store(tmp_path)
    store.tidy()
    assert sorted(store._read_keys(), key=int) == [str(i) for i in range(300)]
