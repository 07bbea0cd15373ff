"""A segmenter of one layer, alone or as a cascade: darkness is a crack."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from safetensors.numpy import save

from flawmap.records import Cleaning, MaskSpec
from flawmap.tools.bundle import FILES_OF_TASK, MASKS, Bundle, write_files


def make_masks() -> bytes:
    """A network that gives each pixel's darkness, blurred over 3 × 3 pixels, as logits from -6 to 6."""
    from onnx import TensorProto, helper, numpy_helper

    kernel = numpy_helper.from_array(np.full((1, 3, 3, 3), -12 / (27 * 255), np.float32), "kernel")
    offset = numpy_helper.from_array(np.array([6], np.float32), "offset")
    node = helper.make_node("Conv", ["image", "kernel", "offset"], ["masks"], pads=[1, 1, 1, 1])
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "masks",
        [value("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [value("masks", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [kernel, offset],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    ).SerializeToString()


def make_bundle(folder: Path, tiny: SimpleNamespace, task: str, **changes: Any) -> Bundle:
    masks = MaskSpec("tiny", 0, "unet", Cleaning((0.5,), min_area_px=(20,)), piece_px=256, overlap_px=64)
    values: dict[str, Any] = {"task": task, "labels": ("crack",), "good_labels": (), "masks": masks}
    head = tiny.make_head()
    weight, bias = head.weight[:1], head.bias[:1]
    one = type(head)(weight, bias)
    contents = {
        MASKS: make_masks(),
        "model.onnx": tiny.make_onnx(one),
        "weights.safetensors": save({"head.weight": weight, "head.bias": bias}),
    }
    spec = tiny.make_spec(**(values | changes))
    return write_files(folder, spec, {name: contents[name] for name in FILES_OF_TASK[spec.task]})
