"""Grades by width: published tables as they are printed, uncertainty, and the user's own tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.errors import OptionError
from flawmap.tools.grading import TABLES, GradingOptions, grade_width, read_grading


def test_bands_of_bre_251() -> None:
    table, exposure = read_grading(GradingOptions())
    names = [
        grade_width(w, 0.0, table, exposure).name[0] for w in (0.05, 0.1, 0.99, 1, 4.9, 5, 14, 15, 24, 26)
    ]
    assert names == list("0112233445")
    assert "surveyor" in table.limits


@pytest.mark.parametrize(
    ("table", "exposure", "limit_mm"),
    [
        ("aci-224r", "humid", 0.30),
        ("aci-224r", "seawater", 0.15),
        ("eurocode-2", "xc3", 0.3),
        ("eurocode-2", "X0", 0.4),
    ],
)
def test_limits_by_exposure(table: str, exposure: str, limit_mm: float) -> None:
    found = grade_width(0.6, 0.05, *read_grading(GradingOptions(table, exposure)))
    assert (
        found.ratio == pytest.approx(0.6 / limit_mm) and found.name.startswith("above") and found.is_certain
    )


def test_an_interval_across_a_limit_is_not_certain() -> None:
    table, exposure = read_grading(GradingOptions("eurocode-2", "XC1"))
    assert not grade_width(0.38, 0.05, table, exposure).is_certain
    assert grade_width(0.3, 0.05, table, exposure).is_certain
    assert not grade_width(0.3, 0.05, table, exposure, is_resolved=False).is_certain
    bands, _ = read_grading(GradingOptions("bre-251"))
    assert grade_width(0.5, 0.3, bands).is_certain and not grade_width(0.5, 0.6, bands).is_certain


def test_every_table_states_its_source_and_limits() -> None:
    assert set(TABLES) == {"aci-224r", "bre-251", "eurocode-2"}
    for name in TABLES:
        first = {"aci-224r": "dry", "eurocode-2": "X0"}.get(name)
        table, _ = read_grading(GradingOptions(name, first))
        assert len(table.source) > 30 and len(table.limits) > 80


def test_the_users_own_table(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        'title = "ours"\nsource = "handbook"\nlimits = "ours only"\n'
        'bands = [{ name = "watch", up_to_mm = 0.2 }, { name = "repair" }]\n'
    )
    table, exposure = read_grading(GradingOptions(str(own)))
    assert grade_width(0.3, 0.0, table, exposure).name == "repair"


@pytest.mark.parametrize(
    ("table", "exposure", "text", "said"),
    [
        ("bre-215", None, None, "did you mean 'bre-251'"),
        ("bre-251", "XC3", None, "leave out --exposure"),
        ("eurocode-2", None, None, "--exposure .* is missing"),
        ("aci-224r", "wet", None, "is 'wet'; aci-224r has: dry"),
        ("own.toml", None, "bands = 1", "bands"),
        ("own.toml", None, "title =", "not valid TOML"),
        ("own.toml", None, 'title = "t"', "no key 'source' and no key 'limits'; wanted GradingTable.title=…"),
        (
            "own.toml",
            None,
            'title = "t"\nsource = "s"\nlimits = "l"\nbands = [{ up_to_mm = 1.0 }]',
            "bands: no key 'name'; wanted Band.name=…",
        ),
        ("own.toml", None, 'title = "t"\nsource = "s"\nlimits = "l"', "one of them"),
        ("own.toml", None, 'title = "t"\nsource = "s"\nlimits = "l"\nband = []', "did you mean 'bands'"),
    ],
)
def test_tables_that_cannot_be_used(
    tmp_path: Path, table: str, exposure: str | None, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / table).write_text(text)
        table = str(tmp_path / table)
    with pytest.raises(OptionError, match=said):
        read_grading(GradingOptions(table, exposure))


def test_a_table_is_named_by_a_text_alone_and_a_file_that_is_missing_is_called_so(tmp_path: Path) -> None:
    assert read_grading("bre-251") == read_grading(GradingOptions("bre-251"))
    for name, message in (
        ("bre251", "did you mean 'bre-251'"),
        ("ours.toml", r"the grading table ours\.toml does not exist; name your TOML file, or one of: aci"),
        (str(tmp_path / "ours"), "does not exist"),
        (str(tmp_path), "is no file"),
    ):
        with pytest.raises(OptionError, match=message):
            read_grading(name)
