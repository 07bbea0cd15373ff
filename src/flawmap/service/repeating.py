"""Work that a service does again and again beside its requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Repeated:
    """Work in a thread of its own, until it is closed. A failure, as of a lost database, is logged, and the
    work tried again."""

    def __init__(
        self,
        work: Callable[[], object],
        name: str,
        pause_s: float,
        trouble: str,
        *,
        waits_first: bool = False,
        is_eager: bool = False,
    ) -> None:
        """`trouble` is what the log says of a failure; with `is_eager` there is no pause while work() gives
        something that is true."""
        self._work, self._pause_s, self._trouble = work, pause_s, trouble
        self._waits_first, self._is_eager = waits_first, is_eager
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def close(self) -> None:
        """Stop after what is being done; what is left is done after the next start."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def is_ending(self) -> bool:
        """Whether close() was called: long work should come to its end."""
        return self._ended.is_set()

    def _run(self) -> None:
        if self._waits_first:
            self._ended.wait(self._pause_s)
        while not self._ended.is_set():
            found = None
            try:
                found = self._work()
            except Exception:
                _log.exception("%s", self._trouble)
            if not (self._is_eager and found):
                self._ended.wait(self._pause_s)
