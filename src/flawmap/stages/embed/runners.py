"""The runtimes that photos can be embedded with, and the choice among them.

The file runtimes take one photo at a time on each of several threads: at least as fast as sharing the cores
between the operators of a larger batch, and a photo's values never depend on its neighbours.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from flawmap.errors import BackboneError, require_extra
from flawmap.stages.embed.plan import Plan
from flawmap.tools.files import write_file
from flawmap.tools.openvino_import import import_openvino
from flawmap.tools.runtime import map_ordered

_TOLERANCE = 1e-3
"""Largest difference to torch that a runtime may show, relative to the larger of 1 and the value."""
_MARGIN = 1.25
"""How many times as fast another runtime must be to be preferred: chance must not settle a near tie."""
_TORCH_BATCH = 16

Compute = Callable[[np.ndarray], np.ndarray]
"""(n, h, w, 3) uint8 of the backbone's input size → (n, width) float32; n is 1 for the file runtimes."""


@dataclass(frozen=True)
class Runner:
    """A backbone, ready to compute through one runtime."""

    name: str
    """As it stands in the store's key: "onnxruntime", "openvino", "torch" or "torch-cuda"."""
    compute: Compute
    n_threads: int
    batch_size: int = 1
    is_threaded: bool = True
    """Whether compute may be called from several threads at once."""

    @staticmethod
    def open(plan: Plan, name: str, n_threads: int) -> Runner:
        """Exports the graph where it is not there or damaged. Raises MissingExtraError, BackboneError."""
        if name.startswith("torch"):
            return _open_torch(plan, n_threads)
        was_there = plan.graph_path.is_file()
        if not was_there:
            export_graph(plan)
        try:
            return Runner(name, _open_file(plan, name, n_threads), n_threads)
        except RuntimeError as error:
            if was_there:
                plan.graph_path.unlink(missing_ok=True)
                return Runner.open(plan, name, n_threads)
            raise BackboneError(
                f"{plan.backbone_id}: {name} cannot open its graph ({str(error).splitlines()[0][:120]}); "
                "choose another options.embed.runtime ([embed] runtime in an options file)"
            ) from error


def choose_runner(plan: Plan, asked: str, images: list[np.ndarray], n_threads: int) -> tuple[Plan, Runner]:
    """The runner that `asked` stands for, and the plan that remembers it.

    Each runtime must give torch's values on the images ((h, w, 3) uint8) within the tolerance. "auto" takes
    ONNX Runtime unless another is a good deal faster on this machine, and torch where no file agrees.
    """
    reference = _open_torch(plan, n_threads)
    if asked == "torch" or not images:
        return plan.agreed(reference.name, 0.0), reference
    expected = np.concatenate([reference.compute(image[None]) for image in images])
    runners, problems = [], []
    for name in _candidates(asked):
        try:
            runner = Runner.open(plan, name, n_threads)
        except Exception as error:  # exporters and runtimes have no common error; torch is the fallback
            problems.append(f"{name}: {str(error).strip().splitlines()[0][:160]}")
            continue
        got = np.concatenate([runner.compute(image[None]) for image in images])
        difference = float((np.abs(got - expected) / np.maximum(1, np.abs(expected))).max())
        if difference > _TOLERANCE:
            problems.append(f"{name}: differs from torch by {difference:.1e}")
            continue
        plan = plan.agreed(name, difference)
        runners.append(runner)
    if asked != "auto" and not runners:
        raise BackboneError(
            f"{plan.backbone_id} cannot be run with {asked} ({problems[0]}); set options.embed.runtime "
            "([embed] runtime in an options file) to 'auto'"
        )
    if not runners or reference.name == "torch-cuda":
        plan, runners = plan.agreed(reference.name, 0.0), [*runners, reference]
    best = _fastest(runners, images)
    return (plan.settled(best.name) if asked == "auto" else plan), best


def export_graph(plan: Plan) -> None:
    """Write the backbone with all its pooled maps as one ONNX file that takes one photo at a time.

    A free number of photos would double the time of the export, and the runners have no use for it.
    """
    require_extra("onnxscript", "train")
    import torch

    from flawmap.tools.backbones import load_embedding_network, simplified

    size = (1, *plan.preprocessing.input_hw, 3)
    images = torch.randint(256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network = simplified(load_embedding_network(plan.entry), images)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # They are about versions of the exchange format; agreement is checked afterwards.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            external_data=False,
            input_names=["images"],
            output_names=["values"],
            verbose=False,
        )
    assert program is not None
    write_file(plan.graph_path, program.model_proto.SerializeToString())


def _candidates(asked: str) -> list[str]:
    if asked != "auto":
        return [asked]
    return ["onnxruntime", *(["openvino"] if importlib.util.find_spec("openvino") else [])]


def _fastest(runners: list[Runner], images: list[np.ndarray]) -> Runner:
    """The first, unless another is faster by the margin; each is timed on the images as they will come."""
    if len(runners) == 1:
        return runners[0]
    best_s = dict.fromkeys((runner.name for runner in runners), float("inf"))
    for _ in range(3):
        for runner in runners:
            size = runner.batch_size
            batches = [np.stack(images[i : i + size]) for i in range(0, len(images), size)]
            start = time.perf_counter()
            for _ in map_ordered(runner.compute, batches, runner.n_threads if runner.is_threaded else 1):
                pass
            best_s[runner.name] = min(best_s[runner.name], time.perf_counter() - start)
    fastest = min(runners, key=lambda runner: best_s[runner.name])
    return fastest if _MARGIN * best_s[fastest.name] < best_s[runners[0].name] else runners[0]


def _open_file(plan: Plan, name: str, n_threads: int) -> Compute:
    return _open_onnxruntime(plan) if name == "onnxruntime" else _open_openvino(plan, n_threads)


def _open_onnxruntime(plan: Plan) -> Compute:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.use_deterministic_compute = True
    settings.log_severity_level = 3  # warnings about the graph are of no use to a user
    try:
        session: Any = onnxruntime.InferenceSession(
            str(plan.graph_path), settings, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its exceptions share no base but Exception
        raise RuntimeError(str(error)) from error
    return lambda images: session.run(["values"], {"images": images})[0]


def _open_openvino(plan: Plan, n_threads: int) -> Compute:
    require_extra("openvino", "openvino")

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",  # it would choose bfloat16 by itself on some processors
        "NUM_STREAMS": n_threads,
        "INFERENCE_NUM_THREADS": n_threads,
        "CACHE_DIR": str(plan.path.parent / "openvino"),
    }
    compiled = import_openvino().Core().compile_model(str(plan.graph_path), "CPU", settings)
    own = threading.local()  # a request holds its buffers, so each thread has its own

    def compute(images: np.ndarray) -> np.ndarray:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        own.request.infer({"images": images})
        return own.request.get_tensor("values").data.copy()

    return compute


def _open_torch(plan: Plan, n_threads: int) -> Runner:
    """Batches on the graphics card where there is one, else on the processor; float32 throughout."""
    require_extra("torch", "train")
    import torch

    from flawmap.tools.backbones import load_embedding_network

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = load_embedding_network(plan.entry).to(device)

    def compute(images: np.ndarray) -> np.ndarray:
        # A card would round the inputs of convolutions to 10 bits by itself.
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            return network(torch.tensor(images, device=device)).cpu().numpy()

    name = "torch-cuda" if device.type == "cuda" else "torch"
    return Runner(name, compute, n_threads, _TORCH_BATCH if name == "torch" else 128, is_threaded=False)
