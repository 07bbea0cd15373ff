"""The REST interface: answers, inspections, limits, accounts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from bad_files import BAD_FILES, draw_odd_files
from flawmap.errors import OptionError
from flawmap.service import accounts
from flawmap.service.accounts import add_account, make_token
from flawmap.service.database import open_database
from flawmap.service.options import ServeOptions
from flawmap.service.queueing import PhotoQueue, QueueFull
from flawmap.service.running import running_service
from flawmap.tools.bundle import Bundle
from service_talk import inspect, to_png, to_site, upload


def test_photos_are_labelled_like_predict_does(open_service: Callable, tiny: SimpleNamespace) -> None:
    client, service = open_service()
    images = [tiny.make_photo(0, 16), tiny.make_photo(1)]
    files = [("photos", (f"{i}.png", to_png(image))) for i, image in enumerate(images)]
    files.append(("photos", ("../../etc/passwd", b"root:x:0:0")))
    answer = client.post("/v1/predict", files=files).json()
    assert [row["label"] for row in answer["photos"]] == ["crack", "good", ""]
    assert "not a photo" in answer["photos"][2]["error"]
    expected = service.default_model.model.predict(images)
    assert [row["flaw_score"] for row in answer["photos"][:2]] == pytest.approx(expected.flaw_scores)
    assert client.post("/v1/predict?model=other", files=files).status_code == 404
    text = client.get("/metrics").text
    assert 'flawmap_photos_total{answer="predicted",model="' in text and "flawmap_photos_waiting 0.0" in text


def test_an_inspection_is_begun_looked_at_and_kept(open_service: Callable, tiny: SimpleNamespace) -> None:
    client, _ = open_service()
    result = inspect(client, [to_site(0, 96, tiny), to_site(1, None, tiny)])
    first, second = result["photos"]
    assert result["n_done"] == 2 and result["labels"] == ["crack"]
    assert first["findings"][0]["label"] == "crack" and second["findings"] == []
    left, top, right, bottom = first["findings"][0]["box_xyxy"]
    assert top <= 100 <= bottom and right - left > 100
    place = f"/v1/inspections/{result['id']}/photos/1"
    assert client.get(f"{place}/thumb.jpg").headers["content-type"] == "image/jpeg"
    assert client.get(f"{place}/heat.png").content.startswith(b"\x89PNG")
    shown = client.get(f"/v1/photos/{first['photo']}/image")
    assert shown.content == to_site(0, 96, tiny)
    assert client.get("/v1/inspections").json()[0]["id"] == result["id"]


def test_the_same_key_begins_once(open_service: Callable, tiny: SimpleNamespace) -> None:
    client, _ = open_service()
    photo = upload(client, to_site(0, None, tiny))
    asked = {"photos": [{"photo": photo}]}
    headers = {"Idempotency-Key": "survey-2026-11"}
    ids = {client.post("/v1/inspections", json=asked, headers=headers).json()["id"] for _ in range(3)}
    assert len(ids) == 1
    missing = {"photos": [{"photo": "0" * 64}]}
    assert client.post("/v1/inspections", json=missing).status_code == 404
    assert client.post("/v1/inspections", json={"photos": [], "modell": "x"}).status_code == 422


def test_what_is_cancelled_stays_so(open_service: Callable, tiny: SimpleNamespace) -> None:
    client, _ = open_service()
    photo = upload(client, to_site(0, None, tiny))
    begun = client.post("/v1/inspections", json={"photos": [{"photo": photo}] * 500}).json()
    cancelled = client.post(f"/v1/inspections/{begun['id']}/cancel").json()
    assert cancelled["state"] == "cancelled"
    time.sleep(0.3)
    later = client.get(f"/v1/inspections/{begun['id']}").json()
    assert later["state"] == "cancelled" and later["n_done"] < 500


def test_odd_files_are_refused_or_shown(open_service: Callable) -> None:
    client, _ = open_service()
    for name, (content, _, _) in list(draw_odd_files().items())[::4]:
        answer = client.post("/v1/photos", files={"photo": (name, content)})
        assert answer.status_code == 201, (name, answer.text)
        assert client.get(f"/v1/photos/{answer.json()['photo']}/image").status_code == 200
    for content in (b"", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n, but no more", b"GIF89a", b"<html>"):
        answer = client.post("/v1/photos", files={"photo": ("a.png", content)})
        assert answer.status_code == 415 and answer.json()["detail"]


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_get_a_result_or_a_reason(one_service: TestClient, name: str) -> None:
    content = BAD_FILES[name][0]()
    answer = one_service.post("/v1/photos", files={"photo": (name, content)})
    if answer.status_code == 201:  # damage that only decoding shows; the file lies about its name
        row = inspect(one_service, [content])["photos"][0]
        assert row["is_done"] and (row["error"] or row["assessable"] is not None)
        assert one_service.get(f"/v1/photos/{row['photo']}/image").status_code in (200, 415)
    else:
        assert answer.status_code == 415 and answer.json()["detail"]
    predicted = one_service.post("/v1/predict", files={"photos": (name, content)})
    assert predicted.status_code == 200
    (row,) = predicted.json()["photos"]
    assert bool(row["error"]) != bool(row["label"])


def test_large_uploads_are_refused_before_they_are_decoded(
    open_service: Callable, tiny: SimpleNamespace
) -> None:
    client, _ = open_service(max_photo_mb=0.05, max_request_mb=0.2, max_megapixels=0.01)
    assert client.post("/v1/photos", files={"photo": ("a", b"x" * 60_000)}).status_code == 413
    assert client.post("/v1/photos", files={"photo": ("a", b"x" * 300_000)}).status_code == 413
    unsaid = client.post(
        "/v1/photos",
        content=(b"--b\r\n" + b"x" * 100_000 for _ in range(4)),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert unsaid.status_code == 413 and "larger than 0.2 MB" in unsaid.json()["detail"]
    many = client.post("/v1/photos", files={"photo": ("a.png", to_png(tiny.make_photo(0, None, (128, 128))))})
    assert many.status_code == 415 and "megapixels" in many.json()["detail"]


def test_what_is_sent_as_another_type_is_refused_in_words(open_service: Callable) -> None:
    client, _ = open_service()
    answer = client.post("/v1/inspections", content=b'{"photos": []}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 422 and "application/json" in answer.json()["detail"]


def test_when_full_it_says_when_to_come_back(open_service: Callable, tiny: SimpleNamespace) -> None:
    client, _ = open_service(max_waiting=1, requests_per_minute=3)
    files = [("photos", (f"{i}.png", to_png(tiny.make_photo(i)))) for i in range(3)]
    full = client.post("/v1/predict", files=files)
    assert full.status_code == 503 and int(full.headers["Retry-After"]) >= 1
    codes = [client.get("/healthz").status_code for _ in range(4)]
    assert codes[0] == 200 and codes[-1] == 429


def test_the_queue_mixes_and_ends() -> None:
    queue = PhotoQueue(1, max_waiting=3)
    begun = queue.inspect(lambda: time.sleep(0.2) or "inspected")
    time.sleep(0.05)
    order: list[str] = []
    later = queue.inspect(lambda: order.append("inspection"))
    answers = queue.answer([lambda: order.append("answer"), lambda: 1 / 0])
    with pytest.raises(QueueFull):
        queue.answer([lambda: None, lambda: None])
    assert begun.result(5) == "inspected" and answers[0].result(5) is None
    with pytest.raises(ZeroDivisionError):
        answers[1].result(5)
    assert later.result(5) is None and order == ["answer", "inspection"]
    queue.close()
    assert queue.inspect(lambda: None).cancelled()


def test_other_sites_and_other_names_are_kept_out(open_service: Callable) -> None:
    client, _ = open_service()
    page = client.get("/")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 421
    foreign = client.post("/logout", headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    for path in ("/static/../index.html", "/static/%2e%2e%2fapp.py", "/static/login.html"):
        assert client.get(path).status_code == 404


def test_accounts_lock_the_service(
    open_service: Callable, tmp_path: Path, database_address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(accounts, "_hasher", lambda: quick)
    monkeypatch.setattr(accounts, "_nobodys_hash", lambda: quick.hash("nobody's"))
    database = open_database(tmp_path / "data", database_address)
    for role in ("viewer", "reviewer", "admin"):
        add_account(database, role, role, f"secret of {role}")
    tokens = {role: make_token(database, role) for role in ("viewer", "reviewer", "admin")}
    with pytest.raises(OptionError, match="already"):
        add_account(database, "admin", "admin", "another secret")
    with pytest.raises(OptionError, match="10 or more"):
        add_account(database, "short", "admin", "short")
    database.close()
    client, _ = open_service(host="0.0.0.0", logins_per_minute=4)

    def get(path: str, who: str) -> int:
        return client.get(path, headers={"Authorization": f"Bearer {tokens[who]}"}).status_code

    assert client.get("/v1/models").status_code == 401 and client.get("/healthz").status_code == 200
    assert client.get("/").headers["Location"] == "/login" and get("/v1/models", "viewer") == 200
    assert get("/v1/audit-log", "reviewer") == 403 and get("/v1/audit-log", "admin") == 200
    refused = client.post(
        "/v1/photos",
        files={"photo": ("a.png", b"")},
        headers={"Authorization": f"Bearer {tokens['viewer']}"},
    )
    assert refused.status_code == 403
    wrong = client.post("/login", data={"name": "admin", "password": "a guess"})
    assert wrong.headers["Location"] == "/login?said=wrong"
    nul = client.post("/login", data={"name": "ad\0min", "password": "a guess"})
    assert nul.headers["Location"] == "/login?said=wrong"
    right = client.post("/login", data={"name": "viewer", "password": "secret of viewer"})
    cookie = right.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower()
    assert client.get("/v1/models").status_code == 200
    ended = {"Cookie": f"flawmap_session={client.cookies['flawmap_session']}"}
    client.post("/logout")
    client.cookies.clear()
    assert client.get("/v1/models", headers=ended).status_code == 401  # at once, though tokens are remembered
    assert client.get("/v1/models").status_code == 401
    codes = [client.post("/login", data={"name": "a", "password": "b"}).status_code for _ in range(3)]
    assert codes[-1] == 429
    audit = client.get("/v1/audit-log", headers={"Authorization": f"Bearer {tokens['admin']}"}).json()
    assert {"failed login", "log in", "add account"} <= {event["what"] for event in audit}
    assert not any("secret" in str(event) for event in audit)


def test_others_are_let_in_with_accounts_only(
    tiny_bundle: Bundle, tmp_path: Path, database_address: str | None
) -> None:
    options = ServeOptions(host="0.0.0.0", data=tmp_path / "data", database=database_address)
    with pytest.raises(OptionError, match="flawmap add-user"), running_service([tiny_bundle.folder], options):
        pass
    local = replace(options, host="127.0.0.1")
    with (
        running_service([tiny_bundle.folder], local),
        pytest.raises(OptionError, match="another service"),
        running_service([tiny_bundle.folder], local),
    ):
        pass
    for models, message in (([], "no model"), ([tiny_bundle.folder] * 2, "two models")):
        with pytest.raises(OptionError, match=message), running_service(models, local):
            pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"watch": Path("nowhere")}, "there is no folder nowhere to watch"),
        ({"webhook": "ftp://host"}, "is no address"),
        ({"host": "0.0.0.0"}, "flawmap add-user"),
    ],
)
def test_options_are_refused_before_a_model_is_loaded(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    given = ServeOptions(data=tmp_path / "data", **options)
    with pytest.raises(OptionError, match=message), running_service([tmp_path / "no model"], given):
        pass


def test_photos_come_by_either_name(one_service, tiny: SimpleNamespace) -> None:
    content = to_png(tiny.make_photo(0))
    for name in ("photo", "photos"):
        files = [(name, ("a.png", content))]
        assert one_service.post("/v1/photos", files=files).status_code == 201
        assert len(one_service.post("/v1/predict", files=files * 2).json()["photos"]) == 2
        both = one_service.post("/v1/photos", files=files * 2)
        assert both.status_code == 422 and "wanted one" in both.json()["detail"]
    for path in ("/v1/photos", "/v1/predict"):
        answer = one_service.post(path, files={"image": ("a.png", content)})
        assert answer.status_code == 422 and "as the field 'photo'" in answer.json()["detail"]
