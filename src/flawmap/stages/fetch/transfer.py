"""Fetch one file over HTTP so that a broken transfer goes on where it stopped, and check its digest."""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flawmap.errors import FetchError, option
from flawmap.records import Progress, no_progress

_BLOCK = 1 << 18
_RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class Transfer:
    """How to talk to the server."""

    timeout_s: float = 30.0
    n_attempts: int = 5
    """Broken connections in a row, without a byte gained, before it gives up."""
    pause_s: float = 1.0
    """Wait before the second try; each further one waits that much longer."""


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def download(
    url: str,
    target: Path,
    sha256: str | None,
    transfer: Transfer | None = None,
    progress: Progress = no_progress,
) -> bool:
    """Make `target` the file at `url`; False where it was there already and its digest is right.

    A partial transfer is kept as `target`.part and continued by the next call. Without a known digest a file
    that is there is taken as it is. Raises FetchError where the server cannot be reached, sends less than it
    announced, or sends bytes of another digest; a file of another digest is not kept.
    """
    import pooch

    resumable: Any = _Resumable(transfer or Transfer(), Path(f"{target}.part"), progress)
    known = f"sha256:{sha256}" if sha256 else None
    with _quiet(pooch.get_logger()):
        try:
            pooch.retrieve(url, known, target.name, target.parent, downloader=resumable)
        except ValueError as error:
            if not (got := re.search(r"does not match the known hash: .* but got (\w+)", str(error))):
                raise
            raise FetchError(
                f"{url} sent a file with sha256 {got.group(1)}; wanted {sha256}. It was not kept: try again, "
                f"and if you trust the new file, name its digest with {option('--sha256')}"
            ) from None
    return resumable.was_called


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """pooch reports every file; flawmap reports progress itself."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class _Resumable:
    """A downloader for pooch that keeps what it has got in a .part file and asks for the rest."""

    def __init__(self, transfer: Transfer, part: Path, progress: Progress) -> None:
        self.transfer, self.part, self.progress = transfer, part, progress
        self.state = Path(f"{part}.json")
        self.was_called = False
        self.has_gained = False

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        self.was_called = True
        n_failures = 0
        while (reason := self._try(url)) is not None:
            n_failures = 1 if self.has_gained else n_failures + 1
            if n_failures >= self.transfer.n_attempts:
                raise FetchError(self._stopped(url, reason))
            time.sleep(self.transfer.pause_s * n_failures)
        self.part.replace(output_file)
        self.state.unlink(missing_ok=True)

    def _try(self, url: str) -> str | None:
        """One connection: None where the file is whole now, else why it is not."""
        before = self._n_bytes()
        try:
            total = self._get_rest(url)
        except _Broken as broken:
            return str(broken)
        finally:
            self.has_gained = self._n_bytes() > before
        if total is None or self._n_bytes() == total:
            return None
        return f"{self._n_bytes()} of {total} bytes came" if total >= 0 else "the file has changed meanwhile"

    def _stopped(self, url: str, reason: str) -> str:
        kept = f"; {self._n_bytes()} bytes are kept" if self._n_bytes() else ""
        return f"cannot fetch {url} ({reason}){kept}; run the same command again to go on"

    def _n_bytes(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _get_rest(self, url: str) -> int | None:
        """Append the missing bytes; returns the whole file's announced size, -1 to begin anew."""
        start, validator = self._resume_point(url)
        headers = {"User-Agent": "flawmap", "Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-"} | ({"If-Range": validator} if validator else {})
        request = urllib.request.Request(url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=self.transfer.timeout_s) as response:
                return self._receive(url, response, start)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == _RANGE_NOT_SATISFIABLE and start:
                self._forget()  # the file there is not the one that was begun
                return -1
            if error.code >= 500 or error.code == 429:
                raise _Broken(f"the server answers {error.code} {error.reason}") from None
            raise FetchError(
                f"{url} answers {error.code} {error.reason}; name another address with {option('--url')}, "
                f"or a file you have with {option('--archive')}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise _Broken(f"{reason or type(error).__name__}") from None

    def _receive(self, url: str, response: http.client.HTTPResponse, start: int) -> int | None:
        length = response.headers.get("Content-Length")
        span = re.match(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if response.status == http.client.PARTIAL_CONTENT and span and int(span.group(1)) == start:
            total: int | None = int(span.group(2))
        elif response.status == http.client.PARTIAL_CONTENT:
            self._forget()
            return -1
        else:
            start, total = 0, int(length) if length else None
        validator = response.headers.get("ETag", "")
        if not validator or validator.startswith("W/"):
            validator = response.headers.get("Last-Modified", "")
        name = self.part.name.removesuffix(".part")
        with self.part.open("ab" if start else "wb") as stream:  # emptied before the new mark is noted
            self.state.write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")
            n_done = start
            while block := response.read(_BLOCK):
                stream.write(block)
                n_done += len(block)
                self.progress(f"fetching bytes of {name}", n_done, total or n_done)
        return total

    def _resume_point(self, url: str) -> tuple[int, str]:
        """How many bytes are there, and the mark by which the server tells whether they still fit."""
        start = self._n_bytes()
        if not start:
            return 0, ""
        try:
            state = json.loads(self.state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            state = {}
        if state.get("url") != url:
            self._forget()
            return 0, ""
        return start, str(state.get("validator", ""))

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)


class _Broken(Exception):
    """A transfer that may succeed when it is tried again."""
