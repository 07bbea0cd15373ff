"""What a runtime is told to compute with, against stand-ins for what may be installed."""

from __future__ import annotations

import pytest

from flawmap.errors import OptionError
from flawmap.tools.devices import onnx_providers, openvino_device, openvino_hint

CPU = "CPUExecutionProvider"


def test_the_processor_is_asked_for_alone() -> None:
    assert onnx_providers("cpu", ["CUDAExecutionProvider", CPU]) == [CPU]
    assert openvino_device("cpu", ["CPU", "GPU"]) == "CPU"


@pytest.mark.parametrize(
    ("available", "name"),
    [
        (["TensorrtExecutionProvider", "CUDAExecutionProvider", CPU], "CUDAExecutionProvider"),
        (["DmlExecutionProvider", CPU], "DmlExecutionProvider"),
        (["CoreMLExecutionProvider", "AzureExecutionProvider", CPU], "CoreMLExecutionProvider"),
    ],
)
def test_a_graphics_card_is_used_through_what_is_installed(available: list[str], name: str) -> None:
    first, rest = onnx_providers("gpu", available)
    assert first[0] == name and rest == CPU


def test_cuda_keeps_float32() -> None:
    assert onnx_providers("gpu", ["CUDAExecutionProvider", CPU])[0] == (
        "CUDAExecutionProvider",
        {"use_tf32": 0},
    )


def test_no_graphics_card_is_said_with_a_remedy() -> None:
    with pytest.raises(OptionError, match=r"has AzureExecutionProvider.*onnxruntime-gpu"):
        onnx_providers("gpu", ["AzureExecutionProvider", CPU])
    with pytest.raises(OptionError, match="no graphics card"):
        openvino_device("gpu", ["CPU", "NPU"])


def test_openvino_takes_the_first_of_several_cards() -> None:
    assert openvino_device("gpu", ["CPU", "GPU.0", "GPU.1"]) == "GPU.0"


def test_openvino_is_always_told_the_precision() -> None:
    assert [openvino_hint(p, "CPU") for p in ("float32", "float16", "bfloat16", "int8")] == [
        "f32",
        "f32",
        "bf16",
        "f32",
    ]
    assert openvino_hint("float16", "GPU.0") == "f16"
