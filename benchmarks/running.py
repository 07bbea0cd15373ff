"""What the benchmarks share: where the real photos lie, and flawmap run as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("FLAWMAP_DATA") or ROOT.parent / "shared" / "data")
HELD_BACK = 0.25
"""Share of a set that is held back before a run."""


def run_flawmap(*arguments: object) -> None:
    """Run the command; 1 (done, but photos were left out) counts as done."""
    done = subprocess.run(
        [sys.executable, "-m", "flawmap", *map(str, arguments)], capture_output=True, text=True
    )
    if done.returncode not in (0, 1):
        sys.exit(f"flawmap {arguments[0]} ended with {done.returncode}:\n{done.stderr}{done.stdout}")


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before and after "--": the script's own, and what is handed to `flawmap train`."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]
