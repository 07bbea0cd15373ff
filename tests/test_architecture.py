"""The house's rules, held against the code itself."""

import ast
import functools
import re
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "flawmap"
FILES = sorted(SRC.rglob("*.py"))
LAYERS = ["errors", "records", "tools", "stages", "pipeline", "service", "cli"]
ABOVE = {"__main__": "cli", "__init__": "cli"}
TORCH_AT = {"tools/backbones", "stages/embed", "stages/train", "stages/export"}
TORCH_NAMES = {"torch", "timm", "torchvision", "lightning", "torchmetrics"}
ONLY_IN = {"typer": "cli", "ray": "tools/execute"} | dict.fromkeys(
    (
        "fastapi",
        "starlette",
        "uvicorn",
        "sqlmodel",
        "sqlalchemy",
        "alembic",
        "argon2",
        "prometheus_client",
        "httpx2",
    ),
    "service",
)


def place(file: Path) -> str:
    return file.relative_to(SRC).with_suffix("").as_posix()


def layer(file_or_module: str) -> int:
    head = file_or_module.split("/")[0]
    return LAYERS.index(ABOVE.get(head, head))


@functools.cache
def nodes_of(file: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


@functools.cache
def imports(file: Path) -> list[str]:
    found = []
    for node in nodes_of(file):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def stage_of(path: str) -> str:
    return path.split("/")[1]


@pytest.mark.parametrize("file", FILES, ids=place)
def test_imports_follow_the_rule(file: Path) -> None:
    here = place(file)
    if here == "__init__":
        return
    for name in imports(file):
        if not name.startswith("flawmap.") or name == "flawmap.__version__":
            continue
        target = name.removeprefix("flawmap.").replace(".", "/")
        if target.split("/")[0] not in LAYERS:
            continue
        assert layer(target) <= layer(here), f"{here} imports upwards: {name}"
        if here.startswith("stages/") and target.startswith("stages/"):
            assert stage_of(here) == stage_of(target), f"one stage imports another: {here} → {name}"


@pytest.mark.parametrize("file", FILES, ids=place)
def test_torch_stays_where_it_belongs(file: Path) -> None:
    here = place(file)
    roots = {name.split(".")[0] for name in imports(file)}
    if not any(here.startswith(allowed) for allowed in TORCH_AT):
        assert not roots & TORCH_NAMES
    for library, home in ONLY_IN.items():
        assert library not in roots or here.startswith(home)


@pytest.mark.parametrize("file", FILES, ids=place)
def test_files_and_functions_stay_short(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    if not place(file).startswith("cli/"):
        assert len(text.splitlines()) <= 400
    for node in nodes_of(file):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not place(file).startswith("cli/"):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} is too long"


@pytest.mark.parametrize("file", sorted((SRC / "service" / "page").glob("*.*")), ids=lambda file: file.name)
def test_the_page_is_short_and_asks_nobody_else(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []


def test_there_are_files_to_check() -> None:
    assert len(FILES) > 10
    assert not list(SRC.rglob("utils.py"))


def strings_outside_option(node: ast.AST) -> list[str]:
    """The texts below a node, but for what `option()` is given."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "option":
        return []
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    return [text for inner in ast.iter_child_nodes(node) for text in strings_outside_option(inner)]


@pytest.mark.parametrize(
    "file", [f for f in FILES if not place(f).startswith(("cli/", "stages/train/"))], ids=place
)
def test_errors_name_options_for_python_too(file: Path) -> None:
    """A message with a bare flag is of no use to who calls flawmap from Python: option() names both."""
    for node in nodes_of(file):
        if isinstance(node, ast.Raise):
            message = "".join(strings_outside_option(node))
            is_fine = "pip install" in message or "(Python: " in message
            bare = [] if is_fine else re.findall(r"(?<![\w-])--[a-z][\w-]*", message)
            assert not bare, f"{place(file)}:{node.lineno} names {bare} for the command line only"
