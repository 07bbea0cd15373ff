"""Tables in CSV, read back as programs and as spreadsheets do."""

from __future__ import annotations

import csv
import io

import pytest

from flawmap.tools.tables import to_csv


def test_rows_come_back_as_they_were() -> None:
    rows = [
        {"path": "a, b.png", "n": 3, "is_right": True, "score": 0.25},
        {"path": 'say "no"\n.png', "n": None},
    ]
    found = list(csv.DictReader(io.StringIO(to_csv(("path", "n", "is_right", "score"), rows, n_decimals=3))))
    assert [row["path"] for row in found] == [row["path"] for row in rows]
    assert found[0] == {"path": "a, b.png", "n": "3", "is_right": "true", "score": "0.250"}
    assert found[1]["n"] == found[1]["score"] == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_is_a_formula_and_a_number_stays_one(start: str) -> None:
    text = to_csv(("path", "label", "shift"), [{"path": f"{start}1", "label": f"{start}1", "shift": -1.5}])
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row == {"path": f"./{start}1", "label": f"'{start}1", "shift": "-1.5"}
