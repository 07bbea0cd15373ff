"""The command line: help, exit codes, and a user's mistakes as one line each."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import flawmap
from commands import run_here
from flawmap import __version__
from flawmap.cli import app
from flawmap.cli.output import ProgressLines, resolve_options, to_names
from flawmap.tools.bundle import Bundle

SRC = Path(__file__).parents[1] / "src" / "flawmap"


COMMANDS = get_command(app)


def commands() -> list[tuple[str, ...]]:
    def walk(group, prefix):
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from walk(command, (*prefix, name))
            else:
                yield (*prefix, name)

    return list(walk(COMMANDS, ()))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flawmap", *words], capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    command = COMMANDS
    for word in words:
        command = command.commands[word]
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", ""), f"{' '.join(words)}: {parameter.name} has no help"


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['flawmap', '--help']\n"
        "from flawmap.__main__ import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print([m for m in ('numpy', 'PIL', 'onnxruntime', 'torch', 'rich', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0 and result.output.strip() == __version__


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate", "no-such-run", "."), "no folder no-such-run"),
        (("predict", "no-such-run", __file__), "no folder no-such-run"),
        (("data", "fetch", "nue", "out"), "did you mean 'neu'"),
        (("train", "no-such-folder", "--out", "{tmp}/run"), "no-such-folder"),
        (("train", "{tmp}", "--out", "{tmp}/run", "--prefer", "best"), "prefer"),
        (("export", "a", "--to", "tflite", "--out", "b"), "--to: wanted 'onnx', 'openvino' or 'litert'; got"),
        (("predict", "a", "b", "--masks", "pgn"), "got 'pgn'; did you mean 'png'?"),
        (("train", "a", "--out", "b", "--epochs", "-1"), "--epochs: wanted 0 or more"),
        (("train", "a", "--out", "b", "--epochs", "x"), "--epochs: wanted a whole number"),
        (("train", "a", "--out", "b", "--epocs", "1"), "no option --epocs; did you mean '--epochs'?"),
        (("train", "a", "--zzz"), "no option --zzz; see 'flawmap train --help'"),
        (("train", "a"), "--out is missing; see 'flawmap train --help'"),
        (("train",), "dataset is missing; see 'flawmap train --help'"),
        (("train", "a", "b", "--out", "c"), "got unexpected extra argument"),
        (("pedict", "a"), "no such command 'pedict'. Did you mean 'predict'"),
        (("zoo", "--max-parameters", "-1"), "max_parameters_millions"),
        (("zoo", "--json", "/proc/nowhere/zoo.json"), "cannot write /proc/nowhere/zoo.json"),
        (("marker", "--out", "/proc/m.pdf"), "cannot write /proc/m.pdf"),
        (("predict", "no-such-run", __file__, "--out", "/proc/p.csv"), "cannot write /proc/p.csv"),
        (("evaluate", "no-such-run", "{tmp}", "--json", "/proc/e.json"), "cannot write /proc/e.json"),
        (("data", "convert", "{tmp}", "/proc/c", "--to", "coco"), "cannot write /proc/c"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_are_one_line_and_exit_2(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = run_here(*(word.format(tmp=tmp_path) for word in words))
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    said_lines = [line for line in done.stderr.splitlines() if not line.endswith(" …")]
    assert len(said_lines) == 1 and said_lines[0].startswith("flawmap: ")


def test_what_is_stopped_says_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(flawmap, "zoo", stop)
    done = run_here("zoo")
    assert (done.returncode, done.stderr) == (130, "flawmap: stopped; what was finished is kept\n")


def test_no_words_are_answered_by_help() -> None:
    for words in ((), ("data",)):
        assert "Usage: flawmap" in run_here(*words).stderr


def test_bugs_keep_their_traceback_and_exit_70() -> None:
    code = (
        "import sys, flawmap.pipeline.looking as looking\n"
        "def broken(*a, **k): raise RuntimeError('broken inside')\n"
        "looking.zoo = broken; sys.argv = ['flawmap', 'zoo']\n"
        "from flawmap.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 70
    assert "broken inside" in done.stderr and "Traceback" in done.stderr and "bug" in done.stderr


def test_unknown_option_in_a_file_names_the_nearest(tmp_path: Path) -> None:
    config = tmp_path / "options.toml"
    config.write_text("[rank]\nprefr = 'size'\n")
    done = run("rank", str(tmp_path), "--config", str(config))
    assert done.returncode == 2 and "did you mean 'prefer'" in done.stderr


def test_flags_go_before_the_file_and_the_file_before_defaults(tmp_path: Path) -> None:
    config = tmp_path / "options.toml"
    config.write_text("seed = 5\n[rank]\nprefer = 'size'\nmax_depth = 2\n")
    options = resolve_options(config, rank__max_depth=4, evaluate__max_miss_rate=None)
    assert (options.rank.prefer, options.rank.max_depth) == ("size", 4)
    assert options.evaluate.max_miss_rate == 0.01
    resolved = options.resolved()
    assert {resolved.split.seed, resolved.rank.seed, resolved.train.seed, resolved.evaluate.seed} == {5}


def test_lists_of_names() -> None:
    assert to_names(None) is None
    assert to_names("") == ()
    assert to_names(" good, fine ") == ("good", "fine")


def said(*calls: tuple[float, str, int, int]) -> list[str]:
    """The lines for (seconds, task, n_done, n_total)."""
    lines: list[str] = []
    clock = iter([call[0] for call in calls])
    progress = ProgressLines(lines.append, lambda: next(clock))
    for _, *call in calls:
        progress(*call)
    return lines


def test_a_short_task_is_one_line_in_a_log() -> None:
    assert said(*((i / 100, "reading", i, 100) for i in range(101))) == ["reading …"]


def test_a_long_task_says_how_far_it_is() -> None:
    assert said(*((i, "reading", i, 100) for i in range(101))) == [
        "reading …",
        *(f"reading: {n} of 100, {n} s, 1/s, about 1 min {40 - n} s left" for n in range(10, 50, 10)),
        *(f"reading: {n} of 100, {n} s, 1/s, about {100 - n} s left" for n in range(50, 60, 10)),
        *(f"reading: {n} of 100, 1 min {n - 60} s, 1/s, about {100 - n} s left" for n in range(60, 91, 10)),
        "reading: 100 of 100, 1 min 40 s",
    ]


def test_what_was_done_before_does_not_count_for_the_pace() -> None:
    calls = [(0.0, "inspect", 900, 1000), (40.0, "inspect", 920, 1000)]
    assert said(*calls) == ["inspect …", "inspect: 920 of 1,000, 40 s, 0.5/s, about 2 min 40 s left"]


def test_a_slow_task_speaks_every_half_minute_and_a_fast_end_is_not_lost() -> None:
    slow = [(31.0 * i, "training", i, 4000) for i in range(4)]
    assert said(*slow, (94.0, "training", 4000, 4000)) == [
        "training …",
        "training: 1 of 4,000, 31 s, 31 s each, about 34 h 26 min left",
        "training: 2 of 4,000, 1 min 2 s, 31 s each, about 34 h 25 min left",
        "training: 3 of 4,000, 1 min 33 s, 31 s each, about 34 h 25 min left",
        "training: 4,000 of 4,000, 1 min 34 s",
    ]


def test_one_thing_is_done_not_one_of_one() -> None:
    assert said((0.0, "converting", 0, 1), (9.0, "converting", 1, 1)) == [
        "converting …",
        "converting: done, 9 s",
    ]


def test_tasks_take_turns_and_may_begin_anew() -> None:
    calls = [(0.0, "a", 0, 2), (1.0, "b", 1, 0), (2.0, "a", 2, 2), (3.0, "a", 0, 2), (40.0, "b", 7, 0)]
    assert said(*calls) == ["a …", "b …", "a …", "b: 7, 39 s"]


def test_an_unreadable_photo_is_said_once(tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path) -> None:
    words = ("predict", str(tiny_bundle.folder), str(photo_folder))
    for more in ((), ("--out", str(tmp_path / "rows.csv"))):
        done = run_here(*words, *more)
        assert done.returncode == 1, done.stderr
        assert (done.stdout + done.stderr).count("broken.png") == 1
    assert "7 photos: 3 crack, 3 good, 1 not readable; 0 for a person to look at" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--backbones", "efficientnet_lite00"), "did you mean 'efficientnet_lite0'"),
        (("--licence", "none"), "no backbone is left of 'bundled' .*its licence is"),
        (("--decoder", "unett"), "did you mean 'unet'"),
        (("--logger", "wandbb"), "--logger: wanted 'wandb' or 'mlflow'"),
        (("--task", "classification", "--cascade"), "a cascade ends in masks"),
    ],
)
def test_what_can_be_refused_at_once_is_refused_before_photos_are_read(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    pytest.importorskip("timm")
    done = run_here("train", tmp_path / "nothing", "--out", tmp_path / "run", *words)
    assert done.returncode == 2 and re.search(message, done.stderr), done.stderr
    assert "nothing" not in done.stderr and not (tmp_path / "run").exists()


def test_where_a_file_names_what_was_left_out_only_the_first_are_printed(
    tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    for i in range(20):
        (photo_folder / f"{i}.jpg").write_bytes(b"no photo")
    words = ("predict", tiny_bundle.folder, photo_folder, "--max-megapixels", "0.001")
    table = tmp_path / "rows.csv"
    done = run_here(*words, "--out", table)
    assert done.returncode == 1 and done.stderr.count("\n  ") == 11, done.stderr
    assert done.stderr.endswith(f"  … and 17 more; {table} lists all\n")
    assert "raise it with --max-megapixels (Python: max_megapixels=…)" in table.read_text()
    assert run_here(*words).stderr.count("\n  ") == 27  # nothing else names them


def test_a_mistyped_photo_costs_no_earlier_result(
    tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    words, table = ("predict", tiny_bundle.folder), tmp_path / "rows.csv"
    assert run_here(*words, photo_folder / "a", "--out", table).returncode == 0
    before = table.read_bytes()
    done = run_here(*words, photo_folder / "b", photo_folder / "tilse", "--out", table)
    assert done.returncode == 2 and "there is no " in done.stderr and table.read_bytes() == before


def test_a_full_disk_is_no_bug(full_disk: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = run_here("marker", "--out", tmp_path / "m.pdf")
    assert done.returncode == 2 and "m.pdf: No space left on device" in done.stderr
    monkeypatch.setattr("flawmap.tools.markers.write_marker", lambda *_: os.fsync(0))  # as others write
    done = run_here("marker", "--out", tmp_path / "m.pdf")
    assert done.returncode == 2 and "No space left on device. Make room" in done.stderr


def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    for words in (
        ("audit", tmp_path / "nothing", "--json", tmp_path),
        ("train", tmp_path / "nothing", "--out", tmp_path / "a.jpg" / "run"),
        ("explain", tmp_path / "nothing", tmp_path / "a.jpg", "--out", tmp_path / "a.jpg"),
        ("explain", tmp_path / "nothing", tmp_path / "b.jpg", "--out", tmp_path / "a.jpg"),
    ):
        done = run_here(*words)
        assert done.returncode == 2 and "cannot write" in done.stderr, done.stderr
