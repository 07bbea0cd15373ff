"""Which device and number format a runtime is told to compute with, by what is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from flawmap.errors import OptionError
from flawmap.records import Precision

Device = Literal["cpu", "gpu"]
_GPU_PROVIDERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("CUDAExecutionProvider", {"use_tf32": 0}),  # it would round float32 to ten bits by itself
    ("MIGraphXExecutionProvider", {}),
    ("ROCMExecutionProvider", {}),
    ("DmlExecutionProvider", {}),
    ("CoreMLExecutionProvider", {}),
)
"""ONNX Runtime's providers for graphics cards, the preferred first, with their settings."""
_PROCESSOR = "CPUExecutionProvider"


def onnx_providers(device: Device, available: Sequence[str]) -> list[str | tuple[str, dict[str, Any]]]:
    """The providers to ask ONNX Runtime for; on a graphics card the processor takes what the card cannot.

    Raises OptionError where no provider for a graphics card is installed.
    """
    if device == "cpu":
        return [_PROCESSOR]
    for name, settings in _GPU_PROVIDERS:
        if name in available:
            return [(name, settings), _PROCESSOR]
    raise OptionError(
        f"no graphics card can be used: the installed ONNX Runtime has {', '.join(available)}. Install the "
        "build for your card (for NVIDIA: pip install onnxruntime-gpu), or leave the device out."
    )


def openvino_device(device: Device, available: Sequence[str]) -> str:
    """OpenVINO's name of the device. Raises OptionError where it finds no graphics card."""
    if device == "cpu":
        return "CPU"
    found = [name for name in available if name.startswith("GPU")]
    if not found:
        raise OptionError(
            f"OpenVINO finds no graphics card of Intel's, only {', '.join(available)}. Install the card's "
            "driver, or leave the device out."
        )
    return found[0]


def openvino_hint(precision: Precision, device: str) -> str:
    """The number format OpenVINO is told to compute in, since it would choose a coarser one by itself.

    Processors compute files of float16 weights in float32; the layers that int8 leaves out are float32 too.
    """
    if precision == "bfloat16":
        return "bf16"
    return "f16" if precision == "float16" and device != "CPU" else "f32"
