"""OpenVINO's files, made by OpenVINO itself and, for int8, by NNCF."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.records import Precision
from flawmap.stages.export.forms.quiet import quiet
from flawmap.tools.openvino_import import import_openvino, without_telemetry
from flawmap.tools.preprocess import to_batch


def to_openvino_form(path: Path, precision: Precision, images: Sequence[np.ndarray]) -> tuple[bytes, ...]:
    """The .xml and the .bin of an ONNX file. `images` (h, w, 3) uint8, as the network takes
    them, calibrate int8.

    float16 stores the weights in 16 bits (a processor computes them in float32); bfloat16 stores float32 and
    is computed in bfloat16, which the runtime is told by flawmap.json.
    """
    openvino = import_openvino()
    network = openvino.Core().read_model(str(path))
    if precision == "int8":
        network = _to_int8(network, images)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.xml"
        openvino.save_model(network, str(file), compress_to_fp16=precision == "float16")
        return file.read_bytes(), file.with_suffix(".bin").read_bytes()


def _to_int8(network: Any, images: Sequence[np.ndarray]) -> Any:
    """Post-training quantisation; activations of both signs get a range of their own.

    Ranges go from least to largest: the default cuts off outliers, and those are the flaws.
    """
    with quiet(), without_telemetry():
        import nncf
        from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        ranges = RangeEstimatorParametersSet.MINMAX
        return nncf.quantize(
            network,
            nncf.Dataset(images, lambda image: {"image": to_batch([image])}),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            advanced_parameters=AdvancedQuantizationParameters(
                activations_range_estimator_params=ranges, weights_range_estimator_params=ranges
            ),
        )
