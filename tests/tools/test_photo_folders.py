"""Folders of photos: which files are found, and many read in order, ahead and from memory."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bad_files as drawn
from flawmap.errors import DatasetError, PhotoError
from flawmap.tools.photos import PhotoOptions, find_photos, read_again, read_images, read_photos, reading

ODD = drawn.draw_odd_files()


def _write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# Finding


def _touch(root: Path, *names: str) -> None:
    for name in names:
        _write(root, name, b"")


def _reasons(root: Path) -> dict[str, str]:
    return {one.path: one.reason for one in find_photos(root).ignored}


def test_photos_are_found_sorted_by_name_whatever_the_case(tmp_path: Path) -> None:
    names = ["b/2.JPG", "a/1.jpeg", "a/ä ö.Tiff", "a/line\nbreak.png", "z.webp", "a.b/c.d.bmp"]
    _touch(tmp_path, *names)
    found = find_photos(tmp_path)
    assert [name for _, name in found.files] == sorted(names)
    assert all(path == tmp_path / name for path, name in found.files)
    assert found.ignored == ()


def test_what_is_ignored_is_listed_with_its_rule(tmp_path: Path) -> None:
    _touch(
        tmp_path, "a.jpg", ".hidden.jpg", "._a.jpg", ".git/x.jpg", "__MACOSX/a.jpg", "Thumbs.db", "notes.txt"
    )
    _touch(tmp_path, "raw.NEF", "README", "@eaDir/a.jpg")
    (tmp_path / "empty.jpg").mkdir()
    assert [name for _, name in find_photos(tmp_path).files] == ["a.jpg"]
    reasons = _reasons(tmp_path)
    assert reasons[".git"] == reasons[".hidden.jpg"] == reasons["._a.jpg"] == "hidden"
    assert "left behind" in reasons["__MACOSX"] and "left behind" in reasons["Thumbs.db"]
    assert "'.txt'" in reasons["notes.txt"] and reasons["README"] == "no extension"
    assert "camera raw" in reasons["raw.NEF"] and "folder" in reasons["empty.jpg"]
    assert "@eaDir" in reasons


def test_links_inside_are_followed_and_links_outside_ignored(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    _touch(root, "pool/a.jpg", "pool/b.jpg")
    _touch(outside, "c.jpg")
    (root / "crack").mkdir()
    (root / "crack" / "a.jpg").symlink_to("../pool/a.jpg")
    (root / "crack" / "c.jpg").symlink_to(outside / "c.jpg")
    (root / "crack" / "gone.jpg").symlink_to("../pool/gone.jpg")
    (root / "all").symlink_to("pool")
    (root / "out").symlink_to(outside)
    names = [name for _, name in find_photos(root).files]
    assert names == ["all/a.jpg", "all/b.jpg", "crack/a.jpg", "crack/gone.jpg", "pool/a.jpg", "pool/b.jpg"]
    reasons = _reasons(root)
    assert "out of the folder" in reasons["out"] and "out of the folder" in reasons["crack/c.jpg"]


def test_loops_of_links_end(tmp_path: Path) -> None:
    _touch(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "b").symlink_to("../b")
    (tmp_path / "b" / "a").symlink_to("../a")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    names = [name for _, name in find_photos(tmp_path).files]
    assert {"a/1.jpg", "b/2.jpg"} <= set(names) and len(names) < 8
    assert "circle" in _reasons(tmp_path)["self.jpg"]


def test_a_root_that_is_a_link_is_a_folder_like_any_other(tmp_path: Path) -> None:
    _touch(tmp_path / "real", "a.jpg")
    (tmp_path / "link").symlink_to("real")
    assert [name for _, name in find_photos(tmp_path / "link").files] == ["a.jpg"]


def test_names_that_are_not_utf8_can_be_written_to_any_table(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.png"
    try:
        with open(path, "wb") as stream:  # noqa: PTH123 - pathlib takes no bytes
            stream.write(ODD["plain.png"][0])
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    photos, unreadable = read_photos(find_photos(tmp_path).files)
    assert photos[0].name.encode("utf-8") and not unreadable


def test_a_folder_that_is_none_is_an_error(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg")
    for path, reason in ((tmp_path / "a.jpg", "is a file"), (tmp_path / "gone", "does not exist")):
        with pytest.raises(DatasetError, match=reason):
            find_photos(path)


# Many photos


@pytest.fixture
def many(tmp_path: Path) -> Path:
    for i in range(60):
        image = np.full((8, 8 + i, 3), i, np.uint8)
        _write(tmp_path, f"{i:02}.png", drawn.encode(image, "PNG") if i % 7 else b"broken")
    return tmp_path


def test_many_photos_keep_their_order_and_list_the_unreadable(many: Path) -> None:
    said: list[tuple[str, int, int]] = []
    photos, unreadable = read_photos(find_photos(many).files, progress=lambda *call: said.append(call))
    assert [photo.name for photo in photos] == [f"{i:02}.png" for i in range(60) if i % 7]
    assert [one.path for one in unreadable] == [f"{i:02}.png" for i in range(0, 60, 7)]
    assert said[-1] == ("reading photos", 60, 60)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("limit", [1, 200, 10**9])
def test_images_come_in_order_within_the_budget(
    many: Path, n_threads: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_AHEAD_PIXELS", limit)
    paths = [path for path, _ in find_photos(many).files]
    for i, image in enumerate(read_images(paths, PhotoOptions(n_threads=n_threads))):
        if i % 7:
            assert isinstance(image, np.ndarray) and image[0, 0, 0] == i
        else:
            assert isinstance(image, PhotoError)
    assert i == 59


def test_listed_photos_are_read_again_or_named(many: Path) -> None:
    photos, _ = read_photos(find_photos(many).files)
    assert [int(image[0, 0, 0]) for image in read_again(photos)] == [i for i in range(60) if i % 7]
    photos[3].path.unlink()
    again = read_again(photos)
    assert [int(next(again)[0, 0, 0]) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(PhotoError, match=r"^04\.png could be read before, and now cannot: "):
        next(again)


def test_a_reader_that_stops_early_leaves_no_thread(many: Path) -> None:
    before = threading.active_count()
    images = read_images([path for path, _ in find_photos(many).files], PhotoOptions(n_threads=4))
    next(images)
    images.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_reading_alike_from_many_threads(tmp_path: Path) -> None:
    files = [(_write(tmp_path, f"{i}{name}", ODD[name][0]), f"{i}{name}") for name in ODD for i in range(3)]
    one = read_photos(files, PhotoOptions(n_threads=1))
    assert read_photos(files, PhotoOptions(n_threads=8)) == one


# The memo


def test_a_memo_spares_decoding_and_changes_nothing(
    many: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = PhotoOptions(memo=tmp_path_factory.mktemp("memo"))
    files = find_photos(many).files
    first = read_photos(files, options)
    decoded: list[int] = []
    decode = reading.decode
    monkeypatch.setattr(reading, "decode", lambda *given: decoded.append(1) or decode(*given))
    assert read_photos(files, options) == first
    assert not decoded
    (many / "01.png").write_bytes(drawn.encode(np.zeros((5, 5, 3), np.uint8), "PNG"))
    photos, _ = read_photos(files, options)
    assert len(decoded) == 1 and photos[0].size_hw == (5, 5)


def test_a_memo_does_not_hide_a_wrong_extension_or_other_options(tmp_path: Path) -> None:
    options = PhotoOptions(memo=tmp_path / "memo")
    data = drawn.png(np.full((4, 4, 1), 500, np.uint16))
    first, second = _write(tmp_path, "a.png", data), _write(tmp_path, "b.jpg", data)
    photos, unreadable = read_photos([(first, "a"), (second, "b")], options)
    assert len(photos) == 1 and "mislabelled" in unreadable[0].reason
    photos, unreadable = read_photos([(first, "a"), (second, "b")], options)
    assert len(photos) == 1 and "mislabelled" in unreadable[0].reason
    ((photo,), _) = read_photos([(first, "a")], PhotoOptions(memo=options.memo, significant_bits=12))
    assert photo.note.endswith("255/4095")
    assert not read_photos([(first, "a")], PhotoOptions(memo=options.memo, max_megapixels=1e-6))[0]


def test_a_memo_that_cannot_be_used_is_done_without(many: Path, tmp_path: Path) -> None:
    files = find_photos(many).files
    wanted = read_photos(files)
    broken = _write(tmp_path / "broken", "photos.sqlite", b"not a database, but a note" * 100).parent
    in_the_way = _write(tmp_path, "file", b"")
    for folder in (broken, in_the_way):
        assert read_photos(files, PhotoOptions(memo=folder)) == wanted


def test_a_memo_takes_several_writers(many: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    options = PhotoOptions(memo=tmp_path_factory.mktemp("memo"), n_threads=2)
    files = find_photos(many).files
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(read_photos(files, options))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and all(result == results[0] for result in results)
