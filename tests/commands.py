"""The `flawmap` command, run within the tests' own process: starting another costs a second each time."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from unittest import mock

from flawmap.__main__ import main


def run_here(*words: object) -> subprocess.CompletedProcess[str]:
    """As `python -m flawmap WORDS` would end, with what it would write."""
    given = ["flawmap", *map(str, words)]
    with (
        mock.patch.object(sys, "argv", given),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(given, code, out.getvalue(), errors.getvalue())
