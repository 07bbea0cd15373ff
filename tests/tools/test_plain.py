"""Records and options to plain values and back: nothing is lost, and mistakes name their place."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from flawmap.errors import BundleError, OptionError
from flawmap.tools.options import changed, from_mapping, read_options, to_mapping
from flawmap.tools.plain import Reading, to_plain, to_record

STORED = Reading(BundleError, key="key", record="an object", null_is_nan=True)


@dataclass(frozen=True)
class Inner:
    share: float = 0.5
    kind: Literal["fast", "small"] = "fast"

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is {self.share}; wanted 0 to 1")


@dataclass(frozen=True)
class Outer:
    name: str = "a"
    count: int | None = None
    places: tuple[Path, ...] | None = None
    size_hw: tuple[int, int] = (1, 2)
    facts: dict[str, Any] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)


FULL = Outer("b", 3, (Path("x/y"), Path("z")), (4, 5), {"f1": 0.5, "deep": [1, None]}, Inner(0.25, "small"))


@pytest.mark.parametrize("value", [Outer(), FULL], ids=["defaults", "everything"])
def test_a_record_survives_plain_json(value: Outer) -> None:
    plain = json.loads(json.dumps(to_plain(value), allow_nan=False))
    assert to_record(Outer, plain, "here", STORED) == from_mapping(Outer, plain) == value
    assert plain == to_mapping(value)


def test_numbers_of_no_meaning_become_null_and_come_back_where_asked() -> None:
    plain = to_plain({"array": np.array([1.0, np.inf]), "one": np.float32("nan"), 3: np.int64(2)})
    assert plain == {"array": [1.0, None], "one": None, "3": 2}
    assert math.isnan(to_record(_Loose, {"value": None}, "here", STORED).value)
    with pytest.raises(OptionError, match="value: wanted a number; got None"):
        from_mapping(_Loose, {"value": None})


@dataclass(frozen=True)
class _Loose:
    value: float = 0.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nmae": "b"}, "unknown option 'nmae'; did you mean 'name'"),
        ({"zzz": 1}, "unknown option 'zzz'; known are: name, count"),
        ({"inner": {"shrae": 1}}, "options: inner: unknown option 'shrae'; did you mean 'share'"),
        ({"inner": 5}, "options: inner: wanted a table of options, Inner.share=…, kind=….; got 5"),
        ({"inner": {"share": 2.0}}, "options: inner: share is 2.0; wanted 0 to 1"),
        ({"inner": {"kind": "best"}}, "options: inner: kind: wanted 'fast' or 'small'; got 'best'"),
        ({"count": True}, r"options: count: wanted a whole number; got True"),
        ({"count": 1.5}, "options: count: wanted a whole number; got 1.5"),
        ({"name": 3}, "options: name: wanted a text; got 3"),
        (
            {"size_hw": [1, 2, 3]},
            r"options: size_hw: wanted a list of 2: a whole number, a whole number; got \[1, 2, 3\]",
        ),
        ({"places": ["a", 3]}, "options: places: wanted"),
    ],
)
def test_a_wrong_option_is_refused_with_its_place(values: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        from_mapping(Outer, values)


def test_whole_numbers_are_floats_and_texts_are_paths() -> None:
    found = from_mapping(Outer, {"inner": {"share": 1}, "places": ["a"]})
    assert isinstance(found.inner.share, float) and found.places == (Path("a"),)


def test_one_option_is_changed_and_checked() -> None:
    assert changed(FULL, ["inner", "share"], 1) == Outer(**{**FULL.__dict__, "inner": Inner(1.0, "small")})
    with pytest.raises(OptionError, match="--kind: wanted 'fast' or 'small'; got 'best'"):
        changed(FULL, ["inner", "kind"], "best")
    with pytest.raises(OptionError, match="share is 7"):
        changed(FULL, ["inner", "share"], 7)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "options.toml"
    with pytest.raises(OptionError, match=r"cannot read the options file .*options\.toml"):
        read_options(file, Outer)
    file.write_text("[inner\n")
    with pytest.raises(OptionError, match=r"options\.toml is not valid TOML"):
        read_options(file, Outer)
    file.write_text("name = 'c'\n[inner]\nkind = 'small'\n")
    assert read_options(file, Outer) == Outer("c", inner=Inner(kind="small"))
