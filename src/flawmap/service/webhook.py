"""Messages to another program: kept in the database until it has taken them, signed, and sent to one address.

A message is written in the transaction that makes it true, so that no finding is told twice or never. The
receiver may get a message again where its answer was lost; `Flawmap-Delivery` is the same then.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import func
from sqlmodel import Session, col, select

from flawmap.errors import OptionError
from flawmap.service.database import Database, FoundFlaw, JobPhoto, now
from flawmap.service.repeating import Repeated
from flawmap.service.tables import Delivery

SECRET = "FLAWMAP_WEBHOOK_SECRET"
_LEAST_SECRET = 16
_LONGEST_PAUSE_S, _TIME_LIMIT_S = 3600, 10
_GIVEN_UP_AFTER = timedelta(days=7)
_AT_ONCE = 20
_log = logging.getLogger(__name__)

WebhookEvent = Literal["finding", "drift"]


@dataclass(frozen=True)
class Receiver:
    """Who is told, and how the message is signed."""

    url: str
    secret: str
    base_url: str
    """Where people reach the page: the beginning of all links."""

    def __post_init__(self) -> None:
        from urllib.parse import urlsplit

        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OptionError(f"the webhook '{self.url}' is no address; https://host/path was wanted")
        if len(self.secret) < _LEAST_SECRET:
            raise OptionError(
                f"a webhook is signed with a secret of {_LEAST_SECRET} characters or more; set {SECRET} in "
                "the environment"
            )


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The header Flawmap-Signature of a message: HMAC-SHA256 over the timestamp, a dot and the body."""
    mac = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={mac.hexdigest()}"


def is_signed(secret: str, headers: Mapping[str, str], body: bytes, *, tolerance_s: float = 300.0) -> bool:
    """For receivers: whether a message comes from who knows the secret, and was sent just now."""
    given = {name.lower(): value for name, value in headers.items()}
    timestamp, signature = given.get("flawmap-timestamp", ""), given.get("flawmap-signature", "")
    is_fresh = timestamp.isdigit() and abs(time.time() - int(timestamp)) <= tolerance_s
    return hmac.compare_digest(sign(secret, timestamp, body).encode(), signature.encode()) and is_fresh


class Webhook(Repeated):
    """Delivers what waits, in a thread of its own."""

    def __init__(self, database: Database, receiver: Receiver) -> None:
        self._database, self._receiver = database, receiver
        super().__init__(self.deliver, "webhook", 1.0, "the webhook was interrupted", is_eager=True)

    def tell_findings(self, session: Session, photo: JobPhoto, flaws: Sequence[FoundFlaw]) -> None:
        """Keep the message of a photo with findings, in the transaction that keeps them."""
        session.flush()  # so that the findings have their numbers
        base = self._receiver.base_url
        values = {
            "inspection": photo.job_id,
            "photo": {"number": photo.number, "name": photo.name, "digest": photo.digest},
            "findings": [
                {"id": flaw.id, "number": flaw.number}
                | {key: value for key, value in flaw.record.items() if key != "polygon"}
                for flaw in flaws
            ],
            "link": f"{base}/?inspection={photo.job_id}&photo={photo.number}",
            "result": f"{base}/v1/inspections/{photo.job_id}/result",
        }
        self.tell(session, "finding", values)

    def tell(self, session: Session, event: WebhookEvent, values: Mapping[str, Any]) -> None:
        """Keep a message; `values` are plain JSON."""
        made = Delivery(id=uuid.uuid4().hex, event=event, body="", created_at=now(), due_at=now())
        told = {"event": event, "id": made.id, "at": made.created_at, **values}
        made.body = json.dumps(told, ensure_ascii=False, allow_nan=False)
        session.add(made)

    def n_waiting(self) -> int:
        """Messages that were not delivered and not given up."""
        query = select(func.count()).select_from(Delivery).where(*_waiting())
        with self._database.reading() as session:
            return session.exec(query).one()

    def deliver(self) -> int:
        """Send what is due, the oldest first; how many were sent, whatever became of them."""
        query = select(Delivery).where(*_waiting(), col(Delivery.due_at) <= now())
        with self._database.reading() as session:
            due = session.exec(query.order_by(col(Delivery.due_at)).limit(_AT_ONCE)).all()
        for n_sent, one in enumerate(due):
            if self.is_ending:
                return n_sent
            self._note(one, self._send(one))
        return len(due)

    def _send(self, one: Delivery) -> str:
        """Why it was not taken; "" where it was. Redirects are not followed, and no proxy is asked."""
        import httpx2

        body, timestamp = one.body.encode(), str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "Flawmap-Event": one.event,
            "Flawmap-Delivery": one.id,
            "Flawmap-Timestamp": timestamp,
            "Flawmap-Signature": sign(self._receiver.secret, timestamp, body),
        }
        try:
            with (
                httpx2.Client(timeout=_TIME_LIMIT_S, follow_redirects=False, trust_env=False) as client,
                client.stream("POST", self._receiver.url, content=body, headers=headers) as answer,
            ):
                return "" if answer.is_success else f"answered with {answer.status_code}"
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"[:500]

    def _note(self, one: Delivery, problem: str) -> None:
        with self._database.writing() as session:
            kept = session.get_one(Delivery, one.id)
            kept.n_tries, kept.note = kept.n_tries + 1, problem
            if not problem:
                kept.delivered_at = now()
            elif datetime.now(UTC) - datetime.fromisoformat(kept.created_at) > _GIVEN_UP_AFTER:
                kept.given_up_at = now()
                _log.error("the webhook gives up message %s: %s", one.id, problem)
            else:
                kept.due_at = _later(min(2 ** min(kept.n_tries - 1, 12), _LONGEST_PAUSE_S))


def _waiting() -> tuple[Any, Any]:
    return col(Delivery.delivered_at).is_(None), col(Delivery.given_up_at).is_(None)


def _later(pause_s: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=pause_s)).isoformat(timespec="microseconds")
