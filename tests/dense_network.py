"""A small network with strides, paddings, a residual and a bottleneck, as an ONNX file: what backbones are
made of, at a cost that tests can pay."""

from __future__ import annotations

from typing import Any

import numpy as np


def make_network(head: Any, pooling: str, seed: int = 0) -> bytes:
    """Stride 16, 6 channels; the padding is lopsided where the stride is 2, as TensorFlow's "SAME" is."""
    from onnx import TensorProto, checker, helper, numpy_helper

    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray] = {"255": np.array(255, np.float32), "axes": np.array([2, 3], np.int64)}
    nodes: list[Any] = [helper.make_node("Div", ["image", "255"], ["x0"])]

    def add_conv(source: str, name: str, channels: tuple[int, int], kernel: int, stride: int) -> None:
        shape = (channels[1], channels[0], kernel, kernel)
        arrays[f"{name}.w"] = rng.normal(0, 1.4 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
        before = (kernel - stride) // 2
        after = kernel - stride - before
        settings: dict[str, Any] = {"strides": [stride] * 2, "pads": [before, before, after, after]}
        nodes.append(helper.make_node("Conv", [source, f"{name}.w"], [name], **settings))

    add_conv("x0", "stem", (3, 8), 3, 2)
    nodes.append(helper.make_node("Relu", ["stem"], ["x1"]))
    source = "x1"
    for i, kernel in enumerate((3, 5, 3)):
        add_conv(source, f"wide{i}", (8 if i == 0 else 6, 16), kernel, 2)
        nodes.append(helper.make_node("Relu", [f"wide{i}"], [f"r{i}"]))
        add_conv(f"r{i}", f"thin{i}", (16, 6), 1, 1)
        add_conv(f"thin{i}", f"side{i}", (6, 6), 5, 1)
        source = f"sum{i}" if i < 2 else "features"
        nodes.append(helper.make_node("Add", [f"thin{i}", f"side{i}"], [source]))
    arrays |= {"head.w": head.weight, "head.b": head.bias}
    nodes.append(helper.make_node("ReduceMean", ["features", "axes"], ["mean"], keepdims=0))
    nodes.append(helper.make_node("ReduceMax", ["features", "axes"], ["max"], keepdims=0))
    pooled = ["mean", "max"] if pooling == "average+maximum" else ["mean"]
    nodes.append(helper.make_node("Concat", pooled, ["pooled"], axis=1))
    nodes.append(helper.make_node("Gemm", ["pooled", "head.w", "head.b"], ["logits"], transB=1))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [value("image", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [
            value("features", TensorProto.FLOAT, ["n", 6, "h_out", "w_out"]),
            value("logits", TensorProto.FLOAT, ["n", len(head.bias)]),
        ],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    checker.check_model(model)
    return model.SerializeToString()
