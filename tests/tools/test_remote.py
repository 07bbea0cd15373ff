"""Object stores: the same photos and files as in folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flawmap.errors import OptionError, PhotoError
from flawmap.tools.remote import (
    fetch_files,
    is_remote,
    list_names,
    list_remote_photos,
    on_this_machine,
    read_place,
    read_size_and_time,
    remove_files,
    send_folder,
)

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def store() -> Iterator[str]:
    """The address of a folder in an object store; empty again afterwards."""
    files = fsspec.filesystem("memory")
    for name in ("pier 1/b.JPG", "pier 1/a.png", "notes.txt", ".cache/c.png", "pier 2/.d.png"):
        files.pipe_file(f"/bridge/{name}", name.encode())
    yield "memory://bridge"
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def test_photos_are_listed_by_the_rules_of_folders(store: str) -> None:
    found, marked = list_remote_photos(f"{store}/", "a.png")
    assert [name for _, name in found] == ["pier 1/a.png", "pier 1/b.JPG"] and marked == [f"{store}/pier 1"]
    assert list_remote_photos(store, "notes.txt")[1] == [store]
    address, name = list_remote_photos(f"{store}/pier 1/a.png", "a.png")[0][0]
    assert read_place(address) == b"pier 1/a.png" and name == "a.png"
    with pytest.raises(OptionError, match="no photos below"):
        list_remote_photos("memory://nowhere", "")
    with pytest.raises(OptionError, match="cannot be opened"):
        list_remote_photos("nostore://bucket/folder", "")


def test_a_copy_keeps_its_folders_name_and_goes_afterwards(store: str, tmp_path: Path) -> None:
    with on_this_machine(f"{store}/pier 1/a.png") as path:
        assert path.read_bytes() == b"pier 1/a.png" and path.parent.name == "pier 1"
    assert not path.exists()
    with pytest.raises(PhotoError, match="cannot be fetched"), on_this_machine(f"{store}/gone.png"):
        pass
    (tmp_path / "a.png").write_bytes(b"here")
    with on_this_machine(tmp_path / "a.png") as path:
        assert path == tmp_path / "a.png"
    assert path.exists() and not is_remote(path)


def test_size_and_time_tell_a_changed_photo(store: str, tmp_path: Path) -> None:
    before = read_size_and_time(f"{store}/pier 1/a.png")
    assert before is not None and before[0] == len("pier 1/a.png")
    assert read_size_and_time(f"{store}/gone.png") is None
    (tmp_path / "a.png").write_bytes(b"here")
    status = (tmp_path / "a.png").stat()
    assert read_size_and_time(tmp_path / "a.png") == (4, status.st_mtime_ns)


def test_folders_go_there_and_back(store: str, tmp_path: Path) -> None:
    (tmp_path / "out" / "heat").mkdir(parents=True)
    (tmp_path / "out" / "heat" / "a.png").write_bytes(b"red")
    (tmp_path / "out" / "report.html").write_text("all is well")
    send_folder(tmp_path / "out", f"{store}/survey")
    assert (
        sorted(list_names(f"{store}/survey")) == ["heat", "report.html"] and list_names("memory://no") == []
    )
    fetch_files(f"{store}/survey", ("heat", "journal.sqlite"), tmp_path / "back")
    assert [path.name for path in (tmp_path / "back").rglob("*")] == ["heat", "a.png"]
    remove_files(f"{store}/survey", ("heat", "nothing"))
    assert list_names(f"{store}/survey") == ["report.html"]
