"""What is installed, and what is said of it where it is not."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from flawmap.errors import MissingExtraError, require_extra, some_of


def test_a_module_that_another_thread_is_importing_counts_as_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = ModuleType("begun")
    assert begun.__spec__ is None  # as OpenCV's is for a moment
    monkeypatch.setitem(sys.modules, "begun", begun)
    require_extra("begun", "inspect")


def test_a_missing_module_names_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'flawmap\[inspect\]'"):
        require_extra("no_such_module", "inspect")
    monkeypatch.setitem(sys.modules, "blocked", None)
    with pytest.raises(MissingExtraError, match="'blocked'"):
        require_extra("blocked", "inspect")


def test_of_many_names_the_first_are_told() -> None:
    assert (some_of([], 2), some_of(["a"], 2), some_of(["a", "b"], 2)) == ("", "a", "a, b")
    assert some_of([f"p{i}" for i in range(1234)], 2, "; ") == "p0; p1 and 1,232 more"
