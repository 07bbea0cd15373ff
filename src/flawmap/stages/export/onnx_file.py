"""A network as an ONNX file, and what every export shares around its check."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata, util
from typing import Any

import numpy as np

from flawmap.errors import OptionError
from flawmap.records import Photo, Preprocessing
from flawmap.tools.options import Options
from flawmap.tools.photos import PhotoOptions, read_images
from flawmap.tools.runtime import Runtime

OPSET = 20
Axes = Mapping[str, tuple[str | None, ...]]
"""Outputs by name, each with a name for its open axes."""


@dataclass(frozen=True)
class ExportOptions(Options):
    """How a model folder is written."""

    n_photos: int = 64
    """Photos on which the file is compared with the network; all where there are fewer."""
    overwrite: bool = False
    photos: PhotoOptions = field(default_factory=PhotoOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_photos < 1:
            raise OptionError(f"wanted n_photos of 1 or more; got {self.n_photos}")


DEFAULT_OPTIONS = ExportOptions()


def to_file(network: Any, input_hw: tuple[int, int], outputs: Axes, *, any_size: bool) -> bytes:
    """A network of (n, 3, h, w) float32 0..255 as an ONNX file, weights inside and BatchNorm folded.

    n is open, and with `any_size` h and w too.
    """
    import torch

    from flawmap.tools.backbones import simplified

    example = 255 * torch.rand(2, 3, *input_hw, generator=torch.Generator().manual_seed(0))
    open_axes = {0: torch.export.Dim.DYNAMIC}
    if any_size:
        open_axes |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = torch.onnx.export(
        simplified(network, example),
        (example,),
        dynamo=True,
        external_data=False,
        opset_version=OPSET,
        input_names=["image"],
        output_names=list(outputs),
        dynamic_shapes=(open_axes,),
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    return _tidy(program.model_proto, outputs)


def runtimes_here() -> tuple[Runtime, ...]:
    """ONNX Runtime, and OpenVINO where it is installed."""
    return ("onnxruntime", "openvino") if util.find_spec("openvino") else ("onnxruntime",)


def versions() -> dict[str, str]:
    """Of the packages that made the file; those that are not installed are left out."""
    found = {}
    for name in (
        "flawmap",
        "torch",
        "timm",
        "onnx",
        "onnxscript",
        "onnxruntime",
        "openvino",
        "numpy",
        "pillow",
    ):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@contextmanager
def evaluating(network: Any) -> Iterator[None]:
    """Eval mode (no dropout, BatchNorm left alone), and afterwards the mode that was."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def takes_any_size(network: Any, preprocessing: Preprocessing) -> bool:
    """Whether the network accepts another size than its own; transformers do not."""
    import torch

    height, width = preprocessing.input_hw
    try:
        with torch.inference_mode():
            network(torch.full((1, 3, height + 32, width + 64), 127.0))
    except (AssertionError, RuntimeError, ValueError):
        return False
    return True


def choose_images(photos: Sequence[Photo], options: ExportOptions) -> Iterator[np.ndarray]:
    """At most n_photos readable photos, spread evenly over the (sorted) list, so over classes and sources."""
    rows = np.unique(np.linspace(0, len(photos) - 1, min(len(photos), options.n_photos)).round().astype(int))
    found = read_images([photos[row].path for row in rows], options.photos)
    return (image for image in found if isinstance(image, np.ndarray))


def _tidy(proto: Any, outputs: Axes) -> bytes:
    """Name the open axes, and drop what the exporter notes for itself (half of a small file)."""
    import onnx

    graph = proto.graph
    names = {"image": ("n", None, "h", "w"), **outputs}
    for value in (*graph.input, *graph.output):
        for dim, name in zip(value.type.tensor_type.shape.dim, names[value.name], strict=True):
            if dim.HasField("dim_param") and name is not None:
                dim.dim_param = name
    for part in (proto, graph, *graph.input, *graph.output, *graph.node, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    del graph.value_info[:]
    for i, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{i}"
    onnx.checker.check_model(proto)
    content = io.BytesIO()
    onnx.save(proto, content)
    return content.getvalue()
