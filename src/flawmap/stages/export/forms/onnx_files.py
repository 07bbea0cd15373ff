"""ONNX files of lower precision, made by ONNX Runtime's own tools."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from flawmap.records import Precision
from flawmap.stages.export.forms.quiet import quiet
from flawmap.tools.preprocess import to_batch


def to_onnx_form(path: Path, precision: Precision, images: Sequence[np.ndarray]) -> tuple[bytes, ...]:
    """The file in float16 or int8; input and outputs stay float32. `images` (h, w, 3) uint8, as
    the network takes them, calibrate int8."""
    if precision == "float32":
        return (path.read_bytes(),)
    with quiet():
        return (_to_float16(path) if precision == "float16" else _to_int8(path, images),)


def _to_float16(path: Path) -> bytes:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(onnx.load(path), keep_io_types=True).SerializeToString()


def _to_int8(path: Path, images: Sequence[np.ndarray]) -> bytes:
    """Static quantisation, weights per channel: per tensor it ruins depthwise layers."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._images = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]  # None ends it
            image = next(self._images, None)
            return None if image is None else {"image": to_batch([image])}

    with tempfile.TemporaryDirectory() as folder:
        source, tidied, quantised = (Path(folder) / name for name in ("source", "tidied", "quantised"))
        shutil.copy(path, source)  # tools of this kind are known to write over their input
        quant_pre_process(source, tidied, skip_symbolic_shape=True)
        quantize_static(
            tidied,
            quantised,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return quantised.read_bytes()
