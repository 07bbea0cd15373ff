"""One queue of photos for all requests: what answers somebody who waits comes before long inspections.

Photos of all requests are mixed: each thread takes the next photo when it is free. A model file computes
every photo as a batch of its own (see tools.runtime), so joining photos to larger batches would change no
answer and save no time, and each would wait for the slowest of its batch.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

_Asked = tuple[Callable[[], Any], Future[Any]]
_ANSWER, _INSPECTION = 0, 1
_INSPECTIONS_TURN = 8
"""Of this many photos taken, one is an inspection's where one waits, so that none waits for ever."""


class QueueFull(Exception):
    """Too much waits already; `retry_after_s` is when there should be room."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too many photos are waiting; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class PhotoQueue:
    """Threads that work off photos in the order given, answers first."""

    def __init__(self, n_threads: int, max_waiting: int) -> None:
        """`max_waiting` bounds the photos of answers; inspections wait on the disk."""
        self.n_threads, self.max_waiting = n_threads, max_waiting
        self._waiting: tuple[deque[_Asked], deque[_Asked]] = (deque(), deque())
        self._n_taken = 0
        self._changed = threading.Condition()
        self._is_closed = False
        self._mean_s = 0.1
        self._threads = [
            threading.Thread(target=self._work, name=f"photos-{i}", daemon=True) for i in range(n_threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def n_waiting(self) -> int:
        """Photos of answers that no thread has taken yet."""
        return len(self._waiting[_ANSWER])

    def answer(self, works: Sequence[Callable[[], Any]]) -> list[Future[Any]]:
        """Take all works or none. Raises QueueFull."""
        with self._changed:
            if self._is_closed or self.n_waiting + len(works) > self.max_waiting:
                raise QueueFull(self.retry_after_s())
            return [self._put(_ANSWER, work) for work in works]

    def inspect(self, work: Callable[[], Any]) -> Future[Any]:
        """Take a photo of an inspection; whoever asks keeps few of them waiting."""
        with self._changed:
            return self._put(_INSPECTION, work)

    def retry_after_s(self) -> int:
        """Seconds until what waits now should be done, at the pace of the last photos."""
        return max(1, math.ceil(self.n_waiting * self._mean_s / self.n_threads))

    def close(self) -> None:
        """Let the threads end what they have begun, and drop the rest."""
        with self._changed:
            self._is_closed = True
            for _, future in itertools.chain(*self._waiting):
                future.cancel()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _put(self, kind: int, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        if self._is_closed:
            future.cancel()
            return future
        self._waiting[kind].append((work, future))
        self._changed.notify()
        return future

    def _take(self) -> _Asked | None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or any(self._waiting))
            if self._is_closed:
                return None
            self._n_taken += 1
            is_theirs = self._n_taken % _INSPECTIONS_TURN == 0
            first, second = (_INSPECTION, _ANSWER) if is_theirs else (_ANSWER, _INSPECTION)
            return (self._waiting[first] or self._waiting[second]).popleft()

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            work, future = taken
            if not future.set_running_or_notify_cancel():
                continue
            began_s = time.perf_counter()
            try:
                result = work()
            except BaseException as error:  # whoever asked is told, and the thread goes on
                future.set_exception(error)
            else:
                self._mean_s += 0.1 * (time.perf_counter() - began_s - self._mean_s)
                future.set_result(result)
