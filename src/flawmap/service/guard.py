"""What every request passes: limits of size and rate, where it comes from, headers of the answer."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self'; "
    b"img-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
}
_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}
_MOST_CALLERS = 10_000


class TooLarge(HTTPException):
    """A body with more bytes than the service takes. FastAPI makes 400 of all other exceptions that it meets
    while it reads one.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(413, detail)


class RateLimit:
    """A bucket per caller that holds a minute's worth and fills at an even pace."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._turn = threading.Lock()

    def wait_s(self, caller: str, cost: int = 1) -> int:
        """0 where the caller may go on, which costs; else whole seconds to wait."""
        with self._turn:
            at = self._clock()
            left, before = self._buckets.get(caller, (float(self._per_minute), at))
            left = min(self._per_minute, left + (at - before) * self._per_minute / 60)
            if left < 1:
                return max(1, math.ceil((1 - left) * 60 / self._per_minute))
            if len(self._buckets) >= _MOST_CALLERS:
                self._buckets.clear()  # a flood of addresses: forgetting is better than filling the memory
            self._buckets[caller] = (left - cost, at)
            return 0


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: App, max_body_bytes: int, rate: RateLimit, *, is_loopback: bool) -> None:
        self._app, self._max_body_bytes, self._rate, self._is_loopback = (
            app,
            max_body_bytes,
            rate,
            is_loopback,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in HEADERS.items() if name not in own),
                ]
            await send(message)

        refusal = self._refuse(scope)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, self._counted(receive), send_with_headers)

    def _refuse(self, scope: Scope) -> JSONResponse | None:
        headers = dict(scope["headers"])
        host = _host_of(headers.get(b"host", b""))
        if self._is_loopback and host not in _LOCAL_HOSTS:  # a name that somebody made lead here
            return _problem(421, "this service answers to localhost only")
        origin = headers.get(b"origin")
        if scope["method"] not in _SAFE_METHODS and origin is not None:
            theirs = urlsplit(origin.decode("latin-1")).netloc
            if theirs != headers.get(b"host", b"").decode("latin-1"):
                return _problem(403, "the request comes from a page of another site")
        wait_s = self._rate.wait_s(scope["client"][0] if scope.get("client") else "")
        if wait_s:
            return _problem(429, f"too many requests; try again in {wait_s} s", wait_s)
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            return _problem(400, "the header Content-Length is not a number")
        if len(length) > 18 or int(length) > self._max_body_bytes:
            return _problem(413, self.too_large())
        return None

    def _counted(self, receive: Receive) -> Receive:
        """Bodies that do not say their length are counted as they come."""
        n_bytes = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._max_body_bytes:
                raise TooLarge(self.too_large())
            return message

        return counted

    def too_large(self) -> str:
        return f"the request is larger than {self._max_body_bytes / 1e6:g} MB; send fewer photos at once"


def _host_of(header: bytes) -> str:
    try:
        return urlsplit(f"//{header.decode('latin-1')}").hostname or ""
    except ValueError:
        return ""


def _problem(status: int, detail: str, retry_after_s: int | None = None) -> JSONResponse:
    headers = None if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return JSONResponse({"detail": detail}, status, headers=headers)
