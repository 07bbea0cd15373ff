"""Write docs/python.md from signatures and docstrings; with --check only tell whether it is out of date."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
import typing
from pathlib import Path

from write_cli import write_or_check

import flawmap
from flawmap import errors, records
from flawmap.pipeline import (
    benchmarking,
    comparing,
    embedding,
    exporting,
    inspecting,
    looking,
    measuring,
    training,
    using,
)
from flawmap.stages import benchmark
from flawmap.stages.export import agreement
from flawmap.stages.measure import LocatedCrack, MeasureOptions, ProfileOptions
from flawmap.stages.predict import PredictionRow
from flawmap.stages.survey import Change
from flawmap.tools import bundle, cascade, grading, runtime, scale, segmenting
from flawmap.tools.options import Options

TARGET = Path(__file__).with_name("python.md")
INTRO = """# Python

Written from signatures and docstrings by `python docs/write_python.py`.

```python
import flawmap

trained = flawmap.train("demo/photos", out="runs/demo")
trained.metrics["test"]["f1"]  # every figure of metrics.json
print(*trained.lines, sep="\\n")  # what the command prints

image = flawmap.read_image("a.jpg")  # (H, W, 3) uint8 RGB
answer = flawmap.load("runs/demo").predict([image])
answer.texts[0], answer.flaw_scores[0], answer.review[0]
for one in answer:  # so too, one by one, what a model that gives masks says
    one.label, one.flaw_score, one.mask

outcome = flawmap.predict("runs/demo", "demo/photos")
[row.path for row in outcome.rows if row.review]  # for a person to look at
```

Every function is a command of the same name ([cli.md](cli.md)). What a user can mend is raised as a
`flawmap.FlawmapError`; `progress` is called as `progress(what, n_done, n_total)`.
"""
RETURNED = [
    using.Outcome,
    training.Trained,
    using.Evaluated,
    using.Predicted,
    exporting.Exported,
    embedding.Embedded,
    benchmarking.Benchmarked,
    benchmarking.BenchmarkRow,
    benchmark.Timing,
    agreement.Agreement,
    looking.Audited,
    looking.Ranked,
    looking.Similar,
    inspecting.Inspected,
    comparing.Compared,
    measuring.Measured,
    measuring.MeasuredProfiles,
    LocatedCrack,
    records.CrackMeasurement,
    records.ProfileWidth,
    scale.ScaleOptions,
    grading.GradingOptions,
    grading.Grade,
    MeasureOptions,
    ProfileOptions,
    runtime.Classifier,
    runtime.Predictions,
    segmenting.Segmenter,
    cascade.Cascade,
    records.Answer,
    PredictionRow,
    records.Evaluation,
    records.MaskEvaluation,
    records.MaskRow,
    records.Survey,
    records.SurveyRow,
    records.SurveyModel,
    records.SurveyMeta,
    records.Inspection,
    records.Finding,
    Change,
    bundle.Bundle,
    records.ModelSpec,
    records.Thresholds,
    records.MaskSpec,
    records.Cleaning,
    records.CascadeSpec,
    records.Dataset,
    records.Photo,
    records.PhotoMask,
    records.Audit,
    records.LabelSuspect,
    records.Split,
    records.Ranking,
    records.Candidate,
]
OPTIONS = """## Options

`flawmap.RunOptions` holds the options of every stage; the same names are the keys and tables of a TOML file
(`--config`). All are frozen; a changed copy is made with `dataclasses.replace`:

```python
from dataclasses import replace

options = flawmap.RunOptions(seed=1)
options = replace(options, rank=replace(options.rank, prefer="size"))
```

Where options are wanted, nested dictionaries do too: `{"seed": 1, "rank": {"prefer": "size"}}`. A value of
another type and a name that there is not raise `FlawmapError`, as does every mistake that you can mend; an
option that a function was given by itself is shown where it goes.
"""
INSPECT_OPTIONS = """## Options of inspections and services

`flawmap.InspectOptions` holds those of `inspect` in the same way, `flawmap.CompareOptions` those of
`compare`, `flawmap.ServeOptions` those of `serve`.
"""
HANDED_ON = {("rank", "cache"), ("export", "overwrite")}
"""Options that a run sets by itself, as it does every `photos` but the data set's."""


def main() -> None:
    functions = [getattr(flawmap, name) for name in flawmap.__all__]
    parts = [INTRO, "## Functions\n"]
    parts += [_function(function) for function in functions if inspect.isfunction(function)]
    parts += ["## What they return\n", *(_record(kind) for kind in RETURNED)]
    parts += [OPTIONS, *_options(flawmap.RunOptions, ())]
    parts += [INSPECT_OPTIONS, *_options(flawmap.InspectOptions, (), "flawmap.InspectOptions")]
    parts += _options(flawmap.CompareOptions, (), "flawmap.CompareOptions")
    parts += _options(flawmap.ServeOptions, (), "flawmap.ServeOptions")
    parts += ["## Errors\n", _errors()]
    write_or_check(TARGET, "\n".join(parts))


def _function(function: typing.Any) -> str:
    return f"### flawmap.{function.__name__}\n\n```\n{_signature(function)}\n```\n\n{_doc(function)}\n"


def _signature(function: typing.Any) -> str:
    """As one would write it, a line per argument where it is long."""
    signature = inspect.signature(function)
    words: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        if parameter.name != "self":
            default = "" if parameter.default is parameter.empty else f" = {_short(parameter.default)}"
            words.append(f"{parameter.name}: {parameter.annotation}{default}")
    returned = f" -> {signature.return_annotation}"
    line = f"{function.__name__}({', '.join(words)}){returned}"
    if len(line) <= 100:
        return line
    inner = textwrap.indent(",\n".join(words), "    ")
    return f"{function.__name__}(\n{inner},\n){returned}"


def _short(value: object) -> str:
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}()"
    return getattr(value, "__name__", repr(value))


def _doc(thing: object) -> str:
    return inspect.cleandoc(getattr(thing, "__doc__", "") or "")


def _record(kind: type) -> str:
    """A class: its docstring, its fields as a table, its public methods and properties as a list."""
    parents = [base.__name__ for base in kind.__bases__ if base not in (object, Options)]
    also = f" Also the fields of {parents[0]}." if parents else ""
    text = f"### {kind.__name__}\n\n{_doc(kind)}{also} (`{_home(kind)}.{kind.__name__}`)\n"
    rows = [f"| `{name}` | `{hint}` | {meaning} |" for name, hint, _, meaning in _fields(kind)]
    if rows:
        text += "\n" + "\n".join(["| | | |", "|---|---|---|", *rows]) + "\n"
    told = [line for name, member in vars(kind).items() if (line := _member(name, member))]
    return text + ("\n" + "\n".join(told) + "\n" if told else "")


def _home(kind: type) -> str:
    """The module to import from: the package, where that hands the name on."""
    package = kind.__module__.rpartition(".")[0]
    is_handed_on = getattr(sys.modules[package], kind.__name__, None) is kind
    return package if is_handed_on else kind.__module__


def _member(name: str, member: object) -> str:
    """A line for a public method or property; "" for anything else."""
    if name.startswith("_"):
        return ""
    if inspect.isfunction(member):
        return f"- `{' '.join(_signature(member).split())}`: {_cell(_doc(member))}"
    getter = getattr(member, "fget", None) or getattr(member, "func", None)
    if getter is None:
        return ""
    meaning = f": {_cell(_doc(getter))}" if _doc(getter) else ""
    return f"- `{name}` → `{inspect.signature(getter).return_annotation}`{meaning}"


def _fields(kind: type) -> list[tuple[str, str, str, str]]:
    """(name, type, default, meaning) of a dataclass's own fields; the meaning is the string that follows."""
    if not dataclasses.is_dataclass(kind):
        return []
    hints = typing.get_type_hints(kind)
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
    found = []
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            is_told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            meaning = _cell(str(after.value.value)) if is_told else ""  # type: ignore[union-attr]
            default = "" if node.value is None else ast.unparse(node.value)
            is_choice = typing.get_origin(hints[node.target.id]) is typing.Literal
            hint = str(hints[node.target.id]) if is_choice else ast.unparse(node.annotation)
            found.append((node.target.id, _cell(hint.removeprefix("typing.")), default, meaning))
    return found


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _options(kind: type, path: tuple[str, ...], whole: str = "flawmap.RunOptions") -> list[str]:
    """A section for an options dataclass, then one for each that it holds."""
    hints = typing.get_type_hints(kind)
    title = f"[{'.'.join(path)}]" if path else whole
    rows, inner = [], []
    for name, hint, default, meaning in _fields(kind):
        if dataclasses.is_dataclass(hints[name]):
            if name != "photos" or path == ("dataset",):
                inner += _options(hints[name], (*path, name))
        elif (*path, name) not in HANDED_ON and not (path and name == "seed"):
            rows.append(f"| `{name}` | `{hint}` | `{default}` | {meaning} |")
    head = ["| option | | default | |", "|---|---|---|---|"]
    return [f"### {title}\n\n{_doc(kind)}\n", "\n".join([*head, *rows]) + "\n", *inner] if rows else inner


def _errors() -> str:
    kinds = [
        kind
        for kind in vars(errors).values()
        if inspect.isclass(kind) and issubclass(kind, errors.FlawmapError)
    ]
    return "\n".join(f"- `{kind.__name__}`: {_cell(_doc(kind))}" for kind in kinds) + "\n"


if __name__ == "__main__":
    main()
