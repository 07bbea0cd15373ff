"""Memory that is kept while training: fewer pages are cleared anew, and all is given back after."""

from __future__ import annotations

import resource
import sys

import pytest

from flawmap.stages.train import memory
from flawmap.stages.train.memory import kept_memory

PAGE = resource.getpagesize()
N_BLOCKS, N_PAGES = 5, 16384


def count_faults(n_pages: int = N_PAGES) -> int:
    """Page faults of taking, writing and freeing a block, time after time."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(N_BLOCKS):
        block = bytearray(n_pages * PAGE)
        block[::PAGE] = bytes([1]) * n_pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has these options")
def test_blocks_serve_again_within_and_go_back_after() -> None:
    with kept_memory():
        count_faults()  # the first one has to come from the system
        within = count_faults()
    after = count_faults()
    assert within < N_PAGES < after


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has these options")
def test_arrays_of_some_megabytes_are_as_quick_after_as_before() -> None:
    with kept_memory():
        pass
    count_faults(256)
    assert count_faults(256) < 256, "a block of a megabyte serves again"


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise OSError(f"{name}: no such library")

    monkeypatch.setattr(memory.ctypes, "CDLL", fail)
    with kept_memory():
        assert len(bytearray(PAGE)) == PAGE
