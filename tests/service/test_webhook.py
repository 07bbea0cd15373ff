"""Messages to a stand-in on this machine: signed, sent until they are taken, never elsewhere."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from flawmap.errors import OptionError
from flawmap.service.webhook import SECRET, Receiver, is_signed
from service_talk import inspect, to_site

KEY = "a secret of sixteen or more"


class StandIn:
    """Answers with the next status of `answers`, the last one for ever, and keeps what came."""

    def __init__(self, answers: list[int]) -> None:
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        left = list(answers)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.came.append((self.path, dict(self.headers), body))
                self.send_response(left.pop(0) if len(left) > 1 else left[0])
                self.send_header("Location", f"http://localhost:{outer.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., StandIn]]:
    monkeypatch.setenv(SECRET, KEY)
    begun: list[StandIn] = []

    def begin(*answers: int) -> StandIn:
        begun.append(StandIn(list(answers)))
        return begun[-1]

    yield begin
    for one in begun:
        one.close()


def wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(400):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it never was so")


@pytest.mark.slow
def test_findings_are_told_signed_and_once(
    open_service: Callable, tiny: SimpleNamespace, stand_in: Callable
) -> None:
    hook = stand_in(500, 200)
    client, service = open_service(webhook=hook.url, public_url="https://flaws.example/")
    result = inspect(client, [to_site(0, 96, tiny), to_site(1, None, tiny)])
    wait_until(lambda: service.webhook.n_waiting() == 0)
    assert len(hook.came) == 2  # refused once, and the same message again
    (_, first, body), (_, again, same) = hook.came
    assert body == same and first["Flawmap-Delivery"] == again["Flawmap-Delivery"]
    told = json.loads(body)
    finding = result["photos"][0]["findings"][0]
    assert told["event"] == "finding" and told["photo"]["name"] == "0.png"
    assert told["findings"][0]["id"] == finding["id"] and "polygon" not in told["findings"][0]
    assert told["link"] == f"https://flaws.example/?inspection={result['id']}&photo=1"
    assert is_signed(KEY, first, body)
    assert not is_signed(KEY, first, body + b" ") and not is_signed("another", first, body)
    stale = first | {"Flawmap-Timestamp": str(int(first["Flawmap-Timestamp"]) - 3600)}
    assert not is_signed(KEY, stale, body) and not is_signed(KEY, {}, body)
    kept = client.get("/v1/deliveries").json()
    assert len(kept) == 1 and kept[0]["n_tries"] == 2 and kept[0]["delivered_at"]


@pytest.mark.slow
def test_messages_wait_over_a_restart(
    stand_in: Callable, tmp_path, open_service: Callable, database_address: str | None
) -> None:
    from flawmap.service.database import FoundFlaw, JobPhoto, open_database
    from flawmap.service.webhook import Webhook

    closed = stand_in(200)
    closed.close()
    database = open_database(tmp_path / "data", database_address)
    photo = JobPhoto(id=1, job_id="0" * 32, number=1, name="a.png", digest="0" * 64)
    flaw = FoundFlaw(id=1, job_photo_id=1, number=1, label="crack", score=0.9, record={"label": "crack"})
    hook = Webhook(database, Receiver(closed.url, KEY, "http://localhost:8000"))
    with database.writing() as session:
        hook.tell_findings(session, photo, [flaw])
    assert hook.deliver() == 1 and hook.deliver() == 0 and hook.n_waiting() == 1  # it waits a second
    database.close()
    opened = stand_in(200)
    _, service = open_service(webhook=opened.url)
    wait_until(lambda: service.webhook.n_waiting() == 0)
    assert len(opened.came) == 1


@pytest.mark.slow
def test_redirects_are_not_followed(
    open_service: Callable, tiny: SimpleNamespace, stand_in: Callable
) -> None:
    hook = stand_in(302)
    client, _ = open_service(webhook=hook.url)
    inspect(client, [to_site(0, 96, tiny)])
    wait_until(lambda: len(hook.came) > 0)
    wait_until(lambda: client.get("/v1/deliveries").json()[0]["note"] != "")
    kept = client.get("/v1/deliveries").json()[0]
    assert kept["note"] == "answered with 302" and kept["delivered_at"] is None
    assert {path for path, _, _ in hook.came} == {"/hook"}


def test_a_webhook_needs_an_address_and_a_secret(open_service: Callable, monkeypatch) -> None:
    for url in ("ftp://host/x", "file:///etc/passwd", "host/path", "https://"):
        with pytest.raises(OptionError, match="is no address"):
            Receiver(url, KEY, "")
    monkeypatch.delenv(SECRET, raising=False)
    with pytest.raises(OptionError, match=f"set {SECRET}"):
        open_service(webhook="https://host/path")
