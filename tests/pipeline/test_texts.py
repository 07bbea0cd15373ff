"""What the commands print, line by line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flawmap.pipeline.texts import evaluation_lines
from report_facts import make_facts


def test_no_interval_is_printed_where_no_error_was_met(tmp_path: Path) -> None:
    test = make_facts(tmp_path, "no good class").test
    perfect = {
        "macro_f1": 1.0,
        "accuracy": 1.0,
        "interval95": {"macro_f1": [1.0, 1.0], "accuracy": [0.9, 1.0]},
    }
    lines = evaluation_lines(replace(test, metrics=test.metrics | perfect | {"claims": []}), "test", "here")
    shown = {line.split("  ")[1].strip(): line for line in lines[1:]}
    assert "1.000  no error met, so no interval" in shown["macro F1"] and "[" not in shown["macro F1"]
    assert "1.000  [0.900, 1.000]" in shown["accuracy"]
