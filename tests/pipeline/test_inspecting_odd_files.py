"""Bad and odd files in an inspection: none stops it, none is shown with wrong pixels, each is reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bad_files as drawn
import flawmap
from flawmap.stages.inspection import InspectOptions, inspect_photo, open_inspector
from flawmap.stages.report import SurveyReportOptions
from flawmap.tools.bundle import Bundle
from flawmap.tools.runtime import RuntimeOptions

for module in ("jinja2", "openpyxl", "typst", "skimage"):
    pytest.importorskip(module)

ODD = drawn.draw_odd_files()
IN_STRIPS = {"bomb.tif": "damaged"}
"""A TIFF over the pixel cap is read in strips, which this one lacks."""


@pytest.mark.slow
def test_every_bad_file_is_reported_and_none_counts_as_clean(tiny_bundle: Bundle, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    contents = {name: make() for name, (make, _) in drawn.BAD_FILES.items()}
    for name, content in contents.items():
        (photos / name).write_bytes(content)
    (photos / "good.png").write_bytes(drawn.encode(drawn.draw_photo(), "PNG"))
    assert len(contents) >= 40
    done = flawmap.inspect(
        tiny_bundle.folder, photos, tmp_path / "out", flawmap.InspectOptions(report=SurveyReportOptions())
    )
    reasons = {Path(one.path).name: one.reason for one in done.left_out}
    assert set(reasons) == set(contents)
    for name, (_, reason) in drawn.BAD_FILES.items():
        assert IN_STRIPS.get(name, reason) in reasons[name], (name, reasons[name])
        assert (photos / name).read_bytes() == contents[name]
    told = json.loads((tmp_path / "out" / "findings.json").read_text())["photos"]
    assert [Path(row["path"]).name for row in told if not row["error"]] == ["good.png"]
    assert not any(row["findings"] for row in told if row["error"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(name in page for name in contents)


def test_what_is_no_ordinary_file_is_reported_and_keeps_nobody_waiting(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "good.png").write_bytes(drawn.encode(drawn.draw_photo(), "PNG"))
    os.mkfifo(photos / "pipe.jpg")
    (photos / "link.jpg").symlink_to(photos / "gone.jpg")
    (photos / "folder.jpg").mkdir()
    (photos / "folder.jpg" / "inner.png").write_bytes(drawn.encode(drawn.draw_photo(), "PNG"))
    words = [
        sys.executable,
        "-m",
        "flawmap",
        "inspect",
        tiny_bundle.folder,
        photos,
        "--out",
        tmp_path / "out",
    ]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    told = json.loads((tmp_path / "out" / "findings.json").read_text())["photos"]
    assert {row["name"]: row["error"].rsplit(": ")[-1] for row in told} == {
        "folder.jpg/inner.png": "",
        "good.png": "",
        "link.jpg": "a link to nothing",
        "pipe.jpg": "a pipe, socket or device, not a file",
    }


@pytest.mark.slow
def test_every_odd_file_is_seen_with_its_own_pixels(tiny_bundle: Bundle, tmp_path: Path) -> None:
    inspector = open_inspector(tiny_bundle.folder, InspectOptions(runtime=RuntimeOptions(n_threads=1)))
    assert len(ODD) >= 40
    for name, (content, wanted, difference) in ODD.items():
        path = tmp_path / name
        path.write_bytes(content)
        seen = inspect_photo(inspector, path)
        inspection = seen.inspection
        assert not inspection.error and seen.preview is not None, (name, inspection.error)
        assert (inspection.height_px, inspection.width_px) == wanted.shape[:2], name
        assert np.abs(seen.preview.astype(int) - wanted).max() <= difference, name
