"""How the C library keeps memory while a model is trained."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Options of mallopt(3), in bytes."""
_KEPT = {_TRIM_THRESHOLD: 1 << 30, _MMAP_THRESHOLD: 1 << 30}
_SETTLED = {_TRIM_THRESHOLD: 64 << 20, _MMAP_THRESHOLD: 32 << 20}
"""Where glibc's own adjusting ends. Once an option is set it adjusts no more; back at its start (128 kB) it
would fetch every array of the rest of the process from the system anew."""


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Large blocks that one step frees serve the next one within.

    By itself glibc hands them back to the system, which clears them again for every step: a tenth of the time
    of training on a processor. Other C libraries are left as they are.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        set_option, trim = libc.mallopt, libc.malloc_trim
    except (OSError, AttributeError):
        yield
        return
    try:
        for which, value in _KEPT.items():
            set_option(which, value)
        yield
    finally:
        for which, value in _SETTLED.items():
            set_option(which, value)
        trim(0)
