"""Nothing is lost or doubled when a service is killed, and the command line says what it does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from flawmap.errors import ServiceError
from flawmap.service import shapes
from flawmap.service.client import Client
from flawmap.tools.bundle import Bundle
from service_talk import to_site


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def begin(model: Path, data: Path, port: int, database: str | None) -> subprocess.Popen[str]:
    """`flawmap serve`, once it listens."""
    words = [sys.executable, "-m", "flawmap", "serve", str(model), "--port", str(port), "--data", str(data)]
    words += ["--threads", "1"] if database is None else ["--threads", "1", "--database", database]
    served = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert served.stdout is not None and served.stdout.readline().startswith("serving ")
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return served
        time.sleep(0.05)
    raise AssertionError("nothing listens")


def kill(served: subprocess.Popen[str]) -> None:
    os.kill(served.pid, signal.SIGKILL)
    served.communicate()


@pytest.fixture
def serving(tiny_bundle: Bundle, tmp_path: Path, database_address: str | None) -> Iterator[Callable]:
    """serving(port) begins `flawmap serve`, after the one before was killed."""
    begun: list[subprocess.Popen[str]] = []

    def go_on(port: int) -> None:
        while begun:
            kill(begun.pop())
        begun.append(begin(tiny_bundle.folder, tmp_path / "data", port, database_address))

    yield go_on
    for served in begun:
        kill(served)


@pytest.mark.slow
def test_ten_kills_lose_and_double_nothing(serving: Callable, tiny: SimpleNamespace, tmp_path: Path) -> None:
    photos = []
    for i in range(60):
        photos.append(tmp_path / f"{i}.png")
        photos[-1].write_bytes(to_site(i, 96 if i % 2 else None, tiny))
    port = free_port()
    serving(port)
    with Client(f"http://127.0.0.1:{port}") as client:
        begun = client.begin_inspection(photos, key="sixty photos")
        said: dict[int, str] = {}
        for _ in range(10):
            n_done = client.inspection(begun.id).n_done
            while client.inspection(begun.id).n_done == n_done < len(photos):
                time.sleep(0.02)
            for finding in [f for photo in client.result(begun.id).photos for f in photo.findings][:3]:
                client.review(shapes.AskedReview(verdict="reject", finding=finding.id))
                said[finding.id] = "reject"
            serving(port)
            assert client.begin_inspection(photos, key="sixty photos").id == begun.id
        result = client.wait(begun.id)
    assert [photo.name for photo in result.photos] == [photo.name for photo in photos]
    assert not any(photo.error for photo in result.photos)
    assert [len(photo.findings) for photo in result.photos] == [i % 2 for i in range(60)]
    found = [finding for photo in result.photos for finding in photo.findings]
    assert {one.id: one.review.verdict for one in found if one.review} == said and said


def test_the_client_gives_records(open_service, tiny: SimpleNamespace, tmp_path: Path) -> None:
    import httpx2

    http, _ = open_service()
    photo = tmp_path / "a.png"
    photo.write_bytes(to_site(0, 96, tiny))

    def answer(request: httpx2.Request) -> httpx2.Response:
        given = http.request(
            request.method, str(request.url), content=request.read(), headers=dict(request.headers)
        )
        return httpx2.Response(given.status_code, content=given.content, headers=given.headers)

    with Client("http://localhost", transport=httpx2.MockTransport(answer)) as client:
        assert client.models()[0].can_inspect
        assert client.predict([photo]).photos[0].label in ("crack", "good")
        begun = client.begin_inspection([photo])
        result = client.wait(begun.id)
        finding = result.photos[0].findings[0]
        said = client.review(shapes.AskedReview(verdict="accept", finding=finding.id))
        assert said.reviewer == "local" and client.cancel(begun.id).state == "done"
        with pytest.raises(ServiceError, match="404: there is no inspection"):
            client.inspection("0" * 32)
        with pytest.raises(ServiceError, match="refused with 422: inspection: String should match"):
            client.inspection("x")


def run(*words: object, said: str = "") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "flawmap", *map(str, words)]
    return subprocess.run(line, input=said, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_commands_tell_what_to_mend(
    tiny_bundle: Bundle, tmp_path: Path, database_address: str | None
) -> None:
    data = tmp_path / "data"
    named = () if database_address is None else ("--database", database_address)
    made = run("add-user", "anna", "--data", data, *named, "--token", said="a long password\n")
    assert made.returncode == 0 and "anna may come in as reviewer" in made.stdout
    assert len(made.stdout.splitlines()[1]) == 43
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("serve", tiny_bundle.folder, "--port", taken.getsockname()[1], "--data", data)
    assert done.returncode == 2 and "cannot listen on" in done.stderr
    done = run("data", "export-reviews", tmp_path, tmp_path / "out")
    assert done.returncode == 2 and "holds no data of a service" in done.stderr
