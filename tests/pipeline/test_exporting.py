"""A model folder in another form: written only if it answers as before, then like any other."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import flawmap
from flawmap.cli import app
from flawmap.errors import AgreementError, BundleError, DatasetError, MissingExtraError, OptionError
from flawmap.pipeline import exporting
from flawmap.pipeline.exporting import Exported
from flawmap.pipeline.settings import RunOptions
from flawmap.records import FindingSpec, LinearHead
from flawmap.stages.export import forms
from flawmap.stages.export.forms import FormOptions, choose_rows, litert
from flawmap.stages.inspection import InspectOptions, inspect_photo, open_inspector
from flawmap.tools.bundle import Bundle, read_bundle, write_bundle
from flawmap.tools.runtime import RuntimeOptions

HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not HAS_OPENVINO, reason="OpenVINO is not installed")
N = 60


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, tiny: SimpleNamespace) -> Path:
    """crack/ and good/, 30 photos each, that the tiny model labels rightly."""
    root = tmp_path_factory.mktemp("labelled")
    for i in range(N):
        label = ("crack", "good")[i % 2]
        (root / label).mkdir(exist_ok=True)
        image = tiny.make_photo(i, crack_at=8 * (i % 7) if label == "crack" else None)
        Image.fromarray(image).save(root / label / f"{i:02}.png")
    return root


@pytest.fixture
def options(labelled: Path, tmp_path: Path) -> RunOptions:
    run = RunOptions(forms=FormOptions(calibrate=labelled, n_calibration=16))
    return replace(run, embed=replace(run.embed, cache=tmp_path / "cache", n_threads=2))


FORMS = [
    pytest.param("onnx", "float32", id="onnx-float32"),
    pytest.param("onnx", "float16", id="onnx-float16"),
    pytest.param("onnx", "int8", id="onnx-int8"),
    pytest.param("openvino", "float32", id="openvino-float32", marks=needs_openvino),
    pytest.param("openvino", "float16", id="openvino-float16", marks=needs_openvino),
    pytest.param("openvino", "bfloat16", id="openvino-bfloat16", marks=needs_openvino),
    pytest.param("openvino", "int8", id="openvino-int8", marks=[needs_openvino, pytest.mark.slow]),
]


@pytest.mark.parametrize(("kind", "precision"), FORMS)
def test_every_form_is_a_model_folder_like_any_other(
    tiny: SimpleNamespace, tiny_bundle: Bundle, options: RunOptions, tmp_path: Path, kind: Any, precision: Any
) -> None:
    if (obstacle := forms.find_obstacle(kind, precision, tiny_bundle.spec)) is not None:
        pytest.skip(obstacle)
    out = tmp_path / "out"
    found = flawmap.export(tiny_bundle.folder, out, kind, precision=precision, options=options)
    assert isinstance(found, Exported) and found.agreement.passes and found.agreement.changed == 0
    assert not any("inspect" in line for line in found.lines), "it is looked at as before"
    assert f"{kind} in {precision}" in found.lines[0]
    written = read_bundle(out)
    assert (written.spec.form.kind, written.spec.form.precision) == (kind, precision)
    assert written.spec.form.made_from == tiny_bundle.spec.file_digests
    measured = written.spec.agreement["form"]
    assert measured["n_photos"] > 0 and measured["failures"] == []
    assert measured["n_calibration"] == (16 if precision == "int8" else 0)
    images = [tiny.make_photo(5), tiny.make_photo(6, crack_at=24)]
    assert flawmap.load(out).predict(images).texts == ("good", "crack")
    photo = options.forms.calibrate / "crack" / "00.png"
    flawmap.explain(out, photo, tmp_path / "heat.png")
    assert (tmp_path / "heat.png").is_file()
    card = (out / "README.md").read_text(encoding="utf-8")
    assert kind == "onnx" or "model.onnx" not in card
    assert precision == "float32" or precision in card


def test_int8_is_checked_on_photos_it_was_not_fitted_to(
    tiny_bundle: Bundle, options: RunOptions, tmp_path: Path
) -> None:
    found = flawmap.export(tiny_bundle.folder, tmp_path / "out", "onnx", precision="int8", options=options)
    assert found.agreement.n_photos == N - N // 3


def altered_head(tiny: SimpleNamespace) -> bytes:
    head = tiny.make_head()
    return tiny.make_onnx(LinearHead(head.weight, head.bias + np.array([9.0, -9.0], np.float32)))


@pytest.mark.parametrize(
    ("precision", "words"), [("float32", "a probability differs by"), ("float16", "F1 falls from 1.0000 to")]
)
def test_a_form_that_answers_otherwise_is_not_written(
    tiny: SimpleNamespace,
    tiny_bundle: Bundle,
    options: RunOptions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: Any,
    words: str,
) -> None:
    monkeypatch.setattr(forms, "to_onnx_form", lambda *_: (altered_head(tiny),))
    with pytest.raises(AgreementError, match=words) as caught:
        flawmap.export(tiny_bundle.folder, tmp_path / "out", "onnx", precision=precision, options=options)
    assert "No folder was written" in str(caught.value) and caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_was_measured(
    tiny_bundle: Bundle, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAWMAP_CACHE", str(tmp_path / "cache"))
    words = ["export", tiny_bundle.folder, "--to", "onnx", "--precision", "float16", "--calibrate", labelled]
    done = CliRunner().invoke(app, [*map(str, words), "--out", str(tmp_path / "half"), "-q"])
    assert done.exit_code == 0, done.output
    assert "MB (before:" in done.output and "F1 1.0000 (before: 1.0000)" in done.output


def test_an_existing_folder_is_replaced_only_when_asked(
    tiny_bundle: Bundle, options: RunOptions, tmp_path: Path
) -> None:
    flawmap.export(tiny_bundle.folder, tmp_path / "out", "onnx", options=options)
    with pytest.raises(BundleError, match="exists already"):
        flawmap.export(tiny_bundle.folder, tmp_path / "out", "onnx", options=options)
    flawmap.export(
        tiny_bundle.folder, tmp_path / "out", "onnx", precision="float16", options=options, overwrite=True
    )
    assert read_bundle(tmp_path / "out").spec.form.precision == "float16"


def test_photos_without_labels_serve_float32_alone(
    tiny: SimpleNamespace, tiny_bundle: Bundle, options: RunOptions, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for i in range(3):
        Image.fromarray(tiny.make_photo(i)).save(plain / f"{i}.png")
    options = replace(options, forms=replace(options.forms, calibrate=plain))
    found = flawmap.export(tiny_bundle.folder, tmp_path / "out", "onnx", options=options)
    assert found.agreement.n_photos == 3 and found.agreement.figure is None
    with pytest.raises(DatasetError):
        flawmap.export(tiny_bundle.folder, tmp_path / "half", "onnx", precision="float16", options=options)


def test_the_photos_of_the_run_are_taken_by_default(
    tiny: SimpleNamespace, labelled: Path, tmp_path: Path
) -> None:
    head = tiny.make_head()
    write_bundle(tmp_path / "run" / "model", tiny.make_spec(), tiny.make_onnx(head), head)
    with pytest.raises(OptionError, match=r"name a folder of them with --calibrate"):
        flawmap.export(tmp_path / "run", tmp_path / "out", "onnx")
    (tmp_path / "run" / "run.json").write_text(json.dumps({"dataset": str(labelled)}))
    assert flawmap.export(tmp_path / "run", tmp_path / "out", "onnx").agreement.n_photos == N
    (tmp_path / "run" / "run.json").write_text(json.dumps({"dataset": str(labelled / "gone")}))
    with pytest.raises(OptionError, match=r"there is no .*gone"):
        flawmap.export(tmp_path / "run" / "model", tmp_path / "out2", "onnx")


@pytest.mark.parametrize(
    ("kind", "precision"), [("onnx", "bfloat16"), ("litert", "int8"), ("litert", "bfloat16")]
)
def test_what_does_not_exist_is_refused_with_what_does(
    tiny_bundle: Bundle, options: RunOptions, tmp_path: Path, kind: Any, precision: Any
) -> None:
    with pytest.raises(OptionError, match=f"{kind} files are written in float"):
        flawmap.export(tiny_bundle.folder, tmp_path / "out", kind, precision=precision, options=options)


def test_what_is_not_installed_is_named(
    tiny_bundle: Bundle, options: RunOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for kind, precision, extra in (("onnx", "int8", "export"), ("openvino", "float32", "openvino")):
        with pytest.raises(MissingExtraError, match=rf"flawmap\[{extra}\]"):
            flawmap.export(tiny_bundle.folder, tmp_path / "out", kind, precision=precision, options=options)


def test_a_reduced_folder_is_run_as_it_was_checked(
    tiny_bundle: Bundle, options: RunOptions, tmp_path: Path
) -> None:
    flawmap.export(tiny_bundle.folder, tmp_path / "half", "onnx", precision="float16", options=options)
    with pytest.raises(OptionError, match="run by onnxruntime; got openvino"):
        flawmap.load(tmp_path / "half", RuntimeOptions(runtime="openvino"))
    with pytest.raises(BundleError, match="cannot be turned into another form"):
        flawmap.export(tmp_path / "half", tmp_path / "out", "openvino", options=options)
    with pytest.raises(OptionError, match="run by onnxruntime; got litert"):
        flawmap.load(tiny_bundle.folder, RuntimeOptions(runtime="litert"))


def test_a_file_of_another_form_that_was_altered_is_refused(
    tiny_bundle: Bundle, options: RunOptions, tmp_path: Path
) -> None:
    flawmap.export(tiny_bundle.folder, tmp_path / "half", "onnx", precision="float16", options=options)
    file = tmp_path / "half" / "model.onnx"
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(BundleError, match="was altered"):
        flawmap.load(tmp_path / "half")


# --- rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 10, 150, 400])
@pytest.mark.parametrize("n_seen", [0, 60, 400])
def test_no_photo_is_both_fitted_to_and_checked_on(n: int, n_seen: int) -> None:
    digests, options = [str(i) for i in range(n)], FormOptions(n_check=90)
    for n_calibration in (0, 20, 128):
        fitted, checked = choose_rows(digests, digests[:n_seen], options, n_calibration)
        assert not set(fitted) & set(checked) and {*fitted, *checked} <= set(range(n))
        assert len(fitted) <= n_calibration and len(checked) <= 90
        assert checked or (n == 1 and n_calibration)
        if n - n_seen >= 150:
            assert min(checked) >= n_seen, "training saw none of them"


# --- LiteRT, against stand-ins ------------------------------------------------------------------------------

CONVERTER = """#!{python}
import shutil, sys
script, source, target, height, width = sys.argv[1:]
assert script.endswith("litert_script.py") and (height, width) == ("64", "64")
{body}
"""


def install_converter(cache: Path, body: str) -> None:
    """A stand-in for the Python of the converter's environment."""
    environment = litert._environment(cache)
    python = environment / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(CONVERTER.format(python=sys.executable, body=body))
    python.chmod(0o755)
    (environment / "complete").touch()


class Interpreter:
    """A stand-in that runs an ONNX file, one photo at a time, as LiteRT runs its own."""

    def __init__(self, model_path: str, num_threads: int) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(model_path, providers=["CPUExecutionProvider"])

    def get_signature_runner(self) -> Interpreter:
        return self

    def get_input_details(self) -> dict[str, Any]:
        return {"image": {"shape": np.array([1, 3, 64, 64])}}

    def get_output_details(self) -> dict[str, Any]:
        return {"features": {}, "logits": {}}

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        assert image.shape == (1, 3, 64, 64)
        return dict(zip(("features", "logits"), self.session.run(None, {"image": image}), strict=True))


@pytest.fixture
def fake_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = ModuleType("ai_edge_litert"), ModuleType("ai_edge_litert.interpreter")
    package.__spec__ = importlib.util.spec_from_loader("ai_edge_litert", None)
    module.Interpreter = Interpreter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ai_edge_litert", package)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", module)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a first line for Unix")
def test_litert_is_made_by_a_process_and_run_photo_by_photo(
    tiny: SimpleNamespace, tiny_bundle: Bundle, options: RunOptions, tmp_path: Path, fake_litert: None
) -> None:
    install_converter(options.cache, "shutil.copy(source, target); open(source, 'w').close()")
    before = tiny_bundle.model_path.read_bytes()
    flawmap.export(tiny_bundle.folder, tmp_path / "out", "litert", options=options)
    assert tiny_bundle.model_path.read_bytes() == before, "the process works on a copy"
    assert (tmp_path / "out" / "model.tflite").is_file()
    model = flawmap.load(tmp_path / "out")
    assert model.predict([tiny.make_photo(1), tiny.make_photo(2, crack_at=0)]).texts == ("good", "crack")
    with pytest.raises(BundleError, match="one size"):
        model._network(np.zeros((1, 3, 96, 64), np.float32))


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a first line for Unix")
def test_inspect_refuses_files_for_which_its_limits_were_not_chosen(
    tiny: SimpleNamespace, options: RunOptions, tmp_path: Path, fake_litert: None
) -> None:
    install_converter(options.cache, "shutil.copy(source, target)")
    head, chosen = tiny.make_head(), FindingSpec(0.5, 64, "chosen by a test")
    bundle = write_bundle(tmp_path / "model", tiny.make_spec(findings=chosen), tiny.make_onnx(head), head)
    found = flawmap.export(bundle.folder, tmp_path / "out", "litert", options=options)
    assert "for predict alone" in found.lines[-1]
    with pytest.raises(BundleError, match=r"only be shown crops .*least_score"):
        open_inspector(tmp_path / "out")
    inspector = open_inspector(tmp_path / "out", InspectOptions(least_score=0.9))
    photo = tmp_path / "wide.png"
    Image.fromarray(tiny.make_photo(1, crack_at=40, size_hw=(128, 192))).save(photo)
    assert inspect_photo(inspector, photo).inspection.findings

    by_crops = replace(bundle.spec, findings=replace(chosen, by_crops=True))
    bundle = write_bundle(tmp_path / "crops", by_crops, tiny.make_onnx(head), head)
    found = flawmap.export(bundle.folder, tmp_path / "out", "litert", options=options, overwrite=True)
    assert "inspect shows it crops" in found.lines[-1]
    assert open_inspector(tmp_path / "out").findings.by_crops


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a first line for Unix")
def test_a_network_that_litert_does_not_take_is_said_in_its_words(
    tiny_bundle: Bundle, options: RunOptions, tmp_path: Path, fake_litert: None
) -> None:
    install_converter(options.cache, "sys.exit('no converter for Elu')")
    with pytest.raises(OptionError, match=r"does not take .*\(no converter for Elu\)"):
        flawmap.export(tiny_bundle.folder, tmp_path / "out", "litert", options=options)


def test_a_converter_that_cannot_be_installed_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litert.venv, "create", lambda *_, **__: None)
    with pytest.raises(MissingExtraError, match="pip install litert-torch"):
        litert.find_converter(tmp_path)
    assert not litert.has_converter(tmp_path)


# --- benchmark ----------------------------------------------------------------------------------------------


@pytest.fixture
def without_nncf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import takes seconds."""
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> object:
        return None if name == "nncf" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def test_benchmark_lists_every_form(
    tiny_bundle: Bundle, labelled: Path, options: RunOptions, tmp_path: Path, without_nncf: None
) -> None:
    options = replace(options, benchmark=replace(options.benchmark, n_rounds=2, n_photos=4))
    found = flawmap.benchmark(tiny_bundle.folder, labelled, options, json_file=tmp_path / "b.json")
    rows = {(row.runtime, row.precision): row for row in found.rows}
    assert len(rows) == 8, "and none of the forms that no export makes"
    first = rows["onnxruntime", "float32"]
    assert first.passes and first.agreement and first.agreement.max_difference == 0.0
    assert first.timing and first.timing.ms_per_photo > 0 and first.size_mb and first.size_mb > 0
    assert "flawmap[export]" in rows["openvino", "int8"].reason or not HAS_OPENVINO
    assert all(bool(row.reason) != (row.timing is not None) for row in rows.values())
    text = "\n".join(found.lines)
    assert "photos/s" in text and "on 2 threads" in text and "bfloat16 files" not in text
    written = json.loads((tmp_path / "b.json").read_text())
    assert len(written["rows"]) == 8 and written["machine"]["n_threads"] == 2
    assert written["rows"][0]["passes"] is True


def test_benchmark_shows_what_would_not_be_written(
    tiny: SimpleNamespace,
    tiny_bundle: Bundle,
    labelled: Path,
    options: RunOptions,
    monkeypatch: pytest.MonkeyPatch,
    without_nncf: None,
) -> None:
    real = forms.to_onnx_form
    monkeypatch.setattr(
        forms,
        "to_onnx_form",
        lambda path, precision, images: (
            real(path, precision, images) if precision == "float32" else (altered_head(tiny),)
        ),
    )
    options = replace(options, benchmark=replace(options.benchmark, n_rounds=1, n_photos=2))
    found = flawmap.benchmark(tiny_bundle.folder, labelled, options)
    rows = {(row.runtime, row.precision): row for row in found.rows}
    assert not rows["onnxruntime", "float16"].passes and rows["onnxruntime", "float32"].passes
    assert any("float16" in line and "fail: F1 falls" in line for line in found.lines)


def test_a_graphics_card_that_is_not_there_is_told(
    tiny_bundle: Bundle, labelled: Path, options: RunOptions, without_nncf: None, tmp_path: Path
) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is one")
    options = replace(options, benchmark=replace(options.benchmark, n_rounds=1, n_photos=2))
    with pytest.raises(OptionError, match=r"no form of .*float32.*: .*no graphics card can be used"):
        flawmap.benchmark(tiny_bundle.folder, labelled, options, device="gpu", json_file=tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()


def test_sizes_count_every_file(tiny_bundle: Bundle) -> None:
    total = sum((tiny_bundle.folder / name).stat().st_size for name in ("model.onnx", "weights.safetensors"))
    assert exporting.size_mb(tiny_bundle) == total / 1e6
