"""What cannot be written is said before any work is done for it, and what is read is never written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.errors import OptionError
from flawmap.tools.files import cache_folder, check_files, check_folder, write_file


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


def test_a_picture_is_replaced_by_pictures_only(tmp_path: Path) -> None:
    for name, start in (("a.json", b"\x89PNG\r\n"), ("b.jpg", b"\xff\xd8\xff\xe0")):
        path = tmp_path / name
        path.write_bytes(start)
        with pytest.raises(OptionError, match="it is a picture, which would be lost"):
            check_files(path)
        check_files(path, are_pictures=True)
    (tmp_path / "c.json").write_text("{}")
    check_files(tmp_path / "c.json")


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
