"""What cannot be written is said before any work is done for it, and what is read is never written over."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from flawmap.errors import OptionError
from flawmap.tools.files import (
    cache_folder,
    check_files,
    check_folder,
    check_new_folder,
    new_folder,
    write_file,
)


def test_names_that_cannot_be_files(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.jpg").touch()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    for path, message in (
        (tmp_path / "folder", "it is a folder. Name a file"),
        (tmp_path / "a.jpg" / "b" / "x.json", "a.jpg is a file, not a folder"),
        (Path("/dev/null"), "no ordinary file"),
    ):
        with pytest.raises(OptionError, match=message):
            check_files(path)
        with pytest.raises(OptionError, match=message):
            write_file(path, "x")
    for path in (tmp_path / "a.jpg", tmp_path / "folder" / ".." / "a.jpg", tmp_path / "link.jpg"):
        with pytest.raises(OptionError, match="it is read here"):
            check_files(path, inputs=[None, tmp_path / "a.jpg"])


def test_only_what_a_command_wrote_itself_is_replaced(tmp_path: Path) -> None:
    path, keys = tmp_path / "a.json", ['"cracks"', '"total"']
    for other in (b"\x89PNG\r\n", b'{"images": []}', b"my notes\nof today", b'{"cracks": 3}'):
        path.write_bytes(other)
        with pytest.raises(OptionError, match=r"not what this command writes.* and would be lost") as found:
            check_files(path, holds=keys)
        assert ("it begins 'my notes of today'" in str(found.value)) == other.startswith(b"my")
        check_files(path)
    long = json.dumps({"cracks": ["x" * 50] * 5000, "total": None})
    for own in (long, '{"total": 1, "cracks": []}', ""):
        path.write_text(own)
        check_files(path, holds=keys)


def test_what_cannot_be_known_again_is_replaced_on_demand_only(tmp_path: Path) -> None:
    path = tmp_path / "heat.png"
    check_files(path, overwrite=False)
    path.write_bytes(b"\x89PNG\r\n")
    with pytest.raises(OptionError, match=r"heat.png: it is there already.*--overwrite \(Python: overwrite="):
        check_files(path, overwrite=False)
    check_files(path, overwrite=True)


def test_a_file_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").touch()
    monkeypatch.setenv("FLAWMAP_CACHE", str(tmp_path / "a.jpg"))
    for given in (None, tmp_path / "a.jpg"):
        with pytest.raises(OptionError, match=r"the cache .*a\.jpg is a file; name a folder with --cache"):
            cache_folder(given)
    assert cache_folder(tmp_path) == tmp_path


def test_names_that_can_be_files_are_only_looked_at(tmp_path: Path) -> None:
    check_files(None, tmp_path / "new" / "x.json", tmp_path / "y.json", inputs=[tmp_path])
    check_folder(tmp_path / "new" / "deeper")
    check_files("x.json")
    assert list(tmp_path.iterdir()) == []


def test_a_place_is_tried_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / f"{'a' * 300}.csv"
    for path in (Path("/proc/x.csv"), Path("/proc/new/x.csv"), long, long / "x.csv"):
        with pytest.raises(OptionError, match=r"cannot write .*\. Name another place"):
            check_files(path)
        with pytest.raises(OptionError, match=r"cannot write .*\. Name another place"):
            write_file(path, "x")
    for check in (check_folder, check_new_folder):
        with pytest.raises(OptionError, match=r"cannot write /proc/new: nothing can be written in /"):
            check(Path("/proc/new"))
    monkeypatch.chdir(tmp_path)
    for place, message in (
        (Path(), "it is where you are"),
        (Path("/proc"), "cannot write /proc: "),
        (Path("/dev/null"), "cannot write /dev/null: "),
    ):
        with pytest.raises(OptionError, match=message):
            check_new_folder(place)
        with pytest.raises(OptionError, match=message), new_folder(place):
            pass


def test_a_full_disk_is_one_line_and_costs_nothing(tmp_path: Path, full_disk: None) -> None:
    (tmp_path / "a.txt").write_text("before")
    with pytest.raises(OptionError, match=r"a\.txt: No space left on device\. Make room there, or name an"):
        write_file(tmp_path / "a.txt", "after")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.txt").write_text("before")
    with (
        pytest.raises(OptionError, match=r"cannot write \S+/out/c\.txt: No space left"),
        new_folder(tmp_path / "out") as unfinished,
    ):
        write_file(unfinished / "c.txt", "after")
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {
        "a.txt",
        "out",
        "out/b.txt",
    }
    assert (tmp_path / "a.txt").read_text() == (tmp_path / "out" / "b.txt").read_text() == "before"


def test_a_folder_takes_its_place_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real" / "old").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    for name in ("link", "deep/er"):
        with new_folder(tmp_path / name) as unfinished:
            (unfinished / "new").touch()
            assert not (tmp_path / name / "new").exists()
        assert [path.name for path in (tmp_path / name).iterdir()] == ["new"]
    assert (tmp_path / "link").is_symlink() and len([*tmp_path.iterdir()]) == 3
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError("busy")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OptionError, match="link: busy"), new_folder(tmp_path / "link"):
        pass
    assert (tmp_path / "real" / "new").exists() and len([*tmp_path.iterdir()]) == 3


def test_names_that_are_no_text_are_spelt_out(tmp_path: Path) -> None:
    write_file(tmp_path / "a.json", json.dumps(name := os.fsdecode(b"caf\xe9"), ensure_ascii=False))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == name
