"""What Python calls are given is held against what they state: slips end in one line, not deep inside."""

from __future__ import annotations

import inspect
import pickle
import re
from dataclasses import fields, is_dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flawmap
from flawmap.errors import OptionError
from flawmap.tools.arguments import checked, to_type
from flawmap.tools.options import Options
from flawmap.tools.plain import Reading, to_value

READING = Reading(OptionError, key="option", record="options")
FUNCTIONS = [name for name in flawmap.__all__ if inspect.isfunction(getattr(flawmap, name))]


class Anything:
    """Of no type that any option could be."""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_of_every_public_function_is_checked(name: str) -> None:
    function = getattr(flawmap, name)
    assert function is getattr(flawmap, name), "the same each time"
    assert pickle.loads(pickle.dumps(function)) is function, "other processes can be given it"
    for parameter in inspect.signature(function).parameters.values():
        hint = to_type(parameter.annotation, inspect.unwrap(function).__module__, flawmap.__getattr__)
        with pytest.raises(OptionError, match=rf"^{parameter.name}: wanted .*; got <.*Anything"):
            to_value(hint, Anything(), parameter.name, READING)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: flawmap.measure("m.png", scale=0.1),
            r"scale: wanted .*ScaleOptions\(mm_per_px=….*; got 0.1",
        ),
        (lambda: flawmap.measure(np.zeros((5, 4), bool)), r"mask: wanted a path; got an array \(5, 4\) bool"),
        (lambda: flawmap.train("a", "b", {"sead": 1}), "unknown option 'sead'; did you mean 'seed'"),
        (lambda: flawmap.train("a", "b", progress=True), "progress: wanted a function; got True"),
        (lambda: flawmap.predict("m", ["a.jpg", 3]), "photos: wanted a path; got 3"),
        (lambda: flawmap.predict("m", "a.jpg", masks="pgn"), "did you mean 'png'"),
        (lambda: flawmap.marker("m.pdf", number=1.5), "number: wanted a whole number; got 1.5"),
        (
            lambda: flawmap.inspect("m", "a.jpg", "s", flawmap.RunOptions()),
            "options: wanted .*InspectOptions",
        ),
        (lambda: flawmap.ScaleOptions(mm_per_px="0.1"), "ScaleOptions.mm_per_px: wanted a number; got '0.1'"),  # type: ignore[arg-type]
        (lambda: flawmap.RunOptions(task="segmentatoin"), "did you mean 'segmentation'"),  # type: ignore[arg-type]
        (lambda: replace(flawmap.RunOptions().rank, n_folds="x"), "RankOptions.n_folds: wanted a whole"),
        (lambda: flawmap.CompareOptions(max_distance_m=-1), "max_distance_m above 0"),
        (lambda: flawmap.RunOptions(seed=-5), "seed is -5; 0 to 4294967295 was wanted"),
        (
            lambda: replace(flawmap.RunOptions().audit, group_by="(("),
            "not a regular expression for --group-by",
        ),
        (lambda: flawmap.similar("a.jpg", "photos", count=0), "count is 0; 1 or more"),
        (lambda: flawmap.measure_profile([]), "no file given"),
        (lambda: flawmap.inspect("m", [], "s"), "no photos given"),
        (lambda: flawmap.train("a", "b", overwrit=True), "did you mean 'overwrite'"),
        (lambda: flawmap.similar("a.jpg", "b", xyz=1), "'xyz'; known are: photo, dataset"),
        (lambda: flawmap.train("a"), r"train\(\): 'out' is missing; wanted dataset, out$"),
        (lambda: flawmap.marker("a.pdf", 50), r"takes 1 by their place \(out\); .*: size_mm=…"),
        (lambda: flawmap.train("a", "b", dataset="c"), "multiple values for argument 'dataset'"),
        (
            lambda: flawmap.inspect("m", "a.jpg", "s", scale=0.5),
            r"no argument 'scale'; it is an option: options=InspectOptions\(scale=…\)",
        ),
        (lambda: flawmap.ScaleOptions(mm_px=1), "ScaleOptions: no option 'mm_px'; did you mean 'mm_per_px'"),
    ],
)
def test_a_slip_is_one_line(call: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message) as found:
        call()
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("call", "remedy", "path"),
    [
        (
            lambda: flawmap.train("a", "b", epochs=3),
            "options=RunOptions(train={'epochs': 3}) or options=RunOptions(train_masks={'epochs': 3})",
            "train.epochs",
        ),
        (lambda: flawmap.RunOptions(n_foldz=3), "RunOptions(rank={'n_folds': 3})", "rank.n_folds"),
        (lambda: flawmap.rank("a", seed=3), "options=RunOptions(seed=3)", "seed"),
        (
            lambda: flawmap.measure("m.png", mm_per_px=3),
            "scale=ScaleOptions(mm_per_px=3)",
            "mm_per_px",
        ),
        (lambda: flawmap.load("m", n_threads=3), "options={'n_threads': 3}", ""),
    ],
)
def test_an_option_is_shown_where_it_goes(call: Any, remedy: str, path: str) -> None:
    with pytest.raises(TypeError) as found:
        call()
    assert isinstance(found.value, flawmap.FlawmapError) and remedy in str(found.value)
    told = re.sub("^[a-z_]+=", "", remedy.split(" or ")[0])
    made = eval(told, {name: getattr(flawmap, name) for name in flawmap.__all__})
    assert (attrgetter(path)(made) if path else made["n_threads"]) == 3


def test_plain_values_are_taken_where_their_meaning_is_plain(tmp_path: Path) -> None:
    options = flawmap.RunOptions(
        rank={"prefer": "size"}, licences=["mit"], max_parameters_millions=np.int64(3)
    )  # type: ignore[arg-type]
    assert options.rank.prefer == "size" and options.licences == ("mit",)
    assert options.max_parameters_millions == 3.0 and type(options.max_parameters_millions) is float
    assert replace(options.embed, cache=str(tmp_path)).cache == tmp_path

    def count(files: list[Path]) -> int:
        return len(files)

    count.__annotations__ = {"files": "Sequence[Path | str]"}
    count.__module__ = "flawmap.pipeline.using"
    address: Any = "s3://bucket/photos"
    assert to_value(Path | str, address, "photos", READING) is address
    (tmp_path / "a.jpg").touch()
    assert checked(count, flawmap.__getattr__)(tmp_path.glob("*.jpg")) == 1


def test_every_table_of_options_is_of_the_kind_that_checks_itself() -> None:
    def tables(kind: type) -> list[type]:
        made = kind()
        below = [type(value) for f in fields(kind) if is_dataclass(value := getattr(made, f.name))]
        return [kind, *(table for inner in below for table in tables(inner))]

    public = [getattr(flawmap, name) for name in flawmap.__all__ if name.endswith("Options")]
    assert all(issubclass(table, Options) for kind in public for table in tables(kind))
