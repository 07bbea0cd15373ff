"""A folder that is watched: everything once, nothing half, nothing foreign, nothing changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from flawmap.errors import OptionError
from flawmap.service.watching import check_watched
from service_talk import to_site


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(400):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it never was so")


@pytest.fixture
def line(tmp_path: Path) -> Path:
    folder = tmp_path / "line"
    folder.mkdir()
    return folder


def tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.slow
def test_what_is_complete_is_taken_once(
    open_service: Callable, tiny: SimpleNamespace, line: Path, tmp_path: Path
) -> None:
    quick = {"watch": line, "watch_poll_s": 60, "watch_settle_s": 0}
    client, service = open_service(**quick)
    (line / "a.png").write_bytes(to_site(0, 96, tiny))
    (line / "cam").mkdir()
    whole = tmp_path / "b.png"
    whole.write_bytes(to_site(1, None, tiny))
    whole.rename(line / "cam" / "b.png")
    (line / "half.png").write_bytes(to_site(2, None, tiny)[:1000])
    (line / "c.png.part").write_bytes(b"not yet")
    (line / "notes.txt").write_text("not a photo")
    (line / "link.png").symlink_to("/etc/passwd")
    (line / "out").symlink_to(tmp_path)
    service.watch.look()
    (line / "half.png").write_bytes(to_site(2, None, tiny))  # the camera went on writing
    before = tree(line)
    for _ in range(3):
        service.watch.look()
    told = client.get("/v1/watch").json()
    assert (told["n_taken"], told["n_refused"], told["n_waiting"]) == (3, 3, 0)
    reasons = {one["path"]: one["reason"] for one in told["refused"]}
    assert set(reasons) == {"notes.txt", "link.png", "out"} and "a link" in reasons["out"]
    place = f"/v1/inspections/{told['inspection']}"
    wait_until(lambda: client.get(place).json()["state"] == "done")
    photos = client.get(f"{place}/result").json()["photos"]
    assert {photo["name"] for photo in photos} == {"a.png", "cam/b.png", "half.png"}
    assert tree(line) == before
    (line / "d.png").write_bytes(to_site(3, 96, tiny))  # the inspection goes on
    for _ in range(2):
        service.watch.look()
    wait_until(lambda: client.get(place).json()["n_done"] == 4)
    wait_until(lambda: client.get(place).json()["state"] == "done")


def test_after_a_restart_nothing_is_taken_again(
    tiny_bundle, tiny: SimpleNamespace, line: Path, tmp_path: Path
) -> None:
    from sqlmodel import select

    from flawmap.service.database import JobPhoto
    from flawmap.service.options import ServeOptions
    from flawmap.service.running import running_service

    options = ServeOptions(data=tmp_path / "data", watch=line, watch_poll_s=60, watch_settle_s=0, n_threads=1)
    raw = os.fsencode(line) + b"/caf\xe9.png"  # a name that is no text
    Path(os.fsdecode(raw)).write_bytes(to_site(0, 96, tiny))
    for n in (1, 1, 2):
        if n == 2:  # the same name with other bytes is another photo
            Path(os.fsdecode(raw)).write_bytes(to_site(1, 96, tiny))
        with running_service([tiny_bundle.folder], options) as service:
            assert service.watch is not None
            service.watch.look()
            service.watch.look()
            with service.database.reading() as session:
                found = session.exec(select(JobPhoto)).all()
            assert len(found) == n and len({one.job_id for one in found}) == 1
            assert found[0].name == "caf\\udce9.png"


def test_a_folder_that_goes_away_comes_back(
    open_service: Callable, tiny: SimpleNamespace, line: Path
) -> None:
    client, service = open_service(watch=line, watch_poll_s=60, watch_settle_s=0)
    line.rename(line.with_name("gone"))
    assert service.watch.look() == 0 and client.get("/v1/watch").json()["is_there"] is False
    line.with_name("gone").rename(line)
    (line / "a.png").write_bytes(to_site(0, None, tiny))
    assert [service.watch.look() for _ in range(3)] == [0, 1, 0]


def test_a_file_that_changes_waits(open_service: Callable, tiny: SimpleNamespace, line: Path) -> None:
    client, service = open_service(watch=line, watch_poll_s=60, watch_settle_s=30)
    (line / "a.png").write_bytes(to_site(0, None, tiny))
    assert [service.watch.look() for _ in range(3)] == [0, 0, 0]
    assert client.get("/v1/watch").json()["n_waiting"] == 1
    old = time.time() - 3600  # written long ago, and moved here just now
    os.utime(line / "a.png", (old, old))
    assert [service.watch.look() for _ in range(3)] == [0, 1, 0]


def test_wrong_folders_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(OptionError, match="there is no folder"):
        check_watched(tmp_path / "none", data)
    data.mkdir()
    for folder in (tmp_path, data):
        with pytest.raises(OptionError, match="lie in one another"):
            check_watched(folder, data)
