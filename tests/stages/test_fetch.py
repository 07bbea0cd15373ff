"""Fetching against a server on this machine: it breaks off, ignores ranges, changes its file, or is gone."""

from __future__ import annotations

import errno
import hashlib
import http.server
import io
import re
import shutil
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flawmap.errors import FetchError, FlawmapError, OptionError
from flawmap.stages.fetch import ENTRIES, FetchOptions, archives, fetch
from flawmap.stages.fetch.archives import archive_kind, unpack
from flawmap.stages.fetch.arrange import LAYOUTS
from flawmap.stages.fetch.transfer import Transfer, download

NOW = Transfer(timeout_s=5.0, n_attempts=3, pause_s=0.0)


@dataclass
class Source:
    """One file on a local server, and how the server behaves."""

    body: bytes = b""
    break_after: list[int] = field(default_factory=list)
    """For each coming answer: how many bytes it sends before it hangs up; none left: all of them."""
    honours_range: bool = True
    etag: str = '"1"'
    status: int = 0
    """Answer every request with this status instead."""
    ranges: list[str | None] = field(default_factory=list)
    """The Range header of each request."""
    url: str = ""


def _handler(source: Source) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            source.ranges.append(wanted)
            if source.status:
                self.send_error(source.status)
                return
            start, size = 0, len(source.body)
            is_same = self.headers.get("If-Range", source.etag) == source.etag
            if wanted and source.honours_range and is_same:
                start = int(re.findall(r"\d+", wanted)[0])
                if start >= size:
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{size}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(size - start))
            self.send_header("ETag", source.etag)
            self.end_headers()
            rest = source.body[start:]
            self.wfile.write(rest[: source.break_after.pop(0)] if source.break_after else rest)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    it = Source()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(it)) as server:
        it.url = f"http://127.0.0.1:{server.server_port}/file.zip"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield it
        server.shutdown()
        thread.join()


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def picture(value: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8), value, np.uint8)).save(stream, kind)
    return stream.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as bundle:
        for name, body in members.items():
            bundle.writestr(name, body)
    return stream.getvalue()


NEU = zip_of(
    {
        "train/train/images/scratches_1.jpg": picture(10, "JPEG"),
        "train/train/images/rolled-in_scale_7.jpg": picture(20, "JPEG"),
        "valid/valid/images/Cr_3.bmp": picture(30, "BMP"),
        "valid/valid/labels/scratches_1.txt": b"0 0 0 1 1",
        "__MACOSX/._scratches_1.jpg": b"junk",
    }
)
BODY = np.random.default_rng(0).bytes(900_000)


def test_a_file_arrives_and_is_not_fetched_again(source: Source, tmp_path: Path) -> None:
    source.body = BODY
    assert download(source.url, tmp_path / "a" / "f.bin", sha256(BODY), NOW)
    assert (tmp_path / "a" / "f.bin").read_bytes() == BODY
    assert not download(source.url, tmp_path / "a" / "f.bin", sha256(BODY), NOW)
    assert source.ranges == [None]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["f.bin"]


def test_a_broken_transfer_goes_on_by_itself(source: Source, tmp_path: Path) -> None:
    source.body, source.break_after = BODY, [300_000, 1, 200_000]
    seen: list[tuple[int, int]] = []
    download(source.url, tmp_path / "f", sha256(BODY), NOW, lambda _, done, total: seen.append((done, total)))
    assert (tmp_path / "f").read_bytes() == BODY
    assert source.ranges == [None, "bytes=300000-", "bytes=300001-", "bytes=500001-"]
    assert seen[-1] == (len(BODY), len(BODY)) and seen == sorted(seen)


def test_a_transfer_that_was_killed_goes_on_in_the_next_run(source: Source, tmp_path: Path) -> None:
    source.body = BODY

    class Killed(BaseException):
        pass

    def kill(_: str, n_done: int, __: int) -> None:
        if n_done > 400_000:
            raise Killed

    with pytest.raises(Killed):
        download(source.url, tmp_path / "f", sha256(BODY), NOW, kill)
    assert not (tmp_path / "f").exists()
    n_kept = (tmp_path / "f.part").stat().st_size
    assert 400_000 < n_kept < len(BODY)
    assert download(source.url, tmp_path / "f", sha256(BODY), NOW)
    assert source.ranges == [None, f"bytes={n_kept}-"]
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_server_without_ranges_starts_anew(source: Source, tmp_path: Path) -> None:
    source.body, source.honours_range, source.break_after = BODY, False, [300_000]
    download(source.url, tmp_path / "f", None, NOW)
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_file_that_changed_meanwhile_starts_anew(source: Source, tmp_path: Path) -> None:
    source.body, source.break_after = BODY, [300_000] + [0] * 3
    with pytest.raises(FetchError, match="300000 bytes are kept; run the same command again"):
        download(source.url, tmp_path / "f", None, NOW)
    source.body, source.etag, source.break_after = BODY[::-1], '"2"', []
    download(source.url, tmp_path / "f", None, NOW)
    assert (tmp_path / "f").read_bytes() == BODY[::-1]


def test_a_part_that_is_longer_than_the_file_starts_anew(source: Source, tmp_path: Path) -> None:
    source.body, source.break_after = BODY, [300_000] + [0] * 3
    with pytest.raises(FetchError):
        download(source.url, tmp_path / "f", None, NOW)
    source.body, source.break_after = BODY[:1000], []
    download(source.url, tmp_path / "f", sha256(BODY[:1000]), NOW)
    assert (tmp_path / "f").read_bytes() == BODY[:1000]


def test_a_part_from_another_address_is_not_continued(source: Source, tmp_path: Path) -> None:
    source.body, source.break_after = BODY, [300_000] + [0] * 3
    with pytest.raises(FetchError):
        download(source.url, tmp_path / "f", None, NOW)
    download(source.url + "?mirror", tmp_path / "f", sha256(BODY), NOW)
    assert source.ranges[-1] is None


def test_a_wrong_digest_is_refused_and_not_kept(source: Source, tmp_path: Path) -> None:
    source.body = BODY
    with pytest.raises(FetchError, match=sha256(BODY)) as refusal:
        download(source.url, tmp_path / "f", "0" * 64, NOW)
    assert "\n" not in str(refusal.value) and "--sha256" in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_one_line(source: Source, tmp_path: Path) -> None:
    source.status = 404
    with pytest.raises(FetchError, match=r"404.*--url") as refusal:
        download(source.url, tmp_path / "f", None, NOW)
    assert "\n" not in str(refusal.value)
    assert len(source.ranges) == 1


def test_an_overloaded_server_is_asked_again(source: Source, tmp_path: Path) -> None:
    source.status = 503
    with pytest.raises(FetchError, match=r"503.*run the same command again"):
        download(source.url, tmp_path / "f", None, NOW)
    assert len(source.ranges) == NOW.n_attempts


def test_no_connection_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    options = FetchOptions(url="http://127.0.0.1:9/neu.zip", n_attempts=1)
    with pytest.raises(FetchError, match=r"refused.*run the same command again") as refusal:
        fetch("neu", tmp_path, options)
    assert "\n" not in str(refusal.value)


def test_fetch_lays_out_class_folders_and_records_the_digest(source: Source, tmp_path: Path) -> None:
    source.body = NEU
    got = fetch("neu", tmp_path, FetchOptions(url=source.url))
    names = sorted(path.relative_to(got.folder).as_posix() for path in got.folder.rglob("*.*"))
    assert names == ["crazing/Cr_3.bmp", "rolled-in_scale/rolled-in_scale_7.jpg", "scratches/scratches_1.jpg"]
    assert (got.n_images, got.was_fetched, got.sha256) == (3, True, sha256(NEU))
    assert got.digest_origin.startswith("nothing") and "1800" in got.note
    assert not (tmp_path / "unpacking").exists()
    assert "CC BY 4.0" in (tmp_path / "SOURCE.txt").read_text()

    again = fetch("neu", tmp_path, FetchOptions(url=source.url))
    assert len(source.ranges) == 1
    assert not again.was_fetched and again.n_images == 3 and "first download" in again.digest_origin


def test_the_recorded_digest_holds(source: Source, tmp_path: Path) -> None:
    source.body = NEU
    fetch("neu", tmp_path, FetchOptions(url=source.url))
    (tmp_path / "archive" / "NEU-CLS.zip").unlink()
    source.body = zip_of({"scratches_1.jpg": picture(99)})
    with pytest.raises(FetchError, match="wanted " + sha256(NEU)):
        fetch("neu", tmp_path, FetchOptions(url=source.url))
    trusted = fetch("neu", tmp_path, FetchOptions(url=source.url, sha256=sha256(source.body)))
    assert trusted.n_images == 1
    assert [path.name for path in trusted.folder.iterdir()] == ["scratches"]


def test_a_damaged_archive_is_fetched_again(source: Source, tmp_path: Path) -> None:
    source.body = NEU
    fetch("neu", tmp_path, FetchOptions(url=source.url))
    (tmp_path / "archive" / "NEU-CLS.zip").write_bytes(b"damaged")
    assert fetch("neu", tmp_path, FetchOptions(url=source.url)).was_fetched


def test_a_web_page_in_place_of_the_archive_is_not_kept(source: Source, tmp_path: Path) -> None:
    source.body = b"<html>please log in</html>"
    with pytest.raises(FetchError, match="web page"):
        fetch("neu", tmp_path, FetchOptions(url=source.url))
    source.body = NEU
    assert fetch("neu", tmp_path, FetchOptions(url=source.url)).n_images == 3


def test_the_known_digest_of_the_concrete_set_is_enforced(source: Source, tmp_path: Path) -> None:
    source.body = zip_of({"Positive/1.jpg": picture(1)})
    with pytest.raises(FetchError, match="wanted 08d7dc50"):
        fetch("metu-concrete", tmp_path, FetchOptions(url=source.url))


def test_an_archive_inside_an_archive_is_unpacked_too(tmp_path: Path) -> None:
    inner = zip_of({"Positive/00001.jpg": picture(1), "Negative/00001.jpg": picture(2)})
    outer = tmp_path / "5y9wdsg2zt-2.zip"
    outer.write_bytes(zip_of({"Concrete Crack Images for Classification.zip": inner}))
    options = FetchOptions(archive=outer, sha256=sha256(outer.read_bytes()))
    got = fetch("metu-concrete", tmp_path / "metu", options)
    assert sorted(path.name for path in got.folder.iterdir()) == ["Negative", "Positive"]
    assert got.folder == tmp_path / "metu" / "photos" and not got.was_fetched


def test_deepcrack_keeps_its_parts(tmp_path: Path) -> None:
    archive = tmp_path / "d.zip"
    archive.write_bytes(
        zip_of(
            {
                "train_img/a.jpg": picture(1),
                "train_lab/a.png": picture(255),
                "test_img/b.jpg": picture(2),
                "test_lab/b.png": picture(0),
            }
        )
    )
    got = fetch("deepcrack", tmp_path / "deepcrack", FetchOptions(archive=archive))
    names = sorted(path.relative_to(got.folder).as_posix() for path in got.folder.rglob("*.[jp]*g"))
    assert names == ["test/images/b.jpg", "test/masks/b.png", "train/images/a.jpg", "train/masks/a.png"]
    assert got.n_images == 2


def test_severstal_says_how_and_takes_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    with pytest.raises(
        FetchError, match=r"put your key in .*kaggle.json.*kaggle competitions download"
    ) as how:
        fetch("severstal", tmp_path / "s")
    assert "--archive severstal-steel-defect-detection.zip" in str(how.value) and "\n" not in str(how.value)
    (tmp_path / "kaggle.json").write_text("{}")
    with pytest.raises(FetchError, match="your key is in"):
        fetch("severstal", tmp_path / "s")
    archive = tmp_path / "severstal.zip"
    table = b"ImageId,ClassId,EncodedPixels\na.jpg,1,1 3\n"
    archive.write_bytes(
        zip_of({"train.csv": table, "train_images/a.jpg": picture(1), "test_images/b.jpg": picture(2)})
    )
    got = fetch("severstal", tmp_path / "s", FetchOptions(archive=archive))
    assert (got.folder / "train.csv").read_bytes() == table
    assert (got.folder / "train_images" / "a.jpg").is_file() and got.n_images == 1


def test_a_persons_own_folder_is_not_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "photos" / "mine.jpg"
    mine.parent.mkdir()
    mine.write_bytes(picture(1))
    archive = tmp_path / "n.zip"
    archive.write_bytes(NEU)
    with pytest.raises(FetchError, match="holds photos already"):
        fetch("neu", tmp_path, FetchOptions(archive=archive))
    assert mine.is_file()


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "other.zip"
    archive.write_bytes(zip_of({"cat.jpg": picture(1)}))
    with pytest.raises(FetchError, match=r"scratches_12\.jpg.*figshare"):
        fetch("neu", tmp_path / "neu", FetchOptions(archive=archive))
    with pytest.raises(FetchError, match="there is no archive"):
        fetch("neu", tmp_path / "neu", FetchOptions(archive=tmp_path / "none.zip"))
    with pytest.raises(FetchError, match="wanted 0000"):
        fetch("neu", tmp_path / "neu", FetchOptions(archive=archive, sha256="0" * 64))


@pytest.mark.parametrize("name", ["../out.jpg", "a/../../out.jpg", "/out.jpg", "C:\\out.jpg", "..\\out.jpg"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    archive = tmp_path / "trap"
    if kind == "zip":
        archive.write_bytes(zip_of({name: b"x"}))
    else:
        with tarfile.open(archive, "w:gz") as bundle:
            info = tarfile.TarInfo(name)
            info.size = 1
            bundle.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(FetchError, match="leads out of the folder"):
        unpack(archive, tmp_path / "in" / "folder")
    assert not [path for path in tmp_path.rglob("*out.jpg*")]


def test_links_are_refused(tmp_path: Path) -> None:
    tar, bundle_zip = tmp_path / "l.tar", tmp_path / "l.zip"
    with tarfile.open(tar, "w") as bundle:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        bundle.addfile(link)
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(bundle_zip, "w") as bundle:
        bundle.writestr(info, "/etc/passwd")
    for archive in (tar, bundle_zip):
        with pytest.raises(FetchError, match="not a plain file"):
            unpack(archive, tmp_path / "folder")
    assert list((tmp_path / "folder").iterdir()) == []


def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 1000)
    archive = tmp_path / "bomb.zip"
    archive.write_bytes(zip_of({"a": bytes(900), "b": bytes(900)}))
    with pytest.raises(FetchError, match="past"):
        unpack(archive, tmp_path / "folder")


def test_a_full_disk_is_not_the_archives_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = tmp_path / "n.zip"
    archive.write_bytes(NEU)
    monkeypatch.setattr(shutil, "copyfileobj", refuse)
    with pytest.raises(OptionError, match=r"cannot write .*neu: No space left on device\. Make room there"):
        fetch("neu", tmp_path / "neu", FetchOptions(archive=archive))
    assert archive.is_file() and not (tmp_path / "neu" / "unpacking").exists()


def test_a_damaged_zip_is_one_line(tmp_path: Path) -> None:
    archive = tmp_path / "d.zip"
    body = bytearray(NEU)
    body[60] ^= 255
    archive.write_bytes(bytes(body))
    with pytest.raises(FetchError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "folder")


def test_rar_without_a_program_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "set.rar"
    archive.write_bytes(b"Rar!\x1a\x07\x01\x00" + bytes(20))
    assert archive_kind(archive) == "rar"
    monkeypatch.setattr(archives.shutil, "which", lambda _: None)
    with pytest.raises(FetchError, match="install one of unrar, 7zz, 7z, bsdtar, unar") as refusal:
        unpack(archive, tmp_path / "folder")
    assert "\n" not in str(refusal.value)


def test_rar_goes_through_the_program_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the program: it proves the call and what is done with its result, not rar itself."""
    programs = tmp_path / "bin"
    programs.mkdir()
    tool = programs / "7z"
    tool.write_text(
        '#!/bin/sh\nfolder="${4#-o}"\nmkdir -p "$folder/Positive"\nprintf x > "$folder/Positive/1.jpg"\n'
    )
    tool.chmod(0o755)
    archive = tmp_path / "set.rar"
    archive.write_bytes(b"Rar!\x1a\x07\x01\x00" + bytes(20))
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(archives, "_TOOLS", {"7z": archives._TOOLS["7z"]})
    unpack(archive, tmp_path / "good")
    assert (tmp_path / "good" / "Positive" / "1.jpg").read_text() == "x"
    tool.write_text('#!/bin/sh\nln -s /etc "${4#-o}/link"\n')
    with pytest.raises(FetchError, match="not a plain file"):
        unpack(archive, tmp_path / "link")
    tool.write_text("#!/bin/sh\necho broken header >&2\nexit 2\n")
    with pytest.raises(FetchError, match="broken header"):
        unpack(archive, tmp_path / "bad")


def test_options_and_names_are_checked() -> None:
    with pytest.raises(OptionError, match="did you mean 'deepcrack'"):
        fetch("depcrack", Path("x"))
    with pytest.raises(OptionError, match="64 hexadecimal"):
        FetchOptions(sha256="abc")
    with pytest.raises(OptionError, match="--archive"):
        FetchOptions(url="file:///etc/passwd")
    assert FetchOptions(sha256="SHA256:" + "AB" * 32).sha256 == "ab" * 32


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_every_entry_is_complete(entry) -> None:
    assert entry.layout in LAYOUTS
    assert entry.licence and entry.title and entry.n_images > 0
    assert entry.page.startswith("https://")
    assert not entry.url or entry.url.startswith("https://")
    assert not entry.sha256 or re.fullmatch("[0-9a-f]{64}", entry.sha256)
    assert issubclass(FetchError, FlawmapError)
