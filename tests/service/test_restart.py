"""Nothing is lost or doubled when a service is killed, and the command line says what it does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
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


class Poster(threading.Thread):
    """A client that uploads, inspects and reviews all the time, and asks again after every kill."""

    def __init__(self, number: int, address: str, folder: Path, tiny: SimpleNamespace, reviewed: str) -> None:
        """`reviewed` is the inspection whose findings it reviews."""
        super().__init__(name=f"poster-{number}")
        self._reviewed = reviewed
        self.number, self._address, self._folder, self._tiny = number, address, folder, tiny
        self.is_ending = False
        self.begun: list[str] = []
        """Inspections that were acknowledged, in the order in which they were asked for."""
        self.notes: list[str] = []
        """Of the reviews that were acknowledged."""
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            with Client(self._address) as client:
                while not self.is_ending:
                    self._post(client, len(self.begun))
                    time.sleep(0.05)
        except BaseException as error:  # told by the test, which would wait in vain
            self.fault = error

    def _post(self, client: Client, i: int) -> None:
        photo = self._folder / f"{self.number}-{i}.png"
        photo.write_bytes(to_site(1000 * (self.number + 1) + i, 96, self._tiny))
        key = f"poster {self.number}, photo {i}"
        self.begun.append(_insist(lambda: client.begin_inspection([photo], key=key)).id)
        assert _insist(lambda: client.predict([photo])).photos[0].label in ("crack", "good")
        seen = _insist(lambda: client.result(self._reviewed))
        for finding in [finding for photo in seen.photos for finding in photo.findings][-2:]:
            note = f"{self.number}: {i}, {finding.id}"
            asked = shapes.AskedReview(verdict="accept", finding=finding.id, note=note)
            try:  # once only: asked again it would be a second word
                client.review(asked)
            except ServiceError as error:
                assert "does not answer" in str(error), error
            else:
                self.notes.append(note)


def _insist(ask: Callable[[], Any]) -> Any:
    """The answer, once the service is there again."""
    while True:
        try:
            return ask()
        except ServiceError as error:
            assert "does not answer" in str(error), error
            time.sleep(0.1)


@pytest.mark.slow
def test_ten_kills_under_load_lose_and_double_nothing(
    serving: Callable, tiny: SimpleNamespace, tmp_path: Path
) -> None:
    photos = []
    for i in range(60):
        photos.append(tmp_path / f"{i}.png")
        photos[-1].write_bytes(to_site(i, 96 if i % 2 else None, tiny))
    port = free_port()
    serving(port)
    address = f"http://127.0.0.1:{port}"
    with Client(address) as client:
        begun = client.begin_inspection(photos, key="sixty photos")
        posters = [Poster(number, address, tmp_path, tiny, begun.id) for number in range(4)]
        for poster in posters:
            poster.start()
        for _ in range(10):
            n_done, n_begun = client.inspection(begun.id).n_done, sum(len(one.begun) for one in posters)
            while client.inspection(begun.id).n_done == n_done < len(photos) or n_begun == sum(
                len(one.begun) for one in posters
            ):
                assert all(poster.is_alive() for poster in posters), [one.fault for one in posters]
                time.sleep(0.02)
            serving(port)
            assert client.begin_inspection(photos, key="sixty photos").id == begun.id
        for poster in posters:
            poster.is_ending = True
            poster.join()
        assert [poster.fault for poster in posters] == [None] * 4
        result = client.wait(begun.id)
        single = [client.wait(one) for poster in posters for one in poster.begun]
    assert [photo.name for photo in result.photos] == [photo.name for photo in photos]
    assert not any(photo.error for one in (result, *single) for photo in one.photos)
    assert [len(photo.findings) for photo in result.photos] == [i % 2 for i in range(60)]
    assert [[len(photo.findings) for photo in one.photos] for one in single] == [[1]] * len(single)
    _check_kept(address, posters, n_photos=60 + len(single), n_jobs=1 + len(single))


def _check_kept(address: str, posters: list[Poster], n_photos: int, n_jobs: int) -> None:
    """All that was acknowledged is there once, and the audit log tells of each once."""
    acknowledged = {note for poster in posters for note in poster.notes}
    notes = [one["note"] for one in httpx2.get(f"{address}/v1/reviews?limit=10000").json()]
    assert acknowledged and acknowledged <= set(notes) and len(notes) == len(set(notes))
    jobs = httpx2.get(f"{address}/v1/inspections?limit=1000").json()
    assert len(jobs) == n_jobs and {job["state"] for job in jobs} == {"done"}
    events = httpx2.get(f"{address}/v1/audit-log?limit=10000").json()
    n_events = Counter(event["what"] for event in events)
    assert n_events == {"upload": n_photos, "begin inspection": n_jobs, "review: accept": len(notes)}


def test_the_client_gives_records(open_service, tiny: SimpleNamespace, tmp_path: Path) -> None:
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
        with pytest.raises(ServiceError, match="refused with 422: inspection: found 'x'; wanted"):
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
